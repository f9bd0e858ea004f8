package budget

import (
	"context"
	"testing"
	"testing/synctest"

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
						g.leave(false, true)
					}
				}()
				synctest.Wait()
			}
			g.leave(false, true)
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
		g.leave(false, true)
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
			g.leave(true, false)
		}
		limit, _, _ := g.state()
		require.Equal(t, 1, limit, "one call may always run")
		require.NoError(t, g.enter(t.Context(), priority.Audit))
		g.leave(false, true)
		for range 100 {
			require.NoError(t, g.enter(t.Context(), priority.Sync))
			g.leave(false, true)
		}
		limit, _, _ = g.state()
		require.Equal(t, 8, limit)
	})
}
