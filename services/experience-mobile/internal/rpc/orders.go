package rpc

import (
	"context"
	"net/url"

	"google.golang.org/grpc"

	"github.com/selfsame-io/selfsame/pkg/fault"
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
	if err := s.sees(ctx, req.GetOrder().GetCustomerId()); err != nil {
		return nil, err
	}
	below := &customerv1.PlaceOrderRequest{Order: view.NewOrder(req.GetOrder())}
	if req.GetValidateOnly() {
		return s.checkOrder(ctx, below)
	}
	var note notes
	got, err := s.customers.PlaceOrder(idempotent.Child(ctx, "place-order", principalOf(ctx)), below, note.collect()...)
	if err != nil && mayWait(ctx, err) {
		if queued := s.queue(ctx, below); queued != nil {
			return queued, nil
		}
	}
	note.pass(ctx, err)
	if err != nil {
		return nil, s.translate(err)
	}
	setHeader(ctx, edge.MetaCreated, "true", edge.MetaLocation, "/v1/orders/"+url.PathEscape(got.GetOrder().GetId()))
	return &mobilev1.PlaceOrderResponse{Order: orderOf(got.GetOrder(), got.GetCustomerId())}, nil
}

func (s *Server) checkOrder(ctx context.Context, below *customerv1.PlaceOrderRequest) (*mobilev1.PlaceOrderResponse, error) {
	got, err := s.screens.CheckPlaceOrder(ctx, &customerv1.CheckPlaceOrderRequest{Request: below}, grpc.WaitForReady(false))
	if err != nil {
		return nil, s.translate(checked(err))
	}
	return &mobilev1.PlaceOrderResponse{Order: &mobilev1.Order{
		CustomerId: below.GetOrder().GetCustomerId(), ItemCount: int32(len(below.GetOrder().GetItems())), //nolint:gosec // at most 200
		Total: &mobilev1.Money{Amount: got.GetTotalAmount(), Currency: got.GetTotalCurrency()},
	}}, nil
}

// checked names violations as those of the request itself: a check carries it in one more layer.
func checked(err error) error {
	e, ok := fault.As(err)
	if !ok || len(e.Fields) == 0 {
		return err
	}
	out := *e
	out.Fields = nil
	for _, f := range e.Fields {
		if len(f.Path) > len("request.") && f.Path[:len("request.")] == "request." {
			f.Path = f.Path[len("request."):]
		}
		out.Fields = append(out.Fields, f)
	}
	return &out
}

// GetOrder implements MobileService.
func (s *Server) GetOrder(ctx context.Context, req *mobilev1.GetOrderRequest) (*mobilev1.GetOrderResponse, error) {
	ctx, cancel := s.begin(ctx)
	defer cancel()
	if err := s.sees(ctx, req.GetCustomerId()); err != nil {
		return nil, err
	}
	got, err := s.customers.GetOrder(ctx, &customerv1.GetOrderRequest{CustomerId: req.GetCustomerId(), OrderId: req.GetOrderId()}, grpc.WaitForReady(false))
	if err != nil {
		return nil, s.translate(err)
	}
	return &mobilev1.GetOrderResponse{Order: orderOf(got.GetOrder(), req.GetCustomerId())}, nil
}

// FindOrder implements MobileService.
func (s *Server) FindOrder(ctx context.Context, req *mobilev1.FindOrderRequest) (*mobilev1.FindOrderResponse, error) {
	ctx, cancel := s.begin(ctx)
	defer cancel()
	got, err := s.find(ctx, req.GetOrderId())
	if err != nil {
		return nil, err
	}
	setHeader(ctx, edge.MetaVersion, edge.Version(got.GetOrder().GetVersion()))
	return &mobilev1.FindOrderResponse{Order: orderOf(got.GetOrder(), got.GetCustomerId())}, nil
}

// find returns an order that the caller sees; for any other it fails as for one that does not exist.
func (s *Server) find(ctx context.Context, id string) (*customerv1.FindOrderResponse, error) {
	got, err := s.screens.FindOrder(ctx, &customerv1.FindOrderRequest{OrderId: id}, grpc.WaitForReady(false))
	if err != nil {
		return nil, s.translate(err)
	}
	if owned, err := s.owns(ctx, got.GetCustomerId()); err != nil {
		return nil, err
	} else if !owned {
		return nil, unknownOrder()
	}
	return got, nil
}

// CancelOrder implements MobileService.
func (s *Server) CancelOrder(ctx context.Context, req *mobilev1.CancelOrderRequest) (*mobilev1.CancelOrderResponse, error) {
	ctx, cancel := s.begin(ctx)
	defer cancel()
	found, err := s.find(ctx, req.GetOrderId())
	if err != nil {
		return nil, err
	}
	if named := req.GetCancellation().GetCustomerId(); named != "" {
		if same, err := s.same(ctx, named, found.GetCustomerId()); err != nil {
			return nil, err
		} else if !same {
			return nil, unknownOrder()
		}
	}
	below := &customerv1.CancelOrderRequest{CustomerId: found.GetCustomerId(), OrderId: req.GetOrderId()}
	if req.GetValidateOnly() {
		got, err := s.screens.CheckCancelOrder(ctx, &customerv1.CheckCancelOrderRequest{Request: below}, grpc.WaitForReady(false))
		if err != nil {
			return nil, s.translate(checked(err))
		}
		return &mobilev1.CancelOrderResponse{Order: orderOf(got.GetResponse().GetOrder(), got.GetResponse().GetCustomerId())}, nil
	}
	var note notes
	got, err := s.screens.CancelOrder(idempotent.Child(ctx, "cancel-order", principalOf(ctx)), below, note.collect()...)
	note.pass(ctx, err)
	if err != nil {
		return nil, s.translate(err)
	}
	return &mobilev1.CancelOrderResponse{Order: orderOf(got.GetOrder(), got.GetCustomerId())}, nil
}

func orderOf(o *customerv1.OrderSummary, customer string) *mobilev1.Order {
	out := view.Order(o)
	out.CustomerId = customer
	return out
}
