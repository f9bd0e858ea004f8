package idempotent_test

import (
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/pkg/db/dbtest"
	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/idempotent"
	"github.com/selfsame-io/selfsame/pkg/idempotent/idempotenttest"
)

func TestServer_Replay(t *testing.T) {
	t.Parallel()
	w := newWorld(t, idempotent.NewMemoryStore(nil), idempotent.Options{})
	first := w.call(t.Context(), "Manual", "k1", "a")
	require.Equal(t, reply{"did a", idempotent.StatusExecuted, nil}, first)
	for range 3 {
		require.Equal(t, reply{"did a", idempotent.StatusReplayed, nil}, w.call(t.Context(), "Manual", "k1", "a"))
	}
	require.Equal(t, 1, w.executions())

	again := w.call(t.Context(), "Manual", "k1", "another request")
	require.Equal(t, idempotent.ReasonKeyReused, fault.ReasonOf(again.err))
	require.Equal(t, fault.Precondition, fault.KindOf(again.err))
	require.Equal(t, 1, w.executions())

	require.NoError(t, w.call(t.Context(), "Recoverable", "k1", "a").err, "another method is another scope")
	require.NoError(t, w.call(w.as("somebody else"), "Manual", "k1", "b").err, "another caller is another scope")
	require.Equal(t, 3, w.executions())
}

func TestServer_FinalErrorsAreReplayedExactly(t *testing.T) {
	t.Parallel()
	w := newWorld(t, idempotent.NewMemoryStore(nil), idempotent.Options{})
	w.handle(func(context.Context, string) (string, error) {
		return "", fault.New(fault.AlreadyExists, "NUMBER_TAKEN", "taken").WithMeta("resource", "customers/7")
	})
	first, second := w.call(t.Context(), "Manual", "k", "a"), w.call(t.Context(), "Manual", "k", "a")
	require.Equal(t, idempotent.StatusExecuted, first.status)
	require.Equal(t, idempotent.StatusReplayed, second.status)
	require.True(t, proto.Equal(status.Convert(first.err).Proto(), status.Convert(second.err).Proto()))
	require.Equal(t, "NUMBER_TAKEN", fault.ReasonOf(second.err))
	require.Equal(t, 1, w.executions())
}

func TestServer_WhatIsRemembered(t *testing.T) {
	t.Parallel()
	const (
		done, released, doubt = "done", "released", "doubt"
	)
	codesWant := map[codes.Code]string{
		codes.FailedPrecondition: done, codes.NotFound: done, codes.AlreadyExists: done, codes.OutOfRange: done,
		codes.InvalidArgument: released, codes.Unauthenticated: released, codes.PermissionDenied: released,
		codes.ResourceExhausted: released, codes.Unimplemented: released, codes.Aborted: released,
		codes.Unavailable: doubt, codes.DeadlineExceeded: doubt, codes.Canceled: doubt, codes.Unknown: doubt,
		codes.Internal: doubt, codes.DataLoss: doubt,
	}
	cases := map[string]struct {
		err  error
		want string
	}{
		"an uncertain error":            {fault.New(fault.Uncertain, "", "x"), doubt},
		"an error nobody classified":    {errors.New("x"), doubt},
		"Final makes anything final":    {idempotent.Final(fault.New(fault.Unavailable, "", "x")), done},
		"NotExecuted releases anything": {idempotent.NotExecuted(fault.New(fault.Internal, "", "x")), released},
		"NotExecuted inside a wrapper":  {fmt.Errorf("w: %w", idempotent.NotExecuted(errors.New("x"))), released},
	}
	for c, want := range codesWant {
		cases[c.String()] = struct {
			err  error
			want string
		}{status.Error(c, "x"), want}
	}
	for name, tt := range cases {
		for _, m := range []string{"Manual", "Probe", "Recoverable"} {
			t.Run(m+": "+name, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, idempotent.NewMemoryStore(nil), idempotent.Options{Probes: []string{method("Probe")}})
				w.handle(func(context.Context, string) (string, error) { return "", tt.err })
				first := w.call(t.Context(), m, "k", "a")
				require.Error(t, first.err)
				recovering := false
				w.handle(func(ctx context.Context, _ string) (string, error) {
					recovering = idempotent.Recovering(ctx)
					return "second attempt", nil
				})
				second := w.call(t.Context(), m, "k", "a")
				switch {
				case tt.want == done:
					require.Equal(t, status.Code(first.err), status.Code(second.err))
					require.Equal(t, idempotent.StatusReplayed, second.status)
					require.Equal(t, 1, w.executions())
				case tt.want == released || m != "Manual":
					require.Equal(t, "second attempt", second.text)
					require.Equal(t, tt.want == doubt, recovering, "the handler knows whether it must look first")
					require.Equal(t, 2, w.executions())
				default:
					require.Equal(t, fault.Uncertain, fault.KindOf(second.err))
					require.Equal(t, 1, w.executions())
				}
			})
		}
	}
}

