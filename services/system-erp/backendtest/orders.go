package backendtest

import (
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/erp"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/store"
)

func orderCases() map[string]func(t *testing.T, w *World) {
	return map[string]func(t *testing.T, w *World){
		"an order is placed, read back and listed": func(t *testing.T, w *World) {
			buyer := w.customer(t, "buyer")
			asked := w.order(buyer.ID, "o1")
			asked.Requested = time.Now().UTC().AddDate(0, 0, 30).Format(time.DateOnly)
			dry, err := w.Backend.ValidateOrder(t.Context(), asked)
			require.NoError(t, err)
			require.Empty(t, dry.ID)
			none, err := w.Outside.Orders(t.Context(), asked.ClientRef)
			require.NoError(t, err)
			require.Empty(t, none, "a dry run places nothing")
			placed, outcome, err := w.Backend.CreateOrder(t.Context(), asked)
			require.NoError(t, err)
			require.Equal(t, erp.Created, outcome)
			require.NotEmpty(t, placed.ID)
			require.Equal(t, asked.ClientRef, placed.ClientRef)
			require.Equal(t, buyer.ID, placed.CustomerID)
			require.True(t, dry.Total.Equal(placed.Total), "the dry run said %s, placed was %s", dry.Total.Text(), placed.Total.Text())
			found, err := w.Backend.Order(t.Context(), placed.ID)
			require.NoError(t, err)
			require.Len(t, found.Items, 2)
			require.Equal(t, []string{w.SKUs[0], w.SKUs[1]}, []string{found.Items[0].SKU, found.Items[1].SKU})
			require.Zero(t, found.Items[1].Quantity.Cmp(dec("3")))
			require.Less(t, found.Items[0].Line, found.Items[1].Line)
			require.Equal(t, asked.Requested, found.Requested)
			require.NotZero(t, found.State)
			second, _, err := w.Backend.CreateOrder(t.Context(), w.order(buyer.ID, "o2"))
			require.NoError(t, err)
			list, err := w.Backend.ListOrders(t.Context(), []string{buyer.ID}, nil, 1)
			require.NoError(t, err)
			require.Len(t, list, 1)
			rest, err := w.Backend.ListOrders(t.Context(), []string{buyer.ID},
				&store.OrderCursor{Ordered: list[0].Ordered.UnixMicro(), ID: list[0].ID}, 5)
			require.NoError(t, err)
			require.Len(t, rest, 1)
			require.ElementsMatch(t, []string{placed.ID, second.ID}, []string{list[0].ID, rest[0].ID})
			_, err = w.Backend.Order(t.Context(), "999999999")
			refused(t, err, fault.NotFound, fault.ReasonNotFound, "")
		},
		"the same order again is the first one, another content is refused": func(t *testing.T, w *World) {
			asked := w.order(w.customer(t, "again").ID, "again")
			first, _, err := w.Backend.CreateOrder(t.Context(), asked)
			require.NoError(t, err)
			again, outcome, err := w.Backend.CreateOrder(t.Context(), asked)
			require.NoError(t, err)
			require.Equal(t, erp.Unchanged, outcome)
			require.Equal(t, first.ID, again.ID)
			asked.Items = []erp.Item{{SKU: w.SKUs[0], Quantity: dec("7")}}
			_, _, err = w.Backend.CreateOrder(t.Context(), asked)
			refused(t, err, fault.AlreadyExists, store.ReasonClientRef, "")
			_, outcome, err = w.Restart(t).CreateOrder(t.Context(), w.order(first.CustomerID, "again"))
			require.NoError(t, err)
			require.Equal(t, erp.Unchanged, outcome, "a new process knows it too")
		},
		"one client reference 50 ways at once is one order": func(t *testing.T, w *World) {
			asked := w.order(w.customer(t, "par").ID, "par")
			var mu sync.Mutex
			count, ids := map[erp.Outcome]int{}, map[string]bool{}
			together(t, 50, func(int) error {
				o, outcome, err := w.Backend.CreateOrder(t.Context(), asked)
				mu.Lock()
				defer mu.Unlock()
				count[outcome]++
				ids[o.ID] = true
				return err
			})
			require.Equal(t, map[erp.Outcome]int{erp.Created: 1, erp.Unchanged: 49}, count)
			require.Len(t, ids, 1)
			there, err := w.Outside.Orders(t.Context(), asked.ClientRef)
			require.NoError(t, err)
			require.Len(t, there, 1)
		},
		"unknown customers and products are refused with the field": func(t *testing.T, w *World) {
			buyer := w.customer(t, "unk")
			o := w.order("999999999", "unk1")
			_, _, err := w.Backend.CreateOrder(t.Context(), o)
			refused(t, err, fault.Invalid, erp.ReasonUnknownRecord, "order.customer_id")
			o = w.order(buyer.ID, "unk2")
			o.Items[1].SKU = w.Prefix + "none"
			_, _, err = w.Backend.CreateOrder(t.Context(), o)
			refused(t, err, fault.Invalid, erp.ReasonUnknownRecord, "order.items[1].sku")
			_, err = w.Backend.ValidateOrder(t.Context(), o)
			refused(t, err, fault.Invalid, erp.ReasonUnknownRecord, "order.items[1].sku")
			o = w.order(buyer.ID, "unk3")
			o.ShipToID = "999999999"
			_, _, err = w.Backend.CreateOrder(t.Context(), o)
			refused(t, err, fault.Invalid, erp.ReasonUnknownRecord, "order.ship_to_id")
			o = w.order(buyer.ID, "unk4")
			o.Requested = "2026-02-30"
			_, _, err = w.Backend.CreateOrder(t.Context(), o)
			refused(t, err, fault.Invalid, fault.ReasonValidationFailed, "order.requested_date")
		},
		"an order has a history and its deliveries": func(t *testing.T, w *World) {
			placed, _, err := w.Backend.CreateOrder(t.Context(), w.order(w.customer(t, "hist").ID, "hist"))
			require.NoError(t, err)
			steps, err := w.Backend.History(t.Context(), placed.ID)
			require.NoError(t, err)
			require.NotEmpty(t, steps)
			require.EqualValues(t, 1, steps[0].Sequence)
			require.False(t, steps[0].At.IsZero())
			require.True(t, steps[len(steps)-1].SameStep(placed.Event()))
			_, err = w.Backend.Deliveries(t.Context(), placed.ID)
			require.NoError(t, err)
			_, err = w.Backend.Deliveries(t.Context(), "999999999")
			refused(t, err, fault.NotFound, fault.ReasonNotFound, "")
			d := erp.Delivery{ID: w.Prefix + "d1", OrderID: placed.ID, State: erp.DeliveryShipped, Items: []erp.DeliveryItem{
				{Line: placed.Items[0].Line, Quantity: dec("2")},
			}}
			_, after, _, err := w.Backend.RecordDelivery(t.Context(), d)
			if !w.capabilities(t).WriteDeliveries {
				missing(t, err)
				return
			}
			require.NoError(t, err)
			require.Equal(t, erp.ProgressPartial, after.Fulfilment)
			more, err := w.Backend.History(t.Context(), placed.ID)
			require.NoError(t, err)
			require.Greater(t, len(more), len(steps))
			list, err := w.Backend.Deliveries(t.Context(), placed.ID)
			require.NoError(t, err)
			require.Len(t, list, 1)
		},
		"a facet that is set is a step, and set again it is none": facets,
		"what is created is counted": func(t *testing.T, w *World) {
			now := time.Now()
			sum := func() (docs, lines int64) {
				list, err := w.Backend.Documents(t.Context(), now.AddDate(0, 0, -400), now.AddDate(0, 0, 400))
				require.NoError(t, err)
				for _, c := range list {
					if c.Object == "order" {
						docs, lines = docs+c.Documents, lines+c.Lines
					}
				}
				return docs, lines
			}
			buyer := w.customer(t, "cnt")
			docs, lines := sum()
			for range 3 {
				_, _, err := w.Backend.CreateOrder(t.Context(), w.order(buyer.ID, "cnt"))
				require.NoError(t, err)
			}
			d2, l2 := sum()
			require.Equal(t, []int64{docs + 1, lines + 2}, []int64{d2, l2}, "once, however often it was asked for")
		},
	}
}

