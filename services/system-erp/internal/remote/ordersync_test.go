package remote_test

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/erp"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/store"
)

// TestCompare_FindsWhatNoStampShows changes an order in the other system without moving its stamp, and removes another one.
func TestCompare_FindsWhatNoStampShows(t *testing.T) {
	t.Parallel()
	l, c := newLedger(), newClock()
	s, d := openRemote(t, template.DSN(t, "sqlite"), l, c)
	res, err := s.Customers().Upsert(t.Context(), []store.Upsert[erp.Customer]{{Key: erp.Ref{System: "s", Type: "t", Value: "1"}, Record: erp.Customer{Name: "A"}}})
	require.NoError(t, err)
	two, err := erp.ParseDecimal("2")
	require.NoError(t, err)
	place := func(ref string) string {
		o, _, err := s.CreateOrder(t.Context(), erp.Order{ClientRef: ref, CustomerID: res[0].Record.ID, Items: []erp.Item{{SKU: "P-1", Quantity: two}}})
		require.NoError(t, err)
		return o.ID
	}
	silent, gone, newest := place("silent"), place("gone"), place("newest")
	// seen is what was noted of an order, without looking at the order itself, which would note its step.
	seen := func(id string) (steps []erp.OrderEvent) {
		rows, err := d.Read().QueryContext(t.Context(), "SELECT state, billing, block_reason FROM remote_step WHERE order_id = $1 ORDER BY sequence", id)
		require.NoError(t, err)
		defer rows.Close()
		for rows.Next() {
			var e erp.OrderEvent
			require.NoError(t, rows.Scan(&e.State, &e.Billing, &e.BlockReason))
			steps = append(steps, e)
		}
		require.NoError(t, rows.Err())
		return steps
	}
	// A later change of another order moves the place where changes are looked for past the other two.
	l.set(func() { l.orders[newest].o.Updated = time.Now().Add(time.Hour) })
	require.NoError(t, s.Sync(t.Context()))
	require.Len(t, seen(silent), 1)
	l.set(func() {
		l.orders[silent].o.Billing = erp.ProgressFull
		delete(l.orders, gone)
	})
	require.NoError(t, s.Sync(t.Context()))
	require.Len(t, seen(silent), 1, "no stamp shows it")
	require.Len(t, seen(gone), 1)

	c.advance(25 * time.Hour)
	require.NoError(t, s.Sync(t.Context()))
	require.Len(t, seen(silent), 2, "the comparison of the day finds it")
	require.Equal(t, erp.ProgressFull, seen(silent)[1].Billing)
	require.Equal(t, erp.OrderEvent{State: erp.OrderCancelled, Billing: erp.ProgressNone, BlockReason: "removed in the ERP"}, seen(gone)[1])
	history, err := s.History(t.Context(), gone)
	require.NoError(t, err, "what was seen of a removed order can still be read")
	require.Len(t, history, 2)
	require.NoError(t, s.Compare(t.Context()))
	require.NoError(t, s.Sync(t.Context()))
	require.Equal(t, []int{2, 2, 1}, []int{len(seen(silent)), len(seen(gone)), len(seen(newest))}, "what was noted once is not noted again")
}

// pages notes which orders are asked for, page by page, and is away when it is asked for one of them.
type pages struct {
	*ledger
	asked [][]string
	away  string
}

func (p *pages) Orders(ctx context.Context, ids []string) ([]erp.Order, error) {
	p.asked = append(p.asked, ids)
	if slices.Contains(ids, p.away) {
		return nil, fault.New(fault.Unavailable, "", "down")
	}
	return p.ledger.Orders(ctx, ids)
}

// put has orders in the other system that were seen as they are there.
func (p *pages) put(t *testing.T, d *db.DB, seen time.Time, orders ...erp.Order) {
	t.Helper()
	require.NoError(t, d.Tx(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
		for _, o := range orders {
			p.orders[o.ID] = &order{o: o}
			if _, err := tx.ExecContext(ctx, `INSERT INTO remote_step (order_id, sequence, seen, state, fulfilment, billing, block_reason)
				VALUES ($1, 1, $2, $3, $4, $5, '')`, o.ID, db.Micros(seen), int64(o.State), int64(o.Fulfilment), int64(o.Billing)); err != nil {
				return err
			}
		}
		return nil
	}))
}

// TestCompare_GoesOnWhereItFailed: an ERP that is away in the middle costs the rest of the comparison and nothing else.
func TestCompare_GoesOnWhereItFailed(t *testing.T) {
	t.Parallel()
	p := &pages{ledger: newLedger()}
	s, d := openRemote(t, template.DSN(t, "sqlite"), p, newClock())
	var orders []erp.Order
	for i := range 201 { // a page and one
		orders = append(orders, erp.Order{ID: fmt.Sprintf("o-%03d", i), State: erp.OrderConfirmed, Fulfilment: erp.ProgressNone, Billing: erp.ProgressNone})
	}
	orders[0].Updated = time.Now()
	p.put(t, d, time.Now(), orders...)
	cursor := func() (since, compared int64) {
		require.NoError(t, d.Read().QueryRowContext(t.Context(), "SELECT since, compared FROM remote_cursor WHERE object = 10").Scan(&since, &compared))
		return since, compared
	}
	p.away = "o-200"
	require.Equal(t, fault.Unavailable, fault.KindOf(s.Sync(t.Context())))
	require.Len(t, p.asked, 2)
	require.Len(t, p.asked[0], 200)
	since, compared := cursor()
	require.Positive(t, since, "what changed was read and is not read again")
	require.Zero(t, compared)

	p.asked, p.away = nil, ""
	require.NoError(t, s.Sync(t.Context()))
	require.Equal(t, [][]string{{"o-200"}}, p.asked)
	_, compared = cursor()
	require.Positive(t, compared)

	require.NoError(t, s.Compare(t.Context()))
	p.asked, p.away = nil, "o-000"
	require.Equal(t, fault.Unavailable, fault.KindOf(s.Sync(t.Context())))
	require.Equal(t, "o-000", p.asked[0][0], "the next one begins from the first order")
}

// TestCompare_LeavesOutWhatWasCompletedLongAgo: an order with nothing to bill in it never becomes wholly billed.
func TestCompare_LeavesOutWhatWasCompletedLongAgo(t *testing.T) {
	t.Parallel()
	p := &pages{ledger: newLedger()}
	s, d := openRemote(t, template.DSN(t, "sqlite"), p, newClock())
	at := func(id string, state erp.OrderState, billing erp.Progress) erp.Order {
		return erp.Order{ID: id, State: state, Fulfilment: erp.ProgressFull, Billing: billing}
	}
	const day = 24 * time.Hour
	p.put(t, d, time.Now().Add(-91*day), at("a", erp.OrderCompleted, erp.ProgressNone), at("b", erp.OrderConfirmed, erp.ProgressNone))
	p.put(t, d, time.Now().Add(-89*day), at("c", erp.OrderCompleted, erp.ProgressNone), at("d", erp.OrderCompleted, erp.ProgressFull))
	require.NoError(t, s.Sync(t.Context()))
	require.Equal(t, [][]string{{"b", "c"}}, p.asked)
}
