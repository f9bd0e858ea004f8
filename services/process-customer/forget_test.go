package processcustomer

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/pkg/telemetry"
	"github.com/selfsame-io/selfsame/pkg/telemetry/telemetrytest"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/audit"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store/storetest"
)

// pile is something of which old rows are left.
type pile struct {
	left  int
	err   error
	begun time.Time
	at    []time.Duration // when something was removed, or nothing
	done  func()          // called after every batch
}

func (p *pile) sweep(what string, keep time.Duration) sweep {
	p.begun = time.Now()
	return sweep{what: what, keep: keep, once: func(context.Context, *store.Tx, time.Time) (int, error) {
		p.at = append(p.at, time.Since(p.begun))
		if p.done != nil {
			p.done()
		}
		n := min(p.left, forgetBatch)
		p.left -= n
		return n, p.err
	}}
}

// remembering runs a test in a time of its own over an empty database.
func remembering(t *testing.T, what string, test func(t *testing.T, records *store.Store, logs *telemetrytest.Log)) {
	t.Helper()
	t.Run(what, func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			records, err := store.Open(t.Context(), storetest.Schema.Open(t, "sqlite"))
			require.NoError(t, err)
			test(t, records, &telemetrytest.Log{})
		})
	})
}

// telling is what a service tells of itself, with the log in logs.
func telling(t *testing.T, logs *telemetrytest.Log) *telemetry.Telemetry {
	t.Helper()
	tel, err := telemetry.Start(t.Context(), Name, telemetry.Config{LogFormat: "text"}, telemetry.WithLogWriter(logs))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, tel.Shutdown(context.Background())) })
	return tel
}

// told returns how long ago rows were removed, and how often they could not be.
func told(tel *telemetry.Telemetry, rows string) []string {
	of := `{selfsame_rows="` + rows + `"}`
	return []string{
		telemetrytest.Sample(tel.Metrics, "selfsame_retention_last_success_age_seconds"+of),
		telemetrytest.Sample(tel.Metrics, "selfsame_retention_failures_total"+of),
	}
}

func TestForget(t *testing.T) {
	t.Parallel()
	remembering(t, "every kind has its turn every minute, in batches until nothing is left", func(t *testing.T, records *store.Store, logs *telemetrytest.Log) {
		ctx, cancel := context.WithTimeout(t.Context(), 150*time.Second)
		defer cancel()
		much, little, kept := &pile{left: 2*forgetBatch + 1}, &pile{left: 1}, &pile{left: 1}
		require.NoError(t, forget(ctx, records, []sweep{much.sweep("much", time.Hour), little.sweep("little", time.Hour), kept.sweep("kept", 0)}, telling(t, logs)))
		require.Equal(t, []time.Duration{time.Minute, time.Minute, time.Minute, 2 * time.Minute}, much.at)
		require.Equal(t, []time.Duration{time.Minute, 2 * time.Minute}, little.at)
		require.Empty(t, kept.at, "what is kept for ever")
		require.Zero(t, much.left+little.left)
		require.Empty(t, logs.With("removed"))
	})
	remembering(t, "a failure keeps nothing else waiting and is made up for", func(t *testing.T, records *store.Store, logs *telemetrytest.Log) {
		ctx, cancel := context.WithTimeout(t.Context(), 150*time.Second)
		defer cancel()
		broken, other := &pile{err: errors.New("down")}, &pile{left: 1}
		other.done = func() {
			if broken.err != nil {
				broken.left, broken.err = forgetBatch+1, nil
			}
		}
		tel := telling(t, logs)
		require.NoError(t, forget(ctx, records, []sweep{broken.sweep("broken", time.Hour), other.sweep("other", time.Hour)}, tel))
		require.Equal(t, []time.Duration{time.Minute, 2 * time.Minute, 2 * time.Minute}, broken.at)
		require.Zero(t, broken.left)
		require.Equal(t, []time.Duration{time.Minute, 2 * time.Minute}, other.at)
		warned := logs.With("cannot be removed")
		require.Len(t, warned, 1)
		require.Contains(t, warned[0], "what=broken")
		require.Contains(t, warned[0], "down")
		require.Equal(t, []string{"30", "1"}, told(tel, "broken"))
		require.Equal(t, []string{"30", "0"}, told(tel, "other"))
	})
	remembering(t, "it is told what is not removed any more", func(t *testing.T, records *store.Store, logs *telemetrytest.Log) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute+time.Second)
		defer cancel()
		tel := telling(t, logs)
		broken, other, kept := &pile{err: errors.New("down")}, &pile{left: 1}, &pile{left: 1}
		require.NoError(t, forget(ctx, records, []sweep{broken.sweep("broken", time.Hour), other.sweep("other", time.Hour), kept.sweep("kept", 0)}, tel))
		require.Equal(t, []string{"601", "10"}, told(tel, "broken"))
		require.Equal(t, []string{"1", "0"}, told(tel, "other"))
		require.Equal(t, []string{"", ""}, told(tel, "kept"), "of what is kept for ever there is nothing to tell")
	})
	remembering(t, "it ends between two batches, and says nothing about that", func(t *testing.T, records *store.Store, logs *telemetrytest.Log) {
		ctx, cancel := context.WithCancel(t.Context())
		endless, next := &pile{left: 100 * forgetBatch}, &pile{left: 1}
		endless.done = func() {
			if len(endless.at) == 3 {
				cancel()
				endless.err = ctx.Err()
			}
		}
		tel := telling(t, logs)
		require.NoError(t, forget(ctx, records, []sweep{endless.sweep("endless", time.Hour), next.sweep("next", time.Hour)}, tel))
		require.Len(t, endless.at, 3)
		require.Empty(t, next.at)
		require.Empty(t, logs.String())
		require.Equal(t, []string{"0", "0"}, told(tel, "endless"))
	})
	remembering(t, "the end of the audit trail is told every hour", func(t *testing.T, records *store.Store, logs *telemetrytest.Log) {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Hour+90*time.Second)
		defer cancel()
		require.NoError(t, forget(ctx, records, nil, telling(t, logs)))
		require.Len(t, logs.With("end of the audit trail"), 3)
	})
}

