package budget

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/priority"
)

func TestGateway(t *testing.T) {
	t.Parallel()
	t.Run("less urgent calls leave slots free", func(t *testing.T) {
		t.Parallel()
		g := newGateway(8)
		n := map[priority.Level]int{}
		for _, l := range []priority.Level{priority.Audit, priority.Bulk, priority.Sync, priority.Interactive} {
			for g.running < g.allowed(l) {
				require.NoError(t, g.enter(t.Context(), l))
				n[l]++
			}
		}
		require.Equal(t, map[priority.Level]int{priority.Audit: 2, priority.Bulk: 2, priority.Sync: 3, priority.Interactive: 1}, n)
	})
	t.Run("the most urgent call that waits goes first", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			g := newGateway(1)
			require.NoError(t, g.enter(t.Context(), priority.Audit))
			order := make(chan priority.Level, 4)
			for _, l := range []priority.Level{priority.Audit, priority.Bulk, priority.Sync, priority.Interactive} {
				go func() {
					if g.enter(t.Context(), l) == nil {
						order <- l
						g.leave(false, true, 0)
					}
				}()
				synctest.Wait()
			}
			g.leave(false, true, 0)
			for _, l := range priority.Levels() {
				require.Equal(t, l, <-order)
			}
		})
	})
	t.Run("who gives up waiting leaves the slot to others", func(t *testing.T) {
		t.Parallel()
		g := newGateway(1)
		require.NoError(t, g.enter(t.Context(), priority.Sync))
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		err := g.enter(ctx, priority.Interactive)
		require.Equal(t, fault.Timeout, fault.KindOf(err))
		g.leave(false, true, 0)
		require.NoError(t, g.enter(t.Context(), priority.Audit))
		_, running, waiting := g.state()
		require.Equal(t, 1, running)
		require.Zero(t, waiting[priority.Interactive])
	})
	t.Run("a crowded org halves the bound and calls that are served widen it again", func(t *testing.T) {
		t.Parallel()
		g := newGateway(8)
		for range 5 {
			require.NoError(t, g.enter(t.Context(), priority.Interactive))
			g.leave(true, false, 0)
		}
		limit, _, _ := g.state()
		require.Equal(t, 1, limit, "one call may always run")
		require.NoError(t, g.enter(t.Context(), priority.Audit))
		g.leave(false, true, 0)
		for range 100 {
			require.NoError(t, g.enter(t.Context(), priority.Sync))
			g.leave(false, true, 0)
		}
		limit, _, _ = g.state()
		require.Equal(t, 8, limit)
	})
	t.Run("more calls than an org allows of long ones run only while they are quick", func(t *testing.T) {
		t.Parallel()
		g := newGateway(40)
		after := func(took time.Duration) int {
			require.NoError(t, g.enter(t.Context(), priority.Interactive))
			g.leave(false, true, took)
			limit, _, _ := g.state()
			return limit
		}
		require.Equal(t, longCalls, after(2*quickCall), "neither quick nor slow")
		require.Equal(t, longCalls+1, after(quickCall/2))
		for range 100 {
			after(quickCall / 2)
		}
		require.Equal(t, 40, after(2*quickCall), "never more than there are")
		require.Equal(t, longCalls, after(slowCall))
	})
	t.Run("a crowded org allows fewer than of long calls, however many quick ones there were, and for some time", func(t *testing.T) {
		t.Parallel()
		g := newGateway(64)
		after := func(crowded bool) int {
			require.NoError(t, g.enter(t.Context(), priority.Interactive))
			g.leave(crowded, !crowded, quickCall/2)
			limit, _, _ := g.state()
			return limit
		}
		for range 64 {
			after(false)
		}
		require.Equal(t, 64, after(false))
		require.Equal(t, longCalls/2, after(true))
		for range 13 {
			require.Less(t, after(false), longCalls)
		}
	})
	t.Run("a load has room for three quarters of what its level may take, now", func(t *testing.T) {
		t.Parallel()
		g := newGateway(64)
		a := &Accountant{gateway: g}
		require.Equal(t, []int{18, 18, 9, 4}, []int{a.Room(priority.Interactive), a.Room(priority.Sync), a.Room(priority.Bulk), a.Room(priority.Audit)})
		for range 64 {
			require.NoError(t, g.enter(t.Context(), priority.Interactive))
			g.leave(false, true, quickCall/2)
		}
		require.Equal(t, []int{48, 47, 24, 12}, []int{a.Room(priority.Interactive), a.Room(priority.Sync), a.Room(priority.Bulk), a.Room(priority.Audit)})
		for range 10 {
			require.NoError(t, g.enter(t.Context(), priority.Interactive))
			g.leave(true, false, 0)
		}
		for _, l := range priority.Levels() {
			require.Equal(t, 1, a.Room(l), l)
		}
	})
}

func TestSpare(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_700_000_000, 0)
	for name, c := range map[string]struct {
		state State
		ends  time.Time
		want  bool
	}{
		"nothing is known":                  {State{}, time.Time{}, false},
		"less than half is used":            {State{Limit: 1000, Estimate: 449}, time.Time{}, true},
		"half would be used with them":      {State{Limit: 1000, Estimate: 450}, time.Time{}, false},
		"it ends within a day at this rate": {State{Limit: 1000, Estimate: 1}, now, false},
		"calls are held back":               {State{Limit: 1000, Estimate: 1, ClosedFor: priority.Bulk}, time.Time{}, false},
	} {
		a := &Accountant{state: c.state, exhaustion: c.ends}
		require.Equal(t, c.want, a.Spare(50), name)
	}
}