func TestServer_ProbeIsOnlyForThoseWhoCan(t *testing.T) {
	t.Parallel()
	w := newWorld(t, idempotent.NewMemoryStore(nil), idempotent.Options{})
	w.handle(func(context.Context, string) (string, error) { return "", fault.New(fault.Timeout, "", "x") })
	require.Error(t, w.call(t.Context(), "Probe", "k", "a").err)
	require.Equal(t, fault.Uncertain, fault.KindOf(w.call(t.Context(), "Probe", "k", "a").err))
	require.Equal(t, 1, w.executions())
}

func TestServer_Keys(t *testing.T) {
	t.Parallel()
	w := newWorld(t, idempotent.NewMemoryStore(nil), idempotent.Options{})
	require.Equal(t, idempotent.ReasonKeyMissing, fault.ReasonOf(w.call(t.Context(), "Manual", "", "a").err))
	for name, key := range map[string]string{"too long": strings.Repeat("x", 256), "with a space": "a b"} {
		require.Equal(t, idempotent.ReasonKeyInvalid, fault.ReasonOf(w.call(t.Context(), "Manual", key, "a").err), name)
	}
	twice := metadata.AppendToOutgoingContext(t.Context(), idempotent.Metadata, "a")
	require.Equal(t, idempotent.ReasonKeyInvalid, fault.ReasonOf(w.call(twice, "Manual", "b", "a").err))
	require.Zero(t, w.executions())

	old := uuid7(time.Now().Add(-100 * 24 * time.Hour))
	require.Equal(t, idempotent.ReasonKeyExpired, fault.ReasonOf(w.call(t.Context(), "Manual", old, "a").err))
	require.Zero(t, w.executions(), "a key older than all memory must not be executed again")
	require.NoError(t, w.call(t.Context(), "Manual", uuid7(time.Now().Add(-time.Hour)), "a").err)
	require.NoError(t, w.call(t.Context(), "Manual", uuid7(time.Now().Add(4*time.Minute)), "a").err, "a clock that is a little fast is no reason to refuse")
	ahead := w.call(t.Context(), "Manual", uuid7(time.Now().Add(24*time.Hour)), "a")
	require.Equal(t, idempotent.ReasonKeyInvalid, fault.ReasonOf(ahead.err), "such a key would outlive the memory of its answer")
	require.NoError(t, w.call(t.Context(), "Manual", strings.Repeat("~", 255), "'; DROP TABLE idempotency; --").err)

	for _, m := range []string{"None", "Undeclared"} {
		before := w.executions()
		refused := w.call(t.Context(), m, "k", "a")
		require.Equal(t, idempotent.ReasonNotSupported, fault.ReasonOf(refused.err), "a key is never accepted and ignored")
		require.Equal(t, before, w.executions())
		require.NoError(t, w.call(t.Context(), m, "", "a").err)
	}
	for _, m := range []string{"Natural", "Read"} {
		var seen string
		w.handle(func(ctx context.Context, _ string) (string, error) {
			seen, _ = idempotent.FromContext(ctx)
			return "", nil
		})
		for range 2 {
			require.Equal(t, idempotent.StatusIgnored, w.call(t.Context(), m, "k", "a").status, m)
		}
		require.Equal(t, "k", seen, "the key is passed on to what the method calls")
		require.NoError(t, w.call(t.Context(), m, "", "a").err)
	}
	before := w.executions()
	for range 2 {
		require.NoError(t, w.call(t.Context(), "Optional", "", "a").err)
	}
	require.Equal(t, before+2, w.executions(), "without a key an optional method is not protected")
	for range 2 {
		require.NoError(t, w.call(t.Context(), "Optional", "k", "a").err)
	}
	require.Equal(t, before+3, w.executions())
}

