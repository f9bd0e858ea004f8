// Package heap lends the garbage collector memory while a service is busy, and takes it back when it is not.
//
// A service of this suite keeps a few megabytes alive, and Go collects when the heap has doubled: under load that is
// dozens of times a second, which costs a busy service an eighth of its processor time to save memory that nobody
// misses. A higher GOGC for good would multiply the heap where it is large (a first sync) and keep it where nothing
// happens. So the percentage is raised only while collections follow each other closely, only as far as a heap of a
// given size, and goes back to what it was once they do not. A heap that is larger by itself is left alone.
//
// The invariant: the percentage is never below the one the process began with, and while it is raised, what Go maps is
// softly limited to twice the lent size, so that a heap that suddenly grows is not multiplied before the next look at it.
// Both belong to the whole process, so this is for programs. An operator who sets GOGC has decided: then nothing is
// done; one who sets GOMEMLIMIT keeps that limit.
package heap

import (
	"math"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"time"
)

const (
	goDefault = 100 // percent
	// mostLent is the highest percentage, or 100 for each perLent bytes that are lent if that is more: Go lets an empty heap grow to
	// 4 MiB for each 100.
	mostLent = 400
	perLent  = 8 << 20
	// closeTogether and farApart are times between two collections: below the first a process is busy, above the second
	// it no longer is. They differ, so that a load in between does not lend and take back in turn.
	closeTogether = time.Second
	farApart      = 10 * time.Second
)

// Lend lets the heap grow to busy bytes while the process is busy, until the returned function is called. Zero or less
// does nothing. Of several that are in force in one process the last collection's answer counts; they do no harm to each other
// if they lend the same.
func Lend(busy int64) (stop func()) {
	if base := read().percent; busy <= 0 || base != goDefault {
		return func() {}
	}
	l := &lender{busy: uint64(busy), percent: goDefault, last: time.Now()}
	if debug.SetMemoryLimit(-1) == math.MaxInt64 {
		l.limit = 2 * busy
	}
	l.await()
	return l.stop
}

type lender struct {
	busy  uint64
	limit int64 // of what Go maps, while something is lent; 0 if the operator has set one

	mu      sync.Mutex
	percent int
	last    time.Time // of the last collection
	stopped bool
}

// sentinel dies with the collection that follows. It holds a pointer, because small objects without one share their
// memory with others and may live on.
type sentinel struct{ _ *sentinel }

// await is called again by the next collection.
func (l *lender) await() {
	runtime.AddCleanup(&sentinel{}, (*lender).collected, l)
}

func (l *lender) collected() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stopped {
		return
	}
	now := time.Now()
	want := l.decide(now.Sub(l.last), read())
	l.last = now
	// Setting it stops the world for a moment, so not for a trifle.
	if d := want - l.percent; d != 0 && (want == goDefault || d > l.percent/8 || -d > l.percent/8) {
		l.set(want)
	}
	l.await()
}

// set changes the percentage, and the limit with it.
func (l *lender) set(percent int) {
	if was := l.percent > goDefault; l.limit > 0 && was != (percent > goDefault) {
		limit := l.limit
		if was {
			limit = math.MaxInt64
		}
		debug.SetMemoryLimit(limit)
	}
	debug.SetGCPercent(percent)
	l.percent = percent
}

func (l *lender) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.stopped && l.percent != goDefault {
		l.set(goDefault)
	}
	l.stopped = true
}

// size is what a collection found.
type size struct {
	percent     int
	live, roots uint64 // bytes
}

// decide returns the percentage that lets the heap grow to busy, if the process is.
func (l *lender) decide(apart time.Duration, s size) int {
	lent := l.percent > goDefault
	if (!lent && apart >= closeTogether) || apart >= farApart || s.live >= l.busy {
		return goDefault
	}
	// Go collects when what was allocated since is this share of live heap and roots.
	share := 100 * float64(l.busy-s.live) / float64(max(1, s.live+s.roots))
	return int(min(max(share, goDefault), l.most()))
}

func (l *lender) most() float64 { return max(mostLent, 100*float64(l.busy)/perLent) }

func read() size {
	m := []metrics.Sample{
		{Name: "/gc/gogc:percent"}, {Name: "/gc/heap/live:bytes"}, {Name: "/gc/scan/stack:bytes"}, {Name: "/gc/scan/globals:bytes"},
	}
	metrics.Read(m)
	return size{
		percent: int(min(m[0].Value.Uint64(), math.MaxInt32)), //nolint:gosec // bounded
		live:    m[1].Value.Uint64(), roots: m[2].Value.Uint64() + m[3].Value.Uint64(),
	}
}
