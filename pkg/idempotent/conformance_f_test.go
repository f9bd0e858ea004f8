package idempotent_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/selfsame-io/selfsame/pkg/db/dbtest"
	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/idempotent"
	"github.com/selfsame-io/selfsame/pkg/idempotent/idempotenttest"
)

// downstream is a system that honours keys: it counts the effects of each.
type downstream struct {
	mu      sync.Mutex
	effects map[string]int
}

func (d *downstream) do(ctx context.Context, step, item string) string {
	md, _ := metadata.FromOutgoingContext(idempotent.Child(ctx, step, item))
	key := md.Get(idempotent.Metadata)[0]
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.effects == nil {
		d.effects = map[string]int{}
	}
	if d.effects[key] == 0 {
		d.effects[key]++
	}
	return key
}

func (d *downstream) total() (n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, e := range d.effects {
		n += e
	}
	return n
}

func mortalWorld(t *testing.T, o idempotent.Options) (*world, *idempotenttest.Clock) {
	t.Helper()
	clock := idempotenttest.NewClock()
	if o.Wait == 0 {
		o.Wait = time.Millisecond
	}
	o.Now = clock.Now
	return newWorld(t, &mortal{Store: idempotent.NewMemoryStore(clock.Now)}, o), clock
}

func casesF() []conformanceCase {
	return []conformanceCase{
		{"F-01", "a process that died before its claim leaves nothing behind", func(t *testing.T) {
			w, _ := mortalWorld(t, idempotent.Options{})
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			require.Error(t, w.call(ctx, "Manual", k1, "a").err)
			executed(t, w.call(t.Context(), "Manual", k1, "a"))
			require.Equal(t, 1, w.executions())
		}},
		{"F-02", "a process that died after its claim blocks for a lease, not for the life of the record", func(t *testing.T) {
			w, clock := mortalWorld(t, idempotent.Options{})
			w.dies("Recoverable", k1, "a", nil)
			refused(t, w.call(t.Context(), "Recoverable", k1, "a"), codes.Aborted, idempotent.ReasonInProgress)
			w.handle(func(ctx context.Context, _ string) (string, error) { return fmt.Sprint(idempotent.Fence(ctx)), nil })
			clock.Advance(30 * time.Second)
			require.Equal(t, "2", w.call(t.Context(), "Recoverable", k1, "a").text)
		}},
		{"F-03", "a recoverable attempt is done again with the same keys below", func(t *testing.T) {
			w, clock := mortalWorld(t, idempotent.Options{})
			below := &downstream{}
			w.dies("Recoverable", k1, "a", func(ctx context.Context) { below.do(ctx, "erp.create", "7") })
			clock.Advance(time.Minute)
			w.handle(func(ctx context.Context, _ string) (string, error) {
				below.do(ctx, "erp.create", "7")
				return "done", nil
			})
			executed(t, w.call(t.Context(), "Recoverable", k1, "a"))
			require.Equal(t, 2, w.executions())
			require.Equal(t, 1, below.total())
		}},
		{"F-04", "a manual attempt stays uncertain until somebody reconciles it", func(t *testing.T) {
			w, clock := mortalWorld(t, idempotent.Options{})
			w.dies("Manual", k1, "a", nil)
			clock.Advance(time.Minute)
			for range 2 {
				r := w.call(t.Context(), "Manual", k1, "a")
				require.Equal(t, fault.Uncertain, fault.KindOf(r.err))
			}
			require.Equal(t, 1, w.executions())
			page, err := w.store.List(t.Context(), idempotent.Filter{States: []idempotent.State{idempotent.Uncertain}})
			require.NoError(t, err)
			require.Len(t, page.Entries, 1)
			e := page.Entries[0]
			require.NoError(t, w.store.Resolve(t.Context(), idempotent.Grant{Digest: e.Digest, Fence: e.Fence, Retention: time.Hour}, idempotent.Verdict{}))
			w.handle(func(context.Context, string) (string, error) { return "done", nil })
			executed(t, w.call(t.Context(), "Manual", k1, "a"))
		}},
		{"F-05", "an owner that beats is never taken over", func(t *testing.T) {
			require.NoError(t, registerContract())
			synctest.Test(t, func(t *testing.T) {
				ic := idempotent.UnaryServer(idempotent.NewMemoryStore(nil), idempotent.Options{Lease: 3 * time.Second})
				var wg sync.WaitGroup
				wg.Go(func() {
					_, _ = direct(t.Context(), ic, "Recoverable", k1, func(context.Context, any) (any, error) {
						<-time.After(10 * time.Second)
						return wrapperspb.String("first"), nil
					})
				})
				synctest.Wait()
				for range 3 {
					<-time.After(time.Second)
					_, err := direct(t.Context(), ic, "Recoverable", k1, succeed("stolen"))
					require.Equal(t, idempotent.ReasonInProgress, fault.ReasonOf(err))
				}
				wg.Wait()
				resp, err := direct(t.Context(), ic, "Recoverable", k1, succeed("stolen"))
				require.NoError(t, err)
				require.Equal(t, "first", textOf(resp))
			})
		}},
		{"F-06", "a lease that is not set is the default, never none", func(t *testing.T) {
			w, clock := confClock(t, idempotent.Options{Lease: -time.Second})
			begun, end := make(chan struct{}), make(chan struct{})
			w.handle(func(context.Context, string) (string, error) { close(begun); <-end; return "did", nil })
			var wg sync.WaitGroup
			wg.Go(func() { w.call(t.Context(), "Recoverable", k1, "a") })
			<-begun
			page, err := w.store.List(t.Context(), idempotent.Filter{})
			require.NoError(t, err)
			require.Equal(t, 30*time.Second, page.Entries[0].LeaseUntil.Sub(clock.Now()))
			close(end)
			wg.Wait()
		}},
		{"F-07", "an owner that slept answers what its successor stored", func(t *testing.T) {
			zombie, successor := stalled(t, true)
			executed(t, successor)
			require.Equal(t, reply{"successor", idempotent.StatusReplayed, nil}, zombie)
		}},
		{"F-08", "an owner that slept never answers its own while the successor runs", func(t *testing.T) {
			zombie, successor := stalled(t, false)
			refused(t, zombie, codes.Aborted, idempotent.ReasonInProgress)
			executed(t, successor)
		}},
		{"F-09", "a late owner that nobody took over from completes", func(t *testing.T) {
			w, clock := confClock(t, idempotent.Options{})
			w.handle(func(context.Context, string) (string, error) { clock.Advance(time.Hour); return "late", nil })
			executed(t, w.call(t.Context(), "Recoverable", k1, "a"))
			require.Equal(t, reply{"late", idempotent.StatusReplayed, nil}, w.call(t.Context(), "Recoverable", k1, "a"))
		}},
		{"F-10", "releases and heartbeats of a zombie change nothing", func(t *testing.T) {
			clock := idempotenttest.NewClock()
			s := idempotent.NewMemoryStore(clock.Now)
			c := idempotent.Claim{Scope: idempotent.Scope{Key: "k"}, Fingerprint: []byte("f"), Owner: []byte("a"), Lease: time.Second, Retention: time.Hour, Takeover: true}
			old, err := s.Begin(t.Context(), c)
			require.NoError(t, err)
			clock.Advance(time.Minute)
			c.Owner = []byte("b")
			current, err := s.Begin(t.Context(), c)
			require.NoError(t, err)
			before, err := s.Show(t.Context(), current.Digest)
			require.NoError(t, err)
			require.ErrorIs(t, s.Release(t.Context(), old.Grant), idempotent.ErrStale)
			require.ErrorIs(t, s.Heartbeat(t.Context(), old.Grant, time.Hour), idempotent.ErrStale)
			after, err := s.Show(t.Context(), current.Digest)
			require.NoError(t, err)
			require.Equal(t, before, after)
		}},
		{"F-11", "a zombie's calls carry the key of its successor's, and its own number", func(t *testing.T) {
			w, clock := mortalWorld(t, idempotent.Options{})
			var seen []metadata.MD
			note := func(ctx context.Context) {
				md, _ := metadata.FromOutgoingContext(idempotent.Child(ctx, "erp.create", "7"))
				seen = append(seen, md)
			}
			w.dies("Recoverable", k1, "a", note)
			clock.Advance(time.Minute)
			w.handle(func(ctx context.Context, _ string) (string, error) { note(ctx); return "", nil })
			executed(t, w.call(t.Context(), "Recoverable", k1, "a"))
			require.Equal(t, seen[0].Get(idempotent.Metadata), seen[1].Get(idempotent.Metadata))
			require.Equal(t, []string{"1"}, seen[0].Get(idempotent.AttemptMetadata))
			require.Equal(t, []string{"2"}, seen[1].Get(idempotent.AttemptMetadata))
		}},
		{"F-12", "a process that died after its answer was stored has answered", func(t *testing.T) {
			clock := idempotenttest.NewClock()
			b := &broken{Store: idempotent.NewMemoryStore(clock.Now)}
			w := newWorld(t, b, idempotent.Options{Now: clock.Now})
			ctx, cancel := context.WithCancel(t.Context())
			w.handle(func(context.Context, string) (string, error) { cancel(); return "done", nil })
			require.Error(t, w.call(ctx, "Manual", k1, "a").err, "the reply is lost")
			r := w.call(t.Context(), "Manual", k1, "a")
			replayed(t, r)
			require.Equal(t, "done", r.text)
			require.Equal(t, 1, w.executions())
		}},
		{"F-13", "a panic is uncertain or recovered by its class, and shows no stack", func(t *testing.T) {
			w := conf(t, idempotent.Options{})
			w.handle(func(context.Context, string) (string, error) { panic("secret detail") })
			for _, m := range []string{"Manual", "Recoverable"} {
				r := w.call(t.Context(), m, k1, "a")
				require.Equal(t, codes.Internal, fault.ToStatus(r.err).Code())
				require.NotContains(t, r.err.Error(), "secret")
			}
			w.handle(func(context.Context, string) (string, error) { return "done", nil })
			require.Equal(t, fault.Uncertain, fault.KindOf(w.call(t.Context(), "Manual", k1, "a").err))
			executed(t, w.call(t.Context(), "Recoverable", k1, "a"))
		}},
		{"F-14", "an effect and its answer in one transaction are never apart", func(t *testing.T) {
			for _, engine := range []string{"sqlite", "postgres"} {
				t.Run(engine, func(t *testing.T) { t.Parallel(); oneTransaction(t, engine) })
			}
		}},
		{"F-15", "a server that stops finishes what it began", func(t *testing.T) {
			w := conf(t, idempotent.Options{})
			var begun sync.WaitGroup
			begun.Add(50)
			end := make(chan struct{})
			w.handle(func(_ context.Context, req string) (string, error) { begun.Done(); <-end; return req, nil })
			var wg sync.WaitGroup
			for i := range 50 {
				wg.Go(func() { executed(t, w.call(t.Context(), "Manual", fmt.Sprintf("drain-0123456789-%d", i), "a")) })
			}
			begun.Wait()
			stopped := make(chan struct{})
			go func() { defer close(stopped); w.srv.GracefulStop() }()
			close(end)
			wg.Wait()
			<-stopped
			st, err := w.store.Stats(t.Context())
			require.NoError(t, err)
			require.Zero(t, st.Open)
			require.Equal(t, int64(50), st.Records)
		}},
		{"F-16", "a caller that did not hear its grant executes once", func(t *testing.T) {
			w := newWorld(t, &lostOnce{Store: durableMemory{idempotent.NewMemoryStore(nil)}}, idempotent.Options{})
			executed(t, w.call(t.Context(), "Manual", k1, "a"))
			require.Equal(t, 1, w.executions())
		}},
		{"F-17", "killed processes leave no contradiction and no stuck key", killProcesses},
	}
}

