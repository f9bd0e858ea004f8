package budget

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/selfsame-io/selfsame/pkg/fault"
)

// resumeOf is when a refused caller was told to come again.
func resumeOf(t require.TestingT, err error) time.Time {
	fe, ok := fault.As(err)
	require.True(t, ok)
	at, perr := time.Parse(time.RFC3339, fe.Meta[fault.MetaResume])
	require.NoError(t, perr)
	return at
}

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func TestHistory(t *testing.T) {
	t.Parallel()
	first := slotOf(noon)
	t.Run("what is new is what rose, and what fell out meanwhile", func(t *testing.T) {
		t.Parallel()
		h := newHistory([]reading{{slot: first, used: 960}, {slot: first + 1, used: 960}, {slot: first + 2, used: 1_000}})
		require.EqualValues(t, 10, h.counted[first], "the first figure came evenly over a day")
		require.EqualValues(t, 10, h.counted[first+1], "ten left and ten came")
		require.EqualValues(t, 50, h.counted[first+2])
	})
	t.Run("a gap is spread", func(t *testing.T) {
		t.Parallel()
		h := newHistory([]reading{{slot: first, used: 0}, {slot: first + 10, used: 100}})
		for s := first + 1; s <= first+10; s++ {
			require.EqualValues(t, 10, h.counted[s])
		}
	})
	t.Run("after more than a day it begins anew", func(t *testing.T) {
		t.Parallel()
		h := newHistory([]reading{{slot: first, used: 5_000}, {slot: first + 200, used: 96}})
		require.EqualValues(t, 1, h.counted[first+200])
		require.Zero(t, h.counted[first])
	})
	t.Run("calls leave a day after their quarter of an hour has ended", func(t *testing.T) {
		t.Parallel()
		h := newHistory([]reading{{slot: first, used: 0}, {slot: first + 1, used: 30}, {slot: first + 2, used: 30}})
		now := noon.Add(40 * time.Minute)
		require.Equal(t, endOf(first+1).Add(window), h.resume(30, now))
		require.Equal(t, now.Add(window), h.resume(31, now), "more than there is")
	})
	t.Run("the allowance ends when the rate of the last hour reaches it", func(t *testing.T) {
		t.Parallel()
		h := newHistory([]reading{{slot: first, used: 0}, {slot: first + 1, used: 100}, {slot: first + 2, used: 200}, {slot: first + 3, used: 300}, {slot: first + 4, used: 400}})
		require.InDelta(t, 100, h.rate(), 0.1)
		require.Equal(t, endOf(first+10), h.exhaustion(400, 1_000, endOf(first+4)), "six quarters of an hour with 100 each are left")
		require.Zero(t, h.exhaustion(400, 100_000, endOf(first+4)))
		require.Zero(t, newHistory(nil).exhaustion(0, 100, noon))
		require.Equal(t, noon, h.exhaustion(1_000, 1_000, noon))
	})
}

// TestProperty_History: the history of any rolling day adds up to its last figure.
func TestProperty_History(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		var readings []reading
		calls := map[int64]int64{}
		s := slotOf(noon)
		var inWindow int64
		for range rapid.IntRange(1, 150).Draw(rt, "slots") {
			calls[s] = rapid.Int64Range(0, 500).Draw(rt, "calls")
			inWindow += calls[s] - calls[s-slots]
			readings = append(readings, reading{slot: s, used: inWindow})
			s++
		}
		h := newHistory(readings)
		var sum int64
		for k, n := range h.counted {
			require.GreaterOrEqual(rt, n, int64(0))
			if k > h.last.slot-slots {
				sum += n
			}
		}
		require.InDelta(rt, inWindow, sum, float64(calls[slotOf(noon)])+1)
	})
}
