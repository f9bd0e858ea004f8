package rpc

import (
	"context"
	"errors"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/page"
	"github.com/selfsame-io/selfsame/pkg/telemetry"
	customerv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/customer/v1"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/later"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
)

const (
	queuedPage = 100
	queuedMost = 1000
	// eventCalledOff is the kind of event of an order that an operator called off.
	eventCalledOff = "ORDER_CALLED_OFF"
)

// ListQueuedOrders implements OperationsService.
func (s *operations) ListQueuedOrders(ctx context.Context, req *customerv1.ListQueuedOrdersRequest) (*customerv1.ListQueuedOrdersResponse, error) {
	size, err := page.Size(req.GetPageSize(), queuedPage, queuedMost)
	if err != nil {
		return nil, err
	}
	filter := page.Hash("queued orders")
	if req.GetDone() {
		filter = page.Hash("queued orders", "done")
	}
	var after later.Mark
	if err := page.Decode(req.GetPageToken(), filter, &after); err != nil {
		return nil, err
	}
	found, err := s.d.Later.List(ctx, req.GetDone(), after, size+1)
	if err != nil {
		return nil, err
	}
	out := &customerv1.ListQueuedOrdersResponse{}
	if len(found) > size {
		found = found[:size]
		if out.NextPageToken, err = page.Encode(filter, later.After(found[size-1])); err != nil {
			return nil, err
		}
	}
	for _, o := range found {
		out.Orders = append(out.Orders, queuedOrder(o))
	}
	return out, nil
}

// CancelQueuedOrder implements OperationsService.
func (s *operations) CancelQueuedOrder(ctx context.Context, req *customerv1.CancelQueuedOrderRequest) (*customerv1.CancelQueuedOrderResponse, error) {
	var ended later.Operation
	err := s.d.Store.Tx(ctx, func(ctx context.Context, tx *store.Tx) error {
		now := s.d.Now()
		var fresh bool
		var err error
		if ended, fresh, err = later.Cancel(ctx, tx.SQL(), req.GetOperationId(), now); err != nil || !fresh {
			return err
		}
		return tx.AddEvents(ctx, []store.Event{{
			At: now, GoldenID: golden.ID(ended.CustomerID), Kind: eventCalledOff, Note: req.GetReason(), Traceparent: telemetry.Traceparent(ctx),
		}})
	})
	switch {
	case errors.Is(err, later.ErrNotFound):
		return nil, fault.New(fault.NotFound, reasonOperationUnknown, "there is no such operation")
	case errors.Is(err, later.ErrDone):
		return nil, fault.New(fault.Precondition, "OPERATION_DONE", "the operation is done")
	case errors.Is(err, later.ErrTried):
		return nil, fault.New(fault.Conflict, "OPERATION_TRIED", "the order is being tried now")
	case err != nil:
		return nil, err
	}
	return &customerv1.CancelQueuedOrderResponse{Order: queuedOrder(ended)}, nil
}

func queuedOrder(o later.Operation) *customerv1.QueuedOrder {
	return &customerv1.QueuedOrder{
		Operation: operation(o), Reference: o.Ref, Attempts: o.Attempt, Items: int32(len(o.Order.GetItems())), //nolint:gosec // at most 200
	}
}
