package idempotent_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/selfsame-io/selfsame/pkg/db/dbtest"
	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/idempotent"
	"github.com/selfsame-io/selfsame/pkg/idempotent/idempotenttest"
)

func casesG() []conformanceCase {
	// before is a refusal before the idempotency layer, which a corrected repetition passes.
	before := func(code codes.Code) func(t *testing.T) {
		return func(t *testing.T) {
			w := conf(t, idempotent.Options{})
			w.guard(func(context.Context, string) error { return status.Error(code, "no") })
			require.Equal(t, code, fault.ToStatus(w.call(t.Context(), "Manual", k1, "a").err).Code())
			w.guard(nil)
			executed(t, w.call(t.Context(), "Manual", k1, "corrected"))
			require.Equal(t, 1, w.executions())
		}
	}
	fails := func(err error) handlerFunc { return func(context.Context, string) (string, error) { return "", err } }
	works := func(context.Context, string) (string, error) { return "done", nil }
	return []conformanceCase{
		{"G-01", "after a refused validation the corrected request is executed", before(codes.InvalidArgument)},
		{"G-02", "after a refusal before the execution the corrected request is executed", before(codes.PermissionDenied)},
		{"G-03", "a limited call is executed later", before(codes.ResourceExhausted)},
		{"G-04", "a call without credentials is executed once they are right", before(codes.Unauthenticated)},
		{"G-05", "a failure before anything was sent is executed again", func(t *testing.T) {
			w := conf(t, idempotent.Options{})
			w.handle(fails(idempotent.NotExecuted(fault.New(fault.Unavailable, "", "connection refused"))))
			require.Equal(t, codes.Unavailable, fault.ToStatus(w.call(t.Context(), "Manual", k1, "a").err).Code())
			w.handle(func(ctx context.Context, _ string) (string, error) {
				return fmt.Sprint("attempt ", idempotent.Fence(ctx)), nil
			})
			require.Equal(t, reply{"attempt 2", idempotent.StatusExecuted, nil}, w.call(t.Context(), "Manual", k1, "a"))
		}},
		{"G-06", "after an uncertain call the target is asked first", func(t *testing.T) {
			for _, happened := range []bool{true, false} {
				w := conf(t, idempotent.Options{Probes: []string{method("Probe")}})
				effects := 0
				w.handle(func(context.Context, string) (string, error) {
					if happened {
						effects++
					}
					return "", fault.New(fault.Timeout, "", "no answer")
				})
				require.Error(t, w.call(t.Context(), "Probe", k1, "a").err)
				w.handle(func(ctx context.Context, _ string) (string, error) {
					require.True(t, idempotent.Recovering(ctx))
					if effects > 0 {
						return "found", nil
					}
					effects++
					return "made", nil
				})
				r := w.call(t.Context(), "Probe", k1, "a")
				executed(t, r)
				require.Equal(t, map[bool]string{true: "found", false: "made"}[happened], r.text)
				require.Equal(t, 1, effects)
			}
		}},
		{"G-07", "a business refusal is the answer to the key", func(t *testing.T) {
			w := conf(t, idempotent.Options{})
			w.handle(fails(fault.New(fault.Precondition, "CREDIT_LIMIT", "too much")))
			refused(t, w.call(t.Context(), "Manual", k1, "a"), codes.FailedPrecondition, "CREDIT_LIMIT")
			w.handle(works)
			again := w.call(t.Context(), "Manual", k1, "a")
			refused(t, again, codes.FailedPrecondition, "CREDIT_LIMIT")
			require.Equal(t, idempotent.StatusReplayed, again.status)
			executed(t, w.call(t.Context(), "Manual", "a-new-key-0123456789", "a"))
			t.Run("unless the contract keeps successes only", func(t *testing.T) {
				w.handle(fails(fault.New(fault.Precondition, "CREDIT_LIMIT", "too much")))
				require.Error(t, w.call(t.Context(), "Successes", k1, "a").err)
				w.handle(works)
				executed(t, w.call(t.Context(), "Successes", k1, "a"))
			})
		}},
		{"G-08", "a failure of the server is never frozen", func(t *testing.T) {
			w := conf(t, idempotent.Options{})
			w.handle(fails(fault.New(fault.Internal, "", "bug")))
			require.Equal(t, codes.Internal, fault.ToStatus(w.call(t.Context(), "Recoverable", k1, "a").err).Code())
			w.handle(works)
			executed(t, w.call(t.Context(), "Recoverable", k1, "a"))
		}},
		{"G-09", "what half succeeded is finished: only the failed part is sent again", func(t *testing.T) {
			for _, store := range []string{"memory", "sqlite", "postgres"} {
				t.Run(store, func(t *testing.T) { t.Parallel(); halfSuccess(t, store) })
			}
		}},
		{"G-10", "a success that could not be stored is not reported", func(t *testing.T) {
			w, clock := mortalWorld(t, idempotent.Options{})
			below := &downstream{}
			w.dies("Recoverable", k1, "a", func(ctx context.Context) { below.do(ctx, "erp.create", "") })
			clock.Advance(time.Minute)
			w.handle(func(ctx context.Context, _ string) (string, error) {
				below.do(ctx, "erp.create", "")
				return "done", nil
			})
			executed(t, w.call(t.Context(), "Recoverable", k1, "a"))
			require.Equal(t, 1, below.total())
		}},
		{"G-11", "an execution goes on when its caller leaves", func(t *testing.T) {
			w := conf(t, idempotent.Options{})
			ctx, cancel := context.WithCancel(t.Context())
			left := make(chan struct{})
			w.handle(func(ctx context.Context, _ string) (string, error) {
				cancel()
				<-left // the caller has been answered
				if ctx.Err() != nil {
					return "", ctx.Err()
				}
				return "done", nil
			})
			answered := w.call(ctx, "Manual", k1, "a")
			close(left)
			require.Equal(t, codes.Canceled, fault.ToStatus(answered.err).Code())
			require.Eventually(t, func() bool { return w.call(t.Context(), "Manual", k1, "a").text == "done" }, time.Minute, time.Millisecond)
			require.Equal(t, 1, w.executions())
		}},
		{"G-12", "each code has its place in the table", func(t *testing.T) {
			want := map[codes.Code]idempotent.State{
				codes.OK: idempotent.Done, codes.FailedPrecondition: idempotent.Done, codes.NotFound: idempotent.Done,
				codes.AlreadyExists: idempotent.Done, codes.OutOfRange: idempotent.Done,
				codes.InvalidArgument: idempotent.Released, codes.Unauthenticated: idempotent.Released,
				codes.PermissionDenied: idempotent.Released, codes.ResourceExhausted: idempotent.Released,
				codes.Unimplemented: idempotent.Released, codes.Aborted: idempotent.Released,
				codes.Unavailable: idempotent.Uncertain, codes.DeadlineExceeded: idempotent.Uncertain, codes.Canceled: idempotent.Uncertain,
				codes.Unknown: idempotent.Uncertain, codes.Internal: idempotent.Uncertain, codes.DataLoss: idempotent.Uncertain,
			}
			require.Len(t, want, 17)
			for code, state := range want {
				w := conf(t, idempotent.Options{})
				w.handle(fails(status.Error(code, "x")))
				_ = w.call(t.Context(), "Manual", k1, "a")
				page, err := w.store.List(t.Context(), idempotent.Filter{})
				require.NoError(t, err)
				require.Len(t, page.Entries, 1)
				require.Equal(t, state, page.Entries[0].State, code)
			}
		}},
	}
}

