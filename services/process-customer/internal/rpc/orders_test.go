package rpc

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/idempotent"
	customerv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/customer/v1"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source/sourcetest"
)

// dying is a store of keys that hears of no answer while its process is dead.
type dying struct {
	idempotent.Store
	dead bool
}

func (d *dying) Complete(ctx context.Context, g idempotent.Grant, a idempotent.Answer) error {
	if d.dead {
		return errors.New("connection refused")
	}
	return d.Store.Complete(ctx, g, a)
}

func TestPlaceOrder(t *testing.T) {
	t.Parallel()
	ask := func(customer string) *customerv1.PlaceOrderRequest {
		return &customerv1.PlaceOrderRequest{Order: &customerv1.NewOrder{
			CustomerId: customer, PurchaseOrder: "PO 7", Items: []*customerv1.NewOrderItem{{Sku: "pump", Quantity: "2"}},
		}}
	}

	t.Run("the reference in the ERP and the key on the wire are one, and the same in every try", func(t *testing.T) {
		w, a, book := setup(t)
		id := create(t, a, "k1", &customerv1.Customer{Name: "Acme GmbH"}).GetCustomer().GetId()
		w.Settle()
		for range 2 {
			resp, err := a.customers.PlaceOrder(keyed(t, "order-1"), ask(id))
			require.NoError(t, err)
			require.Equal(t, "4712", resp.GetOrder().GetId())
			require.Equal(t, id, resp.GetCustomerId())
			require.Equal(t, "customers/"+id+"/orders/4712", Resource(resp))
		}
		require.Len(t, book.placed, 1)
		for ref, o := range book.placed {
			require.Equal(t, []string{ref, ref}, book.keys)
			require.Equal(t, source.NewOrder{
				ClientRef: ref, Customer: o.Customer, PurchaseOrder: "PO 7", Items: []source.NewItem{{SKU: "pump", Quantity: "2"}},
			}, o)
		}
		_, err := a.customers.PlaceOrder(keyed(t, "order-2"), ask(id))
		require.NoError(t, err)
		require.Len(t, book.placed, 2, "another key is another order")
	})

	t.Run("the reference does not change with a new version of this program", func(t *testing.T) {
		t.Parallel()
		// Orders in the ERP carry this reference. A change here makes every retry across a deployment a second order.
		seed, err := effectID(keyed(t, "order-1"), "place-order")
		require.NoError(t, err)
		require.Equal(t, "i4OmrFRnXxaxeohZXe3SaBACGY1rFIsn0thO7mFMgqE", idempotent.ChildOf(seed, stepPlace, ""))
	})

	t.Run("an attempt that takes over asks for the same order, whatever became of the customer", func(t *testing.T) {
		w, a, book := setup(t)
		id := create(t, a, "k1", &customerv1.Customer{Name: "Acme GmbH"}).GetCustomer().GetId()
		w.Settle()
		// The process dies after the ERP answered: its answer is not stored, and its claim runs out.
		store := &dying{Store: idempotent.NewMemoryStore(w.Clock.Now), dead: true}
		place := func() (*customerv1.PlaceOrderResponse, error) {
			ctx := metadata.NewIncomingContext(t.Context(), metadata.Pairs(idempotent.Metadata, "order-1"))
			resp, err := idempotent.UnaryServer(store, idempotent.Options{})(ctx, ask(id), &grpc.UnaryServerInfo{
				FullMethod: customerv1.CustomerService_PlaceOrder_FullMethodName,
			}, func(ctx context.Context, req any) (any, error) {
				return a.customers.PlaceOrder(ctx, req.(*customerv1.PlaceOrderRequest))
			})
			placed, _ := resp.(*customerv1.PlaceOrderResponse)
			return placed, err
		}
		_, err := place()
		require.Equal(t, fault.Unavailable, fault.KindOf(err))
		require.Len(t, book.placed, 1)
		store.dead = false
		w.Clock.Advance(time.Minute)
		w.Deleting = true
		for _, system := range []*sourcetest.Fake{w.ERP, w.SF} {
			system.Delete(golden.Customer, system.Records(golden.Customer)[0].Ref.RecordID)
		}
		w.Settle()
		placed, err := place()
		require.NoError(t, err, "the order exists: it must not be refused because the customer is deleted by now")
		require.Equal(t, "4712", placed.GetOrder().GetId())
		require.Equal(t, id, placed.GetCustomerId())
		require.Len(t, book.placed, 1)
		require.Len(t, book.keys, 2)
		require.Equal(t, book.keys[0], book.keys[1])
	})

	t.Run("an order waits for its customer", func(t *testing.T) {
		_, a, book := setup(t)
		id := create(t, a, "k1", &customerv1.Customer{Name: "Acme GmbH"}).GetCustomer().GetId()
		_, err := a.customers.PlaceOrder(keyed(t, "order-1"), ask(id))
		require.Equal(t, fault.Conflict, fault.KindOf(err), "such a claim is released: the same key works later")
		require.Equal(t, source.ReasonCustomerPending, fault.ReasonOf(err))
		require.Empty(t, book.keys, "the ERP was not asked")
	})

	t.Run("an order without a key or a customer is refused", func(t *testing.T) {
		_, a, book := setup(t)
		_, err := a.customers.PlaceOrder(t.Context(), ask("x"))
		require.Equal(t, idempotent.ReasonKeyMissing, fault.ReasonOf(err))
		_, err = a.customers.PlaceOrder(keyed(t, "order-1"), ask("x"))
		require.Equal(t, fault.NotFound, fault.KindOf(err))
		require.Empty(t, book.keys)
	})

	t.Run("an order is read through its customer only", func(t *testing.T) {
		w, a, book := setup(t)
		id := create(t, a, "k1", &customerv1.Customer{Name: "Acme GmbH"}).GetCustomer().GetId()
		other := create(t, a, "k2", &customerv1.Customer{Name: "Beta GmbH"}).GetCustomer().GetId()
		w.Settle()
		_, err := a.customers.PlaceOrder(keyed(t, "order-1"), ask(id))
		require.NoError(t, err)
		got, err := a.customers.GetOrder(t.Context(), &customerv1.GetOrderRequest{CustomerId: id, OrderId: "4712"})
		require.NoError(t, err)
		require.Equal(t, "4712", got.GetOrder().GetId())
		for _, req := range []*customerv1.GetOrderRequest{{CustomerId: other, OrderId: "4712"}, {CustomerId: id, OrderId: "none"}} {
			_, err = a.customers.GetOrder(t.Context(), req)
			require.Equal(t, reasonOrderUnknown, fault.ReasonOf(err), "another's order and none are told alike")
		}
		_, err = a.customers.GetOrder(t.Context(), &customerv1.GetOrderRequest{CustomerId: "x", OrderId: "4712"})
		require.Equal(t, reasonUnknown, fault.ReasonOf(err))
		book.err = fault.New(fault.Unavailable, "", "down")
		_, err = a.customers.GetOrder(t.Context(), &customerv1.GetOrderRequest{CustomerId: id, OrderId: "4712"})
		require.Equal(t, fault.Unavailable, fault.KindOf(err))
	})
}
