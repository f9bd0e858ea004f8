package remote_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/pkg/db/dbtest"
	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/idempotent"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/backend/backendtest"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/erp"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/remote"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/store"
)

// old is longer than the default retention.
const old = 91 * 24 * time.Hour

// house is an engine whose database can be looked into.
type house struct {
	*remote.Store
	*ledger
	*clock
	db *db.DB
}

func newHouse(t *testing.T, engine string) house {
	t.Helper()
	if engine == "postgres" {
		dbtest.DSN(t, engine) // skips where there is none
	}
	l, c := newLedger(), newClock()
	s, d := openRemote(t, template.DSN(t, engine), l, c)
	return house{Store: s, ledger: l, clock: c, db: d}
}

func (h house) count(t *testing.T, table string) (n int) {
	t.Helper()
	require.NoError(t, h.db.Read().QueryRowContext(t.Context(), "SELECT COUNT(*) FROM "+table).Scan(&n))
	return n
}

func (h house) buyer(t *testing.T) string {
	t.Helper()
	res, err := h.Store.Customers().Upsert(t.Context(), []store.Upsert[erp.Customer]{{Key: erp.Ref{System: "s", Type: "t", Value: "buyer"}, Record: erp.Customer{Name: "A"}}})
	require.NoError(t, err)
	require.NoError(t, res[0].Err)
	return res[0].Record.ID
}

func onBothEngines(t *testing.T, run func(t *testing.T, h house)) {
	t.Helper()
	for _, engine := range []string{"sqlite", "postgres"} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			run(t, newHouse(t, engine))
		})
	}
}

func TestForget_OrdersThatTheERPFindsByItself(t *testing.T) {
	t.Parallel()
	onBothEngines(t, func(t *testing.T, h house) {
		buyer := h.buyer(t)
		one, err := erp.ParseDecimal("1")
		require.NoError(t, err)
		keyed := idempotent.WithKey(t.Context(), "key-1")
		order := func(ref string) (erp.Order, erp.Outcome, error) {
			ctx := t.Context()
			if ref == "" {
				ctx = keyed
			}
			return h.CreateOrder(ctx, erp.Order{ClientRef: ref, CustomerID: buyer, Items: []erp.Item{{SKU: "P-1", Quantity: one}}})
		}
		made := make(map[string]string)
		for _, ref := range []string{"kept there", "removed there", "", "owes a step"} {
			h.set(func() { h.stuck = ref == "owes a step" })
			o, outcome, err := order(ref)
			require.NoError(t, err)
			require.Equal(t, erp.Created, outcome)
			made[ref] = o.ID
		}
		h.set(func() { delete(h.orders, made["removed there"]) })
		require.NoError(t, h.Forget(t.Context()))
		require.Equal(t, 4, h.count(t, "remote_write"), "nothing is old")

		h.advance(old)
		require.NoError(t, h.Forget(t.Context()))
		require.Equal(t, 2, h.count(t, "remote_write"), "what was removed there is known here alone, and a step is owed")
		for _, ref := range []string{"kept there", ""} {
			o, outcome, err := order(ref)
			require.NoError(t, err)
			require.Equal(t, []any{erp.AlreadyExists, made[ref]}, []any{outcome, o.ID}, "it is found and not made again")
		}
		_, _, err = order("removed there")
		require.Equal(t, "ORDER_GONE", fault.ReasonOf(err), "nobody makes it a second time behind the back of who removed it")
		h.set(func() { require.Len(t, h.orders, 3) })
	})
}

func TestForget_NamesThatNobodyWritesUnder(t *testing.T) {
	t.Parallel()
	onBothEngines(t, func(t *testing.T, h house) {
		u := store.Upsert[erp.Customer]{Key: erp.Ref{System: "s", Type: "t", Value: "1"}, Record: erp.Customer{Name: "A"}}
		write := func() error {
			res, err := h.Store.Customers().Upsert(t.Context(), []store.Upsert[erp.Customer]{u})
			require.NoError(t, err)
			return res[0].Err
		}
		h.arm(backendtest.Drop, 1)
		require.Equal(t, fault.Uncertain, fault.KindOf(write()))
		h.advance(settle - time.Minute)
		require.NoError(t, h.Forget(t.Context()))
		require.Equal(t, fault.Uncertain, fault.KindOf(write()), "what was sent may still arrive: that is not forgotten")
		h.advance(old)
		require.NoError(t, h.Forget(t.Context()))
		require.Zero(t, h.count(t, "remote_write"))
		require.NoError(t, write())
		h.set(func() { require.Len(t, h.customers, 1) })
	})
}

func TestForget_KeepsTheCountsOfDocuments(t *testing.T) {
	t.Parallel()
	onBothEngines(t, func(t *testing.T, h house) {
		begun := h.now()
		h.buyer(t)
		h.advance(old)
		res, err := h.Store.Customers().Upsert(t.Context(), []store.Upsert[erp.Customer]{{Key: erp.Ref{System: "s", Type: "t", Value: "2"}, Record: erp.Customer{Name: "B"}}})
		require.NoError(t, err)
		require.NoError(t, res[0].Err)
		before, err := h.Documents(t.Context(), begun, h.now().Add(24*time.Hour))
		require.NoError(t, err)
		require.Len(t, before, 2)
		for range 2 { // a second time changes nothing
			require.NoError(t, h.Forget(t.Context()))
			require.Equal(t, []int{1, 1}, []int{h.count(t, "remote_document"), h.count(t, "remote_document_sum")})
			after, err := h.Documents(t.Context(), begun, h.now().Add(24*time.Hour))
			require.NoError(t, err)
			require.Equal(t, before, after)
		}
	})
}