// halfSuccess crashes a handler between its two steps.
func halfSuccess(t *testing.T, kind string) {
	var store idempotent.Store = idempotent.NewMemoryStore(nil)
	if kind != "memory" {
		s, err := idempotent.NewSQLStore(dbtest.Open(t, kind), secret, nil)
		require.NoError(t, err)
		store = s
	}
	ring, err := idempotent.NewKeyring(idempotent.MasterKey{ID: "1", Secret: []byte(strings.Repeat("k", 32))})
	require.NoError(t, err)
	w := newWorld(t, store, idempotent.Options{Keys: ring})
	crm, erp, erpDown := 0, 0, true
	w.handle(func(ctx context.Context, _ string) (string, error) {
		account, err := idempotent.Step(ctx, "crm.account", func(context.Context) ([]byte, error) {
			crm++
			return fmt.Appendf(nil, "account %d", crm), nil
		})
		if err != nil {
			return "", err
		}
		customer, err := idempotent.Step(ctx, "erp.customer", func(context.Context) ([]byte, error) {
			if erpDown {
				return nil, fault.New(fault.Unavailable, "", "the ERP is down")
			}
			erp++
			return fmt.Appendf(nil, "customer %d", erp), nil
		})
		return string(account) + ", " + string(customer), err
	})
	for range 3 {
		require.Equal(t, codes.Unavailable, fault.ToStatus(w.call(t.Context(), "Recoverable", k1, "a").err).Code())
	}
	erpDown = false
	for _, want := range []string{idempotent.StatusExecuted, idempotent.StatusReplayed} {
		require.Equal(t, reply{"account 1, customer 1", want, nil}, w.call(t.Context(), "Recoverable", k1, "a"))
	}
	require.Equal(t, 1, crm, "its first result was recorded")
	require.Equal(t, 1, erp)
}

