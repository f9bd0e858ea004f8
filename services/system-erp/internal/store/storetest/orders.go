package storetest

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/erp"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/store"
)

// anOrder makes a customer and products and returns an order that can be placed.
func anOrder(t *testing.T, s store.Store) erp.Order {
	t.Helper()
	makeProducts(t, s,
		erp.Product{SKU: "pump", Name: "Pump", Price: euro(t, "1299.90"), Active: true},
		erp.Product{SKU: "hose", Name: "Hose", Unit: "MTR", Price: euro(t, "0.005"), Active: true},
		erp.Product{SKU: "old", Name: "Old", Price: euro(t, "1")},
		erp.Product{SKU: "gift", Name: "Gift", Active: true})
	return erp.Order{
		ClientRef: "c1", CustomerID: makeCustomer(t, s, "buyer").ID, CustomerPO: "PO 1",
		Items: []erp.Item{{SKU: "pump", Quantity: dec(t, "2")}},
	}
}

func orders(t *testing.T, open Open) {
	cases(t, open, map[string]func(t *testing.T, s store.Store){
		"a placed order is complete and read back": func(t *testing.T, s store.Store) {
			asked := anOrder(t, s)
			asked.Items = append(asked.Items, erp.Item{Line: 15, SKU: "hose", Quantity: dec(t, "3"), Name: "My hose"},
				erp.Item{SKU: "gift", Quantity: dec(t, "1"), Price: euro(t, "0")})
			placed, outcome, err := s.CreateOrder(t.Context(), asked)
			require.NoError(t, err)
			require.Equal(t, erp.Created, outcome)
			require.Equal(t, "2599.82", placed.Total.Text(), "2 × 1299.90 + 0.015 rounded up + 0")
			require.Equal(t, []int32{15, 20, 30}, []int32{placed.Items[0].Line, placed.Items[1].Line, placed.Items[2].Line})
			require.Equal(t, "My hose", placed.Items[0].Name)
			require.Equal(t, "Pump", placed.Items[1].Name)
			require.Equal(t, "MTR", placed.Items[0].Unit)
			require.False(t, placed.Ordered.IsZero())
			found, err := s.Order(t.Context(), placed.ID)
			require.NoError(t, err)
			require.Equal(t, placed.ClientRef, found.ClientRef)
			require.True(t, placed.Ordered.Equal(found.Ordered))
			require.True(t, placed.Total.Equal(found.Total))
			require.Len(t, found.Items, 3)
			require.Equal(t, []any{erp.OrderReceived, erp.ProgressNone, erp.ProgressNone, int64(1)},
				[]any{found.State, found.Fulfilment, found.Billing, found.Version})
			_, err = s.Order(t.Context(), "none")
			refused(t, err, fault.NotFound, fault.ReasonNotFound, "")
		},
		"the same order again is the first one": func(t *testing.T, s store.Store) {
			asked := anOrder(t, s)
			first, _, err := s.CreateOrder(t.Context(), asked)
			require.NoError(t, err)
			_, _, err = s.MoveOrder(t.Context(), first.ID, erp.OrderConfirmed, 0, 0)
			require.NoError(t, err)
			makeProducts(t, s, erp.Product{SKU: "pump", Name: "Pump", Price: euro(t, "1"), Active: true})
			asked.Items = slices.Clone(asked.Items)
			asked.Items[0].Quantity = dec(t, "2.000")
			again, outcome, err := s.CreateOrder(t.Context(), asked)
			require.NoError(t, err)
			require.Equal(t, erp.Unchanged, outcome)
			require.Equal(t, first.ID, again.ID)
			require.Equal(t, "2599.80", again.Total.Text(), "prices of the first order stay")
			require.Equal(t, erp.OrderConfirmed, again.State)
			asked.Items[0].Quantity = dec(t, "3")
			_, _, err = s.CreateOrder(t.Context(), asked)
			refused(t, err, fault.AlreadyExists, store.ReasonClientRef, "")
		},
		"orders without a client reference are all placed": func(t *testing.T, s store.Store) {
			asked := anOrder(t, s)
			asked.ClientRef = ""
			a, _, err := s.CreateOrder(t.Context(), asked)
			require.NoError(t, err)
			b, _, err := s.CreateOrder(t.Context(), asked)
			require.NoError(t, err)
			require.NotEqual(t, a.ID, b.ID)
		},
		"orders that cannot be placed are refused with the field": func(t *testing.T, s store.Store) {
			good := anOrder(t, s)
			for name, c := range map[string]struct {
				path, reason string
				change       func(o *erp.Order)
			}{
				"customer": {"order.customer_id", erp.ReasonUnknownRecord, func(o *erp.Order) { o.CustomerID = "x" }},
				"sku":      {"order.items[1].sku", erp.ReasonUnknownRecord, func(o *erp.Order) { o.Items[1].SKU = "x" }},
				"inactive": {"order.items[1].sku", "PRODUCT_INACTIVE", func(o *erp.Order) { o.Items[1].SKU = "old" }},
				"quantity": {"order.items[0].quantity", fault.ReasonValidationFailed, func(o *erp.Order) { o.Items[0].Quantity = erp.Decimal{} }},
				"unit":     {"order.items[0].unit", "UNIT_MISMATCH", func(o *erp.Order) { o.Items[0].Unit = "KGM" }},
				"currency": {"order.items[1].unit_price.currency", "CURRENCY_MISMATCH", func(o *erp.Order) { o.Items[1].Price.Currency = "USD" }},
				"price":    {"order.items[1].unit_price", "PRICE_MISSING", func(o *erp.Order) { o.Items[1].SKU = "gift" }},
				"line":     {"order.items[1].line", erp.ReasonDuplicate, func(o *erp.Order) { o.Items[0].Line, o.Items[1].Line = 10, 10 }},
			} {
				o := good
				o.Items = []erp.Item{good.Items[0], {SKU: "hose", Quantity: dec(t, "1")}}
				c.change(&o)
				_, _, err := s.CreateOrder(t.Context(), o)
				refused(t, err, fault.Invalid, c.reason, c.path)
				require.NotEmpty(t, name)
			}
			list, err := s.ListOrders(t.Context(), []string{good.CustomerID}, nil, 10)
			require.NoError(t, err)
			require.Empty(t, list)
		},
		"blocked customers do not order": func(t *testing.T, s store.Store) {
			o := anOrder(t, s)
			_, err := s.Customers().Update(t.Context(), store.Upsert[erp.Customer]{
				Record: erp.Customer{Head: erp.Head{ID: o.CustomerID}, OrderBlock: true},
			})
			require.NoError(t, err)
			_, _, err = s.CreateOrder(t.Context(), o)
			refused(t, err, fault.Precondition, store.ReasonBlocked, "")
		},
		"facets move forward only": func(t *testing.T, s store.Store) {
			o, _, err := s.CreateOrder(t.Context(), anOrder(t, s))
			require.NoError(t, err)
			moved, outcome, err := s.MoveOrder(t.Context(), o.ID, erp.OrderConfirmed, erp.ProgressPartial, 0)
			require.NoError(t, err)
			require.EqualValues(t, 2, moved.Version)
			require.Equal(t, erp.Updated, outcome)
			same, outcome, err := s.MoveOrder(t.Context(), o.ID, erp.OrderConfirmed, 0, erp.ProgressNone)
			require.NoError(t, err)
			require.EqualValues(t, 2, same.Version)
			require.Equal(t, erp.Unchanged, outcome)
			_, _, err = s.MoveOrder(t.Context(), o.ID, 0, erp.ProgressNone, 0)
			refused(t, err, fault.Precondition, "ORDER_STATUS_BACKWARD", "")
			_, _, err = s.MoveOrder(t.Context(), o.ID, 0, erp.ProgressFull, 0)
			require.NoError(t, err)
			_, _, err = s.MoveOrder(t.Context(), o.ID, erp.OrderCancelled, 0, 0)
			refused(t, err, fault.Precondition, "ORDER_DELIVERED", "")
			_, _, err = s.MoveOrder(t.Context(), o.ID, erp.OrderCompleted, 0, 0)
			require.NoError(t, err)
			billed, outcome, err := s.MoveOrder(t.Context(), o.ID, 0, 0, erp.ProgressFull)
			require.NoError(t, err, "a completed order may still be invoiced")
			require.Equal(t, []any{erp.ProgressFull, erp.Updated}, []any{billed.Billing, outcome})
			_, _, err = s.MoveOrder(t.Context(), o.ID, erp.OrderReceived, 0, 0)
			refused(t, err, fault.Precondition, "ORDER_CLOSED", "")
			_, _, err = s.MoveOrder(t.Context(), "none", 0, 0, 0)
			refused(t, err, fault.NotFound, fault.ReasonNotFound, "")
		},
		"orders of several customers are paged newest first": func(t *testing.T, s store.Store) {
			o := anOrder(t, s)
			other := makeCustomer(t, s, "other").ID
			var want []string
			for i := range 7 {
				o.ClientRef, o.Ordered = key(i), time.Unix(int64(1000+i/2), 0)
				if i == 3 {
					o.CustomerID = other
				}
				placed, _, err := s.CreateOrder(t.Context(), o)
				require.NoError(t, err)
				want = append(want, placed.ID)
			}
			slices.Reverse(want)
			var got []string
			var after *store.OrderCursor
			for {
				list, err := s.ListOrders(t.Context(), []string{o.CustomerID, other, anyone(t, s, want)}, after, 3)
				require.NoError(t, err)
				if len(list) == 0 {
					break
				}
				for _, o := range list {
					got = append(got, o.ID)
					after = &store.OrderCursor{Ordered: db.Micros(o.Ordered), ID: o.ID}
				}
			}
			require.ElementsMatch(t, want, got)
			require.Len(t, got, 7)
		},
	})
}

// anyone returns the customer of the oldest order.
func anyone(t *testing.T, s store.Store, ids []string) string {
	t.Helper()
	o, err := s.Order(t.Context(), ids[len(ids)-1])
	require.NoError(t, err)
	return o.CustomerID
}
