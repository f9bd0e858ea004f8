package engine_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/pkg/telemetry"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/deliver"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/engine"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/engine/enginetest"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/feed"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source/sourcetest"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store/storetest"
)

func TestReplicas(t *testing.T) {
	t.Parallel()
	t.Run("three replicas on one database do everything once", func(t *testing.T) {
		t.Parallel()
		dsn := storetest.Schema.DSN(t, "postgres")
		open := func() *db.DB {
			d, err := db.Open(t.Context(), dsn, telemetry.Discard())
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, d.Close()) })
			return d
		}
		w := enginetest.New(t, open())
		var ids []string
		for i := range 60 {
			ids = append(ids, w.SF.Create(golden.Customer, "", golden.Values{golden.Name: fmt.Sprintf("Customer %d", i), golden.TaxID: fmt.Sprintf("DE1000000%02d", i)}))
			w.SF.Create(golden.Contact, ids[i], golden.Values{golden.LastName: fmt.Sprintf("Person %d", i)})
			if i%2 == 0 {
				w.ERP.Create(golden.Customer, "", golden.Values{golden.Name: "Known", golden.TaxID: fmt.Sprintf("DE1000000%02d", i)})
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var g errgroup.Group
		for n := range 3 {
			s, err := store.Open(ctx, open())
			require.NoError(t, err)
			e, err := engine.New(engine.Deps{
				Store: s, Systems: []source.System{w.SF, w.ERP}, Rules: w.Rules, Owner: fmt.Sprint("replica ", n), Now: time.Now, Rand: rand.Reader,
				Telemetry: telemetry.Discard(), Jitter: 0.2, Feed: feed.Config{Lease: 600 * time.Millisecond},
				Deliver: deliver.Config{BatchSize: 10, Poll: 20 * time.Millisecond, RetryMin: 10 * time.Millisecond, RetryMax: 50 * time.Millisecond, ParentWait: 20 * time.Millisecond},
			})
			require.NoError(t, err)
			for _, f := range e.Feeds {
				g.Go(func() error { return f.Run(ctx) })
			}
			for _, d := range e.Deliverers {
				g.Go(func() error { return d.Run(ctx) })
			}
		}
		w.ERP.LoseAcks(2, nil)
		for i, id := range ids {
			w.SF.Edit(golden.Customer, id, golden.Values{golden.Phone: fmt.Sprint(i)})
		}
		quiet := func() bool {
			backlogs, err := w.Store.Read().Backlogs(ctx)
			lines, lerr := w.Store.Read().Ledger(ctx)
			if err != nil || lerr != nil || len(backlogs) > 0 || len(lines) < 2 {
				return false
			}
			return len(w.ERP.Records(golden.Contact)) == 60
		}
		require.Eventually(t, quiet, 3*time.Minute, 20*time.Millisecond)
		cancel()
		require.NoError(t, g.Wait())

		// What is still in the feeds is taken in by a last one, step by step, and must change nothing that counts.
		w.Clock.Advance(time.Since(w.Clock.Now()) + time.Hour)
		w.Settle()
		w.Check()
		require.Len(t, w.ERP.Records(golden.Customer), 60)
		require.Empty(t, w.Dead())
		for _, sys := range []*sourcetest.Fake{w.SF, w.ERP} {
			for id, n := range sys.Creates() {
				require.Equal(t, 1, n, "%s in %s", id, sys.Name())
			}
		}
	})
}