func casesH() []conformanceCase {
	return []conformanceCase{
		{"H-01", "an answer past its retention is gone, with the name of what it made", func(t *testing.T) {
			clock := idempotenttest.NewClock()
			s := idempotent.NewMemoryStore(clock.Now)
			w := newWorld(t, s, idempotent.Options{Now: clock.Now, Resource: func(proto.Message) string { return "things/1" }})
			executed(t, w.call(t.Context(), "Manual", "a-key-without-a-time", "a"))
			clock.Advance(24 * time.Hour)
			for range 2 {
				r := w.call(t.Context(), "Manual", "a-key-without-a-time", "a")
				refused(t, r, codes.FailedPrecondition, idempotent.ReasonResultGone)
				fe, ok := fault.As(r.err)
				require.True(t, ok)
				require.Equal(t, "things/1", fe.Meta["resource"])
				_, err := s.Purge(t.Context(), 100)
				require.NoError(t, err)
			}
			require.Equal(t, 1, w.executions())
			executed(t, w.call(t.Context(), "Permanent", "a-key-without-a-time", "a"))
			clock.Advance(10 * 365 * 24 * time.Hour)
			replayed(t, w.call(t.Context(), "Permanent", "a-key-without-a-time", "a"))
		}},
		{"H-02", "a key older than all memory is refused", func(t *testing.T) {
			w, clock := confClock(t, idempotent.Options{})
			refused(t, w.call(t.Context(), "Manual", uuid7(clock.Now().Add(-91*24*time.Hour)), "a"), codes.FailedPrecondition, idempotent.ReasonKeyExpired)
			require.Zero(t, w.executions())
			executed(t, w.call(t.Context(), "Manual", uuid7(clock.Now().Add(-89*24*time.Hour)), "a"))
		}},
		{"H-03", "a key from the future is refused", func(t *testing.T) {
			w, clock := confClock(t, idempotent.Options{})
			refused(t, w.call(t.Context(), "Manual", uuid7(clock.Now().Add(6*time.Minute)), "a"), codes.InvalidArgument, idempotent.ReasonKeyInvalid)
			executed(t, w.call(t.Context(), "Manual", uuid7(clock.Now().Add(4*time.Minute)), "a"))
		}},
		{"H-04", "a key without a time is executed again after all memory, and that is counted", func(t *testing.T) {
			clock := idempotenttest.NewClock()
			s := idempotent.NewMemoryStore(clock.Now)
			reader := sdkmetric.NewManualReader()
			w := newWorld(t, s, idempotent.Options{Now: clock.Now, Meter: sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))})
			executed(t, w.call(t.Context(), "Manual", "a-key-without-a-time", "a"))
			executed(t, w.call(t.Context(), "Manual", uuid7(clock.Now()), "a"))
			for range 2 {
				clock.Advance(200 * 24 * time.Hour)
				_, err := s.Purge(t.Context(), 100)
				require.NoError(t, err)
			}
			executed(t, w.call(t.Context(), "Manual", "a-key-without-a-time", "a"))
			require.Equal(t, int64(2), counted(t, reader, "selfsame.idempotency.unverifiable_age")["executed"])
		}},
		{"H-05", "the clock of the application does not matter", func(t *testing.T) {
			for _, skew := range []time.Duration{-10 * time.Minute, 10 * time.Minute} {
				clock := idempotenttest.NewClock()
				m := &mortal{Store: idempotent.NewMemoryStore(clock.Now)}
				w := newWorld(t, m, idempotent.Options{Wait: time.Millisecond, Now: func() time.Time { return clock.Now().Add(skew) }})
				executed(t, w.call(t.Context(), "Recoverable", "one-0123456789abcdef", "a"))
				replayed(t, w.call(t.Context(), "Recoverable", "one-0123456789abcdef", "a"))
				w.dies("Recoverable", "two-0123456789abcdef", "a", nil)
				clock.Advance(29 * time.Second)
				refused(t, w.call(t.Context(), "Recoverable", "two-0123456789abcdef", "a"), codes.Aborted, idempotent.ReasonInProgress)
				clock.Advance(time.Second)
				w.handle(func(context.Context, string) (string, error) { return "done", nil })
				executed(t, w.call(t.Context(), "Recoverable", "two-0123456789abcdef", "a"))
			}
		}},
		{"H-06", "a clock of the store that jumps back takes nothing over early", func(t *testing.T) {
			w, clock := mortalWorld(t, idempotent.Options{})
			w.dies("Recoverable", k1, "a", nil)
			clock.Advance(-time.Minute)
			refused(t, w.call(t.Context(), "Recoverable", k1, "a"), codes.Aborted, idempotent.ReasonInProgress)
			clock.Advance(89 * time.Second)
			refused(t, w.call(t.Context(), "Recoverable", k1, "a"), codes.Aborted, idempotent.ReasonInProgress)
			clock.Advance(time.Second)
			w.handle(func(context.Context, string) (string, error) { return "done", nil })
			executed(t, w.call(t.Context(), "Recoverable", k1, "a"))
			require.Equal(t, 2, w.executions())
		}},
		{"H-07", "purging beside claims, answers and replays loses nothing that lives", func(t *testing.T) {
			for _, engine := range []string{"sqlite", "postgres"} {
				t.Run(engine, func(t *testing.T) { t.Parallel(); purgeBeside(t, engine) })
			}
		}},
		{"H-08", "of ten million old keys few are removed at a time, with rests", func(t *testing.T) {
			for _, can := range []idempotent.Capabilities{{Transactional: true}, {Transactional: true, Shared: true}, {Shared: true}} {
				synctest.Test(t, func(t *testing.T) {
					s := &slowPurge{left: 10_000_000, can: can}
					ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
					defer cancel()
					require.NoError(t, idempotent.Sweep(ctx, s, time.Minute, nil, nil))
					require.LessOrEqual(t, s.most, 1000)
					require.Greater(t, len(s.calls), 10)
					for i := range s.calls[1:] {
						require.GreaterOrEqual(t, s.calls[i+1].Sub(s.calls[i]), 2*time.Second, "twenty times as long as a batch takes")
					}
				})
			}
		}},
		{"H-10", "after a restored backup the keys below stop duplicates", func(t *testing.T) {
			below := &downstream{}
			work := func(ctx context.Context, _ string) (string, error) { return below.do(ctx, "erp.create", "7"), nil }
			before, restored := conf(t, idempotent.Options{}), conf(t, idempotent.Options{})
			before.handle(work)
			restored.handle(work)
			first := before.call(before.as("a"), "Recoverable", k1, "a")
			executed(t, first)
			again := restored.call(restored.as("a"), "Recoverable", k1, "a")
			executed(t, again)
			require.Equal(t, first.text, again.text, "the same key for the same step")
			require.Equal(t, 1, below.total())
		}},
	}
}

