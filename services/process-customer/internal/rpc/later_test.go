package rpc

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/telemetry"
	customerv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/customer/v1"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/later"
)

func TestQueueOrder(t *testing.T) {
	w, a, book := setup(t)
	id := create(t, a, "k1", &customerv1.Customer{Name: "Acme GmbH"}).GetCustomer().GetId()
	asked := &customerv1.NewOrder{CustomerId: id, Items: []*customerv1.NewOrderItem{{Sku: "pump", Quantity: "2"}}}
	_, err := a.customers.PlaceOrder(keyed(t, "order-1"), &customerv1.PlaceOrderRequest{Order: asked})
	require.Equal(t, fault.Conflict, fault.KindOf(err), "the ERP does not have the customer yet")
	var op *customerv1.Operation
	for range 2 {
		got, err := a.screens.QueueOrder(keyed(t, "order-1"), &customerv1.QueueOrderRequest{Order: asked, Owner: "me"})
		require.NoError(t, err)
		require.True(t, op == nil || op.GetId() == got.GetOperation().GetId(), "the same key is the same operation")
		op = got.GetOperation()
	}
	require.LessOrEqual(t, len(op.GetId()), 64)
	require.False(t, op.GetDone())
	require.Equal(t, "me", op.GetOwner())
	require.Equal(t, "customers/"+id+"/operations/"+op.GetId(), Resource(&customerv1.QueueOrderResponse{Operation: op}))

	queue, ok := a.screens.d.Later.(*later.Store)
	require.True(t, ok)
	worker := later.NewWorker(queue, a.Place, w.Clock.Now, telemetry.Discard())
	require.NoError(t, worker.Round(t.Context()))
	require.Empty(t, book.placed, "the customer is not there yet")
	w.Settle()
	w.Clock.Advance(time.Minute)
	require.NoError(t, worker.Round(t.Context()))
	done, err := a.screens.GetOperation(t.Context(), &customerv1.GetOperationRequest{OperationId: op.GetId()})
	require.NoError(t, err)
	require.True(t, done.GetOperation().GetDone())
	require.Equal(t, "4712", done.GetOperation().GetOrder().GetId())
	require.Nil(t, done.GetOperation().GetNextTryTime())
	_, err = a.customers.PlaceOrder(keyed(t, "order-1"), &customerv1.PlaceOrderRequest{Order: asked})
	require.NoError(t, err)
	require.Len(t, book.placed, 1, "placed later or by a retry, it is one order")
	_, err = a.screens.GetOperation(t.Context(), &customerv1.GetOperationRequest{OperationId: "none"})
	require.Equal(t, reasonOperationUnknown, fault.ReasonOf(err))
	_, err = a.screens.QueueOrder(keyed(t, "order-2"), &customerv1.QueueOrderRequest{Order: &customerv1.NewOrder{CustomerId: "c_none"}})
	require.Equal(t, fault.NotFound, fault.KindOf(err))
}

func TestQueuedOrders(t *testing.T) {
	w, a, _ := setup(t)
	id := create(t, a, "k1", &customerv1.Customer{Name: "Acme GmbH"}).GetCustomer().GetId()
	queue := func(key string) string {
		got, err := a.screens.QueueOrder(keyed(t, key), &customerv1.QueueOrderRequest{Order: &customerv1.NewOrder{
			CustomerId: id, Items: []*customerv1.NewOrderItem{{Sku: "pump", Quantity: "1"}},
		}})
		require.NoError(t, err)
		w.Clock.Advance(time.Second)
		return got.GetOperation().GetId()
	}
	first, second := queue("queued-1"), queue("queued-2")
	list := func(done bool) []string {
		var out []string
		for token := ""; ; {
			got, err := a.operations.ListQueuedOrders(t.Context(), &customerv1.ListQueuedOrdersRequest{PageSize: 1, PageToken: token, Done: done})
			require.NoError(t, err)
			for _, o := range got.GetOrders() {
				require.NotEmpty(t, o.GetReference())
				require.EqualValues(t, 1, o.GetItems())
				out = append(out, o.GetOperation().GetId())
			}
			if token = got.GetNextPageToken(); token == "" {
				return out
			}
		}
	}
	require.Equal(t, []string{first, second}, list(false))
	for range 2 { // a second time is the same
		got, err := a.operations.CancelQueuedOrder(t.Context(), &customerv1.CancelQueuedOrderRequest{OperationId: first, Reason: "ordered by phone"})
		require.NoError(t, err)
		require.Equal(t, later.ReasonCanceled, got.GetOrder().GetOperation().GetReason())
	}
	require.Equal(t, []string{second}, list(false))
	require.Equal(t, []string{first, second}, list(true))
	told, err := a.screens.GetOperation(t.Context(), &customerv1.GetOperationRequest{OperationId: first})
	require.NoError(t, err)
	require.True(t, told.GetOperation().GetDone())
	require.NotContains(t, told.GetOperation().GetMessage(), "phone", "why is no business of its owner")
	events, err := a.operations.ListEvents(t.Context(), &customerv1.ListEventsRequest{Id: id, PageSize: 100})
	require.NoError(t, err)
	noted := 0
	for _, e := range events.GetEvents() {
		if e.GetKind() == eventCalledOff {
			noted++
		}
	}
	require.Equal(t, 1, noted, "who called it off is in the audit trail, once")
	_, err = a.operations.CancelQueuedOrder(t.Context(), &customerv1.CancelQueuedOrderRequest{OperationId: "none", Reason: "x"})
	require.Equal(t, reasonOperationUnknown, fault.ReasonOf(err))
	_, err = a.operations.ListQueuedOrders(t.Context(), &customerv1.ListQueuedOrdersRequest{PageToken: "forged"})
	require.Equal(t, fault.Invalid, fault.KindOf(err))
}
