package source

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/selfsame-io/selfsame/pkg/fault"
	erpv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/erp/v1"
)

// counter is an ERP that takes orders: one per client reference, compared by what was sent.
type counter struct {
	erpv1.UnimplementedOrderServiceServer
	orders map[string]*erpv1.Order // by client reference
	err    error
}

func (c *counter) ValidateCancellation(_ context.Context, req *erpv1.ValidateCancellationRequest) (*erpv1.ValidateCancellationResponse, error) {
	return &erpv1.ValidateCancellationResponse{Order: &erpv1.Order{Id: req.GetId(), State: erpv1.OrderState_ORDER_STATE_CANCELLED, Version: 3}}, c.err
}

func (c *counter) CreateOrder(_ context.Context, req *erpv1.CreateOrderRequest) (*erpv1.CreateOrderResponse, error) {
	if c.err != nil {
		return nil, c.err
	}
	asked := req.GetOrder()
	if first, ok := c.orders[asked.GetClientRef()]; ok {
		if first.GetCustomerId() != asked.GetCustomerId() || !proto.Equal(first.GetItems()[0], asked.GetItems()[0]) {
			return nil, fault.New(fault.AlreadyExists, reasonClientRef, "other content").WithMeta("record_id", first.GetId())
		}
		return &erpv1.CreateOrderResponse{Order: first, Outcome: erpv1.Outcome_OUTCOME_UNCHANGED}, nil
	}
	made := proto.CloneOf(asked)
	made.Id, made.State = "O"+asked.GetClientRef(), erpv1.OrderState_ORDER_STATE_RECEIVED
	c.orders[asked.GetClientRef()] = made
	return &erpv1.CreateOrderResponse{Order: made}, nil
}

func (c *counter) GetOrder(_ context.Context, req *erpv1.GetOrderRequest) (*erpv1.GetOrderResponse, error) {
	for _, o := range c.orders {
		if o.GetId() == req.GetId() {
			return &erpv1.GetOrderResponse{Order: o}, nil
		}
	}
	return nil, fault.New(fault.NotFound, "", "no order has this id")
}

func newCounter(t *testing.T) (*counter, *ERP) {
	t.Helper()
	c := &counter{orders: map[string]*erpv1.Order{}}
	return c, NewERP("erp", connect(t, func(r grpc.ServiceRegistrar) { erpv1.RegisterOrderServiceServer(r, c) }))
}

func TestCheckCancel(t *testing.T) {
	t.Parallel()
	c, e := newCounter(t)
	o, err := e.CheckCancel(t.Context(), "O1")
	require.NoError(t, err)
	require.Equal(t, []any{"O1", "CANCELLED", int64(3)}, []any{o.ID, o.State, o.Version})
	c.err = fault.New(fault.Precondition, "ORDER_CLOSED", "the order is closed")
	_, err = e.CheckCancel(t.Context(), "O1")
	require.Equal(t, "ORDER_CLOSED", fault.ReasonOf(err))
}

func TestPlace(t *testing.T) {
	t.Parallel()
	order := func(quantity, customer string) NewOrder {
		return NewOrder{ClientRef: "r1", Customer: customer, Items: []NewItem{{SKU: "pump", Quantity: quantity}}}
	}

	t.Run("an order placed twice is one order", func(t *testing.T) {
		t.Parallel()
		c, erp := newCounter(t)
		first, err := erp.Place(t.Context(), order("2", "K1"))
		require.NoError(t, err)
		require.Equal(t, Order{ID: "Or1", State: "RECEIVED", Items: 1}, first)
		again, err := erp.Place(t.Context(), order("2", "K1"))
		require.NoError(t, err)
		require.Equal(t, first, again)
		require.Len(t, c.orders, 1)
		_, customer, err := erp.Order(t.Context(), "Or1")
		require.NoError(t, err)
		require.Equal(t, "K1", customer)
	})

	t.Run("the first try's order is found although the customer's records were merged since", func(t *testing.T) {
		t.Parallel()
		c, erp := newCounter(t)
		first, err := erp.Place(t.Context(), order("2", "K1"))
		require.NoError(t, err)
		again, err := erp.Place(t.Context(), order("2.0", "K2"))
		require.NoError(t, err)
		require.Equal(t, first.ID, again.ID)
		require.Len(t, c.orders, 1)
	})

	t.Run("another order under the same reference is refused", func(t *testing.T) {
		t.Parallel()
		c, erp := newCounter(t)
		_, err := erp.Place(t.Context(), order("2", "K1"))
		require.NoError(t, err)
		_, err = erp.Place(t.Context(), order("3", "K1"))
		require.Equal(t, fault.AlreadyExists, fault.KindOf(err))
		require.Equal(t, reasonClientRef, fault.ReasonOf(err))
		require.Len(t, c.orders, 1)
	})

	t.Run("a refusal names what our caller sent", func(t *testing.T) {
		t.Parallel()
		c, erp := newCounter(t)
		c.err = fault.InvalidField("order.items[3].unit_price", "PRICE_MISSING", "the product has no list price")
		_, err := erp.Place(t.Context(), order("2", "K1"))
		refused, ok := fault.As(err)
		require.True(t, ok)
		require.Equal(t, fault.Invalid, refused.Kind)
		require.Equal(t, "order.items[3].sku", refused.Fields[0].Path)
		c.err = fault.InvalidField("order.items[0].quantity", "", "greater than zero")
		_, err = erp.Place(t.Context(), order("0", "K1"))
		refused, _ = fault.As(err)
		require.Equal(t, "order.items[0].quantity", refused.Fields[0].Path)
	})

	t.Run("a customer that the ERP lacks is a wait, not a refusal", func(t *testing.T) {
		t.Parallel()
		c, erp := newCounter(t)
		c.err = fault.InvalidField("order.customer_id", "RECORD_DELETED", "the customer was deleted")
		_, err := erp.Place(t.Context(), order("2", "K1"))
		require.Equal(t, fault.Conflict, fault.KindOf(err))
		require.Equal(t, ReasonCustomerPending, fault.ReasonOf(err))
		e, _ := fault.As(err)
		require.Equal(t, 2*time.Second, e.RetryAfter)
	})

	t.Run("an outage stays an outage", func(t *testing.T) {
		t.Parallel()
		c, erp := newCounter(t)
		c.err = fault.New(fault.Unavailable, "", "down")
		_, err := erp.Place(t.Context(), order("2", "K1"))
		require.Equal(t, fault.Unavailable, fault.KindOf(err))
		_, _, err = erp.Order(t.Context(), "none")
		require.Equal(t, fault.NotFound, fault.KindOf(err))
	})
}
