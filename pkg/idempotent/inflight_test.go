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
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/idempotent"
)

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
