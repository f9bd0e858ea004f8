package heap

import (
	"math"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
)

// Limit softly limits what Go maps to limit bytes, until the returned function is called, and only while that costs little: once more
// than three quarters of it are alive, or, several collections in a row, of the heap that it leaves room for, it is lifted, so that a
// process that grew does not collect without end; it is set again when less than half of the limit and less than five eighths of that
// heap are. Zero or less, or a limit of the operator (GOMEMLIMIT), does nothing. Call it before Lend, which then sets no limit of its own.
func Limit(limit int64) (stop func()) {
	if limit <= 0 || debug.SetMemoryLimit(-1) != math.MaxInt64 {
		return func() {}
	}
	l := &limiter{limit: limit, set: func(n int64) { debug.SetMemoryLimit(n) }}
	l.set(limit)
	l.await()
	return l.stop
}

type limiter struct {
	limit int64
	set   func(limit int64)

	mu              sync.Mutex
	lifted, stopped bool
	cramped         int    // how many collections in a row found little room
	room            uint64 // the heap that the limit left room for when it was lifted
}

// mostCramped is how many collections in a row may find little room: fewer are a moment in which much was alive.
const mostCramped = 8

// await is called again by the next collection.
func (l *limiter) await() {
	runtime.AddCleanup(&sentinel{}, (*limiter).collected, l)
}

func (l *limiter) collected() {
	m := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/gc/heap/goal:bytes"}}
	metrics.Read(m)
	if l.look(m[0].Value.Uint64(), m[1].Value.Uint64()) {
		l.await()
	}
}

// look lifts the limit or sets it again; false once it is over. goal is the heap at which Go collects next: what it maps besides,
// stacks and its own tables, has been taken off the limit.
func (l *limiter) look(live, goal uint64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cramped++; live <= goal/4*3 {
		l.cramped = 0
	}
	switch limit := uint64(l.limit); { //nolint:gosec // positive
	case l.stopped:
		return false
	case !l.lifted && (live > limit/4*3 || l.cramped == mostCramped):
		l.lifted, l.cramped, l.room = true, 0, goal
		l.set(math.MaxInt64)
	case l.lifted && live < limit/2 && live < l.room/8*5:
		l.lifted = false
		l.set(l.limit)
	}
	return true
}

func (l *limiter) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.stopped && !l.lifted {
		l.set(math.MaxInt64)
	}
	l.stopped = true
}
