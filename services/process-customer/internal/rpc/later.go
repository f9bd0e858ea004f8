package rpc

import (
	"context"
	"errors"
	"strings"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/idempotent"
	customerv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/customer/v1"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/later"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
)

const (
	reasonOperationUnknown = "OPERATION_UNKNOWN"
	// stepQueue names the operation of a key: never change it.
	stepQueue = "operation"
)

// QueueOrder stores the order under the reference that PlaceOrder would give it, and its answer with it.
func (s *screens) QueueOrder(ctx context.Context, req *customerv1.QueueOrderRequest) (*customerv1.QueueOrderResponse, error) {
	asked := req.GetOrder()
	seed, err := effectID(ctx, "place-order")
	if err != nil {
		return nil, err
	}
	c, err := living(ctx, s.d.Store.Brief(), asked.GetCustomerId())
	if err != nil {
		return nil, err
	}
	now := s.d.Now()
	var resp *customerv1.QueueOrderResponse
	err = s.d.Store.Tx(ctx, func(ctx context.Context, tx *store.Tx) error {
		o, err := later.Add(ctx, tx.SQL(), later.Operation{
			ID: "op_" + idempotent.ChildOf(seed, stepQueue, ""), Owner: req.GetOwner(), CustomerID: string(c.Golden.ID),
			Ref: idempotent.ChildOf(seed, stepPlace, ""), Order: asked, Created: now, Due: now,
		})
		if err != nil {
			return err
		}
		resp = &customerv1.QueueOrderResponse{Operation: operation(o)}
		return s.d.Answer(ctx, tx.SQL(), resp)
	})
	if err != nil {
		return nil, err
	}
	return resp, nil
}

func (s *screens) GetOperation(ctx context.Context, req *customerv1.GetOperationRequest) (*customerv1.GetOperationResponse, error) {
	o, err := s.d.Later.Get(ctx, req.GetOperationId())
	if errors.Is(err, later.ErrNotFound) {
		return nil, fault.New(fault.NotFound, reasonOperationUnknown, "there is no such operation")
	}
	if err != nil {
		return nil, err
	}
	return &customerv1.GetOperationResponse{Operation: operation(o)}, nil
}

// Place does queued work, for later.Worker. For whom the order is may be decided anew with every try: the ERP finds the
// first one by its reference, also under a record of the customer that was merged since.
func (a *API) Place(ctx context.Context, o later.Operation) (*customerv1.OrderSummary, error) {
	decided, err := a.customers.buyer(ctx, o.Order.GetCustomerId())
	if err != nil {
		return nil, err
	}
	_, record, _ := strings.Cut(string(decided), "\n")
	order := source.NewOrder{ClientRef: o.Ref, Customer: record, PurchaseOrder: o.Order.GetPurchaseOrder()}
	for _, it := range o.Order.GetItems() {
		order.Items = append(order.Items, source.NewItem{SKU: it.GetSku(), Quantity: it.GetQuantity()})
	}
	placed, err := a.customers.d.Orders.Place(idempotent.Outgoing(ctx, o.Ref), order)
	if err != nil {
		return nil, err
	}
	return orderSummary(placed), nil
}

func operation(o later.Operation) *customerv1.Operation {
	out := &customerv1.Operation{
		Id: o.ID, Done: o.Done, CustomerId: o.CustomerID, Order: o.Result, Reason: o.Reason, Message: o.Message, CreateTime: stamp(o.Created), Owner: o.Owner,
	}
	if !o.Done {
		out.NextTryTime = stamp(o.Due)
	}
	return out
}
