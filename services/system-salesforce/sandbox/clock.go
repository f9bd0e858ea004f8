package sandbox

import (
	"net/http"
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

// dated makes answers carry the time of the organization's clock.
func dated(now func() time.Time, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Date", now().UTC().Format(http.TimeFormat))
		next.ServeHTTP(w, r)
	})
}
