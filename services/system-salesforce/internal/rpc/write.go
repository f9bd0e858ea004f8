package rpc

import (
	"context"

	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/selfsame-io/selfsame/pkg/fault"
	salesforcev1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/salesforce/v1"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/mapping"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/rest"
)

// Reasons of records that are refused before Salesforce sees them.
const (
	reasonNoKey     = "EXTERNAL_ID_REQUIRED"
	reasonTwice     = "DUPLICATE_IN_BATCH"
	reasonUncertain = fault.ReasonOutcomeUncertain
)

// item is one record of a batch on its way to the CRM.
type item struct {
	id, externalID string
	row            map[string]any
	problem        *mapping.Problem
}

// group is the records of a batch that go into one call.
type group struct {
	index []int // places in the batch
	rows  []rest.Record
	send  func(context.Context, []rest.Record) ([]rest.Result, error)
}

// write sends a batch in at most two calls: records with an id are updated, the others upserted.
func (s *Server) write(ctx context.Context, o *mapping.Object, items []item) ([]*salesforcev1.WriteResult, error) {
	results := make([]*salesforcev1.WriteResult, len(items))
	updates := &group{send: func(ctx context.Context, rows []rest.Record) ([]rest.Result, error) {
		return s.CRM.Update(ctx, o.SObject, rows)
	}}
	upserts := &group{send: func(ctx context.Context, rows []rest.Record) ([]rest.Result, error) {
		return s.CRM.Upsert(ctx, o.SObject, o.ExternalID(), rows)
	}}
	seen := map[string]bool{}
	for i, it := range items {
		key := "id:" + rest.FullID(it.id)
		if it.id == "" {
			key = "external:" + it.externalID
		}
		switch {
		case it.problem != nil:
			results[i] = refused(&salesforcev1.RecordError{Reason: it.problem.Reason, Message: it.problem.Message, Field: it.problem.Field})
			continue
		case it.id == "" && it.externalID == "":
			results[i] = refused(&salesforcev1.RecordError{Reason: reasonNoKey, Message: "a record without id needs an external id", Field: "external_id"})
			continue
		case seen[key]:
			// Salesforce refuses both in this case.
			results[i] = refused(&salesforcev1.RecordError{Reason: reasonTwice, Message: "the batch holds this record already", Retryable: true})
			continue
		}
		seen[key] = true
		row := rest.Record(it.row)
		if it.id != "" {
			row["id"] = it.id
			updates.add(i, row)
		} else {
			row[o.ExternalID()] = it.externalID
			upserts.add(i, row)
		}
	}
	var failures []error
	written := false
	for _, g := range []*group{updates, upserts} {
		if len(g.rows) == 0 {
			continue
		}
		err := g.run(ctx, o, results)
		if err != nil {
			failures = append(failures, err)
		}
		written = written || err == nil || fault.Is(err, fault.Uncertain)
	}
	if len(failures) > 0 && !written {
		return nil, callFault(failures[0])
	}
	return results, nil
}

func (g *group) add(i int, row rest.Record) {
	g.index = append(g.index, i)
	g.rows = append(g.rows, row)
}

// run makes the call and puts every record's outcome in its place, also when the call failed.
func (g *group) run(ctx context.Context, o *mapping.Object, results []*salesforcev1.WriteResult) error {
	outcomes, err := g.send(ctx, g.rows)
	for j, i := range g.index {
		if err != nil {
			results[i] = refused(callError(err))
			continue
		}
		results[i] = result(o, outcomes[j])
	}
	return err
}

func result(o *mapping.Object, r rest.Result) *salesforcev1.WriteResult {
	switch {
	case r.Refused != nil:
		e := &salesforcev1.RecordError{Reason: r.Refused.Reason, Message: r.Refused.Text, Retryable: r.Refused.Retryable}
		if names := o.Names(r.Refused.Fields); len(names) > 0 {
			e.Field = names[0]
		}
		return refused(e)
	case r.Created:
		return &salesforcev1.WriteResult{Outcome: salesforcev1.Outcome_OUTCOME_CREATED, Id: r.ID}
	}
	return &salesforcev1.WriteResult{Outcome: salesforcev1.Outcome_OUTCOME_UPDATED, Id: r.ID}
}

func refused(e *salesforcev1.RecordError) *salesforcev1.WriteResult {
	return &salesforcev1.WriteResult{Outcome: salesforcev1.Outcome_OUTCOME_REFUSED, Error: e}
}

// callError is the outcome of every record of a call that failed. An uncertain record may be sent again all the same, for the
// write is idempotent; that it is uncertain tells the caller to expect its own change in the feed.
func callError(err error) *salesforcev1.RecordError {
	if fault.Is(err, fault.Uncertain) {
		return &salesforcev1.RecordError{Reason: reasonUncertain, Message: "it is not known whether the record was written", Retryable: true, Uncertain: true}
	}
	e := &salesforcev1.RecordError{Reason: fault.ReasonOf(err), Message: "the call to the CRM failed", Retryable: fault.Retryable(err)}
	if fe, ok := fault.As(err); ok {
		e.Message = fe.Message
	}
	return e
}

// callFault is the failure of a whole batch. What Salesforce says about our call is not about our caller's.
func callFault(err error) error {
	switch fault.KindOf(err) {
	case fault.NotFound, fault.Invalid, fault.AlreadyExists, fault.Forbidden, fault.Unauthenticated:
		return fault.Wrap(fault.Precondition, fault.ReasonOf(err), err, "Salesforce refuses the whole batch")
	}
	return err
}

func paths(m *fieldmaskpb.FieldMask) []string { return m.GetPaths() }
