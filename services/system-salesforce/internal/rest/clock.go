package rest

import (
	"net/http"
	"sync/atomic"
	"time"
)

// serverClock is Salesforce's clock as its answers show it: periods and ages have to be measured by the clock that wrote the
// times of the records.
type serverClock struct {
	ahead atomic.Int64 // of ours, in nanoseconds
	known atomic.Bool
}

// observe reads the header Date, which has whole seconds.
func (s *serverClock) observe(header string, now time.Time) {
	if at, err := http.ParseTime(header); err == nil {
		s.ahead.Store(int64(at.Sub(now)))
		s.known.Store(true)
	}
}

// ServerTime returns the time by Salesforce's clock, up to a second and the duration of a call behind it. Until the first answer
// it is the time by ours.
func (c *Client) ServerTime() time.Time { return c.o.Now().Add(time.Duration(c.clock.ahead.Load())) }

// ClockSkew returns how far Salesforce's clock is ahead of ours, and false until the first answer.
func (c *Client) ClockSkew() (time.Duration, bool) {
	return time.Duration(c.clock.ahead.Load()), c.clock.known.Load()
}