func TestForget_TwoReplicas(t *testing.T) {
	t.Parallel()
	for _, engine := range []string{"sqlite", "postgres"} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { twoReplicas(t, storetest.Schema.Open(t, engine)) })
		})
	}
}

func twoReplicas(t *testing.T, d *db.DB) {
	t.Helper()
	records, err := store.Open(t.Context(), d)
	require.NoError(t, err)
	cfg := DefaultConfig().Store
	long, lately := time.Now().Add(-2*cfg.AuditRetention), time.Now()
	const old = 2*forgetBatch + 1
	require.NoError(t, records.Tx(t.Context(), func(ctx context.Context, tx *store.Tx) error {
		events, letters, ids := make([]store.Event, old, old+1), make([]store.DeadLetter, old, old+1), make([]string, old)
		for i := range old {
			ids[i] = fmt.Sprintf("old %d", i)
			events[i] = store.Event{At: long, Kind: "old"}
			letters[i] = store.DeadLetter{ID: ids[i], Direction: store.DirectionIntake, Parked: long, Ref: golden.Ref{System: "s", Object: golden.Customer, RecordID: ids[i]}}
		}
		events = append(events, store.Event{At: lately, Kind: "young"})
		letters = append(letters, store.DeadLetter{ID: "young", Direction: store.DirectionIntake, Parked: lately, Ref: golden.Ref{System: "s", Object: golden.Customer, RecordID: "young"}})
		err := errors.Join(tx.AddEvents(ctx, events), tx.Park(ctx, letters))
		if err == nil {
			_, err = tx.SettleDead(ctx, ids, store.DeadResolved, "", long)
		}
		return err
	}))
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	logs := &telemetrytest.Log{}
	var both errgroup.Group
	for range 2 {
		tel := telling(t, logs)
		both.Go(func() error { return forget(ctx, records, sweeps(cfg), tel) })
	}
	require.NoError(t, both.Wait())
	require.Empty(t, logs.With("cannot be removed"))
	trail, err := audit.Walk(t.Context(), records.Read(), audit.Cursor{}, 1<<20)
	require.NoError(t, err)
	require.True(t, trail.Done)
	require.Empty(t, trail.Problems)
	entries, err := records.Read().Audit(t.Context(), store.AuditFilter{}, false, 0, 100)
	require.NoError(t, err)
	for _, e := range entries {
		require.Contains(t, []string{"young", audit.KindTrimmed}, e.Kind)
	}
	letters, err := records.Read().ListDeadLetters(t.Context(), "", true, time.Time{}, "", 100)
	require.NoError(t, err)
	require.Len(t, letters, 1)
	require.Equal(t, "young", letters[0].ID)
}
