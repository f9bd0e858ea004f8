package tryton

import (
	"context"
	"crypto/rand"
	"database/sql"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/pkg/db/dbtest"
	"github.com/selfsame-io/selfsame/pkg/telemetry"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/erp"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/remote"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/store"
)

// staff are people who work in Tryton: its warehouse and its accounting.
type staff struct {
	*System
	t *testing.T
}

func (s staff) do(method string, params ...any) {
	s.t.Helper()
	require.NoError(s.t, s.client.call(s.t.Context(), true, nil, method, append(params, s.context(s.t.Context(), nil))...), method)
}

func (s staff) one(model string, domain []any, fields ...string) record {
	s.t.Helper()
	found, err := s.find(s.t.Context(), model, domain, 0, fields...)
	require.NoError(s.t, err)
	require.Len(s.t, found, 1, model)
	return found[0]
}

// ship sends what a sale waits for, whatever the shelves hold.
func (s staff) ship(sale int64) {
	s.t.Helper()
	rows, err := s.read(s.t.Context(), "sale.sale", []int64{sale}, "shipments")
	require.NoError(s.t, err)
	ids := rows[0].ids("shipments")
	require.Len(s.t, ids, 1)
	for _, step := range []string{"assign_force", "pick", "pack", "done"} {
		s.do("model.stock.shipment.out."+step, ids)
	}
}

// post makes the invoice of a sale official and returns it.
func (s staff) post(sale int64) int64 {
	s.t.Helper()
	rows, err := s.read(s.t.Context(), "sale.sale", []int64{sale}, "invoices")
	require.NoError(s.t, err)
	ids := rows[0].ids("invoices")
	require.Len(s.t, ids, 1)
	s.do("model.account.invoice.post", ids)
	return ids[0]
}

// pay pays an invoice in cash.
func (s staff) pay(invoice int64) {
	s.t.Helper()
	ctx := s.t.Context()
	m, err := s.data(ctx)
	require.NoError(s.t, err)
	bill := s.one("account.invoice", []any{clause("id", "=", invoice)}, "currency", "total_amount")
	journals, err := s.find(ctx, "account.journal", []any{clause("type", "=", "cash")}, 1)
	require.NoError(s.t, err)
	require.NotEmpty(s.t, journals)
	cash, err := s.find(ctx, "account.account", []any{clause("type.expense", "=", true), clause("company", "=", m.company)}, 1)
	require.NoError(s.t, err)
	require.NotEmpty(s.t, cash)
	var methods []int64
	require.NoError(s.t, s.client.call(ctx, true, &methods, "model.account.invoice.payment.method.create", []any{map[string]any{
		"name": "Cash " + rand.Text(), "company": m.company, "journal": journals[0].id("id"), "credit_account": cash[0].id("id"), "debit_account": cash[0].id("id"),
	}}, s.context(ctx, nil)))
	var wizard []any
	require.NoError(s.t, s.client.call(ctx, true, &wizard, "wizard.account.invoice.pay.create", s.context(ctx, nil)))
	start := map[string]any{
		"amount": bill["total_amount"], "currency": bill.id("currency"), "currency_digits": 2, "description": "", "company": m.company,
		"payment_method": methods[0], "date": date(time.Now().UTC().Format(time.DateOnly)),
	}
	require.NoError(s.t, s.client.call(ctx, true, nil, "wizard.account.invoice.pay.execute", wizard[0], map[string]any{"start": start}, "choice",
		s.context(ctx, map[string]any{"active_model": "account.invoice", "active_id": invoice, "active_ids": []int64{invoice}})))
}

// TestFulfilment brings an order to its end by the hands of others, and sees each step come back.
func TestFulfilment(t *testing.T) {
	cfg := real(t)
	if testing.Short() {
		t.Skip("one of the long ones: make test-full runs it; the fast tests run a part of the suite on the same server")
	}
	sys := reach(t, cfg)
	d, err := db.Open(t.Context(), dbtest.DSN(t, "sqlite"), telemetry.Discard())
	require.NoError(t, err)
	t.Cleanup(func() { _ = d.Close() })
	s, err := remote.Open(t.Context(), d, sys, remote.Options{Lease: 5 * time.Minute})
	require.NoError(t, err)

	// Reading every party of the server is another test's matter: here they count as read.
	now := db.Micros(time.Now())
	require.NoError(t, d.Tx(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "INSERT INTO remote_cursor (object, since, compared) VALUES ($1, $2, $2)", int64(erp.ObjectCustomer), now)
		return err
	}))

	ref := rand.Text()
	res, err := s.Customers().Upsert(t.Context(), []store.Upsert[erp.Customer]{{
		Key: erp.Ref{System: "selfsame", Type: "customer", Value: ref}, Record: erp.Customer{Name: "Customer " + ref, Addresses: []erp.Address{{Street: "Weg 1", City: "Köln", Country: "DE"}}},
	}})
	require.NoError(t, err)
	require.NoError(t, res[0].Err)
	two, err := erp.ParseDecimal("2")
	require.NoError(t, err)
	placed, _, err := s.CreateOrder(t.Context(), erp.Order{ClientRef: ref, CustomerID: res[0].Record.ID, Items: []erp.Item{{SKU: "SELF-1", Quantity: two}}})
	require.NoError(t, err)
	id, ok := number(placed.ID)
	require.True(t, ok)
	people := staff{sys, t}

	// look is what the feed of the ERP says, without anybody asking for this order.
	look := func() erp.OrderEvent {
		require.NoError(t, s.Sync(t.Context()))
		var steps []erp.OrderEvent
		rows, err := d.Read().QueryContext(context.WithoutCancel(t.Context()), "SELECT state, fulfilment, billing FROM remote_step WHERE order_id = $1 ORDER BY sequence", placed.ID)
		require.NoError(t, err)
		defer rows.Close()
		for rows.Next() {
			var e erp.OrderEvent
			require.NoError(t, rows.Scan(&e.State, &e.Fulfilment, &e.Billing))
			steps = append(steps, e)
		}
		require.NoError(t, rows.Err())
		return steps[len(steps)-1]
	}
	facets := func(e erp.OrderEvent) []any { return []any{e.State, e.Fulfilment, e.Billing} }

	deliveries, err := s.Deliveries(t.Context(), placed.ID)
	require.NoError(t, err)
	require.Len(t, deliveries, 1)
	require.Equal(t, []any{erp.DeliveryPlanned, "2"}, []any{deliveries[0].State, deliveries[0].Items[0].Quantity.String()})
	require.Equal(t, []any{erp.OrderConfirmed, erp.ProgressNone, erp.ProgressPartial}, facets(look()), "the invoice waits to be paid")

	people.ship(id)
	deliveries, err = s.Deliveries(t.Context(), placed.ID)
	require.NoError(t, err)
	require.Len(t, deliveries, 1)
	require.Equal(t, erp.DeliveryShipped, deliveries[0].State)
	require.False(t, deliveries[0].Shipped.IsZero())
	require.Equal(t, []any{erp.OrderConfirmed, erp.ProgressFull, erp.ProgressPartial}, facets(look()))

	people.pay(people.post(id))
	require.Equal(t, []any{erp.OrderCompleted, erp.ProgressFull, erp.ProgressFull}, facets(look()))
	end, err := s.Order(t.Context(), placed.ID)
	require.NoError(t, err)
	require.Equal(t, []any{erp.OrderCompleted, "2"}, []any{end.State, end.Items[0].Delivered.String()})
	history, err := s.History(t.Context(), placed.ID)
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(history), 3)
}
