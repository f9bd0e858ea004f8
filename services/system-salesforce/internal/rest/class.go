package rest

import (
	"errors"
	"strings"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/auth"
)

// Op is what a call was to do; the same error code means different things for different operations.
type Op uint8

const (
	// OpRead changes nothing.
	OpRead Op = iota
	// OpUpsert writes by external id: it may be repeated.
	OpUpsert
	// OpUpdate writes records that exist, by id: it may be repeated.
	OpUpdate
	// OpCreate makes something that has no key of ours, such as an event: it must not be repeated once it may have run.
	OpCreate
)

func (o Op) writes() bool { return o != OpRead }

// Class says what to do about a failure.
type Class uint8

const (
	// Reject stays refused until somebody changes the record, the mapping or the org.
	Reject Class = iota
	// Retry may succeed after a while, unchanged.
	Retry
	// RetryOnce deserves one more attempt and no third one.
	RetryOnce
	// Reauthenticate is a matter of the session or of the user's access.
	Reauthenticate
	// WaitForQuota may succeed when there is allowance again.
	WaitForQuota
	// Conflicted means that the record has changed meanwhile or was rolled back with others.
	Conflicted
	// Unknown leaves open whether the call had its effect.
	Unknown
)

// classOf is the table of error codes by operation. What is not in it is rejected: a code nobody knows is not tried for ever.
func classOf(code, message string, op Op) Class {
	switch code {
	case "INVALID_SESSION_ID", "API_DISABLED_FOR_ORG", "API_CURRENTLY_DISABLED":
		return Reauthenticate
	case "REQUEST_LIMIT_EXCEEDED":
		if strings.Contains(message, "Concurrent") {
			return Retry
		}
		return WaitForQuota
	case "UNABLE_TO_LOCK_ROW", "SERVER_UNAVAILABLE":
		return Retry
	case "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY":
		if transient(message) {
			return Retry
		}
	case "UNKNOWN_EXCEPTION":
		if op.writes() {
			return Unknown // it says nothing about how far the server got
		}
		return Retry
	case "QUERY_TIMEOUT", "INVALID_QUERY_LOCATOR":
		return RetryOnce
	case "DUPLICATE_VALUE":
		if op == OpUpsert {
			return RetryOnce // somebody else may just have made the record
		}
	case "ALL_OR_NONE_OPERATION_ROLLED_BACK", "PROCESSING_HALTED", "BATCH_PROCESSING_HALTED", codeUnmet:
		return Conflicted
	}
	return Reject
}

// transient reports whether automation in the org failed for a reason that passes.
func transient(message string) bool {
	return strings.Contains(message, "UNABLE_TO_LOCK_ROW") || strings.Contains(message, "Too many SOQL queries")
}

// ClassOf returns the class of a failed call.
func ClassOf(err error) Class {
	if r, ok := RefusalOf(err); ok && !fault.Is(err, fault.Uncertain) {
		return r.Class
	}
	switch fault.KindOf(err) {
	case fault.Uncertain:
		return Unknown
	case fault.Exhausted:
		if fault.ReasonOf(err) == ReasonConcurrency {
			return Retry
		}
		return WaitForQuota
	case fault.Conflict:
		return Conflicted
	case fault.Unauthenticated:
		return Reauthenticate
	case fault.Unavailable, fault.Timeout, fault.Canceled:
		if reason := fault.ReasonOf(err); reason == auth.ReasonLoginRefused || reason == auth.ReasonSessionRefused {
			return Reauthenticate
		}
		return Retry
	}
	return Reject
}

// RefusalOf returns what Salesforce said when it refused a call; false for a call that failed in another way.
func RefusalOf(err error) (Refusal, bool) {
	if re, ok := errors.AsType[*refusedError](err); ok {
		return re.refusal, true
	}
	return Refusal{}, false
}

// refusedError carries a refusal inside a fault. Its text holds nothing of what Salesforce wrote.
type refusedError struct{ refusal Refusal }

// Error implements error.
func (e *refusedError) Error() string { return "refused: " + e.refusal.Reason }

// aboutRecord reports whether the refusal of a call for one record is about that record rather than about the call.
func (r Refusal) aboutRecord() bool {
	switch r.Reason {
	case ReasonLimit, ReasonConcurrency, ReasonUnavailable, ReasonDisabled, ReasonRequestInvalid, ReasonObjectUnknown, ReasonQueryTimeout,
		ReasonAnswerInvalid, auth.ReasonLoginRefused, reasonSessionEnded, reasonLocatorGone:
		return false
	}
	return true
}
