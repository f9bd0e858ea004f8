package rpc

import (
	"context"

	salesforcev1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/salesforce/v1"
)

type assets struct {
	salesforcev1.UnimplementedAssetServiceServer
	*Server
}

func blankAsset() *salesforcev1.Asset { return &salesforcev1.Asset{} }

// GetAsset returns one asset.
func (s *assets) GetAsset(ctx context.Context, req *salesforcev1.GetAssetRequest) (*salesforcev1.GetAssetResponse, error) {
	found, err := getOne(ctx, s.Server, "asset", req.GetId(), blankAsset)
	if err != nil {
		return nil, err
	}
	return &salesforcev1.GetAssetResponse{Asset: found}, nil
}

// BatchGetAssets returns many assets.
func (s *assets) BatchGetAssets(ctx context.Context, req *salesforcev1.BatchGetAssetsRequest) (*salesforcev1.BatchGetAssetsResponse, error) {
	found, err := getMany(ctx, s.Server, "asset", req.GetIds(), blankAsset)
	if err != nil {
		return nil, err
	}
	return &salesforcev1.BatchGetAssetsResponse{Assets: found.records, MissingIds: found.missing, UnreadableIds: found.unreadable}, nil
}

// ListAssets returns a page of assets.
func (s *assets) ListAssets(ctx context.Context, req *salesforcev1.ListAssetsRequest) (*salesforcev1.ListAssetsResponse, error) {
	found, next, err := listOf(ctx, s.Server, "asset", req, "account_id", req.GetAccountIds(), blankAsset)
	if err != nil {
		return nil, err
	}
	return &salesforcev1.ListAssetsResponse{Assets: found, NextPageToken: next}, nil
}

// BatchUpsertAssets writes assets.
func (s *assets) BatchUpsertAssets(ctx context.Context, req *salesforcev1.BatchUpsertAssetsRequest) (*salesforcev1.BatchUpsertAssetsResponse, error) {
	results, err := upsertAll(ctx, s.Server, "asset", req.GetUpserts(), (*salesforcev1.AssetUpsert).GetAsset)
	if err != nil {
		return nil, err
	}
	return &salesforcev1.BatchUpsertAssetsResponse{Results: results}, nil
}

func blankAssetWarranty() *salesforcev1.AssetWarranty { return &salesforcev1.AssetWarranty{} }

// GetAssetWarranty returns one asset warranty.
func (s *assets) GetAssetWarranty(ctx context.Context, req *salesforcev1.GetAssetWarrantyRequest) (*salesforcev1.GetAssetWarrantyResponse, error) {
	found, err := getOne(ctx, s.Server, "asset_warranty", req.GetId(), blankAssetWarranty)
	if err != nil {
		return nil, err
	}
	return &salesforcev1.GetAssetWarrantyResponse{AssetWarranty: found}, nil
}

// BatchGetAssetWarranties returns many asset warranties.
func (s *assets) BatchGetAssetWarranties(ctx context.Context, req *salesforcev1.BatchGetAssetWarrantiesRequest) (*salesforcev1.BatchGetAssetWarrantiesResponse, error) {
	found, err := getMany(ctx, s.Server, "asset_warranty", req.GetIds(), blankAssetWarranty)
	if err != nil {
		return nil, err
	}
	return &salesforcev1.BatchGetAssetWarrantiesResponse{AssetWarranties: found.records, MissingIds: found.missing, UnreadableIds: found.unreadable}, nil
}

// ListAssetWarranties returns a page of asset warranties.
func (s *assets) ListAssetWarranties(ctx context.Context, req *salesforcev1.ListAssetWarrantiesRequest) (*salesforcev1.ListAssetWarrantiesResponse, error) {
	found, next, err := listOf(ctx, s.Server, "asset_warranty", req, "asset_id", req.GetAssetIds(), blankAssetWarranty)
	if err != nil {
		return nil, err
	}
	return &salesforcev1.ListAssetWarrantiesResponse{AssetWarranties: found, NextPageToken: next}, nil
}

// BatchUpsertAssetWarranties writes asset warranties.
func (s *assets) BatchUpsertAssetWarranties(ctx context.Context, req *salesforcev1.BatchUpsertAssetWarrantiesRequest) (*salesforcev1.BatchUpsertAssetWarrantiesResponse, error) {
	results, err := upsertAll(ctx, s.Server, "asset_warranty", req.GetUpserts(), (*salesforcev1.AssetWarrantyUpsert).GetAssetWarranty)
	if err != nil {
		return nil, err
	}
	return &salesforcev1.BatchUpsertAssetWarrantiesResponse{Results: results}, nil
}