// purgeBeside lets callers work while everything old is purged all the time.
func purgeBeside(t *testing.T, engine string) {
	clock := idempotenttest.NewClock()
	s, err := idempotent.NewSQLStore(dbtest.Open(t, engine), secret, clock.Now)
	require.NoError(t, err)
	// The clock outruns the heartbeats: with a short lease the living would look as if they had vanished.
	w := newWorld(t, s, idempotent.Options{Wait: 10 * time.Second, Lease: 24 * time.Hour, Now: clock.Now})
	w.handle(func(_ context.Context, req string) (string, error) {
		if strings.HasPrefix(req, "doubt") {
			return "", status.Error(codes.Unknown, "x")
		}
		return "did " + req, nil
	})
	keys := 2000
	if testing.Short() {
		keys = 200
	}
	stop := make(chan struct{})
	var purger, wg sync.WaitGroup
	purger.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				if _, err := s.Purge(t.Context(), 100); err != nil {
					t.Error(err)
					return
				}
				clock.Advance(time.Duration(rand.IntN(10)) * time.Second)
			}
		}
	})
	for worker := range 8 {
		wg.Go(func() {
			for i := range keys / 8 {
				key, req := fmt.Sprintf("purge-0123456789-%d-%d", worker, i), "a"
				if i%20 == 0 {
					req = "doubt"
				}
				first := w.call(t.Context(), "Manual", key, req)
				again := w.call(t.Context(), "Manual", key, req)
				switch {
				case req == "doubt" && (first.err == nil || fault.KindOf(again.err) != fault.Uncertain):
					t.Errorf("%+v %+v", first, again)
				case req == "a" && (first.err != nil || again.text != "did a" && fault.ReasonOf(again.err) != idempotent.ReasonResultGone):
					t.Errorf("%+v %+v", first, again)
				}
			}
		})
	}
	wg.Wait()
	close(stop)
	purger.Wait()
	require.Equal(t, keys, w.executions(), "each key once, whatever was purged")
	clock.Advance(1000 * idempotent.DefaultTombstone)
	for range 2 * keys / 100 {
		_, err := s.Purge(t.Context(), 200)
		require.NoError(t, err)
	}
	st, err := s.Stats(t.Context())
	require.NoError(t, err)
	require.Equal(t, int64(keys/8/20)*8+8*int64(min(1, keys/8%20)), st.Uncertain, "what nobody knows is never collected")
}
