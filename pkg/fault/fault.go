package fault

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Kind says what a caller may do about an error. The list is closed; the zero value is Internal.
type Kind uint8

const (
	// Internal is a defect or an error nobody classified. A person must look.
	Internal Kind = iota
	// Invalid means the request itself is wrong and will stay wrong.
	Invalid
	// Unauthenticated means the caller is not known.
	Unauthenticated
	// Forbidden means the caller is known and may not do this.
	Forbidden
	// NotFound means the named thing does not exist.
	NotFound
	// AlreadyExists means the thing to be made exists.
	AlreadyExists
	// Precondition means the state of the system does not allow the call; the caller must change something first.
	Precondition
	// Conflict means the call lost against another one and had no effect; read again, then repeat.
	Conflict
	// Exhausted means a quota or limit is used up.
	Exhausted
	// Unavailable means the call was not served and may be repeated.
	Unavailable
	// Timeout means the deadline passed.
	Timeout
	// Canceled means the caller went away.
	Canceled
	// Uncertain means the effect may or may not have happened: only a read-back may decide.
	Uncertain
	// Unimplemented means this server does not offer the method.
	Unimplemented
)

type kindInfo struct {
	name   string
	code   codes.Code
	reason string
}

func (k Kind) info() kindInfo {
	switch k {
	case Invalid:
		return kindInfo{"invalid", codes.InvalidArgument, ReasonValidationFailed}
	case Unauthenticated:
		return kindInfo{"unauthenticated", codes.Unauthenticated, ReasonUnauthenticated}
	case Forbidden:
		return kindInfo{"forbidden", codes.PermissionDenied, ReasonForbidden}
	case NotFound:
		return kindInfo{"not_found", codes.NotFound, ReasonNotFound}
	case AlreadyExists:
		return kindInfo{"already_exists", codes.AlreadyExists, ReasonAlreadyExists}
	case Precondition:
		return kindInfo{"precondition", codes.FailedPrecondition, ReasonPreconditionFailed}
	case Conflict:
		return kindInfo{"conflict", codes.Aborted, ReasonConflict}
	case Exhausted:
		return kindInfo{"exhausted", codes.ResourceExhausted, ReasonExhausted}
	case Unavailable:
		return kindInfo{"unavailable", codes.Unavailable, ReasonUnavailable}
	case Timeout:
		return kindInfo{"timeout", codes.DeadlineExceeded, ReasonTimeout}
	case Canceled:
		return kindInfo{"canceled", codes.Canceled, ReasonCanceled}
	case Uncertain:
		return kindInfo{"uncertain", codes.Aborted, ReasonOutcomeUncertain}
	case Unimplemented:
		return kindInfo{"unimplemented", codes.Unimplemented, ReasonUnimplemented}
	case Internal:
	}
	return kindInfo{"internal", codes.Internal, ReasonInternal}
}

// String returns the lower-case name of the kind, fit for a metric label.
func (k Kind) String() string { return k.info().name }

// Field is one violated rule of a request.
type Field struct {
	// Path is the proto field path: "customer.email", "items[2].quantity".
	Path string
	// Reason is an optional stable word for the rule.
	Reason string
	// Description is safe to show to the caller; it must not repeat the value.
	Description string
}

// Error is a classified failure. The zero value is an Internal error without text. An Error must not be
// changed once it is returned; it is then safe for concurrent use.
type Error struct {
	// Kind says what the caller may do.
	Kind Kind
	// Reason is a stable UPPER_SNAKE word; empty means the default of the kind.
	Reason string
	// Message is a sentence for the caller: no personal data, no internals.
	Message string
	// Fields are the violated rules of an Invalid request.
	Fields []Field
	// RetryAfter is the least time to wait before the call is repeated; zero means unsaid.
	RetryAfter time.Duration
	// Meta are further machine-readable facts (ErrorInfo metadata).
	Meta map[string]string
	// Cause is what happened underneath. It never leaves the process.
	Cause error
}

// New returns an error without a cause. The message goes to the caller, so it must be safe to show.
func New(k Kind, reason, format string, args ...any) *Error {
	return &Error{Kind: k, Reason: reason, Message: sprintf(format, args)}
}

// Wrap returns an error with a cause, which is logged and can be found by errors.Is and errors.As, but never
// leaves the process.
func Wrap(k Kind, reason string, cause error, format string, args ...any) *Error {
	return &Error{Kind: k, Reason: reason, Message: sprintf(format, args), Cause: cause}
}

