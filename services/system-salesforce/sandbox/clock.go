package sandbox

import (
	"sync/atomic"
	"time"
)

// virtualClock is the configured clock and what it was put forward by. It never
// goes back by itself.
type virtualClock struct {
	base   func() time.Time
	offset atomic.Int64
}

func (c *virtualClock) now() time.Time { return c.base().Add(time.Duration(c.offset.Load())) }

// advance puts the clock forward.
func (c *virtualClock) advance(d time.Duration) { c.offset.Add(int64(d)) }