// facets sets the three facets of an order as far as the back end lets us.
func facets(t *testing.T, w *World) {
	buyer := w.customer(t, "fac")
	placed, _, err := w.Backend.CreateOrder(t.Context(), w.order(buyer.ID, "fac"))
	require.NoError(t, err)
	move := func(state erp.OrderState, fulfilment, billing erp.Progress) (erp.Order, erp.Outcome, error) {
		return w.Backend.MoveOrder(t.Context(), placed.ID, state, fulfilment, billing)
	}
	_, _, err = w.Backend.MoveOrder(t.Context(), "999999999", erp.OrderConfirmed, 0, 0)
	require.Error(t, err)
	if !w.capabilities(t).SetOrderStatus {
		_, _, err = move(erp.OrderConfirmed, 0, 0)
		missing(t, err)
		return
	}
	want := erp.Updated
	if placed.State == erp.OrderConfirmed {
		want = erp.Unchanged // the ERP confirms by itself
	}
	o, outcome, err := move(erp.OrderConfirmed, 0, 0)
	require.NoError(t, err)
	require.Equal(t, []any{want, erp.OrderConfirmed}, []any{outcome, o.State})
	for _, step := range []struct{ fulfilment, billing erp.Progress }{{0, erp.ProgressPartial}, {erp.ProgressFull, 0}, {0, erp.ProgressFull}} {
		o, outcome, err = move(0, step.fulfilment, step.billing)
		if err != nil {
			missing(t, err) // they follow from its shipments and invoices
			return
		}
		require.Equal(t, erp.Updated, outcome)
		_, outcome, err = move(0, step.fulfilment, step.billing)
		require.NoError(t, err)
		require.Equal(t, erp.Unchanged, outcome)
	}
	require.Equal(t, []erp.Progress{erp.ProgressFull, erp.ProgressFull}, []erp.Progress{o.Fulfilment, o.Billing})
	list, err := w.Backend.ListOrders(t.Context(), []string{buyer.ID}, nil, 10)
	require.NoError(t, err)
	require.True(t, list[0].Event().SameStep(o.Event()))
	steps, err := w.Backend.History(t.Context(), placed.ID)
	require.NoError(t, err)
	var billing []erp.Progress
	for _, s := range steps {
		billing = append(billing, s.Billing)
	}
	require.Equal(t, []erp.Progress{erp.ProgressNone, erp.ProgressNone, erp.ProgressPartial, erp.ProgressPartial, erp.ProgressFull}, billing)
}
