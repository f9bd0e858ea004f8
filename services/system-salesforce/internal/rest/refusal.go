package rest

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/auth"
)

// Reasons of the errors of this package.
const (
	ReasonLimit             = "API_LIMIT_EXHAUSTED"
	ReasonConcurrency       = "API_CONCURRENCY_EXCEEDED"
	ReasonLocked            = "RECORD_LOCKED"
	ReasonDuplicateValue    = "DUPLICATE_VALUE"
	ReasonDuplicateDetected = "DUPLICATE_DETECTED"
	ReasonAmbiguous         = "EXTERNAL_ID_AMBIGUOUS"
	ReasonRequired          = "FIELD_REQUIRED"
	ReasonNotWritable       = "FIELD_NOT_WRITABLE"
	ReasonRule              = "VALIDATION_RULE"
	ReasonIntegrity         = "FIELD_INTEGRITY"
	ReasonTooLong           = "FIELD_TOO_LONG"
	ReasonPicklist          = "VALUE_NOT_IN_PICKLIST"
	ReasonEmail             = "EMAIL_INVALID"
	ReasonRange             = "NUMBER_OUT_OF_RANGE"
	ReasonReference         = "REFERENCE_INVALID"
	ReasonAccess            = "ACCESS_DENIED"
	ReasonDeleted           = "RECORD_DELETED"
	ReasonNotFound          = "RECORD_NOT_FOUND"
	ReasonIDMalformed       = "ID_MALFORMED"
	ReasonStorage           = "STORAGE_LIMIT_EXCEEDED"
	ReasonUnavailable       = "SALESFORCE_UNAVAILABLE"
	ReasonDisabled          = "SALESFORCE_API_DISABLED"
	ReasonQueryTimeout      = "QUERY_TIMEOUT"
	ReasonRefused           = "SALESFORCE_REFUSED"
	ReasonRolledBack        = "BATCH_ROLLED_BACK"
	ReasonAnswerInvalid     = "SALESFORCE_ANSWER_INVALID"
	ReasonRequestInvalid    = "SALESFORCE_REQUEST_INVALID"
	ReasonObjectUnknown     = "OBJECT_UNKNOWN"
	ReasonPeriodInvalid     = "REPLICATION_PERIOD_INVALID"
	ReasonPeriodTooLarge    = "REPLICATION_PERIOD_TOO_LARGE"

	// codeUnmet stands for the status 412, whose body holds no code that is documented.
	codeUnmet = "PRECONDITION_FAILED"

	reasonSessionEnded = "SESSION_ENDED"
	reasonLocatorGone  = "QUERY_LOCATOR_INVALID"
)

// Refusal is why Salesforce did not take a call or a record.
type Refusal struct {
	// Kind is what a caller may do about it.
	Kind fault.Kind
	// Reason is one of the constants above.
	Reason string
	// Text is for people and holds nothing of what Salesforce wrote, which may repeat field values.
	Text string
	// Class is what to do about it.
	Class Class
	// Retryable means the same write may succeed later unchanged.
	Retryable bool
	// Fields are the sObject fields to blame.
	Fields []string
	// RetryAfter is how long a caller should wait before it sends the same write again; 0 when nothing is known about that.
	RetryAfter time.Duration
	// Resume is when work that waits for the allowance may go on, as far as can be foreseen; zero when nothing is known about that.
	Resume time.Time

	message string
	wait    time.Duration
}

// vendorError is one element of an error body; collections write statusCode where the others write errorCode.
type vendorError struct {
	ErrorCode  string   `json:"errorCode"`
	StatusCode string   `json:"statusCode"`
	Message    string   `json:"message"`
	Fields     []string `json:"fields"`
}

func (e vendorError) refusal(op Op) Refusal {
	code := e.ErrorCode
	if code == "" {
		code = e.StatusCode
	}
	r := catalogue(code, e.Message)
	r.Fields, r.message, r.Class = e.Fields, e.Message, classOf(code, e.Message, op)
	r.Retryable = r.Retryable || r.Class == Unknown
	return r
}

