package rpc

import (
	"context"

	salesforcev1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/salesforce/v1"
)

type opportunities struct {
	salesforcev1.UnimplementedOpportunityServiceServer
	*Server
}

func blankOpportunity() *salesforcev1.Opportunity { return &salesforcev1.Opportunity{} }

// GetOpportunity returns one opportunity.
func (s *opportunities) GetOpportunity(ctx context.Context, req *salesforcev1.GetOpportunityRequest) (*salesforcev1.GetOpportunityResponse, error) {
	found, err := getOne(ctx, s.Server, "opportunity", req.GetId(), blankOpportunity)
	if err != nil {
		return nil, err
	}
	return &salesforcev1.GetOpportunityResponse{Opportunity: found}, nil
}

// BatchGetOpportunities returns many opportunities.
func (s *opportunities) BatchGetOpportunities(ctx context.Context, req *salesforcev1.BatchGetOpportunitiesRequest) (*salesforcev1.BatchGetOpportunitiesResponse, error) {
	found, err := getMany(ctx, s.Server, "opportunity", req.GetIds(), blankOpportunity)
	if err != nil {
		return nil, err
	}
	return &salesforcev1.BatchGetOpportunitiesResponse{Opportunities: found.records, MissingIds: found.missing, UnreadableIds: found.unreadable}, nil
}

// ListOpportunities returns a page of opportunities.
func (s *opportunities) ListOpportunities(ctx context.Context, req *salesforcev1.ListOpportunitiesRequest) (*salesforcev1.ListOpportunitiesResponse, error) {
	found, next, err := listOf(ctx, s.Server, "opportunity", req, "account_id", req.GetAccountIds(), blankOpportunity)
	if err != nil {
		return nil, err
	}
	return &salesforcev1.ListOpportunitiesResponse{Opportunities: found, NextPageToken: next}, nil
}

// BatchUpsertOpportunities writes opportunities.
func (s *opportunities) BatchUpsertOpportunities(ctx context.Context, req *salesforcev1.BatchUpsertOpportunitiesRequest) (*salesforcev1.BatchUpsertOpportunitiesResponse, error) {
	results, err := upsertAll(ctx, s.Server, "opportunity", req.GetUpserts(), (*salesforcev1.OpportunityUpsert).GetOpportunity)
	if err != nil {
		return nil, err
	}
	return &salesforcev1.BatchUpsertOpportunitiesResponse{Results: results}, nil
}
