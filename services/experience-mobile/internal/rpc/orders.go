package rpc

import (
	"context"
	"net/url"

	"google.golang.org/grpc"

	"github.com/selfsame-io/selfsame/pkg/idempotent"
	customerv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/customer/v1"
	mobilev1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/mobile/v1"
	"github.com/selfsame-io/selfsame/services/experience-mobile/internal/edge"
	"github.com/selfsame-io/selfsame/services/experience-mobile/internal/view"
)

// PlaceOrder implements MobileService.
func (s *Server) PlaceOrder(ctx context.Context, req *mobilev1.PlaceOrderRequest) (*mobilev1.PlaceOrderResponse, error) {
	ctx, cancel := s.begin(ctx)
	defer cancel()
	var note notes
	got, err := s.customers.PlaceOrder(idempotent.Child(ctx, "place-order", principalOf(ctx)),
		&customerv1.PlaceOrderRequest{Order: view.NewOrder(req.GetOrder())}, note.collect()...)
	note.pass(ctx, err)
	if err != nil {
		return nil, s.translate(err)
	}
	setHeader(ctx, edge.MetaCreated, "true")
	setHeader(ctx, edge.MetaLocation, "/v1/customers/"+url.PathEscape(got.GetCustomerId())+"/orders/"+url.PathEscape(got.GetOrder().GetId()))
	return &mobilev1.PlaceOrderResponse{Order: view.Order(got.GetOrder())}, nil
}

// GetOrder implements MobileService.
func (s *Server) GetOrder(ctx context.Context, req *mobilev1.GetOrderRequest) (*mobilev1.GetOrderResponse, error) {
	ctx, cancel := s.begin(ctx)
	defer cancel()
	got, err := s.customers.GetOrder(ctx, &customerv1.GetOrderRequest{CustomerId: req.GetCustomerId(), OrderId: req.GetOrderId()}, grpc.WaitForReady(false))
	if err != nil {
		return nil, s.translate(err)
	}
	return &mobilev1.GetOrderResponse{Order: view.Order(got.GetOrder())}, nil
}
