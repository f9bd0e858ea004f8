package idempotent

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestCombiner(t *testing.T) {
	t.Parallel()
	t.Run("a question alone is asked at once, those that arrive meanwhile go together", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			var sizes []int
			hold := make(chan struct{})
			c := combiner[int, int]{limit: 1, ask: func(_ context.Context, q []int) ([]int, error) {
				sizes = append(sizes, len(q))
				if len(sizes) == 1 {
					<-hold
				}
				out := make([]int, len(q))
				for i, v := range q {
					out[i] = 2 * v
				}
				return out, nil
			}}
			var wg sync.WaitGroup
			for i := range 200 {
				wg.Go(func() {
					if got, err := c.do(t.Context(), i); err != nil || got != 2*i {
						t.Errorf("%d: %d %v", i, got, err)
					}
				})
				synctest.Wait()
			}
			close(hold)
			wg.Wait()
			require.Equal(t, []int{1, maxTogether, 199 - maxTogether}, sizes)
			require.Zero(t, c.running)
		})
	})
	t.Run("an error of a shared statement is nobody's: each asks alone", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			poison := errors.New("poison")
			hold := make(chan struct{})
			var first atomic.Bool
			c := combiner[int, int]{limit: 1, ask: func(_ context.Context, q []int) ([]int, error) {
				if first.CompareAndSwap(false, true) {
					<-hold
				}
				for _, v := range q {
					if v == 7 {
						return nil, poison
					}
				}
				return q, nil
			}}
			var wg sync.WaitGroup
			for i := range 10 {
				wg.Go(func() {
					got, err := c.do(t.Context(), i)
					if i == 7 && !errors.Is(err, poison) || i != 7 && (err != nil || got != i) {
						t.Errorf("%d: %d %v", i, got, err)
					}
				})
				synctest.Wait()
			}
			close(hold)
			wg.Wait()
			require.Zero(t, c.running)
		})
	})
	t.Run("nobody waits for a statement that its caller did not survive", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			hold := make(chan struct{})
			c := combiner[int, int]{limit: 1, ask: func(_ context.Context, q []int) ([]int, error) {
				if q[0] == 0 {
					<-hold
				}
				if len(q) > 1 {
					panic("a shared statement")
				}
				return q, nil
			}}
			var wg sync.WaitGroup
			var died, answered atomic.Int64
			for i := range 5 {
				wg.Go(func() {
					defer func() {
						if recover() != nil {
							died.Add(1)
						}
					}()
					if got, err := c.do(t.Context(), i); err != nil || got != i {
						t.Errorf("%d: %d %v", i, got, err)
					}
					answered.Add(1)
				})
				synctest.Wait()
			}
			close(hold)
			wg.Wait()
			require.Equal(t, []int64{1, 4}, []int64{died.Load(), answered.Load()})
			require.Zero(t, c.running)
		})
	})
	t.Run("who leaves takes nothing along, also not the turn", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			hold := make(chan struct{})
			asked := map[int]bool{}
			c := combiner[int, int]{limit: 1, ask: func(_ context.Context, q []int) ([]int, error) {
				for _, v := range q {
					asked[v] = true
				}
				if q[0] == 0 {
					<-hold
				}
				return q, nil
			}}
			var wg sync.WaitGroup
			wg.Go(func() { _, _ = c.do(t.Context(), 0) })
			synctest.Wait()
			ctx, cancel := context.WithCancel(t.Context())
			for i := 1; i <= 3; i++ {
				wg.Go(func() {
					callCtx := t.Context()
					if i < 3 {
						callCtx = ctx
					}
					if _, err := c.do(callCtx, i); (err != nil) != (i < 3) {
						t.Errorf("%d: %v", i, err)
					}
				})
				synctest.Wait()
			}
			cancel()
			synctest.Wait()
			close(hold)
			wg.Wait()
			require.Equal(t, map[int]bool{0: true, 3: true}, asked)
			require.Zero(t, c.running)
			require.Empty(t, c.queue)
		})
	})
	t.Run("nobody waits longer for a shared statement than for one of its own", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			begun := time.Now()
			hold := make(chan struct{})
			c := combiner[int, int]{limit: 1, ask: func(ctx context.Context, q []int) ([]int, error) {
				switch {
				case q[0] == 0:
					<-hold
				case len(q) > 1: // a store that hangs
					<-ctx.Done()
					return nil, ctx.Err()
				}
				return q, nil
			}}
			var wg sync.WaitGroup
			ask := func(q int, limit time.Duration, check func(took time.Duration, err error)) {
				wg.Go(func() {
					ctx, cancel := context.WithTimeout(t.Context(), limit)
					defer cancel()
					_, err := c.do(ctx, q)
					check(time.Since(begun), err)
				})
				synctest.Wait()
			}
			ask(0, time.Hour, func(_ time.Duration, err error) { require.NoError(t, err) })
			ask(1, time.Second, func(took time.Duration, err error) {
				require.ErrorIs(t, err, context.DeadlineExceeded)
				require.Equal(t, time.Second, took)
			})
			ask(2, time.Hour, func(took time.Duration, err error) {
				require.NoError(t, err, "it has time left and asks alone")
				require.Equal(t, time.Second, took)
			})
			close(hold)
			wg.Wait()
			require.Zero(t, c.running)
		})
	})
	t.Run("in a crowd a statement is held for company, and only then", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			var sizes []int
			crowded := false
			c := combiner[int, int]{limit: 1, pace: time.Second, crowded: func() bool { return crowded }, ask: func(_ context.Context, q []int) ([]int, error) {
				sizes = append(sizes, len(q))
				return q, nil
			}}
			begun := time.Now()
			var wg sync.WaitGroup
			three := func() {
				for i := range 3 {
					wg.Go(func() {
						_, err := c.do(t.Context(), i)
						require.NoError(t, err)
					})
					synctest.Wait()
				}
				wg.Wait()
			}
			three()
			require.Equal(t, []int{1, 1, 1}, sizes)
			require.Equal(t, begun, time.Now(), "nobody waits where nobody comes")
			crowded, sizes = true, nil
			three()
			require.Equal(t, []int{3}, sizes)
			require.Equal(t, time.Second, time.Since(begun))
			time.Sleep(2 * time.Second)
			three()
			require.Equal(t, []int{3, 1, 2}, sizes, "after a pause the first goes at once")
			require.Equal(t, 4*time.Second, time.Since(begun))
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			defer cancel()
			_, err := c.do(ctx, 1)
			require.ErrorIs(t, err, context.DeadlineExceeded, "who has no time leaves")
			require.Zero(t, c.running)
		})
	})
	t.Run("many callers that come and leave never lose the turn", func(t *testing.T) {
		t.Parallel()
		c := combiner[int, int]{limit: 2, ask: func(_ context.Context, q []int) ([]int, error) { return q, nil }}
		var wg sync.WaitGroup
		for i := range 32 {
			wg.Go(func() {
				for j := range 500 {
					ctx, cancel := context.WithCancel(t.Context())
					if (i+j)%3 == 0 {
						cancel()
					}
					if got, err := c.do(ctx, j); err == nil && got != j {
						t.Errorf("%d is the answer to %d", got, j)
					}
					cancel()
				}
			})
		}
		wg.Wait()
		require.Zero(t, c.running)
	})
}

func TestCombiner_AnswersAreCopiedBeforeTheirRoomIsUsedAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		hold := make(chan struct{})
		room, freed := make([]int, maxTogether), 0
		c := combiner[int, int]{limit: 1, ask: func(_ context.Context, q []int) ([]int, error) {
			if q[0] == 0 {
				<-hold
			}
			return room[:copy(room, q)], nil
		}}
		c.free = func(all []int) {
			freed += len(all)
			for i := range all {
				all[i] = -1
			}
		}
		var wg sync.WaitGroup
		for i := range 10 {
			wg.Go(func() {
				if got, err := c.do(t.Context(), i); err != nil || got != i {
					t.Errorf("%d: %d %v", i, got, err)
				}
			})
			synctest.Wait()
		}
		close(hold)
		wg.Wait()
		got, err := c.alone(t.Context(), 42)
		require.NoError(t, err)
		require.Equal(t, []int{42, 11}, []int{got, freed})
	})
}
