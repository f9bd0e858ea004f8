package retry_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/retry"
)

func TestBackoff(t *testing.T) {
	t.Parallel()
	t.Run("grows from Min to Max", func(t *testing.T) {
		t.Parallel()
		b := retry.Backoff{Min: time.Second, Max: 5 * time.Second, Factor: 2}
		var got []time.Duration
		for i := range 5 {
			got = append(got, b.Next(i+1))
		}
		require.Equal(t, []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 5 * time.Second, 5 * time.Second}, got)
		require.Equal(t, 5*time.Second, b.Next(1<<40), "no overflow")
		require.Equal(t, time.Second, b.Next(-3))
	})
	t.Run("the zero value is usable", func(t *testing.T) {
		t.Parallel()
		require.Equal(t, 100*time.Millisecond, retry.Backoff{}.Next(1))
		require.Equal(t, 30*time.Second, retry.Backoff{}.Next(99))
	})
	t.Run("jitter spreads evenly and stays below Max", func(t *testing.T) {
		t.Parallel()
		at := func(r float64) time.Duration {
			return retry.Backoff{Min: time.Second, Max: 1100 * time.Millisecond, Jitter: 0.5, Rand: func() float64 { return r }}.Next(1)
		}
		require.Equal(t, 500*time.Millisecond, at(0))
		require.Equal(t, time.Second, at(0.5))
		require.Equal(t, 1100*time.Millisecond, at(0.99))
	})
}

// run calls Do with errs as the results of the attempts, in fake time, and returns when each attempt began.
func run(t *testing.T, p retry.Policy, timeout time.Duration, errs ...error) (at []time.Duration, err error) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), timeout)
		defer cancel()
		begun := time.Now()
		err = retry.Do(ctx, p, func(context.Context) error {
			at = append(at, time.Since(begun))
			return errs[min(len(at), len(errs))-1]
		})
	})
	return at, err
}

func TestDo(t *testing.T) {
	t.Parallel()
	down := fault.New(fault.Unavailable, "", "down")
	second := retry.Backoff{Min: time.Second, Max: time.Minute}

	t.Run("repeats until it works", func(t *testing.T) {
		t.Parallel()
		at, err := run(t, retry.Policy{Backoff: second}, time.Hour, down, down, nil)
		require.NoError(t, err)
		require.Equal(t, []time.Duration{0, time.Second, 3 * time.Second}, at)
	})
	t.Run("gives up after MaxAttempts with the last error", func(t *testing.T) {
		t.Parallel()
		at, err := run(t, retry.Policy{Backoff: second, MaxAttempts: 4}, time.Hour, down)
		require.ErrorIs(t, err, down)
		require.Len(t, at, 4)
	})
	t.Run("a negative limit means until the deadline", func(t *testing.T) {
		t.Parallel()
		at, err := run(t, retry.Policy{Backoff: retry.Backoff{Min: time.Second, Factor: 1}, MaxAttempts: -1}, 10500*time.Millisecond, down)
		require.ErrorIs(t, err, down)
		require.Len(t, at, 11)
	})
	t.Run("obeys RetryAfter", func(t *testing.T) {
		t.Parallel()
		at, err := run(t, retry.Policy{Backoff: second}, time.Hour, down.WithRetryAfter(42*time.Second), nil)
		require.NoError(t, err)
		require.Equal(t, []time.Duration{0, 42 * time.Second}, at)
	})
	t.Run("does not wait for an attempt that would come too late", func(t *testing.T) {
		t.Parallel()
		begun := time.Now()
		at, err := run(t, retry.Policy{Backoff: second}, 30*time.Second, down.WithRetryAfter(time.Minute))
		require.Equal(t, fault.Unavailable, fault.KindOf(err))
		require.Len(t, at, 1)
		require.Less(t, time.Since(begun), 10*time.Second)
	})
	for _, k := range []fault.Kind{fault.Uncertain, fault.Invalid, fault.Internal, fault.Exhausted, fault.Precondition} {
		t.Run("never repeats "+k.String(), func(t *testing.T) {
			t.Parallel()
			at, err := run(t, retry.Policy{Backoff: second}, time.Hour, fault.New(k, "", "x"))
			require.Equal(t, k, fault.KindOf(err))
			require.Len(t, at, 1)
		})
	}
	t.Run("stops waiting when the caller leaves", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(500*time.Millisecond, cancel)
			begun := time.Now()
			require.ErrorIs(t, retry.Do(ctx, retry.Policy{Backoff: second}, func(context.Context) error { return down }), down)
			require.Equal(t, 500*time.Millisecond, time.Since(begun))
		})
	})
	t.Run("bounds each attempt and repeats one that timed out", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			calls := 0
			err := retry.Do(t.Context(), retry.Policy{PerAttempt: time.Second}, func(ctx context.Context) error {
				if calls++; calls == 1 {
					<-ctx.Done()
					return ctx.Err()
				}
				return nil
			})
			require.NoError(t, err)
			require.Equal(t, 2, calls)
		})
	})
}

func ExampleDo() {
	calls := 0
	err := retry.Do(context.Background(), retry.Policy{Backoff: retry.Backoff{Min: time.Millisecond}}, func(context.Context) error {
		if calls++; calls < 3 {
			return fault.New(fault.Unavailable, "", "not yet")
		}
		return nil
	})
	fmt.Println(calls, err)
	err = retry.Do(context.Background(), retry.Policy{}, func(context.Context) error {
		return fault.New(fault.Uncertain, "", "who knows")
	})
	fmt.Println(fault.KindOf(err), errors.Is(err, context.Canceled))
	// Output:
	// 3 <nil>
	// uncertain false
}
