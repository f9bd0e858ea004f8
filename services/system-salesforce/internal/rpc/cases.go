package rpc

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/page"
	salesforcev1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/salesforce/v1"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/mapping"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/rest"
)

type cases struct {
	salesforcev1.UnimplementedCaseServiceServer
	*Server
}

// ListCases returns the cases of accounts, newest first.
func (s *cases) ListCases(ctx context.Context, req *salesforcev1.ListCasesRequest) (*salesforcev1.ListCasesResponse, error) {
	n, err := page.Size(req.GetPageSize(), 50, 200)
	if err != nil {
		return nil, err
	}
	o := s.Mapping.Case
	account := o.Column("account_id")
	closed := o.Column("closed")
	if account == "" || closed == "" && req.GetOpenOnly() {
		return nil, fault.New(fault.Precondition, mapping.ReasonFieldReadOnly, "the mapping does not keep the fields this list is made by")
	}
	ids := make([]string, len(req.GetAccountIds()))
	for i, id := range req.GetAccountIds() {
		ids[i] = rest.Quote(rest.FullID(id))
	}
	slices.Sort(ids)
	where := account + " IN (" + strings.Join(ids, ", ") + ")"
	if req.GetOpenOnly() {
		where += " AND " + closed + " = false"
	}
	filter := page.Hash("cases", o.SObject, where)
	var c cursor
	if err := page.Decode(req.GetPageToken(), filter, &c); err != nil {
		return nil, err
	}
	if c.ID != "" {
		where += fmt.Sprintf(" AND (CreatedDate < %[1]s OR (CreatedDate = %[1]s AND Id < %[2]s))", soqlTime(c.At), rest.Quote(c.ID))
	}
	soql := fmt.Sprintf("SELECT %s FROM %s WHERE %s ORDER BY CreatedDate DESC, Id DESC LIMIT %d", strings.Join(o.Columns(), ", "), o.SObject, where, n)
	rows, err := s.CRM.Query(ctx, soql)
	if err != nil {
		return nil, err
	}
	resp := &salesforcev1.ListCasesResponse{Cases: make([]*salesforcev1.Case, 0, len(rows))}
	for _, row := range rows {
		c, err := s.Mapping.ReadCase(row)
		if err != nil {
			return nil, unreadable(err)
		}
		resp.Cases = append(resp.Cases, c)
	}
	if len(rows) == n {
		last := resp.GetCases()[n-1]
		resp.NextPageToken, err = page.Encode(filter, cursor{At: last.GetCreateTime().AsTime().UnixMilli(), ID: last.GetId()})
	}
	return resp, err
}

func blankCase() *salesforcev1.Case { return &salesforcev1.Case{} }

// GetCase returns one case.
func (s *cases) GetCase(ctx context.Context, req *salesforcev1.GetCaseRequest) (*salesforcev1.GetCaseResponse, error) {
	found, err := getOne(ctx, s.Server, "case", req.GetId(), blankCase)
	if err != nil {
		return nil, err
	}
	return &salesforcev1.GetCaseResponse{Case: found}, nil
}

// BatchGetCases returns many cases.
func (s *cases) BatchGetCases(ctx context.Context, req *salesforcev1.BatchGetCasesRequest) (*salesforcev1.BatchGetCasesResponse, error) {
	found, err := getMany(ctx, s.Server, "case", req.GetIds(), blankCase)
	if err != nil {
		return nil, err
	}
	return &salesforcev1.BatchGetCasesResponse{Cases: found.records, MissingIds: found.missing, UnreadableIds: found.unreadable}, nil
}

// BatchUpsertCases writes cases.
func (s *cases) BatchUpsertCases(ctx context.Context, req *salesforcev1.BatchUpsertCasesRequest) (*salesforcev1.BatchUpsertCasesResponse, error) {
	results, err := upsertAll(ctx, s.Server, "case", req.GetUpserts(), (*salesforcev1.CaseUpsert).GetCase)
	if err != nil {
		return nil, err
	}
	return &salesforcev1.BatchUpsertCasesResponse{Results: results}, nil
}
