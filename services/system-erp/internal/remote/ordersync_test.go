package remote_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

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
