package rpc

import (
	"context"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/idempotent"
	salesforcev1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/salesforce/v1"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/mapping"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/rest"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/write"
)

// reasonNoEvent is an object that cannot be published.
const reasonNoEvent = "OBJECT_IS_NO_EVENT"

type events struct {
	salesforcev1.UnimplementedEventServiceServer
	*Server
}

// PublishEvents publishes platform events. Events whose outcome is not known are answered as such, not with an error: the answer is
// kept under the key of the call, so a repeated call hears it again and publishes nothing.
func (s *events) PublishEvents(ctx context.Context, req *salesforcev1.PublishEventsRequest) (*salesforcev1.PublishEventsResponse, error) {
	o, schema, err := s.object(ctx, req.GetObject())
	if err != nil {
		return nil, idempotent.NotExecuted(err)
	}
	if !o.Event {
		return nil, idempotent.NotExecuted(fault.New(fault.Precondition, reasonNoEvent, "only platform events can be published"))
	}
	results := make([]*salesforcev1.WriteResult, len(req.GetEvents()))
	var rows []rest.Record
	var places []int
	for i, e := range req.GetEvents() {
		row, p := o.WriteFields(e.GetFields(), nil, schema)
		if p == nil {
			p = s.check(ctx, o, row, &schema)
		}
		if p == nil && e.GetId() != "" {
			p = identify(o, row, e.GetId())
		}
		if p != nil {
			results[i] = problem(p)
			continue
		}
		rows = append(rows, row)
		places = append(places, i)
	}
	if len(rows) == 0 {
		return &salesforcev1.PublishEventsResponse{Results: results}, nil
	}
	published, err := s.CRM.Publish(ctx, o.SObject, rows)
	if err != nil && !fault.Is(err, fault.Uncertain) {
		return nil, idempotent.NotExecuted(callFault(err))
	}
	for j, i := range places {
		out := write.Outcome{Failed: err}
		if err == nil {
			out = write.Outcome{ID: published[j].ID, Created: true, Refused: published[j].Refused}
		}
		results[i] = s.result(o, out)
		if results[i].GetError().GetUncertain() {
			results[i].Error.Retryable = false // nothing would find the event that may be out already
		}
	}
	return &salesforcev1.PublishEventsResponse{Results: results}, nil
}

// identify puts the event's id where those who receive it can see it.
func identify(o *mapping.Object, row map[string]any, id string) *mapping.Problem {
	column := o.ExternalID()
	if column == "" {
		return &mapping.Problem{Field: "id", Reason: mapping.ReasonFieldReadOnly, Message: "the mapping names no field for the ids of these events"}
	}
	row[column] = id
	return nil
}
