package rpc

import (
	"context"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/idempotent"
	customerv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/customer/v1"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source"
)

const (
	reasonOrderUnknown = "ORDER_UNKNOWN"
	// stepPlace names the one effect of PlaceOrder. It is part of the order's reference in the ERP: never change it.
	stepPlace = "erp.order.create"
	// stepBuyer is the recovery point before it: for whom the order is placed.
	stepBuyer = "order.buyer"
)

// PlaceOrder has one effect, and the ERP knows it by a reference that follows from the key: done again after a crash at
// any point it finds the order that it placed. For whom it is placed is decided once and recorded before: an attempt that
// takes over asks the ERP for the very same order, although the customer has been merged or deleted meanwhile. Deciding
// anew, it would refuse what has happened, or use the reference for another order.
func (s *customers) PlaceOrder(ctx context.Context, req *customerv1.PlaceOrderRequest) (*customerv1.PlaceOrderResponse, error) {
	asked := req.GetOrder()
	seed, err := effectID(ctx, "place-order")
	if err != nil {
		return nil, err
	}
	decided, err := idempotent.Step(ctx, stepBuyer, func(ctx context.Context) ([]byte, error) { return s.buyer(ctx, asked.GetCustomerId()) })
	if err != nil {
		return nil, err
	}
	customer, record, _ := strings.Cut(string(decided), "\n")
	ref := idempotent.ChildOf(seed, stepPlace, "")
	o := source.NewOrder{ClientRef: ref, Customer: record, PurchaseOrder: asked.GetPurchaseOrder()}
	for _, it := range asked.GetItems() {
		o.Items = append(o.Items, source.NewItem{SKU: it.GetSku(), Quantity: it.GetQuantity()})
	}
	placed, err := s.d.Orders.Place(idempotent.Outgoing(idempotent.Child(ctx, stepPlace, ""), ref), o) // Child says which attempt this is
	if err != nil {
		return nil, err
	}
	return &customerv1.PlaceOrderResponse{Order: orderSummary(placed), CustomerId: customer}, nil
}

// buyer returns for whom an order is placed: the customer's id, and after a line feed that of its record in the ERP.
func (s *customers) buyer(ctx context.Context, id string) ([]byte, error) {
	c, err := living(ctx, s.d.Store.Brief(), id)
	if err != nil {
		return nil, err
	}
	records := recordsIn(c.Links, s.d.Orders.Name())
	if len(records) == 0 {
		return nil, source.Pending()
	}
	return []byte(string(c.Golden.ID) + "\n" + records[0]), nil
}

func (s *customers) GetOrder(ctx context.Context, req *customerv1.GetOrderRequest) (*customerv1.GetOrderResponse, error) {
	c, err := shown(ctx, s.d.Store.Brief(), req.GetCustomerId())
	if err != nil {
		return nil, err
	}
	o, customer, err := s.d.Orders.Order(ctx, req.GetOrderId())
	if fault.Is(err, fault.NotFound) {
		return nil, unknownOrder()
	}
	if err != nil {
		return nil, err
	}
	for _, l := range c.Links {
		if l.Ref.System == s.d.Orders.Name() && l.Ref.RecordID == customer {
			return &customerv1.GetOrderResponse{Order: orderSummary(o)}, nil
		}
	}
	return nil, unknownOrder()
}

// unknownOrder is said of another customer's order too, so that nobody learns which numbers exist.
func unknownOrder() error {
	return fault.New(fault.NotFound, reasonOrderUnknown, "the customer has no such order")
}

// Resource names what an answer is about, to be remembered longer than the answer itself.
func Resource(resp proto.Message) string {
	switch m := resp.(type) {
	case *customerv1.CreateCustomerResponse:
		return "customers/" + m.GetCustomer().GetId()
	case *customerv1.UpdateCustomerResponse:
		return "customers/" + m.GetCustomer().GetId()
	case *customerv1.PlaceOrderResponse:
		return "customers/" + m.GetCustomerId() + "/orders/" + m.GetOrder().GetId()
	case *customerv1.CancelOrderResponse:
		return "customers/" + m.GetCustomerId() + "/orders/" + m.GetOrder().GetId()
	case *customerv1.QueueOrderResponse:
		return "customers/" + m.GetOperation().GetCustomerId() + "/operations/" + m.GetOperation().GetId()
	case *customerv1.OpenCaseResponse:
		return "customers/" + m.GetCustomerId() + "/cases/" + m.GetCase().GetSummary().GetId()
	}
	return ""
}