// catalogue is the one place where error codes get a meaning.
func catalogue(code, message string) Refusal {
	switch code {
	case "INVALID_SESSION_ID":
		if auth.Permanent(message) {
			return Refusal{Kind: fault.Unavailable, Reason: auth.ReasonLoginRefused, Text: "the connected app or its user may not use the REST API", Retryable: true, wait: 30 * time.Second}
		}
		return Refusal{Kind: fault.Unavailable, Reason: reasonSessionEnded, Text: "the session has ended", Retryable: true}
	case "REQUEST_LIMIT_EXCEEDED":
		if strings.Contains(message, "Concurrent") {
			return Refusal{Kind: fault.Exhausted, Reason: ReasonConcurrency, Text: "too many calls run at once in the org", Retryable: true, wait: 2 * time.Second}
		}
		return Refusal{Kind: fault.Exhausted, Reason: ReasonLimit, Text: "the org's API allowance is used up", Retryable: true}
	case "UNABLE_TO_LOCK_ROW":
		return locked()
	case "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY":
		if transient(message) {
			return locked()
		}
		return Refusal{Kind: fault.Precondition, Reason: ReasonRule, Text: "automation in the CRM refused the record"}
	case "SERVER_UNAVAILABLE":
		return Refusal{Kind: fault.Unavailable, Reason: ReasonUnavailable, Text: "Salesforce is not available for the moment", Retryable: true, wait: 5 * time.Second}
	case "UNKNOWN_EXCEPTION":
		return Refusal{Kind: fault.Unavailable, Reason: ReasonUnavailable, Text: "Salesforce failed without saying why", Retryable: true, wait: 5 * time.Second}
	case "API_DISABLED_FOR_ORG", "API_CURRENTLY_DISABLED":
		return Refusal{Kind: fault.Unavailable, Reason: ReasonDisabled, Text: "the API is switched off for the org or the user", Retryable: true, wait: time.Minute}
	case "ALL_OR_NONE_OPERATION_ROLLED_BACK", "PROCESSING_HALTED", "BATCH_PROCESSING_HALTED":
		return Refusal{Kind: fault.Conflict, Reason: ReasonRolledBack, Text: "the record was rolled back together with others", Retryable: true}
	case codeUnmet:
		return Refusal{Kind: fault.Conflict, Reason: fault.ReasonETagMismatch, Text: "the record has changed meanwhile"}
	case "INVALID_QUERY_FILTER_OPERATOR":
		if strings.Contains(message, "invalid ID field") {
			return refusedRecord("MALFORMED_ID") // how a query says it
		}
	case "QUERY_TIMEOUT":
		return Refusal{Kind: fault.Timeout, Reason: ReasonQueryTimeout, Text: "the query took Salesforce too long", Retryable: true}
	case "INVALID_QUERY_LOCATOR":
		return Refusal{Kind: fault.Unavailable, Reason: reasonLocatorGone, Text: "the rest of the query result is gone", Retryable: true}
	case "STORAGE_LIMIT_EXCEEDED":
		return Refusal{Kind: fault.Precondition, Reason: ReasonStorage, Text: "the org's storage is full"}
	case "NOT_FOUND":
		return Refusal{Kind: fault.NotFound, Reason: ReasonNotFound, Text: "there is no such record or field in the CRM"}
	case "ENTITY_IS_DELETED":
		return Refusal{Kind: fault.NotFound, Reason: ReasonDeleted, Text: "the record is deleted"}
	}
	return refusedRecord(code)
}

func locked() Refusal {
	return Refusal{Kind: fault.Conflict, Reason: ReasonLocked, Text: "another transaction holds the record", Retryable: true}
}

