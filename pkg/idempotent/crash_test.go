package idempotent_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/pkg/db/dbtest"
	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/idempotent"
	"github.com/selfsame-io/selfsame/pkg/idempotent/idempotenttest"
)

// broken is a store that dies at a chosen moment.
type broken struct {
	idempotent.Store
	before, after atomic.Pointer[string] // the method that fails before, or after, it did its work
}

var errDown = errors.New("connection refused")

func (b *broken) fail(p *atomic.Pointer[string], name string) bool {
	v := p.Load()
	return v != nil && *v == name
}

func (b *broken) around(name string, do func() error) error {
	if b.fail(&b.before, name) {
		return errDown
	}
	err := do()
	if err == nil && b.fail(&b.after, name) {
		return errDown
	}
	return err
}

func (b *broken) Begin(ctx context.Context, c idempotent.Claim) (res idempotent.Result, err error) {
	err = b.around("Begin", func() error { res, err = b.Store.Begin(ctx, c); return err })
	return res, err
}

func (b *broken) Complete(ctx context.Context, g idempotent.Grant, a idempotent.Answer) error {
	return b.around("Complete", func() error { return b.Store.Complete(ctx, g, a) })
}

func ptr(s string) *string { return &s }

func TestServer_Crashes(t *testing.T) {
	t.Parallel()
	setup := func(t *testing.T) (*world, *broken, *idempotenttest.Clock) {
		t.Helper()
		clock := idempotenttest.NewClock()
		s, err := idempotent.NewSQLStore(dbtest.Open(t, "sqlite"), secret, clock.Now)
		require.NoError(t, err)
		b := &broken{Store: s}
		return newWorld(t, b, idempotent.Options{Wait: time.Millisecond}), b, clock
	}
	// vanish makes the attempt end like a killed process: with its claim, and without any further word to the store.
	vanish := func(b *broken) { b.before.Store(ptr("Complete")) }

	t.Run("the store is down: nothing is executed, and the caller may come again", func(t *testing.T) {
		t.Parallel()
		w, b, _ := setup(t)
		b.before.Store(ptr("Begin"))
		r := w.call(t.Context(), "Manual", "k", "a")
		require.Equal(t, idempotent.ReasonStoreUnavailable, fault.ReasonOf(r.err))
		require.True(t, fault.Retryable(r.err))
		require.Zero(t, w.executions())
		b.before.Store(nil)
		require.NoError(t, w.call(t.Context(), "Manual", "k", "a").err)
		require.Equal(t, 1, w.executions())
	})
	t.Run("killed after the effect, before it was stored: no success is reported, a recoverable method runs again", func(t *testing.T) {
		t.Parallel()
		w, b, clock := setup(t)
		var children []string
		w.handle(func(ctx context.Context, _ string) (string, error) {
			md, _ := metadata.FromOutgoingContext(idempotent.Child(ctx, "erp.create", "7"))
			children = append(children, md.Get(idempotent.Metadata)...)
			return fmt.Sprint("attempt ", idempotent.Fence(ctx)), nil
		})
		vanish(b)
		require.Equal(t, fault.Unavailable, fault.KindOf(w.call(t.Context(), "Recoverable", "k", "a").err))
		b.before.Store(nil)
		require.Equal(t, idempotent.ReasonInProgress, fault.ReasonOf(w.call(t.Context(), "Recoverable", "k", "a").err), "as long as the lease runs")
		clock.Advance(30 * time.Second)
		require.Equal(t, "attempt 2", w.call(t.Context(), "Recoverable", "k", "a").text)
		require.Len(t, children, 2)
		require.Equal(t, children[0], children[1], "both attempts use the same key below")
	})
	t.Run("the same of a manual method stays uncertain", func(t *testing.T) {
		t.Parallel()
		w, b, clock := setup(t)
		vanish(b)
		require.Error(t, w.call(t.Context(), "Manual", "k", "a").err)
		b.before.Store(nil)
		clock.Advance(30 * time.Second)
		for range 2 {
			require.Equal(t, fault.Uncertain, fault.KindOf(w.call(t.Context(), "Manual", "k", "a").err))
		}
		require.Equal(t, 1, w.executions())
	})
	t.Run("killed after it was stored: the retry is a replay", func(t *testing.T) {
		t.Parallel()
		w, b, _ := setup(t)
		b.after.Store(ptr("Complete"))
		// The store's reply is lost; asking again shows that the own answer is stored.
		require.Equal(t, reply{"did a", idempotent.StatusExecuted, nil}, w.call(t.Context(), "Manual", "k", "a"))
		require.Equal(t, reply{"did a", idempotent.StatusReplayed, nil}, w.call(t.Context(), "Manual", "k", "a"))
		require.Equal(t, 1, w.executions())
	})
	t.Run("the answer to Begin is lost: the same call finds its own claim", func(t *testing.T) {
		t.Parallel()
		w, b, _ := setup(t)
		lost := &lostOnce{Store: b.Store}
		b.Store = lost
		require.NoError(t, w.call(t.Context(), "Manual", "k", "a").err)
		require.Equal(t, 1, w.executions())
		require.Equal(t, int64(2), lost.calls.Load())
	})
	t.Run("a stale owner answers with what is stored, never with its own result", func(t *testing.T) {
		t.Parallel()
		w, _, clock := setup(t)
		stalled, resume := make(chan struct{}), make(chan struct{})
		var once sync.Once
		w.handle(func(ctx context.Context, _ string) (string, error) {
			first := false
			once.Do(func() { first = true })
			if first {
				close(stalled)
				<-resume
				return "zombie", nil
			}
			return "successor", nil
		})
		var wg sync.WaitGroup
		var zombie reply
		wg.Go(func() { zombie = w.call(t.Context(), "Recoverable", "k", "a") })
		<-stalled
		clock.Advance(time.Minute) // longer than the lease, as a stopped process would sleep
		require.Equal(t, "successor", w.call(t.Context(), "Recoverable", "k", "a").text)
		close(resume)
		wg.Wait()
		require.Equal(t, reply{"successor", idempotent.StatusReplayed, nil}, zombie)
	})
}

