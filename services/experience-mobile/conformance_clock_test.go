package experiencemobile_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// clocked is a world whose store of keys has a clock of its own, and the service above it one that goes wrong by skew.
func clocked(t *testing.T, skew time.Duration) (*world, *clock) {
	t.Helper()
	c := newClock()
	return setupOver(t, newBelow(waits(time.Millisecond), func(b *below) {
		b.now = c.now
		b.options.Now = func() time.Time { return c.now().Add(skew) }
	})), c
}

// vanishes executes a creation whose answer nobody stores: to the store its owner has vanished.
func (w *world) vanishes(t *testing.T, name, k string) {
	t.Helper()
	w.below.mute.Store(true)
	defer w.below.mute.Store(false)
	w.create(t, name, k).problem(t, 503, "IDEMPOTENCY_STORE_UNAVAILABLE")
}

func (w *world) blocked(t *testing.T, name, k string) {
	t.Helper()
	w.create(t, name, k).problem(t, 409, "IDEMPOTENCY_IN_PROGRESS")
}

func clockCases() []conformance {
	return []conformance{
		{"H-05 a service whose clock is ten minutes wrong treats keys as any other", func(t *testing.T, _ *world) {
			for _, skew := range []time.Duration{-10 * time.Minute, 10 * time.Minute} {
				w, c := clocked(t, skew)
				first, again := w.create(t, "H05", "h05"), w.create(t, "H05", "h05")
				require.Equal(t, 201, first.status)
				require.Equal(t, first.body, again.body)
				require.Equal(t, "true", again.header.Get("Idempotent-Replayed"))
				w.create(t, "H05 other", "h05").problem(t, 422, "IDEMPOTENCY_KEY_REUSED")

				release := w.fake.hold("H05 held")
				held := w.begin(t, "H05 held", "h05-held")
				w.blocked(t, "H05 held", "h05-held")
				release()
				require.Equal(t, 201, (<-held).status)

				w.vanishes(t, "H05 dies", "h05-dies")
				c.advance(29 * time.Second)
				w.blocked(t, "H05 dies", "h05-dies")
				c.advance(2 * time.Second)
				require.Equal(t, 201, w.create(t, "H05 dies", "h05-dies").status)
				require.Equal(t, 2, w.fake.ran("H05 dies"))
				require.Equal(t, 1, w.fake.ran("H05"))
				require.Equal(t, 1, w.fake.ran("H05 held"))
			}
		}},
		{"H-06 a clock of the store that jumps back lets nobody begin early", func(t *testing.T, _ *world) {
			w, c := clocked(t, 0)
			w.vanishes(t, "H06", "h06")
			c.advance(-time.Minute)
			w.blocked(t, "H06", "h06")
			c.advance(89 * time.Second)
			w.blocked(t, "H06", "h06")
			require.Equal(t, 1, w.fake.ran("H06"))
			c.advance(2 * time.Second)
			require.Equal(t, 201, w.create(t, "H06", "h06").status)
			require.Equal(t, 2, w.fake.ran("H06"))
			require.Equal(t, "true", w.create(t, "H06", "h06").header.Get("Idempotent-Replayed"))
		}},
		{"H-07 while old keys are removed none that lives is lost", purgedBeside},
	}
}

// purgedBeside sends and repeats creations while everything old is removed all the time.
func purgedBeside(t *testing.T, _ *world) {
	w, c := clocked(t, 0)
	old := many(50)
	for i := range old {
		require.Equal(t, 201, w.create(t, "H07 old", fmt.Sprint("h07-old-", i)).status)
	}
	c.advance(8 * 24 * time.Hour)
	release := w.fake.hold("H07 held")
	held := w.begin(t, "H07 held", "h07-held")

	ctx, stop := context.WithCancel(t.Context())
	var purger sync.WaitGroup
	var purged atomic.Int64
	purger.Go(func() {
		every := time.NewTicker(time.Millisecond)
		defer every.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-every.C:
			}
			n, err := w.below.Purge(ctx, 3)
			if err != nil && ctx.Err() == nil {
				t.Error(err)
				return
			}
			purged.Add(int64(n))
		}
	})
	w.together(t, many(100), func(i int) {
		name, k := fmt.Sprint("H07 new ", i), fmt.Sprint("h07-new-", i)
		first, again := w.create(t, name, k), w.create(t, name, k)
		if first.status != 201 || first.body != again.body || again.header.Get("Idempotent-Replayed") != "true" {
			t.Errorf("%d %s, then %d %s", first.status, first.body, again.status, again.body)
		}
	})
	for i := range old {
		w.create(t, "H07 old", fmt.Sprint("h07-old-", i)).problem(t, 410, "IDEMPOTENCY_RESULT_GONE")
	}
	w.blocked(t, "H07 held", "h07-held")
	release()
	require.Equal(t, 201, (<-held).status)
	require.Eventually(t, func() bool { return purged.Load() > 0 }, time.Minute, time.Millisecond)
	stop()
	purger.Wait()
	require.Equal(t, "true", w.create(t, "H07 held", "h07-held").header.Get("Idempotent-Replayed"))
	require.Equal(t, 1, w.fake.ran("H07 held"))
	require.Equal(t, old, w.fake.ran("H07 old"), "a key that is no longer answered is not executed again")
}
