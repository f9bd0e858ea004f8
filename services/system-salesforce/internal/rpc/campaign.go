package rpc

import (
	"context"

	salesforcev1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/salesforce/v1"
)

type campaigns struct {
	salesforcev1.UnimplementedCampaignServiceServer
	*Server
}

func blankCampaign() *salesforcev1.Campaign { return &salesforcev1.Campaign{} }

// GetCampaign returns one campaign.
func (s *campaigns) GetCampaign(ctx context.Context, req *salesforcev1.GetCampaignRequest) (*salesforcev1.GetCampaignResponse, error) {
	found, err := getOne(ctx, s.Server, "campaign", req.GetId(), blankCampaign)
	if err != nil {
		return nil, err
	}
	return &salesforcev1.GetCampaignResponse{Campaign: found}, nil
}

// BatchGetCampaigns returns many campaigns.
func (s *campaigns) BatchGetCampaigns(ctx context.Context, req *salesforcev1.BatchGetCampaignsRequest) (*salesforcev1.BatchGetCampaignsResponse, error) {
	found, err := getMany(ctx, s.Server, "campaign", req.GetIds(), blankCampaign)
	if err != nil {
		return nil, err
	}
	return &salesforcev1.BatchGetCampaignsResponse{Campaigns: found.records, MissingIds: found.missing, UnreadableIds: found.unreadable}, nil
}

// ListCampaigns returns a page of campaigns.
func (s *campaigns) ListCampaigns(ctx context.Context, req *salesforcev1.ListCampaignsRequest) (*salesforcev1.ListCampaignsResponse, error) {
	found, next, err := listOf(ctx, s.Server, "campaign", req, "", nil, blankCampaign)
	if err != nil {
		return nil, err
	}
	return &salesforcev1.ListCampaignsResponse{Campaigns: found, NextPageToken: next}, nil
}

// BatchUpsertCampaigns writes campaigns.
func (s *campaigns) BatchUpsertCampaigns(ctx context.Context, req *salesforcev1.BatchUpsertCampaignsRequest) (*salesforcev1.BatchUpsertCampaignsResponse, error) {
	results, err := upsertAll(ctx, s.Server, "campaign", req.GetUpserts(), (*salesforcev1.CampaignUpsert).GetCampaign)
	if err != nil {
		return nil, err
	}
	return &salesforcev1.BatchUpsertCampaignsResponse{Results: results}, nil
}

func blankCampaignMember() *salesforcev1.CampaignMember { return &salesforcev1.CampaignMember{} }

// GetCampaignMember returns one campaign member.
func (s *campaigns) GetCampaignMember(ctx context.Context, req *salesforcev1.GetCampaignMemberRequest) (*salesforcev1.GetCampaignMemberResponse, error) {
	found, err := getOne(ctx, s.Server, "campaign_member", req.GetId(), blankCampaignMember)
	if err != nil {
		return nil, err
	}
	return &salesforcev1.GetCampaignMemberResponse{CampaignMember: found}, nil
}

// BatchGetCampaignMembers returns many campaign members.
func (s *campaigns) BatchGetCampaignMembers(ctx context.Context, req *salesforcev1.BatchGetCampaignMembersRequest) (*salesforcev1.BatchGetCampaignMembersResponse, error) {
	found, err := getMany(ctx, s.Server, "campaign_member", req.GetIds(), blankCampaignMember)
	if err != nil {
		return nil, err
	}
	return &salesforcev1.BatchGetCampaignMembersResponse{CampaignMembers: found.records, MissingIds: found.missing, UnreadableIds: found.unreadable}, nil
}

// ListCampaignMembers returns a page of campaign members.
func (s *campaigns) ListCampaignMembers(ctx context.Context, req *salesforcev1.ListCampaignMembersRequest) (*salesforcev1.ListCampaignMembersResponse, error) {
	found, next, err := listOf(ctx, s.Server, "campaign_member", req, "campaign_id", req.GetCampaignIds(), blankCampaignMember)
	if err != nil {
		return nil, err
	}
	return &salesforcev1.ListCampaignMembersResponse{CampaignMembers: found, NextPageToken: next}, nil
}

// BatchUpsertCampaignMembers writes campaign members.
func (s *campaigns) BatchUpsertCampaignMembers(ctx context.Context, req *salesforcev1.BatchUpsertCampaignMembersRequest) (*salesforcev1.BatchUpsertCampaignMembersResponse, error) {
	results, err := upsertAll(ctx, s.Server, "campaign_member", req.GetUpserts(), (*salesforcev1.CampaignMemberUpsert).GetCampaignMember)
	if err != nil {
		return nil, err
	}
	return &salesforcev1.BatchUpsertCampaignMembersResponse{Results: results}, nil
}
