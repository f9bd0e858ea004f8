package replay

import (
	"context"
	"crypto/sha256"
	"sync"
	"time"
)

// Memory keeps answers in this process. Make it with NewMemory.
type Memory struct {
	most int
	now  func() time.Time

	mu sync.Mutex
	// Two generations: when the younger is full, it becomes the older, and what was there is forgotten.
	young, old map[[sha256.Size]byte]entry
	bytes      int // of the younger
}

type entry struct {
	value []byte
	until time.Time
}

// NewMemory returns a store of at most so many bytes. Now is the clock; nil means time.Now.
func NewMemory(most int, now func() time.Time) *Memory {
	if now == nil {
		now = time.Now
	}
	return &Memory{most: most, now: now, young: map[[sha256.Size]byte]entry{}}
}

// Get implements Store.
func (m *Memory) Get(_ context.Context, s Slot) ([]byte, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e, ok := m.young[s.Name]
	if !ok {
		e, ok = m.old[s.Name]
	}
	if !ok || !m.now().Before(e.until) {
		return nil, false, nil
	}
	return e.value, true, nil
}

// Put implements Store. A value that is larger than half of everything is not kept.
func (m *Memory) Put(_ context.Context, s Slot, value []byte, keep time.Duration) error {
	if len(value) > m.most/2 {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.bytes+len(value) > m.most/2 {
		m.old, m.young, m.bytes = m.young, map[[sha256.Size]byte]entry{}, 0
	}
	m.bytes += len(value) - len(m.young[s.Name].value)
	m.young[s.Name] = entry{value: value, until: m.now().Add(keep)}
	return nil
}
