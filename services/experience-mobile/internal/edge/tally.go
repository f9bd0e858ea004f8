package edge

import "sync"

// tally counts by name and forgets what is zero. It is safe for concurrent use.
type tally struct {
	mu     sync.Mutex
	counts map[string]int
}

func newTally() *tally { return &tally{counts: map[string]int{}} }

// add counts one more, unless there are limit already.
func (t *tally) add(name string, limit int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.counts[name] >= limit {
		return false
	}
	t.counts[name]++
	return true
}

func (t *tally) drop(name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.counts[name]--; t.counts[name] <= 0 {
		delete(t.counts, name)
	}
}
