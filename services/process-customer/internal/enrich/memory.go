package enrich

import (
	"container/list"
	"sync"

	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
)

// memory keeps the last answers of the customers asked about most recently.
type memory[T any] struct {
	mu      sync.Mutex
	size    int
	entries map[golden.ID]*list.Element
	recent  list.List // of remembered[T], the most recent first
}

type remembered[T any] struct {
	id     golden.ID
	answer answer[T]
}

func newMemory[T any](size int) *memory[T] {
	return &memory[T]{size: size, entries: make(map[golden.ID]*list.Element)}
}

func (m *memory[T]) put(id golden.ID, a answer[T]) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e := m.entries[id]; e != nil {
		// Answers can overtake each other; the later reading stays.
		if !e.Value.(*remembered[T]).answer.at.After(a.at) {
			e.Value.(*remembered[T]).answer = a
		}
		m.recent.MoveToFront(e)
		return
	}
	m.entries[id] = m.recent.PushFront(&remembered[T]{id, a})
	if m.recent.Len() > m.size {
		last := m.recent.Back()
		m.recent.Remove(last)
		delete(m.entries, last.Value.(*remembered[T]).id)
	}
}

func (m *memory[T]) get(id golden.ID) (answer[T], bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.entries[id]
	if e == nil {
		return answer[T]{}, false
	}
	m.recent.MoveToFront(e)
	return e.Value.(*remembered[T]).answer, true
}

// drop forgets the last answer of a customer.
func (m *memory[T]) drop(id golden.ID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e := m.entries[id]; e != nil {
		m.recent.Remove(e)
		delete(m.entries, id)
	}
}