// durableMemory makes the interceptor treat a memory store like one that may fail.
type durableMemory struct{ *idempotent.MemoryStore }

func (durableMemory) Capabilities() idempotent.Capabilities {
	return idempotent.Capabilities{Durability: idempotent.Durable}
}

// stalled lets an owner sleep for longer than its lease, and its successor finish before or after it wakes up.
func stalled(t *testing.T, successorFirst bool) (zombie, successor reply) {
	t.Helper()
	w, clock := confClock(t, idempotent.Options{})
	asleep, wake, hold := make(chan struct{}), make(chan struct{}), make(chan struct{})
	runs := 0
	w.handle(func(ctx context.Context, _ string) (string, error) {
		if runs++; runs == 1 {
			close(asleep)
			<-wake
			return "zombie", nil
		}
		if !successorFirst {
			close(wake)
			<-hold
		}
		return "successor", nil
	})
	var wg sync.WaitGroup
	wg.Go(func() {
		zombie = w.call(t.Context(), "Recoverable", k1, "a")
		close(hold)
	})
	<-asleep
	clock.Advance(time.Minute)
	successor = w.call(t.Context(), "Recoverable", k1, "a")
	if successorFirst {
		close(wake)
	}
	wg.Wait()
	return zombie, successor
}

// oneTransaction fails the transaction of effect and answer at each of its steps.
func oneTransaction(t *testing.T, engine string) {
	d := dbtest.Open(t, engine)
	require.NoError(t, d.Migrate(t.Context(), fstest.MapFS{"00001_x.sql": {Data: []byte("-- +goose Up\nCREATE TABLE effect (id TEXT NOT NULL);")}}, "effect_migrations"))
	s, err := idempotent.NewSQLStore(d, secret, nil)
	require.NoError(t, err)
	w := newWorld(t, s, idempotent.Options{})
	crash := errors.New("crash")
	failAt := ""
	w.handle(func(ctx context.Context, req string) (string, error) {
		fail := func(step string) error {
			if failAt == step {
				return crash
			}
			return nil
		}
		err := d.Tx(ctx, func(ctx context.Context, tx *sql.Tx) error {
			if err := fail("before the effect"); err != nil {
				return err
			}
			if _, err := tx.ExecContext(ctx, "INSERT INTO effect (id) VALUES ($1)", req); err != nil {
				return err
			}
			if err := fail("after the effect"); err != nil {
				return err
			}
			if err := s.CompleteTx(ctx, tx, wrapperspb.String("did "+req)); err != nil {
				return err
			}
			return fail("after the answer")
		})
		if err == nil {
			err = fail("after the commit")
		}
		return "did " + req, err
	})
	count := func(id string) (n int) {
		require.NoError(t, d.Read().QueryRowContext(t.Context(), "SELECT count(*) FROM effect WHERE id = $1", id).Scan(&n))
		return n
	}
	for i, step := range []string{"before the effect", "after the effect", "after the answer", "after the commit"} {
		key, id := fmt.Sprintf("tx-0123456789abcdef-%d", i), fmt.Sprint(i)
		failAt = step
		first := w.call(t.Context(), "Transaction", key, id)
		if step == "after the commit" {
			require.NoError(t, first.err, "what was committed is the answer")
		} else {
			require.Error(t, first.err)
			require.Zero(t, count(id))
		}
		failAt = ""
		require.NoError(t, w.call(t.Context(), "Transaction", key, id).err)
		replayed(t, w.call(t.Context(), "Transaction", key, id))
		require.Equal(t, 1, count(id), step)
	}
	t.Run("of many at once one has its effect", func(t *testing.T) {
		two := newWorld(t, s, idempotent.Options{})
		two.handle(w.handler)
		var wg sync.WaitGroup
		for i := range 40 {
			wg.Go(func() {
				r := []*world{w, two}[i%2].call(t.Context(), "Transaction", "tx-0123456789-crowd", "crowd")
				if r.err != nil || r.text != "did crowd" {
					t.Errorf("%+v", r)
				}
			})
		}
		wg.Wait()
		require.Equal(t, 1, count("crowd"))
	})
	t.Run("a final error is kept", func(t *testing.T) {
		w.handle(func(context.Context, string) (string, error) { return "", status.Error(codes.FailedPrecondition, "no") })
		first := w.call(t.Context(), "Transaction", "tx-0123456789-final", "x")
		require.Equal(t, idempotent.StatusExecuted, first.status)
		w.handle(func(context.Context, string) (string, error) { return "executed again", nil })
		again := w.call(t.Context(), "Transaction", "tx-0123456789-final", "x")
		require.Equal(t, idempotent.StatusReplayed, again.status)
		require.Equal(t, codes.FailedPrecondition, fault.ToStatus(again.err).Code())
	})
}
