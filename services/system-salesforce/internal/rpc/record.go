package rpc

import (
	"context"
	"strings"

	"github.com/selfsame-io/selfsame/pkg/fault"
	salesforcev1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/salesforce/v1"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/mapping"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/rest"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/write"
)

// reasonEventOnly is an object that can only be published.
const reasonEventOnly = "OBJECT_IS_EVENT"

type records struct {
	salesforcev1.UnimplementedRecordServiceServer
	*Server
}

// stored returns an object whose records are kept, with its schema.
func (s *Server) stored(ctx context.Context, name string) (*mapping.Object, *mapping.Schema, error) {
	o, schema, err := s.object(ctx, name)
	if err == nil && o.Event {
		err = fault.New(fault.Precondition, reasonEventOnly, "a platform event can only be published")
	}
	return o, schema, err
}

// ListObjects names the declared objects.
func (s *records) ListObjects(ctx context.Context, _ *salesforcev1.ListObjectsRequest) (*salesforcev1.ListObjectsResponse, error) {
	resp := &salesforcev1.ListObjectsResponse{}
	for _, o := range s.Mapping.Objects() {
		d, _, err := s.description(ctx, o)
		if err != nil {
			return nil, err
		}
		resp.Objects = append(resp.Objects, d)
	}
	return resp, nil
}

// DescribeObject tells the fields of an object.
func (s *records) DescribeObject(ctx context.Context, req *salesforcev1.DescribeObjectRequest) (*salesforcev1.DescribeObjectResponse, error) {
	o, ok := s.Mapping.Object(req.GetObject())
	if !ok {
		return nil, fault.New(fault.Precondition, reasonNotMapped, "the mapping does not declare this object")
	}
	d, schema, err := s.description(ctx, o)
	if err != nil {
		return nil, err
	}
	if schema != nil {
		d.Fields = o.Describe(schema)
	}
	return &salesforcev1.DescribeObjectResponse{Description: d}, nil
}

// description says whether an object can be used. Only an org that cannot be asked is an error.
func (s *records) description(ctx context.Context, o *mapping.Object) (*salesforcev1.ObjectDescription, *mapping.Schema, error) {
	d := &salesforcev1.ObjectDescription{Object: o.Name, Event: o.Event}
	_, schema, err := s.object(ctx, o.Name)
	if err == nil {
		d.Available = true
		return d, schema, nil
	}
	fe, ok := fault.As(err)
	if !ok || fe.Reason != reasonNotMapped {
		return nil, nil, err
	}
	d.Problem = fe.Message
	return d, nil, nil
}

// GetRecord returns one record.
func (s *records) GetRecord(ctx context.Context, req *salesforcev1.GetRecordRequest) (*salesforcev1.GetRecordResponse, error) {
	batch := &salesforcev1.BatchGetRecordsRequest{Object: req.GetObject()}
	if id := req.GetId(); id != "" {
		batch.Ids = []string{id}
	} else {
		batch.ExternalIds = []string{req.GetExternalId()}
	}
	resp, err := s.many(ctx, batch, false)
	if err != nil {
		return nil, err
	}
	if len(resp.GetRecords()) == 0 {
		return nil, notFound(req.GetObject())
	}
	return &salesforcev1.GetRecordResponse{Record: resp.GetRecords()[0]}, nil
}

// BatchGetRecords returns many records.
func (s *records) BatchGetRecords(ctx context.Context, req *salesforcev1.BatchGetRecordsRequest) (*salesforcev1.BatchGetRecordsResponse, error) {
	if n := len(req.GetIds()) + len(req.GetExternalIds()); n == 0 || n > 1000 {
		return nil, fault.InvalidField("ids", fault.ReasonValidationFailed, "1 to 1,000 ids and external ids in all")
	}
	return s.many(ctx, req, true)
}

// many reads records; with fates it tells what is gone from what cannot be read.
func (s *records) many(ctx context.Context, req *salesforcev1.BatchGetRecordsRequest, fates bool) (*salesforcev1.BatchGetRecordsResponse, error) {
	o, schema, err := s.stored(ctx, req.GetObject())
	if err != nil {
		return nil, err
	}
	resp := &salesforcev1.BatchGetRecordsResponse{}
	read := func(row map[string]any) (*salesforcev1.Record, error) { return o.ReadRecord(row, schema) }
	if len(req.GetIds()) > 0 {
		got, err := get(ctx, s.Server, o, req.GetIds(), fates, read)
		if err != nil {
			return nil, err
		}
		resp.Records, resp.MissingIds, resp.UnreadableIds = got.records, got.missing, got.unreadable
	}
	if len(req.GetExternalIds()) == 0 {
		return resp, nil
	}
	rows, err := s.Writer.ByExternalID(ctx, o, req.GetExternalIds(), o.Columns())
	if err != nil {
		return nil, err
	}
	for i, key := range req.GetExternalIds() {
		if rows[i] == nil {
			resp.MissingExternalIds = append(resp.MissingExternalIds, key)
			continue
		}
		r, err := read(rows[i])
		if err != nil {
			return nil, unreadable(err)
		}
		resp.Records = append(resp.Records, r)
	}
	return resp, nil
}

