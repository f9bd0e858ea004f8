package remote_test

import (
	"context"
	"database/sql"
	"io"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/pkg/db/dbtest"
	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/idempotent"
	"github.com/selfsame-io/selfsame/pkg/telemetry"
	"github.com/selfsame-io/selfsame/pkg/telemetry/telemetrytest"
	"github.com/selfsame-io/selfsame/services/system-erp/backendtest"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/backend"
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
	db    *db.DB
	batch int
}

func newHouse(t *testing.T, engine string) house {
	t.Helper()
	if engine == "postgres" {
		dbtest.DSN(t, engine) // skips where there is none
	}
	l, c := newLedger(), newClock()
	batch := 500 // the default
	if testing.Short() {
		batch = 5
	}
	s, d := openRemote(t, template.DSN(t, engine), l, c, func(o *remote.Options) { o.ForgetBatch, o.Forget = batch, time.Millisecond })
	return house{Store: s, ledger: l, clock: c, db: d, batch: batch}
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

// forget forgets until nothing is left to forget.
func (h house) forget(t *testing.T) {
	t.Helper()
	for more := true; more; {
		var err error
		more, err = h.Forget(t.Context())
		require.NoError(t, err)
	}
}

func (h house) exec(t *testing.T, text string, args ...any) {
	t.Helper()
	require.NoError(t, h.db.Tx(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, text, args...)
		return err
	}))
}

func TestForget_OrdersAreRememberedForEver(t *testing.T) {
	t.Parallel()
	onBothEngines(t, func(t *testing.T, h house) {
		buyer := h.buyer(t)
		keyed := idempotent.WithKey(t.Context(), "key-1")
		order := func(ref, quantity string) (erp.Order, erp.Outcome, error) {
			ctx := t.Context()
			if ref == "" {
				ctx = keyed
			}
			n, err := erp.ParseDecimal(quantity)
			require.NoError(t, err)
			return h.CreateOrder(ctx, erp.Order{ClientRef: ref, CustomerID: buyer, Items: []erp.Item{{SKU: "P-1", Quantity: n}}})
		}
		made := make(map[string]string)
		for _, ref := range []string{"kept there", "back to draft", "removed there", "", "owes a step"} {
			h.set(func() { h.stuck = ref == "owes a step" })
			o, outcome, err := order(ref, "1")
			require.NoError(t, err)
			require.Equal(t, erp.Created, outcome)
			made[ref] = o.ID
		}
		h.arm(backendtest.Drop, 1)
		_, _, err := order("arrives late", "1")
		require.Equal(t, fault.Uncertain, fault.KindOf(err))
		h.set(func() {
			delete(h.orders, made["removed there"])
			h.orders[made["back to draft"]].o.State = erp.OrderReceived
			late := *h.orders[made["kept there"]]
			late.o.ID, late.o.ClientRef, late.mark = "late", "arrives late", ""
			h.orders["late"] = &late
		})

		h.advance(old)
		h.forget(t)
		require.Equal(t, 6, h.count(t, "remote_write"))
		for _, ref := range []string{"kept there", ""} {
			o, outcome, err := order(ref, "1")
			require.NoError(t, err)
			require.Equal(t, []any{erp.Unchanged, made[ref]}, []any{outcome, o.ID})
			_, _, err = order(ref, "2")
			require.Equal(t, []any{fault.AlreadyExists, store.ReasonClientRef}, []any{fault.KindOf(err), fault.ReasonOf(err)},
				"other content is not answered with the old order")
		}
		o, _, err := order("back to draft", "1")
		require.NoError(t, err)
		require.Equal(t, erp.OrderReceived, o.State, "somebody took the step back: it is not taken again")
		_, _, err = order("removed there", "1")
		require.Equal(t, "ORDER_GONE", fault.ReasonOf(err), "nobody makes it a second time behind the back of who removed it")
		o, outcome, err := order("arrives late", "1")
		require.NoError(t, err)
		require.Equal(t, []any{erp.AlreadyExists, "late"}, []any{outcome, o.ID})
		counts, err := h.Documents(t.Context(), h.now(), h.now().Add(24*time.Hour))
		require.NoError(t, err)
		require.Len(t, counts, 1)
		require.Equal(t, []any{"order", int64(1)}, []any{counts[0].Object, counts[0].Documents}, "what was sent from here counts, however late it came")
		h.set(func() { require.Len(t, h.orders, 5) })
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
		h.forget(t)
		require.Equal(t, fault.Uncertain, fault.KindOf(write()), "what was sent may still arrive: that is not forgotten")
		h.advance(old)
		h.forget(t)
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
			h.forget(t)
			require.Equal(t, []int{1, 1}, []int{h.count(t, "remote_document"), h.count(t, "remote_document_sum")})
			after, err := h.Documents(t.Context(), begun, h.now().Add(24*time.Hour))
			require.NoError(t, err)
			require.Equal(t, before, after)
		}
	})
}