func uuid7(at time.Time) string {
	ms := at.UnixMilli()
	b := []byte{byte(ms >> 40), byte(ms >> 32), byte(ms >> 24), byte(ms >> 16), byte(ms >> 8), byte(ms), 0x71, 2, 0x83, 4, 5, 6, 7, 8, 9, 10}
	h := hex.EncodeToString(b)
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

func TestServer_HundredAtOnceExecuteOnce(t *testing.T) {
	t.Parallel()
	for _, engine := range []string{"memory", "sqlite", "postgres"} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			var store idempotent.Store = idempotent.NewMemoryStore(nil)
			if engine != "memory" {
				s, err := idempotent.NewSQLStore(dbtest.Open(t, engine), secret, nil)
				require.NoError(t, err)
				store = s
			}
			w := newWorld(t, store, idempotent.Options{MaxWaiters: 200, Wait: 20 * time.Second})
			begun, release := make(chan struct{}), make(chan struct{})
			w.handle(func(context.Context, string) (string, error) {
				close(begun) // panics if it runs twice
				<-release
				return "once", nil
			})
			var wg sync.WaitGroup
			for range 100 {
				wg.Go(func() {
					if r := w.call(t.Context(), "Manual", "k", "a"); r.err != nil || r.text != "once" {
						t.Errorf("got %+v", r)
					}
				})
			}
			<-begun
			close(release)
			wg.Wait()
			require.Equal(t, 1, w.executions())
		})
	}
}

// direct calls the interceptor without a connection, in fake time.
func direct(ctx context.Context, ic grpc.UnaryServerInterceptor, name, key string, h grpc.UnaryHandler) (any, error) {
	ctx = metadata.NewIncomingContext(ctx, metadata.Pairs(idempotent.Metadata, key))
	return ic(ctx, wrapperspb.String("request"), &grpc.UnaryServerInfo{FullMethod: method(name)}, h)
}

func succeed(text string) grpc.UnaryHandler {
	return func(context.Context, any) (any, error) { return wrapperspb.String(text), nil }
}