// ListRecords returns a page of records.
func (s *records) ListRecords(ctx context.Context, req *salesforcev1.ListRecordsRequest) (*salesforcev1.ListRecordsResponse, error) {
	o, schema, err := s.stored(ctx, req.GetObject())
	if err != nil {
		return nil, err
	}
	var where []string
	if keys := req.GetExternalIds(); len(keys) > 0 {
		where = append(where, o.ExternalID()+" IN ("+rest.QuoteAll(keys)+")")
	}
	if at := req.GetUpdatedSince(); at != nil {
		where = append(where, "SystemModstamp >= "+soqlTime(at.AsTime().UnixMilli()))
	}
	if at := req.GetUpdatedBefore(); at != nil {
		where = append(where, "SystemModstamp < "+soqlTime(at.AsTime().UnixMilli()))
	}
	if n := len(strings.Join(where, "")); n > 12_000 {
		return nil, fault.InvalidField("external_ids", fault.ReasonValidationFailed, "the external ids are too long for one call; ask for fewer")
	}
	rows, next, err := s.list(ctx, o, req.GetPageSize(), req.GetPageToken(), where...)
	if err != nil {
		return nil, err
	}
	resp := &salesforcev1.ListRecordsResponse{NextPageToken: next}
	for _, row := range rows {
		r, err := o.ReadRecord(row, schema)
		if err != nil {
			return nil, unreadable(err)
		}
		resp.Records = append(resp.Records, r)
	}
	return resp, nil
}

// BatchUpsertRecords writes records.
func (s *records) BatchUpsertRecords(ctx context.Context, req *salesforcev1.BatchUpsertRecordsRequest) (*salesforcev1.BatchUpsertRecordsResponse, error) {
	o, schema, err := s.stored(ctx, req.GetObject())
	if err != nil {
		return nil, err
	}
	items := make([]item, len(req.GetUpserts()))
	for i, u := range req.GetUpserts() {
		items[i] = s.recordItem(ctx, o, &schema, u)
	}
	results, err := s.write(ctx, o, items)
	if err != nil {
		return nil, err
	}
	return &salesforcev1.BatchUpsertRecordsResponse{Results: results}, nil
}

// recordItem translates one record of a batch or stream.
func (s *Server) recordItem(ctx context.Context, o *mapping.Object, schema **mapping.Schema, u *salesforcev1.RecordUpsert) item {
	r := u.GetRecord()
	it := item{id: r.GetId(), externalID: r.GetExternalId(), match: u.GetIfMatch()}
	if name := r.GetObject(); name != "" && name != o.Name {
		it.problem = &mapping.Problem{Field: "object", Reason: fault.ReasonValidationFailed, Message: "the record is of another object than its batch"}
		return it
	}
	it.row, it.problem = o.WriteRecord(r, u.GetUpdateMask().GetPaths(), *schema)
	if it.problem == nil {
		it.problem = s.check(ctx, o, it.row, schema)
	}
	return it
}

// UpsertRecordGraph writes records that refer to each other, all or none.
func (s *records) UpsertRecordGraph(ctx context.Context, req *salesforcev1.UpsertRecordGraphRequest) (*salesforcev1.UpsertRecordGraphResponse, error) {
	nodes := make([]write.Node, len(req.GetNodes()))
	results := make([]*salesforcev1.WriteResult, len(nodes))
	fits := true
	for i, n := range req.GetNodes() {
		o, schema, err := s.stored(ctx, n.GetRecord().GetObject())
		if err != nil {
			return nil, err
		}
		it := s.recordItem(ctx, o, &schema, &salesforcev1.RecordUpsert{Record: n.GetRecord(), UpdateMask: n.GetUpdateMask()})
		node := write.Node{Ref: n.GetRef(), Object: o, ExternalID: it.externalID, Fields: it.row, References: map[string]string{}}
		if it.problem == nil && it.id != "" {
			it.problem = &mapping.Problem{Field: "id", Reason: fault.ReasonValidationFailed, Message: "records of a graph are named by their external id"}
		}
		for field, ref := range n.GetReferences() {
			column, p := o.ReferenceColumn(field)
			if p != nil {
				it.problem = p
				continue
			}
			node.References[column] = ref
		}
		if it.problem != nil {
			fits, results[i] = false, problem(it.problem)
		}
		nodes[i] = node
	}
	if !fits {
		return &salesforcev1.UpsertRecordGraphResponse{Results: withRolledBack(results)}, nil
	}
	outcomes, err := s.Writer.Graph(ctx, nodes)
	if err != nil && !fault.Is(err, fault.Uncertain) {
		return nil, callFault(err)
	}
	resp := &salesforcev1.UpsertRecordGraphResponse{Written: true, Results: results}
	for i, out := range outcomes {
		results[i] = s.result(nodes[i].Object, out)
		resp.Written = resp.Written && out.Written()
	}
	return resp, nil
}

// withRolledBack fills in the results of the nodes that have nothing against them.
func withRolledBack(results []*salesforcev1.WriteResult) []*salesforcev1.WriteResult {
	for i := range results {
		if results[i] == nil {
			results[i] = refused(&salesforcev1.RecordError{
				Reason: rest.ReasonRolledBack, Message: "the record was not written because of others", Retryable: true, Class: salesforcev1.ErrorClass_ERROR_CLASS_CONFLICT,
			})
		}
	}
	return results
}
