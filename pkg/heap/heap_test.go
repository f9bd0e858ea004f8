package heap

import (
	"math"
	"runtime"
	"runtime/debug"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const mb = 1 << 20

func TestDecide(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		before int
		apart  time.Duration
		size   size
		want   int
	}{
		"a process that collects seldom gets nothing":            {goDefault, closeTogether, size{live: 4 * mb}, goDefault},
		"a busy one may grow to the given size":                  {goDefault, closeTogether / 2, size{live: 8 * mb}, 300},
		"stacks and globals count as Go counts them":             {goDefault, 0, size{live: 4 * mb, roots: 4 * mb}, 350},
		"it keeps what was lent while it is somewhat busy":       {300, farApart - 1, size{live: 8 * mb}, 300},
		"it gives back once it is not":                           {700, farApart, size{live: 4 * mb}, goDefault},
		"a heap that would grow further by itself is left alone": {700, 0, size{live: 20 * mb}, goDefault},
		"and so is one that is larger already":                   {700, 0, size{live: 100 * mb}, goDefault},
		"an empty heap does not make it boundless":               {goDefault, 0, size{}, mostLent},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := &lender{busy: 32 * mb, percent: c.before}
			require.Equal(t, c.want, l.decide(c.apart, c.size))
		})
	}
	large := &lender{busy: 96 * mb, percent: goDefault}
	require.Equal(t, 1126, large.decide(0, size{live: 7 * mb, roots: mb * 9 / 10}), "a larger loan is used, too")
	require.Equal(t, 1200, large.decide(0, size{}), "Go lets an empty heap grow to 4 MiB for each 100 percent, half of what is lent")
}

// The percentage is the process's, so what follows runs alone.
func TestLend(t *testing.T) {
	percent := func() int { return read().percent }
	limit := func() int64 { return debug.SetMemoryLimit(-1) }
	collectUntil := func(t *testing.T, done func() bool) {
		t.Helper()
		for i := 0; !done(); i++ {
			require.Less(t, i, 10_000, "GOGC is %d", percent())
			runtime.GC()
			runtime.Gosched()
		}
	}
	require.Equal(t, goDefault, percent())
	t.Run("a busy process gets memory and gives it back at the end", func(t *testing.T) {
		stop := Lend(64 * mb)
		collectUntil(t, func() bool { return percent() > goDefault })
		require.LessOrEqual(t, percent(), 800)
		require.EqualValues(t, 128*mb, limit(), "and not without measure")
		stop()
		require.Equal(t, goDefault, percent())
		require.EqualValues(t, math.MaxInt64, limit())
		runtime.GC()
		stop()
		require.Equal(t, goDefault, percent())
	})
	t.Run("the limit of the operator stays", func(t *testing.T) {
		defer debug.SetMemoryLimit(debug.SetMemoryLimit(1 << 40))
		stop := Lend(64 * mb)
		collectUntil(t, func() bool { return percent() > goDefault })
		require.EqualValues(t, 1<<40, limit())
		stop()
		require.EqualValues(t, 1<<40, limit())
	})
	t.Run("nothing is lent to a process whose operator has set GOGC", func(t *testing.T) {
		defer debug.SetGCPercent(debug.SetGCPercent(50))
		defer Lend(64 * mb)()
		for range 10 {
			runtime.GC()
		}
		require.Equal(t, 50, percent())
	})
	t.Run("nothing is lent if nothing is to be lent", func(t *testing.T) {
		defer Lend(0)()
		for range 10 {
			runtime.GC()
		}
		require.Equal(t, goDefault, percent())
	})
}
