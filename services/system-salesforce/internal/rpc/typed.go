package rpc

import (
	"context"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/selfsame-io/selfsame/pkg/fault"
	salesforcev1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/salesforce/v1"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/mapping"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/rest"
)

// reasonNotMapped is an object that the mapping does not declare, or that the org does not have as it is mapped.
const reasonNotMapped = "OBJECT_NOT_MAPPED"

// object returns a declared object and its schema, if the org has it as mapped.
func (s *Server) object(ctx context.Context, name string) (*mapping.Object, *mapping.Schema, error) {
	o, ok := s.Mapping.Object(name)
	if !ok {
		return nil, nil, fault.New(fault.Precondition, reasonNotMapped, "the mapping does not declare this object")
	}
	schema, err := s.Describe.Schema(ctx, o.SObject)
	if fault.Is(err, fault.NotFound) {
		return nil, nil, fault.Wrap(fault.Precondition, reasonNotMapped, err, "the org has no object %s that the integration user may see", o.SObject)
	}
	if err != nil {
		return nil, nil, err
	}
	if err := o.Fits(schema); err != nil {
		return nil, nil, fault.Wrap(fault.Precondition, reasonNotMapped, err, "the mapping does not fit the org: %v", err)
	}
	return o, schema, nil
}

// typed returns an object that has messages of its own. What every org must have has been compared at the start and is served
// without its schema when that cannot be had.
func (s *Server) typed(ctx context.Context, name string) (*mapping.Object, *mapping.Schema, error) {
	o, ok := s.Mapping.Object(name)
	if !ok || !o.Required {
		return s.object(ctx, name)
	}
	schema, err := s.Describe.Schema(ctx, o.SObject)
	if err != nil {
		schema = nil
	}
	return o, schema, nil
}

// reader returns how rows of an object become messages.
func reader[T proto.Message](o *mapping.Object, blank func() T) func(map[string]any) (T, error) {
	return func(row map[string]any) (T, error) {
		m := blank()
		return m, o.Read(m, row)
	}
}

// getMany reads live records by id, and says what the others are.
func getMany[T proto.Message](ctx context.Context, s *Server, name string, ids []string, blank func() T) (found[T], error) {
	o, _, err := s.typed(ctx, name)
	if err != nil {
		return found[T]{}, err
	}
	return get(ctx, s, o, ids, true, reader(o, blank))
}

// getOne reads one live record by id.
func getOne[T proto.Message](ctx context.Context, s *Server, name, id string, blank func() T) (T, error) {
	o, _, err := s.typed(ctx, name)
	if err != nil {
		return *new(T), err
	}
	got, err := get(ctx, s, o, []string{id}, false, reader(o, blank))
	if err != nil {
		return *new(T), err
	}
	if len(got.records) == 0 {
		return *new(T), notFound(name)
	}
	return got.records[0], nil
}

// pageRequest is what every list asks for.
type pageRequest interface {
	GetPageSize() int32
	GetPageToken() string
	GetUpdatedSince() *timestamppb.Timestamp
}

// listOf reads a page; owners restricts it to records whose field holds one of the ids.
func listOf[T proto.Message](ctx context.Context, s *Server, name string, req pageRequest, field string, owners []string, blank func() T) (records []T, next string, err error) {
	o, _, err := s.typed(ctx, name)
	if err != nil {
		return nil, "", err
	}
	var where []string
	if len(owners) > 0 {
		column := o.Column(field)
		if column == "" {
			return nil, "", fault.New(fault.Precondition, mapping.ReasonFieldReadOnly, "the mapping does not keep the field this list is made by")
		}
		ids := make([]string, len(owners))
		for i, id := range owners {
			ids[i] = rest.FullID(id)
		}
		where = append(where, column+" IN ("+rest.QuoteAll(ids)+")")
	}
	if at := req.GetUpdatedSince(); at != nil {
		where = append(where, "SystemModstamp >= "+soqlTime(at.AsTime().UnixMilli()))
	}
	rows, next, err := s.list(ctx, o, req.GetPageSize(), req.GetPageToken(), where...)
	if err != nil {
		return nil, "", err
	}
	read := reader(o, blank)
	for _, row := range rows {
		m, err := read(row)
		if err != nil {
			return nil, "", unreadable(err)
		}
		records = append(records, m)
	}
	return records, next, nil
}

// keyed is a record that is named by id or external id.
type keyed interface {
	proto.Message
	GetId() string
	GetExternalId() string
}

// change is one record of a batch.
type change interface {
	GetUpdateMask() *fieldmaskpb.FieldMask
	GetIfMatch() string
}

// check compares a row with what the org takes. A row that would be refused is compared once more with a new description, which
// then serves for the rows after it.
func (s *Server) check(ctx context.Context, o *mapping.Object, row map[string]any, schema **mapping.Schema) *mapping.Problem {
	problem := o.CheckRow(row, *schema)
	if problem == nil {
		return nil
	}
	renewed := s.Describe.Renew(ctx, o.SObject, *schema)
	if renewed == *schema {
		return problem
	}
	*schema = renewed
	return o.CheckRow(row, renewed)
}

// upsertAll writes a batch of typed records.
func upsertAll[C change, T keyed](ctx context.Context, s *Server, name string, changes []C, record func(C) T) ([]*salesforcev1.WriteResult, error) {
	o, schema, err := s.typed(ctx, name)
	if err != nil {
		return nil, err
	}
	items := make([]item, len(changes))
	for i, c := range changes {
		m := record(c)
		it := item{id: m.GetId(), externalID: m.GetExternalId(), match: c.GetIfMatch()}
		it.row, it.problem = o.Row(m, c.GetUpdateMask().GetPaths())
		if it.problem == nil {
			it.problem = s.check(ctx, o, it.row, &schema)
		}
		items[i] = it
	}
	return s.write(ctx, o, items)
}