// refusedRecord holds the codes that stay what they are until somebody changes the record, the mapping or the org.
func refusedRecord(code string) Refusal {
	switch code {
	case "DUPLICATE_VALUE":
		return Refusal{Kind: fault.AlreadyExists, Reason: ReasonDuplicateValue, Text: "another record has the same value in a unique field"}
	case "DUPLICATES_DETECTED":
		return Refusal{Kind: fault.Precondition, Reason: ReasonDuplicateDetected, Text: "a duplicate rule of the CRM refused the record"}
	case "DUPLICATE_EXTERNAL_ID":
		return Refusal{Kind: fault.Precondition, Reason: ReasonAmbiguous, Text: "several records have this external id"}
	case "REQUIRED_FIELD_MISSING":
		return Refusal{Kind: fault.Invalid, Reason: ReasonRequired, Text: "a required field is empty"}
	case "INVALID_FIELD", "INVALID_FIELD_FOR_INSERT_UPDATE":
		return Refusal{Kind: fault.Precondition, Reason: ReasonNotWritable, Text: "a field does not exist or may not be written"}
	case "FIELD_CUSTOM_VALIDATION_EXCEPTION":
		return Refusal{Kind: fault.Invalid, Reason: ReasonRule, Text: "a validation rule of the CRM refused the record"}
	case "FIELD_INTEGRITY_EXCEPTION":
		return Refusal{Kind: fault.Invalid, Reason: ReasonIntegrity, Text: "a field does not fit the other fields or records"}
	case "STRING_TOO_LONG":
		return Refusal{Kind: fault.Invalid, Reason: ReasonTooLong, Text: "a value is too long"}
	case "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST":
		return Refusal{Kind: fault.Invalid, Reason: ReasonPicklist, Text: "a value is not in the field's list"}
	case "INVALID_EMAIL_ADDRESS":
		return Refusal{Kind: fault.Invalid, Reason: ReasonEmail, Text: "an e-mail address is not valid"}
	case "NUMBER_OUTSIDE_VALID_RANGE":
		return Refusal{Kind: fault.Invalid, Reason: ReasonRange, Text: "a number is out of range"}
	case "INVALID_CROSS_REFERENCE_KEY":
		return Refusal{Kind: fault.Precondition, Reason: ReasonReference, Text: "the record refers to a record that does not exist or is of another kind"}
	case "INSUFFICIENT_ACCESS_ON_CROSS_REFERENCE_ENTITY", "INSUFFICIENT_ACCESS_OR_READONLY", "INSUFFICIENT_ACCESS":
		return Refusal{Kind: fault.Forbidden, Reason: ReasonAccess, Text: "the integration user may not do this"}
	case "MALFORMED_ID":
		return Refusal{Kind: fault.Invalid, Reason: ReasonIDMalformed, Text: "an id is malformed or names another kind of record"}
	case "INVALID_TYPE":
		return Refusal{Kind: fault.Internal, Reason: ReasonObjectUnknown, Text: "the object does not exist or is hidden from the integration user"}
	case "INVALID_REPLICATION_DATE":
		return Refusal{Kind: fault.Precondition, Reason: ReasonPeriodInvalid, Text: "changes of this period cannot be listed"}
	case "EXCEEDED_ID_LIMIT":
		return Refusal{Kind: fault.Precondition, Reason: ReasonPeriodTooLarge, Text: "too many records changed in this period"}
	case "MALFORMED_QUERY", "JSON_PARSER_ERROR", "METHOD_NOT_ALLOWED", "UNSUPPORTED_MEDIA_TYPE":
		return Refusal{Kind: fault.Internal, Reason: ReasonRequestInvalid, Text: "Salesforce did not understand the call"}
	}
	if r, ok := bulkRefusal(code); ok {
		return r
	}
	return Refusal{Kind: fault.Precondition, Reason: ReasonRefused, Text: "Salesforce refused with " + printable(code)}
}

// printable lets a code through only if it looks like one.
func printable(code string) string {
	if code == "" || len(code) > 80 || strings.Trim(code, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") != "" {
		return "an unknown code"
	}
	return code
}

func (r Refusal) fault() *fault.Error {
	e := fault.New(r.Kind, r.Reason, "%s", r.Text)
	if r.wait > 0 {
		e = e.WithRetryAfter(r.wait)
	}
	e.Cause = &refusedError{refusal: r}
	return e
}

// classify gives an answer other than 2xx its meaning: by error code when there is one, else by status.
func classify(status int, body []byte, op Op) *trouble {
	e, coded := firstError(status, body)
	if !coded {
		return classifyStatus(status, op)
	}
	r := e.refusal(op)
	t := &trouble{err: r.fault()}
	switch r.Reason {
	case ReasonUnavailable:
		// "Unknown exception" says nothing about how far the server got; "unavailable" means it did not begin.
		t.again, t.ran = true, e.ErrorCode == "UNKNOWN_EXCEPTION"
	case ReasonLocked, ReasonConcurrency:
		t.again = true
	}
	return t
}

// firstError returns what an error body says; two statuses have a meaning of their own whatever the body says.
func firstError(status int, body []byte) (vendorError, bool) {
	switch status {
	case http.StatusPreconditionFailed:
		return vendorError{ErrorCode: codeUnmet}, true
	case http.StatusMultipleChoices:
		return vendorError{ErrorCode: "DUPLICATE_EXTERNAL_ID"}, true
	}
	var list []vendorError
	if json.Unmarshal(body, &list) == nil && len(list) > 0 && list[0].ErrorCode != "" {
		return list[0], true
	}
	return vendorError{}, false
}

func classifyStatus(status int, op Op) *trouble {
	coded := func(code string) *fault.Error { return vendorError{ErrorCode: code}.refusal(op).fault() }
	switch {
	case status == http.StatusUnauthorized:
		return &trouble{err: coded("INVALID_SESSION_ID")}
	case status == http.StatusServiceUnavailable, status == 420:
		return &trouble{err: coded("SERVER_UNAVAILABLE"), again: true}
	case status >= 500:
		return &trouble{err: coded("UNKNOWN_EXCEPTION"), again: true, ran: true}
	case status == http.StatusGone:
		return &trouble{err: fault.New(fault.Internal, ReasonRequestInvalid, "Salesforce no longer serves the configured API version")}
	case status == http.StatusNotFound:
		return &trouble{err: coded("NOT_FOUND")}
	}
	return &trouble{err: fault.New(fault.Internal, ReasonAnswerInvalid, "Salesforce answered with the unexpected status %d", status)}
}