// lostOnce does the first Begin and loses its answer.
type lostOnce struct {
	idempotent.Store
	calls atomic.Int64
}

func (l *lostOnce) Begin(ctx context.Context, c idempotent.Claim) (idempotent.Result, error) {
	res, err := l.Store.Begin(ctx, c)
	if l.calls.Add(1) == 1 {
		return idempotent.Result{}, errDown
	}
	return res, err
}

func TestServer_CompleteTx(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		require.NoError(t, d.Migrate(t.Context(), fstest.MapFS{"00001_x.sql": {Data: []byte("-- +goose Up\nCREATE TABLE effect (id TEXT NOT NULL);")}}, "effect_migrations"))
		s, err := idempotent.NewSQLStore(d, secret, nil)
		require.NoError(t, err)
		w := newWorld(t, s, idempotent.Options{})
		var crash error
		w.handle(func(ctx context.Context, req string) (string, error) {
			return "done", d.Tx(ctx, func(ctx context.Context, tx *sql.Tx) error {
				if _, err := tx.ExecContext(ctx, "INSERT INTO effect (id) VALUES ($1)", req); err != nil {
					return err
				}
				if err := s.CompleteTx(ctx, tx, wrapperspb.String("done")); err != nil {
					return err
				}
				return crash
			})
		})
		effects := func() (n int) {
			require.NoError(t, d.Read().QueryRowContext(t.Context(), "SELECT count(*) FROM effect").Scan(&n))
			return n
		}
		crash = fault.New(fault.Conflict, "", "rolled back")
		require.Error(t, w.call(t.Context(), "Manual", "k", "a").err)
		require.Zero(t, effects(), "the answer and the effect are rolled back together")
		crash = nil
		require.Equal(t, reply{"done", idempotent.StatusExecuted, nil}, w.call(t.Context(), "Manual", "k", "a"))
		require.Equal(t, reply{"done", idempotent.StatusReplayed, nil}, w.call(t.Context(), "Manual", "k", "a"))
		require.Equal(t, 1, effects())
		require.NoError(t, w.call(t.Context(), "Undeclared", "", "b").err, "without a claim it does nothing")
		require.Equal(t, 2, effects())
	})
}
