package fault

import (
	"errors"
	"maps"
	"slices"
	"unicode/utf8"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"
)

const internalText = "internal error"

// ToStatus returns what a caller may see of err: the code of its kind, its message, and the details ErrorInfo,
// RetryInfo and BadRequest. A status error that a handler made itself passes unchanged; an error nobody
// classified becomes Internal with a fixed text. ToStatus(nil) is OK.
func ToStatus(err error) *status.Status {
	if err == nil {
		return status.New(codes.OK, "")
	}
	if fe, ok := errors.AsType[*Error](err); ok {
		return fe.status()
	}
	if s, ok := errors.AsType[grpcError](err); ok {
		return s.GRPCStatus()
	}
	if fe := classify(err); fe != nil {
		return fe.status()
	}
	return (&Error{Kind: Internal}).status()
}

func (e *Error) status() *status.Status {
	info := e.Kind.info()
	text := e.Message
	if text == "" {
		text = internalText
		if e.Kind != Internal {
			text = info.name
		}
	}
	reason := &errdetails.ErrorInfo{Domain: Domain, Reason: e.reason(), Metadata: maps.Clone(e.Meta)}
	if e.Kind == Uncertain && reason.GetReason() != ReasonOutcomeUncertain {
		if reason.Metadata == nil {
			reason.Metadata = map[string]string{}
		}
		reason.Metadata[metaUncertain] = "true"
	}
	details := []protoadapt.MessageV1{protoadapt.MessageV1Of(clean(reason))}
	if e.RetryAfter > 0 {
		details = append(details, protoadapt.MessageV1Of(&errdetails.RetryInfo{RetryDelay: durationpb.New(e.RetryAfter)}))
	}
	if len(e.Fields) > 0 {
		bad := &errdetails.BadRequest{}
		for _, f := range e.Fields {
			bad.FieldViolations = append(bad.FieldViolations, &errdetails.BadRequest_FieldViolation{
				Field: valid(f.Path), Reason: valid(f.Reason), Description: valid(f.Description),
			})
		}
		details = append(details, protoadapt.MessageV1Of(bad))
	}
	plain := status.New(info.code, valid(text))
	if st, err := plain.WithDetails(details...); err == nil {
		return st
	}
	return plain
}

// clean replaces bytes that are not UTF-8: protobuf refuses to marshal them, and the whole detail would be lost.
func clean(info *errdetails.ErrorInfo) *errdetails.ErrorInfo {
	info.Reason = valid(info.GetReason())
	for k, v := range info.GetMetadata() {
		if !utf8.ValidString(k) {
			delete(info.Metadata, k)
			k = valid(k)
		}
		info.Metadata[k] = valid(v)
	}
	return info
}

func valid(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	return string([]rune(s))
}

// FromStatus turns the error of a gRPC call into an *Error. It returns nil for nil and leaves an error that
// already holds an *Error, or that is neither a status nor a context error, as it is.
func FromStatus(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*Error](err); ok {
		return err
	}
	if fe := classify(err); fe != nil {
		return fe
	}
	return err
}

// Ours reports whether this suite made the error: it is an *Error, or a status with an ErrorInfo of Domain. What a proxy or a library says
// with the same codes is not ours. It is false for nil.
func Ours(err error) bool {
	s, ok := errors.AsType[grpcError](err)
	if !ok {
		return false
	}
	return slices.ContainsFunc(s.GRPCStatus().Details(), func(d any) bool {
		info, ok := d.(*errdetails.ErrorInfo)
		return ok && info.GetDomain() == Domain
	})
}

func fromStatus(st *status.Status) *Error {
	e := &Error{Kind: kindOfCode(st.Code()), Message: st.Message()}
	for _, d := range st.Details() {
		switch d := d.(type) {
		case *errdetails.ErrorInfo:
			e.Reason = d.GetReason()
			e.Meta = maps.Clone(d.GetMetadata())
		case *errdetails.RetryInfo:
			e.RetryAfter = d.GetRetryDelay().AsDuration()
		case *errdetails.BadRequest:
			for _, v := range d.GetFieldViolations() {
				e.Fields = append(e.Fields, Field{Path: v.GetField(), Reason: v.GetReason(), Description: v.GetDescription()})
			}
		}
	}
	if e.Kind == Conflict && (e.Reason == ReasonOutcomeUncertain || e.Meta[metaUncertain] == "true") {
		e.Kind = Uncertain
		delete(e.Meta, metaUncertain)
	}
	if len(e.Meta) == 0 {
		e.Meta = nil
	}
	return e
}

func kindOfCode(c codes.Code) Kind {
	switch c {
	case codes.InvalidArgument, codes.OutOfRange:
		return Invalid
	case codes.Unauthenticated:
		return Unauthenticated
	case codes.PermissionDenied:
		return Forbidden
	case codes.NotFound:
		return NotFound
	case codes.AlreadyExists:
		return AlreadyExists
	case codes.FailedPrecondition:
		return Precondition
	case codes.Aborted:
		return Conflict
	case codes.ResourceExhausted:
		return Exhausted
	case codes.Unavailable:
		return Unavailable
	case codes.DeadlineExceeded:
		return Timeout
	case codes.Canceled:
		return Canceled
	case codes.Unimplemented:
		return Unimplemented
	default:
		return Internal
	}
}