func TestServer_InFlight(t *testing.T) {
	t.Parallel()
	require.NoError(t, registerContract())
	slow := func(d time.Duration) grpc.UnaryHandler {
		return func(context.Context, any) (any, error) {
			<-time.After(d)
			return wrapperspb.String("slow"), nil
		}
	}
	t.Run("a second call waits and gets the first one's answer", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			ic := idempotent.UnaryServer(idempotent.NewMemoryStore(nil), idempotent.Options{})
			go func() { _, _ = direct(t.Context(), ic, "Manual", "k", slow(time.Second)) }()
			synctest.Wait()
			resp, err := direct(t.Context(), ic, "Manual", "k", succeed("second"))
			require.NoError(t, err)
			require.Equal(t, "slow", resp.(*wrapperspb.StringValue).GetValue())
		})
	})
	t.Run("after two seconds it is told how long the lease still runs", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			ic := idempotent.UnaryServer(idempotent.NewMemoryStore(nil), idempotent.Options{})
			go func() { _, _ = direct(t.Context(), ic, "Manual", "k", slow(time.Minute)) }()
			synctest.Wait()
			begun := time.Now()
			_, err := direct(t.Context(), ic, "Manual", "k", succeed("second"))
			require.Equal(t, 2*time.Second, time.Since(begun))
			require.Equal(t, idempotent.ReasonInProgress, fault.ReasonOf(err))
			require.Equal(t, fault.Conflict, fault.KindOf(err))
			require.Equal(t, 28*time.Second, fault.RetryAfter(err))
			synctest.Wait()
			<-time.After(2 * time.Minute)
		})
	})
	t.Run("it answers before the caller's deadline", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			ic := idempotent.UnaryServer(idempotent.NewMemoryStore(nil), idempotent.Options{})
			go func() { _, _ = direct(t.Context(), ic, "Manual", "k", slow(time.Minute)) }()
			synctest.Wait()
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			begun := time.Now()
			_, err := direct(ctx, ic, "Manual", "k", succeed("second"))
			require.Equal(t, idempotent.ReasonInProgress, fault.ReasonOf(err))
			require.Equal(t, 250*time.Millisecond, time.Since(begun))
			<-time.After(2 * time.Minute)
		})
	})
	t.Run("waiters are bounded", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			ic := idempotent.UnaryServer(idempotent.NewMemoryStore(nil), idempotent.Options{MaxWaiters: 1})
			for range 2 {
				go func() { _, _ = direct(t.Context(), ic, "Manual", "k", slow(time.Minute)) }()
				synctest.Wait()
			}
			begun := time.Now()
			_, err := direct(t.Context(), ic, "Manual", "k", succeed("third"))
			require.Equal(t, idempotent.ReasonInProgress, fault.ReasonOf(err))
			require.Zero(t, time.Since(begun))
			<-time.After(2 * time.Minute)
		})
	})
	t.Run("when the first is released, one waiter executes", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			ic := idempotent.UnaryServer(idempotent.NewMemoryStore(nil), idempotent.Options{})
			go func() {
				_, _ = direct(t.Context(), ic, "Manual", "k", func(context.Context, any) (any, error) {
					<-time.After(500 * time.Millisecond)
					return nil, fault.New(fault.Conflict, "", "rolled back")
				})
			}()
			synctest.Wait()
			var runs atomic.Int64
			var wg sync.WaitGroup
			for range 10 {
				wg.Go(func() {
					resp, err := direct(t.Context(), ic, "Manual", "k", func(context.Context, any) (any, error) {
						runs.Add(1)
						<-time.After(200 * time.Millisecond)
						return wrapperspb.String("waiter"), nil
					})
					if err != nil || resp.(*wrapperspb.StringValue).GetValue() != "waiter" {
						t.Errorf("%v %v", resp, err)
					}
				})
			}
			wg.Wait()
			require.Equal(t, int64(1), runs.Load())
		})
	})
}

func TestServer_TheHandlerOutlivesItsCaller(t *testing.T) {
	t.Parallel()
	require.NoError(t, registerContract())
	synctest.Test(t, func(t *testing.T) {
		ic := idempotent.UnaryServer(idempotent.NewMemoryStore(nil), idempotent.Options{})
		ctx, cancel := context.WithCancel(t.Context())
		_, err := direct(ctx, ic, "Manual", "k", func(ctx context.Context, _ any) (any, error) {
			cancel()
			select {
			case <-ctx.Done():
				return nil, ctx.Err()
			case <-time.After(5 * time.Second):
				return wrapperspb.String("done anyway"), nil
			}
		})
		require.NoError(t, err)
		resp, err := direct(t.Context(), ic, "Manual", "k", succeed("second"))
		require.NoError(t, err)
		require.Equal(t, "done anyway", resp.(*wrapperspb.StringValue).GetValue())

		_, err = direct(t.Context(), ic, "Manual", "endless", func(ctx context.Context, _ any) (any, error) { <-ctx.Done(); return nil, ctx.Err() })
		require.Equal(t, fault.Timeout, fault.KindOf(err), "but not its budget")
	})
}

