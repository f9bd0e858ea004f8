package heap

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestLimit(t *testing.T) {
	t.Parallel()
	t.Run("a limit of which more than three quarters are alive is lifted, and comes back when less than half is", func(t *testing.T) {
		t.Parallel()
		var set []int64
		l := &limiter{limit: 100, set: func(n int64) { set = append(set, n) }}
		for _, live := range []uint64{20, 75, 76, 90, 60, 50, 49, 70} {
			require.True(t, l.look(live, 200))
		}
		require.Equal(t, []int64{math.MaxInt64, 100}, set)
		l.stop()
		require.Equal(t, []int64{math.MaxInt64, 100, math.MaxInt64}, set)
		require.False(t, l.look(90, 200), "it is over")
		require.Len(t, set, 3)
	})
	t.Run("so is one that leaves little room beside what is alive, whatever takes it", func(t *testing.T) {
		t.Parallel()
		var set []int64
		l := &limiter{limit: 800, set: func(n int64) { set = append(set, n) }}
		require.True(t, l.look(300, 400))
		require.Empty(t, set, "a quarter is free")
		for range mostCramped - 1 {
			require.True(t, l.look(301, 400))
		}
		require.True(t, l.look(300, 400))
		require.Empty(t, set, "for a moment little room is enough")
		for range mostCramped {
			require.Empty(t, set)
			require.True(t, l.look(301, 400))
		}
		require.Equal(t, []int64{math.MaxInt64}, set)
		require.True(t, l.look(250, 900))
		require.Len(t, set, 1, "the room counts that the limit leaves, not what there is without it")
		require.True(t, l.look(249, 900))
		require.Equal(t, []int64{math.MaxInt64, 800}, set)
	})
	t.Run("none is asked for", func(t *testing.T) {
		t.Parallel()
		Limit(0)()
	})
}
