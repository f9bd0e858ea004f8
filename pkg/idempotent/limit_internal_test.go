package idempotent

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestLimited(t *testing.T) {
	t.Parallel()
	type name struct{}
	under := func(t *testing.T, check func(t *testing.T, ctx context.Context, cancel func())) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(context.WithValue(t.Context(), name{}, "value"))
			defer cancel()
			check(t, ctx, cancel)
		})
	}
	t.Run("its time is over, whether or not somebody waits for that", func(t *testing.T) {
		t.Parallel()
		under(t, func(t *testing.T, ctx context.Context, _ func()) {
			begun := time.Now()
			unwatched := limit(ctx, time.Second)
			defer unwatched.end()
			watched := limit(ctx, time.Second)
			defer watched.end()
			at, ok := unwatched.Deadline()
			require.True(t, ok)
			require.Equal(t, begun.Add(time.Second), at)
			require.Equal(t, "value", unwatched.Value(name{}))
			require.NoError(t, unwatched.Err())
			<-watched.Done()
			require.Equal(t, time.Second, time.Since(begun))
			require.ErrorIs(t, watched.Err(), context.DeadlineExceeded)
			require.ErrorIs(t, unwatched.Err(), context.DeadlineExceeded)
		})
	})
	t.Run("it is over with that of the caller, and all that comes of it too", func(t *testing.T) {
		t.Parallel()
		under(t, func(t *testing.T, ctx context.Context, cancel func()) {
			l := limit(ctx, time.Hour)
			defer l.end()
			derived, stop := context.WithTimeout(l, time.Minute)
			defer stop()
			require.NoError(t, derived.Err())
			cancel()
			<-derived.Done()
			require.ErrorIs(t, derived.Err(), context.Canceled)
			require.ErrorIs(t, l.Err(), context.Canceled)
		})
	})
	t.Run("the caller's time is not made longer", func(t *testing.T) {
		t.Parallel()
		under(t, func(t *testing.T, ctx context.Context, _ func()) {
			begun := time.Now()
			short, cancel := context.WithTimeout(ctx, time.Second)
			defer cancel()
			l := limit(short, time.Hour)
			defer l.end()
			at, _ := l.Deadline()
			require.Equal(t, begun.Add(time.Second), at)
			<-l.Done()
			require.Equal(t, time.Second, time.Since(begun))
			require.ErrorIs(t, l.Err(), context.DeadlineExceeded)
		})
	})
	t.Run("what is still waiting for it when the question was answered ends", func(t *testing.T) {
		t.Parallel()
		under(t, func(t *testing.T, ctx context.Context, _ func()) {
			for _, before := range []bool{false, true} {
				l := limit(ctx, time.Hour)
				if before {
					_ = l.Done()
				}
				l.end()
				require.ErrorIs(t, l.Err(), context.Canceled)
				<-l.Done()
				require.ErrorIs(t, l.Err(), context.Canceled)
			}
		})
	})
	t.Run("who waits for others has no more time than they, and leaves with the caller", func(t *testing.T) {
		t.Parallel()
		under(t, func(t *testing.T, ctx context.Context, cancel func()) {
			begun := time.Now()
			c := combiner[int, int]{limit: 1, ask: func(ctx context.Context, _ []int) ([]int, error) {
				<-ctx.Done() // a store that hangs
				return nil, ctx.Err()
			}}
			failed := make(chan error, 3)
			ask := func(ctx context.Context) {
				go func() {
					l := limit(ctx, time.Second)
					defer l.end()
					_, err := c.do(l, 1)
					failed <- err
				}()
				synctest.Wait()
			}
			ask(t.Context())
			ask(ctx)
			ask(t.Context())
			cancel()
			require.ErrorIs(t, <-failed, context.Canceled)
			require.Equal(t, begun, time.Now())
			require.ErrorIs(t, <-failed, context.DeadlineExceeded)
			require.ErrorIs(t, <-failed, context.DeadlineExceeded)
			require.Equal(t, time.Second, time.Since(begun))
			require.Zero(t, c.running)
		})
	})
}