func TestServer_TheHeartbeatKeepsALongAttempt(t *testing.T) {
	t.Parallel()
	require.NoError(t, registerContract())
	synctest.Test(t, func(t *testing.T) {
		store := idempotent.NewMemoryStore(nil)
		ic := idempotent.UnaryServer(store, idempotent.Options{Lease: 3 * time.Second, Budget: time.Hour})
		go func() {
			_, _ = direct(t.Context(), ic, "Recoverable", "k", func(context.Context, any) (any, error) {
				<-time.After(time.Minute)
				return wrapperspb.String("first"), nil
			})
		}()
		synctest.Wait()
		for range 10 {
			<-time.After(3 * time.Second)
			_, err := direct(t.Context(), ic, "Recoverable", "k", succeed("stolen"))
			require.Equal(t, idempotent.ReasonInProgress, fault.ReasonOf(err))
		}
		<-time.After(time.Minute)
		resp, err := direct(t.Context(), ic, "Recoverable", "k", succeed("stolen"))
		require.NoError(t, err)
		require.Equal(t, "first", resp.(*wrapperspb.StringValue).GetValue())
	})
}

// deaf is a store that hears no heartbeats from the first owner: the process is cut off, its handler goes on.
type deaf struct {
	idempotent.Store
	hang bool
}

func (d deaf) Heartbeat(ctx context.Context, g idempotent.Grant, lease time.Duration) error {
	if g.Fence > 1 {
		return d.Store.Heartbeat(ctx, g, lease)
	}
	if d.hang {
		<-ctx.Done()
		return ctx.Err()
	}
	return errDown
}

// A handler that looks, then acts, is safe only if it cannot act after another attempt may have begun.
func TestServer_AHandlerEndsBeforeItsLeaseWhenTheStoreIsNotReached(t *testing.T) {
	t.Parallel()
	require.NoError(t, registerContract())
	for _, hang := range []bool{false, true} {
		t.Run(fmt.Sprintf("the store hangs %t", hang), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				store := deaf{idempotent.NewMemoryStore(nil), hang}
				ic := idempotent.UnaryServer(store, idempotent.Options{Lease: 30 * time.Second, Budget: time.Hour})
				begun := time.Now()
				var ended atomic.Int64 // nanoseconds
				settled := make(chan struct{})
				go func() {
					defer close(settled)
					_, _ = direct(t.Context(), ic, "Recoverable", "k", func(ctx context.Context, _ any) (any, error) {
						<-ctx.Done()
						ended.Store(int64(time.Since(begun)))
						return nil, ctx.Err()
					})
				}()
				synctest.Wait()
				for {
					var began time.Duration
					_, err := direct(t.Context(), ic, "Recoverable", "k", func(context.Context, any) (any, error) {
						began = time.Since(begun)
						return wrapperspb.String("second"), nil
					})
					if err == nil {
						first := time.Duration(ended.Load())
						require.NotZero(t, first)
						require.Less(t, first, 30*time.Second)
						require.LessOrEqual(t, first, began, "the first attempt had ended when the second began")
						<-settled
						return
					}
					require.Equal(t, idempotent.ReasonInProgress, fault.ReasonOf(err))
					<-time.After(time.Second)
				}
			})
		})
	}
}

func TestServer_Panic(t *testing.T) {
	t.Parallel()
	w := newWorld(t, idempotent.NewMemoryStore(nil), idempotent.Options{})
	w.handle(func(context.Context, string) (string, error) { panic("secret detail") })
	r := w.call(t.Context(), "Manual", "k", "a")
	require.Equal(t, fault.ReasonPanic, fault.ReasonOf(r.err))
	require.NotContains(t, r.err.Error(), "secret detail")
	require.Equal(t, fault.Uncertain, fault.KindOf(w.call(t.Context(), "Manual", "k", "a").err))
}

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

func TestServer_LargeAnswersAreRememberedByName(t *testing.T) {
	t.Parallel()
	w := newWorld(t, idempotent.NewMemoryStore(nil), idempotent.Options{Resource: func(proto.Message) string { return "things/1" }})
	w.handle(func(context.Context, string) (string, error) { return strings.Repeat("x", idempotent.MaxAnswer+1), nil })
	require.NoError(t, w.call(t.Context(), "Manual", "k", "a").err)
	r := w.call(t.Context(), "Manual", "k", "a")
	require.Equal(t, idempotent.ReasonResultGone, fault.ReasonOf(r.err))
	fe, ok := fault.As(r.err)
	require.True(t, ok)
	require.Equal(t, "things/1", fe.Meta["resource"])
	require.Equal(t, 1, w.executions())
}
