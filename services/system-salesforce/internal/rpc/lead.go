package rpc

import (
	"context"

	salesforcev1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/salesforce/v1"
)

type leads struct {
	salesforcev1.UnimplementedLeadServiceServer
	*Server
}

func blankLead() *salesforcev1.Lead { return &salesforcev1.Lead{} }

// GetLead returns one lead.
func (s *leads) GetLead(ctx context.Context, req *salesforcev1.GetLeadRequest) (*salesforcev1.GetLeadResponse, error) {
	found, err := getOne(ctx, s.Server, "lead", req.GetId(), blankLead)
	if err != nil {
		return nil, err
	}
	return &salesforcev1.GetLeadResponse{Lead: found}, nil
}

// BatchGetLeads returns many leads.
func (s *leads) BatchGetLeads(ctx context.Context, req *salesforcev1.BatchGetLeadsRequest) (*salesforcev1.BatchGetLeadsResponse, error) {
	found, err := getMany(ctx, s.Server, "lead", req.GetIds(), blankLead)
	if err != nil {
		return nil, err
	}
	return &salesforcev1.BatchGetLeadsResponse{Leads: found.records, MissingIds: found.missing, UnreadableIds: found.unreadable}, nil
}

// ListLeads returns a page of leads.
func (s *leads) ListLeads(ctx context.Context, req *salesforcev1.ListLeadsRequest) (*salesforcev1.ListLeadsResponse, error) {
	found, next, err := listOf(ctx, s.Server, "lead", req, "", nil, blankLead)
	if err != nil {
		return nil, err
	}
	return &salesforcev1.ListLeadsResponse{Leads: found, NextPageToken: next}, nil
}

// BatchUpsertLeads writes leads.
func (s *leads) BatchUpsertLeads(ctx context.Context, req *salesforcev1.BatchUpsertLeadsRequest) (*salesforcev1.BatchUpsertLeadsResponse, error) {
	results, err := upsertAll(ctx, s.Server, "lead", req.GetUpserts(), (*salesforcev1.LeadUpsert).GetLead)
	if err != nil {
		return nil, err
	}
	return &salesforcev1.BatchUpsertLeadsResponse{Results: results}, nil
}
