package sqlstore

import (
	"context"
	"crypto/rand"
	"database/sql"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/pkg/db/dbtest"
	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/telemetry"
	"github.com/selfsame-io/selfsame/services/system-erp/backendtest"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/backend"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/erp"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/store"
)

// template has the tables already.
var template = dbtest.NewTemplate(func(ctx context.Context, d *db.DB) error {
	_, err := Open(ctx, d, Options{})
	return err
})

// desk is another process on the same database.
type desk struct{ *Store }

func (d desk) Customers(ctx context.Context, ref erp.Ref) ([]string, error) {
	c, err := d.Store.Customers().Lookup(ctx, ref)
	if fault.Is(err, fault.NotFound) {
		return nil, nil
	}
	return []string{c.ID}, err
}

func (d desk) Orders(ctx context.Context, clientRef string) ([]string, error) {
	found, err := loadOrders(ctx, d.db.Read(), "WHERE client_ref = $1", clientRef)
	var out []string
	for _, o := range found {
		out = append(out, o.ID)
	}
	return out, err
}

func (d desk) Rename(ctx context.Context, id, name string) error {
	_, err := d.Store.Customers().Update(ctx, store.Upsert[erp.Customer]{Record: erp.Customer{Head: erp.Head{ID: id}, Name: name}})
	return err
}

func (d desk) Make(ctx context.Context, name string, ref erp.Ref) (string, error) {
	c, err := d.Store.Customers().Create(ctx, erp.Customer{Head: erp.Head{Refs: []erp.Ref{ref}}, Name: name}, nil)
	return c.ID, err
}

// between does something before the n-th statement that it sees, once; seen belongs to one write at a time.
type between struct {
	execer
	at   int
	seen *int
	do   func() error
}

func (b between) step() error {
	if *b.seen++; *b.seen == b.at {
		return b.do()
	}
	return nil
}

func (b between) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	if err := b.step(); err != nil {
		return nil, err
	}
	return b.execer.ExecContext(ctx, query, args...)
}

func (b between) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	if err := b.step(); err != nil {
		return nil, err
	}
	return b.execer.QueryContext(ctx, query, args...)
}

func TestBackend(t *testing.T) {
	t.Parallel()
	for _, engine := range []string{"sqlite", "postgres"} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			backendtest.Run(t, backendtest.Options{Parallel: true, Within: true, Shared: testing.Short()}, func(t *testing.T) *backendtest.World {
				t.Helper()
				dsn := template.DSN(t, engine)
				start := func() *Store {
					d, err := db.Open(t.Context(), dsn, telemetry.Discard())
					require.NoError(t, err)
					t.Cleanup(func() { _ = d.Close() })
					if !testing.Short() {
						d.Rehearse()
					}
					return open(t, d, Options{})
				}
				s := start()
				amount, err := erp.ParseDecimal("12.50")
				require.NoError(t, err)
				price := erp.Money{Amount: amount, Currency: "EUR"}
				res, err := s.UpsertProducts(t.Context(), []erp.Product{
					{SKU: "P-1", Name: "One", Active: true, Price: price}, {SKU: "P-2", Name: "Two", Active: true, Price: price},
				})
				require.NoError(t, err)
				require.NoError(t, res[0].Err)
				large := 2500
				if testing.Short() {
					large = 60
				}
				return &backendtest.World{
					Backend: s, Restart: func(*testing.T) backend.Backend { return start() }, Outside: desk{start()},
					Between: func(n int, do func() error) {
						seen := new(int)
						s.wrap = func(q execer) execer { return between{q, n, seen, do} }
					},
					SKUs: []string{"P-1", "P-2"}, Large: large, Prefix: rand.Text()[:8],
				}
			})
		})
	}
}

func quantity(t *testing.T, s string) erp.Decimal {
	t.Helper()
	d, err := erp.ParseDecimal(s)
	require.NoError(t, err)
	return d
}

