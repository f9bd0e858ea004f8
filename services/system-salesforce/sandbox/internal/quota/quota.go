// Package quota counts what an organization uses of its rolling allocations,
// such as bulk batches in 24 hours.
//
// Invariant: what was used more than one window ago no longer counts; what is
// refused does not count. A window moves in 3,600 steps, of 24 seconds for a day,
// so use leaves it at most one step late.
//
// It knows nothing about what is counted.
package quota

import (
	"sync"
	"time"
)

// slots is how many steps a window moves in.
const slots = 3600

// Meter is one rolling allocation. Make it with New. It is safe for concurrent
// use.
type Meter struct {
	max    int64
	window time.Duration
	now    func() time.Time

	mu     sync.Mutex
	counts map[int64]int64
	oldest int64
	used   int64
}

// New makes a meter that allows max units in any window.
func New(limit int64, window time.Duration, now func() time.Time) *Meter {
	return &Meter{max: limit, window: window, now: now, counts: map[int64]int64{}}
}

// Take uses n units. It reports false, and uses none, if fewer are left.
func (m *Meter) Take(n int64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	slot := m.forget()
	if m.used+n > m.max {
		return false
	}
	m.add(slot, n)
	return true
}

// Add uses n units whether or not they are left.
func (m *Meter) Add(n int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.add(m.forget(), n)
}

func (m *Meter) add(slot, n int64) {
	if len(m.counts) == 0 {
		m.oldest = slot
	}
	m.counts[slot] += n
	m.used += n
}

// forget drops what left the window and returns the current slot. A clock that
// goes back keeps everything.
func (m *Meter) forget() int64 {
	step := int64(m.window) / slots
	slot := m.now().UnixNano() / step
	if slot-m.oldest <= slots {
		return slot
	}
	m.oldest = slot
	for at, n := range m.counts {
		if slot-at > slots {
			m.used -= n
			delete(m.counts, at)
			continue
		}
		m.oldest = min(m.oldest, at)
	}
	return slot
}

// Usage returns the allocation and what is left of it, never below zero.
func (m *Meter) Usage() (limit, remaining int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.forget()
	return m.max, max(0, m.max-m.used)
}
