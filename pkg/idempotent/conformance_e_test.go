package idempotent_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/pkg/db/dbtest"
	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/idempotent"
)

// replicas are servers of one service: on PostgreSQL each with its own connections, on SQLite in one process.
func replicas(t *testing.T, engine string, n int, o idempotent.Options) []*world {
	t.Helper()
	dsn := dbtest.DSN(t, engine)
	var out []*world
	var shared *db.DB
	for range n {
		if shared == nil || engine == "postgres" {
			d, err := db.Open(t.Context(), dsn, nil)
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, d.Close()) })
			shared = d
		}
		s, err := idempotent.NewSQLStore(shared, secret, nil)
		require.NoError(t, err)
		out = append(out, newWorld(t, s, o))
	}
	return out
}

func casesE() []conformanceCase {
	crowd := func(t *testing.T, engine string) {
		ws := replicas(t, engine, 3, idempotent.Options{MaxWaiters: 20, Wait: 10 * time.Second})
		for _, w := range ws {
			w.handle(func(context.Context, string) (string, error) {
				<-time.After(50 * time.Millisecond)
				return "once", nil
			})
		}
		var wg sync.WaitGroup
		var answered atomic.Int64
		for i := range 200 {
			wg.Go(func() {
				switch r := ws[i%3].call(t.Context(), "Manual", k1, "a"); {
				case r.err == nil && r.text == "once":
					answered.Add(1)
				case fault.ReasonOf(r.err) != idempotent.ReasonInProgress:
					t.Errorf("%+v", r)
				}
			})
		}
		wg.Wait()
		require.Equal(t, 1, ws[0].executions()+ws[1].executions()+ws[2].executions())
		require.Positive(t, answered.Load())
	}
	running := func(t *testing.T, d time.Duration, o idempotent.Options, then func(t *testing.T, call func(ctx context.Context) error)) {
		require.NoError(t, registerContract())
		synctest.Test(t, func(t *testing.T) {
			ic := idempotent.UnaryServer(idempotent.NewMemoryStore(nil), o)
			var wg sync.WaitGroup
			wg.Go(func() {
				_, err := direct(t.Context(), ic, "Manual", k1, func(context.Context, any) (any, error) {
					<-time.After(d)
					return wrapperspb.String("first"), nil
				})
				if err != nil {
					t.Error(err)
				}
			})
			synctest.Wait()
			then(t, func(ctx context.Context) error {
				resp, err := direct(ctx, ic, "Manual", k1, succeed("second"))
				if err == nil && textOf(resp) != "first" {
					t.Errorf("got %v", resp)
				}
				return err
			})
			wg.Wait()
		})
	}
	return []conformanceCase{
		{"E-01", "two hundred calls over three replicas execute once", func(t *testing.T) {
			for _, engine := range []string{"sqlite", "postgres"} {
				t.Run(engine, func(t *testing.T) { t.Parallel(); crowd(t, engine) })
			}
		}},
		{"E-02", "a lost insert race is never a failure", func(t *testing.T) {
			for _, engine := range []string{"sqlite", "postgres"} {
				t.Run(engine, func(t *testing.T) {
					t.Parallel()
					ws := replicas(t, engine, 2, idempotent.Options{MaxWaiters: 100, Wait: 10 * time.Second})
					for i := range 20 {
						var wg sync.WaitGroup
						for j := range 8 {
							wg.Go(func() {
								if r := ws[j%2].call(t.Context(), "Manual", fmt.Sprintf("race-0123456789-%d", i), "a"); r.err != nil {
									t.Errorf("%+v", r)
								}
							})
						}
						wg.Wait()
					}
					require.Equal(t, 20, ws[0].executions()+ws[1].executions())
				})
			}
		}},
		{"E-03", "a second call waits for a short first one", func(t *testing.T) {
			running(t, 300*time.Millisecond, idempotent.Options{}, func(t *testing.T, call func(context.Context) error) {
				require.NoError(t, call(t.Context()))
			})
		}},
		{"E-04", "after a release exactly one waiter executes", func(t *testing.T) {
			require.NoError(t, registerContract())
			synctest.Test(t, func(t *testing.T) {
				ic := idempotent.UnaryServer(idempotent.NewMemoryStore(nil), idempotent.Options{})
				var wg sync.WaitGroup
				wg.Go(func() {
					_, _ = direct(t.Context(), ic, "Manual", k1, func(context.Context, any) (any, error) {
						<-time.After(500 * time.Millisecond)
						return nil, fault.New(fault.Conflict, "", "rolled back")
					})
				})
				synctest.Wait()
				var now, most, runs atomic.Int64
				for range 10 {
					wg.Go(func() {
						resp, err := direct(t.Context(), ic, "Manual", k1, func(ctx context.Context, _ any) (any, error) {
							most.Store(max(most.Load(), now.Add(1)))
							defer now.Add(-1)
							runs.Add(1)
							<-time.After(200 * time.Millisecond)
							return wrapperspb.String(fmt.Sprint("attempt ", idempotent.Fence(ctx))), nil
						})
						if err != nil || textOf(resp) != "attempt 2" {
							t.Errorf("%v %v", resp, err)
						}
					})
				}
				wg.Wait()
				require.Equal(t, int64(1), runs.Load())
				require.Equal(t, int64(1), most.Load())
			})
		}},
		{"E-05", "a call that waited long enough is told how long the lease still runs", func(t *testing.T) {
			running(t, 10*time.Second, idempotent.Options{Lease: 6500 * time.Millisecond}, func(t *testing.T, call func(context.Context) error) {
				begun := time.Now()
				err := call(t.Context())
				require.Equal(t, 2*time.Second, time.Since(begun))
				refused(t, reply{err: err}, codes.Aborted, idempotent.ReasonInProgress)
				require.Equal(t, 5*time.Second, fault.RetryAfter(err), "4.5 s, rounded up")
			})
		}},
		{"E-06", "a waiting call is answered before its deadline", func(t *testing.T) {
			running(t, 10*time.Second, idempotent.Options{}, func(t *testing.T, call func(context.Context) error) {
				ctx, cancel := context.WithTimeout(t.Context(), 150*time.Millisecond)
				defer cancel()
				begun := time.Now()
				refused(t, reply{err: call(ctx)}, codes.Aborted, idempotent.ReasonInProgress)
				require.Equal(t, 100*time.Millisecond, time.Since(begun))
			})
		}},
		{"E-07", "waiters are bounded, the others are told at once", func(t *testing.T) {
			running(t, 10*time.Second, idempotent.Options{MaxWaiters: 64}, func(t *testing.T, call func(context.Context) error) {
				var wg sync.WaitGroup
				var atOnce, later atomic.Int64
				for range 500 {
					wg.Go(func() {
						begun := time.Now()
						if fault.ReasonOf(call(t.Context())) != idempotent.ReasonInProgress {
							t.Error("answered")
						}
						if time.Since(begun) == 0 {
							atOnce.Add(1)
						} else {
							later.Add(1)
						}
					})
				}
				wg.Wait()
				require.Equal(t, int64(64), later.Load())
				require.Equal(t, int64(436), atOnce.Load())
			})
		}},
		{"E-08", "a waiter that leaves is freed at once, the owner goes on", func(t *testing.T) {
			running(t, time.Second, idempotent.Options{}, func(t *testing.T, call func(context.Context) error) {
				ctx, cancel := context.WithCancel(t.Context())
				time.AfterFunc(100*time.Millisecond, cancel)
				begun := time.Now()
				require.ErrorIs(t, call(ctx), context.Canceled)
				require.Equal(t, 100*time.Millisecond, time.Since(begun))
				require.NoError(t, call(t.Context()))
			})
		}},
		{"E-11", "of two keys for one business object the loser is refused for good", func(t *testing.T) {
			w := conf(t, idempotent.Options{})
			var mu sync.Mutex
			taken := map[string]bool{}
			w.handle(func(_ context.Context, number string) (string, error) {
				mu.Lock()
				defer mu.Unlock()
				if taken[number] {
					return "", fault.New(fault.AlreadyExists, "NUMBER_TAKEN", "taken").WithMeta("resource", "things/"+number)
				}
				taken[number] = true
				return number, nil
			})
			one, two := "one-0123456789abcdef", "two-0123456789abcdef"
			executed(t, w.call(t.Context(), "Manual", one, "7"))
			for range 2 {
				refused(t, w.call(t.Context(), "Manual", two, "7"), codes.AlreadyExists, "NUMBER_TAKEN")
			}
			require.Equal(t, 2, w.executions())
		}},
	}
}
