package rpc

import (
	"context"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/selfsame-io/selfsame/pkg/fault"
	salesforcev1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/salesforce/v1"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/mapping"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/rest"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/write"
)

// Reasons of records that are refused before Salesforce sees them.
const (
	reasonNoKey     = "EXTERNAL_ID_REQUIRED"
	reasonTwice     = "DUPLICATE_IN_BATCH"
	reasonUncertain = fault.ReasonOutcomeUncertain
)

// item is one record of a batch on its way to the CRM.
type item struct {
	id, externalID, match string
	row                   map[string]any
	problem               *mapping.Problem
}

// key names the record inside its batch: two items with one key are the same record.
func (it item) key() string {
	if it.id != "" {
		return "id:" + rest.FullID(it.id)
	}
	return "external:" + strings.ToLower(it.externalID)
}

// write sends a batch. The call fails only when it is certain that no record was written.
func (s *Server) write(ctx context.Context, o *mapping.Object, items []item) ([]*salesforcev1.WriteResult, error) {
	results := make([]*salesforcev1.WriteResult, len(items))
	var rows []write.Row
	var places []int
	seen := map[string]bool{}
	for i, it := range items {
		switch {
		case it.problem != nil:
			results[i] = problem(it.problem)
		case it.id == "" && it.externalID == "":
			results[i] = refused(&salesforcev1.RecordError{Reason: reasonNoKey, Message: "a record without id needs an external id", Field: "external_id", Class: salesforcev1.ErrorClass_ERROR_CLASS_REJECT})
		case it.id == "" && o.ExternalID() == "":
			results[i] = refused(&salesforcev1.RecordError{Reason: mapping.ReasonFieldReadOnly, Message: "the mapping keeps no external id of this object", Field: "external_id", Class: salesforcev1.ErrorClass_ERROR_CLASS_REJECT})
		case seen[it.key()]:
			// Salesforce refuses both in this case.
			results[i] = refused(&salesforcev1.RecordError{Reason: reasonTwice, Message: "the batch holds this record already", Retryable: true, Class: salesforcev1.ErrorClass_ERROR_CLASS_RETRY})
		default:
			seen[it.key()] = true
			rows = append(rows, write.Row{ID: it.id, ExternalID: it.externalID, Fields: it.row, Match: it.match})
			places = append(places, i)
		}
	}
	outcomes := s.Writer.Batch(ctx, o, rows)
	for j, out := range outcomes {
		results[places[j]] = s.result(o, out)
	}
	if err := nothing(outcomes); err != nil {
		return nil, callFault(err)
	}
	return results, nil
}

// nothing returns why no record can have been written; nil when one was answered for, or may have been written.
func nothing(outcomes []write.Outcome) error {
	for _, out := range outcomes {
		if out.Failed == nil || fault.Is(out.Failed, fault.Uncertain) {
			return nil
		}
	}
	if len(outcomes) == 0 {
		return nil
	}
	return outcomes[0].Failed
}

// problem is the result of a record that cannot be kept as it is.
func problem(p *mapping.Problem) *salesforcev1.WriteResult {
	return refused(&salesforcev1.RecordError{Reason: p.Reason, Message: p.Message, Field: p.Field, Class: salesforcev1.ErrorClass_ERROR_CLASS_REJECT})
}

// result translates an outcome, with our names of the fields.
func (s *Server) result(o *mapping.Object, out write.Outcome) *salesforcev1.WriteResult {
	switch r := out.Refused; {
	case out.Failed != nil:
		return refused(callError(out.Failed))
	case r != nil:
		e := &salesforcev1.RecordError{
			Reason: r.Reason, Message: r.Text, Retryable: r.Retryable, Uncertain: r.Class == rest.Unknown, Class: errorClass(r.Class),
		}
		if r.RetryAfter > 0 {
			e.RetryAfter = durationpb.New(r.RetryAfter)
		}
		e.ResumeTime = timestamp(r.Resume)
		if names := o.Names(r.Fields); len(names) > 0 {
			e.Field = names[0]
		}
		if r.Reason == rest.ReasonNotWritable || r.Reason == rest.ReasonPicklist {
			s.Describe.Forget(o.SObject) // what we believed about the org is no longer so
		}
		if r.Reason == fault.ReasonETagMismatch {
			return &salesforcev1.WriteResult{Outcome: salesforcev1.Outcome_OUTCOME_CONFLICT, Error: e, CurrentEtag: out.Etag}
		}
		return refused(e)
	case out.Created:
		return &salesforcev1.WriteResult{Outcome: salesforcev1.Outcome_OUTCOME_CREATED, Id: out.ID}
	}
	return &salesforcev1.WriteResult{Outcome: salesforcev1.Outcome_OUTCOME_UPDATED, Id: out.ID}
}

func errorClass(c rest.Class) salesforcev1.ErrorClass {
	switch c {
	case rest.Retry:
		return salesforcev1.ErrorClass_ERROR_CLASS_RETRY
	case rest.RetryOnce:
		return salesforcev1.ErrorClass_ERROR_CLASS_RETRY_ONCE
	case rest.Reauthenticate:
		return salesforcev1.ErrorClass_ERROR_CLASS_REAUTHENTICATE
	case rest.WaitForQuota:
		return salesforcev1.ErrorClass_ERROR_CLASS_WAIT_FOR_QUOTA
	case rest.Conflicted:
		return salesforcev1.ErrorClass_ERROR_CLASS_CONFLICT
	case rest.Unknown:
		return salesforcev1.ErrorClass_ERROR_CLASS_UNCERTAIN
	case rest.Reject:
	}
	return salesforcev1.ErrorClass_ERROR_CLASS_REJECT
}

func refused(e *salesforcev1.RecordError) *salesforcev1.WriteResult {
	return &salesforcev1.WriteResult{Outcome: salesforcev1.Outcome_OUTCOME_REFUSED, Error: e}
}

// callError is the outcome of every record of a call that failed. An uncertain record may be sent again all the same, for the
// write is idempotent; that it is uncertain tells the caller to expect its own change in the feed.
func callError(err error) *salesforcev1.RecordError {
	if fault.Is(err, fault.Uncertain) {
		e := &salesforcev1.RecordError{Reason: reasonUncertain, Message: "it is not known whether the record was written", Retryable: true, Uncertain: true, Class: salesforcev1.ErrorClass_ERROR_CLASS_UNCERTAIN}
		if wait := fault.RetryAfter(err); wait > 0 {
			e.RetryAfter = durationpb.New(wait)
		}
		return e
	}
	e := &salesforcev1.RecordError{Reason: fault.ReasonOf(err), Message: "the call to the CRM failed", Retryable: fault.Retryable(err), Class: errorClass(rest.ClassOf(err))}
	if wait := fault.RetryAfter(err); wait > 0 {
		e.RetryAfter = durationpb.New(wait)
	}
	e.ResumeTime = timestamp(fault.ResumeTime(err))
	if fe, ok := fault.As(err); ok {
		e.Message = fe.Message
	}
	return e
}

// timestamp is nil for the zero time.
func timestamp(at time.Time) *timestamppb.Timestamp {
	if at.IsZero() {
		return nil
	}
	return timestamppb.New(at)
}

// callFault is the failure of a whole batch. What Salesforce says about our call is not about our caller's.
func callFault(err error) error {
	switch fault.KindOf(err) {
	case fault.NotFound, fault.Invalid, fault.AlreadyExists, fault.Forbidden, fault.Unauthenticated:
		return fault.Wrap(fault.Precondition, fault.ReasonOf(err), err, "Salesforce refuses the whole batch")
	}
	return err
}
