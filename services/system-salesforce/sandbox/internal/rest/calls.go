package rest

import (
	"sync"
	"time"
)

// calls counts API calls over the last 24 hours, by the minute.
type calls struct {
	limit int
	now   func() time.Time

	mu      sync.Mutex
	buckets [24 * 60]int
	minute  int64
	used    int
	total   int64
	byRoute map[string]int64
}

func newCalls(limit int, now func() time.Time) *calls {
	return &calls{limit: limit, now: now, minute: now().Unix() / 60, byRoute: map[string]int64{}}
}

// forget drops the minutes that have left the window.
func (c *calls) forget() {
	m := c.now().Unix() / 60
	for n := 0; c.minute < m && n < len(c.buckets); n++ {
		c.minute++
		slot := &c.buckets[c.minute%int64(len(c.buckets))]
		c.used -= *slot
		*slot = 0
	}
	c.minute = max(c.minute, m)
}

// take counts one call and reports false, without counting, if none is left.
func (c *calls) take(route string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forget()
	if c.used >= c.limit {
		return false
	}
	c.used++
	c.total++
	c.buckets[c.minute%int64(len(c.buckets))]++
	c.byRoute[route]++
	return true
}

func (c *calls) usage() (used, limit int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forget()
	return c.used, c.limit
}

func (c *calls) counts() (total int64, byRoute map[string]int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make(map[string]int64, len(c.byRoute))
	for k, v := range c.byRoute {
		out[k] = v
	}
	return c.total, out
}