// InvalidField returns an Invalid error about one field. Reason may be empty.
func InvalidField(path, reason, format string, args ...any) *Error {
	text := sprintf(format, args)
	return &Error{
		Kind: Invalid, Reason: ReasonValidationFailed, Message: path + ": " + text,
		Fields: []Field{{Path: path, Reason: reason, Description: text}},
	}
}

func sprintf(format string, args []any) string {
	if len(args) == 0 {
		return format
	}
	return fmt.Sprintf(format, args...)
}

// WithRetryAfter returns a copy of the error that asks the caller to wait for d.
func (e *Error) WithRetryAfter(d time.Duration) *Error {
	c := *e
	c.RetryAfter = d
	return &c
}

// WithMeta returns a copy of the error with one more fact.
func (e *Error) WithMeta(key, value string) *Error {
	c := *e
	c.Meta = maps.Clone(e.Meta)
	if c.Meta == nil {
		c.Meta = map[string]string{}
	}
	c.Meta[key] = value
	return &c
}

// Error returns reason, message and cause: a text for logs, not for callers.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.reason())
	if e.Message != "" {
		b.WriteString(": ")
		b.WriteString(e.Message)
	}
	if e.Cause != nil {
		b.WriteString(": ")
		b.WriteString(e.Cause.Error())
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

// GRPCStatus makes status.Code and status.FromError understand the error; it holds nothing of the cause.
func (e *Error) GRPCStatus() *status.Status { return e.status() }

func (e *Error) reason() string {
	if e.Reason != "" {
		return e.Reason
	}
	return e.Kind.info().reason
}

// As returns the outermost *Error in err's chain. A gRPC status error or a context error without one is converted.
func As(err error) (*Error, bool) {
	if err == nil {
		return nil, false
	}
	if fe, ok := errors.AsType[*Error](err); ok {
		return fe, true
	}
	if fe := classify(err); fe != nil {
		return fe, true
	}
	return nil, false
}

// grpcError is what grpc-go's status errors have in common.
type grpcError interface {
	error
	GRPCStatus() *status.Status
}

// classify converts what is not an *Error but has a known meaning; nil otherwise.
func classify(err error) *Error {
	if s, ok := errors.AsType[grpcError](err); ok {
		return fromStatus(s.GRPCStatus())
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return Wrap(Timeout, ReasonTimeout, err, "the deadline passed")
	case errors.Is(err, context.Canceled):
		return Wrap(Canceled, ReasonCanceled, err, "the call was cancelled")
	}
	return nil
}

// KindOf returns the kind of err: that of the outermost *Error in its chain, else that of a gRPC status or a
// context error, else Internal. The kind of nil is meaningless.
func KindOf(err error) Kind {
	if fe, ok := As(err); ok {
		return fe.Kind
	}
	return Internal
}

// Is reports whether err is not nil and of kind k.
func Is(err error, k Kind) bool { return err != nil && KindOf(err) == k }

// ReasonOf returns the reason of err; "INTERNAL" for an error nobody classified, "" for nil.
func ReasonOf(err error) string {
	if err == nil {
		return ""
	}
	if fe, ok := As(err); ok {
		return fe.reason()
	}
	return ReasonInternal
}

// Retryable reports whether an idempotent call that failed with err may be repeated: Unavailable, Conflict,
// Timeout, and Exhausted when it says how long to wait. Uncertain is not: ask what happened first.
func Retryable(err error) bool {
	fe, ok := As(err)
	if !ok {
		return false
	}
	switch fe.Kind {
	case Unavailable, Conflict, Timeout:
		return true
	case Exhausted:
		return fe.RetryAfter > 0
	default:
		return false
	}
}

// MetaResume is the entry of an error's metadata that says when refused work may go on, as far as can be foreseen; RFC 3339.
const MetaResume = "resume_time"

// ResumeTime returns when the work that err refuses may go on ([MetaResume]); the zero time if it does not say.
func ResumeTime(err error) time.Time {
	fe, ok := As(err)
	if !ok {
		return time.Time{}
	}
	at, err := time.Parse(time.RFC3339, fe.Meta[MetaResume])
	if err != nil {
		return time.Time{}
	}
	return at
}

// RetryAfter returns how long err asks to wait; zero if it does not say.
func RetryAfter(err error) time.Duration {
	if fe, ok := As(err); ok {
		return fe.RetryAfter
	}
	return 0
}
