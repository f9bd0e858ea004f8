package rpc

import (
	"context"

	salesforcev1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/salesforce/v1"
)

type products struct {
	salesforcev1.UnimplementedProductServiceServer
	*Server
}

func blankProduct() *salesforcev1.Product { return &salesforcev1.Product{} }

// GetProduct returns one product.
func (s *products) GetProduct(ctx context.Context, req *salesforcev1.GetProductRequest) (*salesforcev1.GetProductResponse, error) {
	found, err := getOne(ctx, s.Server, "product", req.GetId(), blankProduct)
	if err != nil {
		return nil, err
	}
	return &salesforcev1.GetProductResponse{Product: found}, nil
}

// BatchGetProducts returns many products.
func (s *products) BatchGetProducts(ctx context.Context, req *salesforcev1.BatchGetProductsRequest) (*salesforcev1.BatchGetProductsResponse, error) {
	found, err := getMany(ctx, s.Server, "product", req.GetIds(), blankProduct)
	if err != nil {
		return nil, err
	}
	return &salesforcev1.BatchGetProductsResponse{Products: found.records, MissingIds: found.missing, UnreadableIds: found.unreadable}, nil
}

// ListProducts returns a page of products.
func (s *products) ListProducts(ctx context.Context, req *salesforcev1.ListProductsRequest) (*salesforcev1.ListProductsResponse, error) {
	found, next, err := listOf(ctx, s.Server, "product", req, "", nil, blankProduct)
	if err != nil {
		return nil, err
	}
	return &salesforcev1.ListProductsResponse{Products: found, NextPageToken: next}, nil
}

// BatchUpsertProducts writes products.
func (s *products) BatchUpsertProducts(ctx context.Context, req *salesforcev1.BatchUpsertProductsRequest) (*salesforcev1.BatchUpsertProductsResponse, error) {
	results, err := upsertAll(ctx, s.Server, "product", req.GetUpserts(), (*salesforcev1.ProductUpsert).GetProduct)
	if err != nil {
		return nil, err
	}
	return &salesforcev1.BatchUpsertProductsResponse{Results: results}, nil
}