// TestSales goes through what only a back end with a warehouse and prices of its own does.
func TestSales(t *testing.T) {
	t.Parallel()
	for _, engine := range []string{"sqlite", "postgres"} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			d, err := db.Open(t.Context(), template.DSN(t, engine), telemetry.Discard())
			require.NoError(t, err)
			t.Cleanup(func() { _ = d.Close() })
			s := open(t, d, Options{})
			euro := func(amount string) erp.Money { return erp.Money{Amount: quantity(t, amount), Currency: "EUR"} }
			_, err = s.UpsertProducts(t.Context(), []erp.Product{{SKU: "P", Name: "Pump", Active: true, Price: euro("10")}, {SKU: "Q", Name: "Hose", Active: true, Price: euro("1")}})
			require.NoError(t, err)
			made, err := s.customers.Upsert(t.Context(), []store.Upsert[erp.Customer]{
				{Key: erp.Ref{System: "s", Type: "t", Value: "1"}, Record: erp.Customer{Name: "A"}}, {Key: erp.Ref{System: "s", Type: "t", Value: "2"}, Record: erp.Customer{Name: "B"}},
			})
			require.NoError(t, err)
			a, b := made[0].Record.ID, made[1].Record.ID
			outcomes, err := s.UpsertPrices(t.Context(), []erp.Price{
				{SKU: "P", MinQuantity: quantity(t, "10"), Amount: euro("8")},
				{SKU: "P", CustomerID: a, Amount: euro("7.5"), From: "2026-01-01", Until: "2026-12-31"},
			})
			require.NoError(t, err)
			require.Equal(t, []erp.Outcome{erp.Created, erp.Created}, outcomes)
			outcomes, err = s.UpsertPrices(t.Context(), []erp.Price{
				{SKU: "Q", Amount: euro("1")},
				{SKU: "P", MinQuantity: quantity(t, "10"), Amount: euro("8")},
				{SKU: "P", CustomerID: a, Amount: euro("7.5"), From: "2026-01-01", Until: "2026-12-30"},
			})
			require.NoError(t, err)
			require.Equal(t, []erp.Outcome{erp.Created, erp.Unchanged, erp.Updated}, outcomes, "each price has its own")

			at := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
			for _, c := range []struct {
				customer, quantity, want string
				when                     time.Time
			}{
				{b, "1", "10.00", at},
				{b, "10", "8.00", at},
				{a, "1", "7.50", at},
				{a, "10", "7.50", at},
				{a, "1", "10.00", at.AddDate(1, 0, 0)},
			} {
				o, err := s.ValidateOrder(t.Context(), erp.Order{CustomerID: c.customer, Ordered: c.when, Items: []erp.Item{{SKU: "P", Quantity: quantity(t, c.quantity)}}})
				require.NoError(t, err)
				require.Equal(t, c.want, o.Items[0].Price.Text(), "%+v", c)
			}

			o, _, err := s.CreateOrder(t.Context(), erp.Order{CustomerID: b, Items: []erp.Item{{SKU: "P", Quantity: quantity(t, "5")}, {SKU: "Q", Quantity: quantity(t, "2")}}})
			require.NoError(t, err)
			_, _, err = s.SetInventory(t.Context(), erp.Stock{SKU: "P", Site: "1", OnHand: quantity(t, "20")})
			require.NoError(t, err)
			ship := func(id, q string, line int32, state erp.DeliveryState) (erp.Order, erp.Outcome, error) {
				_, after, outcome, err := s.RecordDelivery(t.Context(), erp.Delivery{ID: id, OrderID: o.ID, State: state, Items: []erp.DeliveryItem{{Line: line, Quantity: quantity(t, q)}}})
				return after, outcome, err
			}
			after, outcome, err := ship("D1", "3", 10, erp.DeliveryPlanned)
			require.NoError(t, err)
			require.Equal(t, []any{erp.Created, erp.ProgressNone}, []any{outcome, after.Fulfilment})
			after, outcome, err = ship("D1", "3", 10, erp.DeliveryShipped)
			require.NoError(t, err)
			require.Equal(t, []any{erp.Updated, erp.ProgressPartial}, []any{outcome, after.Fulfilment})
			again, outcome, err := ship("D1", "3", 10, erp.DeliveryShipped)
			require.NoError(t, err)
			require.Equal(t, []any{erp.Unchanged, after.Version}, []any{outcome, again.Version}, "the second delivery of the message changes nothing")
			stock, err := s.Inventory(t.Context(), []string{"P"})
			require.NoError(t, err)
			require.Equal(t, "2", stock[0].Reserved.String(), "what has left is not reserved any more")
			_, _, err = ship("D2", "3", 10, erp.DeliveryShipped)
			require.ErrorContains(t, err, "delivery.items[0].quantity")
			_, _, err = ship("D1", "2", 10, erp.DeliveryShipped)
			require.Equal(t, "DELIVERY_CLOSED", fault.ReasonOf(err))
			_, _, err = ship("D2", "2", 10, erp.DeliveryShipped)
			require.NoError(t, err)
			after, _, err = ship("D3", "2", 20, erp.DeliveryShipped)
			require.NoError(t, err)
			require.Equal(t, erp.ProgressFull, after.Fulfilment)
			steps, err := s.History(t.Context(), o.ID)
			require.NoError(t, err)
			require.Equal(t, []erp.Progress{erp.ProgressNone, erp.ProgressPartial, erp.ProgressFull},
				[]erp.Progress{steps[0].Fulfilment, steps[1].Fulfilment, steps[2].Fulfilment})
			list, err := s.Deliveries(t.Context(), o.ID)
			require.NoError(t, err)
			require.Len(t, list, 3)
			found, err := s.Order(t.Context(), o.ID)
			require.NoError(t, err)
			require.Equal(t, "5", found.Items[0].Delivered.String())
		})
	}
}