// stock fills the tables with documents of two kinds on three old days for two batches and 3, and old names for one and 1. It
// returns the counts.
func (h house) stock(t *testing.T) []backend.DocumentCount {
	t.Helper()
	day := h.now().Add(-old).UTC().Truncate(24 * time.Hour).UnixMicro()
	const upTo = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < "
	h.exec(t, upTo+strconv.Itoa(2*h.batch+3)+`) INSERT INTO remote_document (object, record_id, day, lines)
		SELECT 1 + i % 2 * 9, CAST(i AS TEXT), CAST($1 AS BIGINT) - i % 3 * 86400000000, i FROM n`, day)
	h.exec(t, upTo+strconv.Itoa(h.batch+1)+`) INSERT INTO remote_write (object, name, mark, state, owner, fence, lease, sent, record_id, fingerprint, updated)
		SELECT 1 + i % 2, CAST(i AS TEXT), '', i % 4, '', 1, 0, 0, '', $1, 0 FROM n`, []byte{})
	counts := h.documents(t)
	require.Len(t, counts, 6)
	return counts
}

func (h house) documents(t *testing.T) []backend.DocumentCount {
	t.Helper()
	counts, err := h.Documents(t.Context(), h.now().Add(-2*old), h.now())
	require.NoError(t, err)
	return counts
}

func TestForget_OneBatchAtATime(t *testing.T) {
	t.Parallel()
	onBothEngines(t, func(t *testing.T, h house) {
		counts := h.stock(t)
		for i, want := range [][]int{{h.batch + 3, 1}, {3, 0}, {0, 0}, {0, 0}} {
			more, err := h.Forget(t.Context())
			require.NoError(t, err)
			require.Equal(t, i < 2, more)
			require.Equal(t, want, []int{h.count(t, "remote_document"), h.count(t, "remote_write")})
			require.Equal(t, counts, h.documents(t), "what is half summed up counts as before")
		}
	})
}

func TestForget_ByTwoProcessesCountsOnce(t *testing.T) {
	t.Parallel()
	onBothEngines(t, func(t *testing.T, h house) {
		counts := h.stock(t)
		var both errgroup.Group
		for range 2 {
			both.Go(func() error {
				for more := true; more; {
					var err error
					if more, err = h.Forget(t.Context()); err != nil {
						return err
					}
				}
				return nil
			})
		}
		require.NoError(t, both.Wait())
		require.Equal(t, []int{0, 0, 6}, []int{h.count(t, "remote_document"), h.count(t, "remote_write"), h.count(t, "remote_document_sum")})
		require.Equal(t, counts, h.documents(t))
	})
}

func TestSweep_GoesOnUntilNothingIsOld(t *testing.T) {
	t.Parallel()
	h := newHouse(t, "sqlite")
	counts := h.stock(t)
	ctx, cancel := context.WithCancel(t.Context())
	var sweep errgroup.Group
	sweep.Go(func() error { return h.Sweep(ctx) })
	require.Eventually(t, func() bool { return h.count(t, "remote_document")+h.count(t, "remote_write") == 0 }, time.Minute, 10*time.Millisecond)
	require.Equal(t, counts, h.documents(t))
	cancel()
	require.NoError(t, sweep.Wait())
}

func TestSweep_TellsOfFailures(t *testing.T) {
	t.Parallel()
	tel, err := telemetry.Start(t.Context(), "test", telemetry.Config{}, telemetry.WithLogWriter(io.Discard))
	require.NoError(t, err)
	defer func() { require.NoError(t, tel.Shutdown(context.Background())) }()
	s, d := openRemote(t, template.DSN(t, "sqlite"), newLedger(), newClock(), func(o *remote.Options) {
		o.Forget, o.Meter = time.Millisecond, tel.Meter.Meter("test")
	})
	_, err = d.Exec(t.Context(), "DROP TABLE remote_document")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	var sweep errgroup.Group
	sweep.Go(func() error { return s.Sweep(ctx) })
	require.Eventually(t, func() bool {
		n := telemetrytest.Sample(tel.Metrics, `selfsame_retention_failures_total{selfsame_rows="writes of the ERP"}`)
		return n != "" && n != "0"
	}, time.Minute, 10*time.Millisecond)
	cancel()
	require.NoError(t, sweep.Wait())
}
