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
func (s *serverClock) observe(header http.Header, now time.Time) {
	if at, err := http.ParseTime(header.Get("Date")); err == nil {
		s.ahead.Store(int64(at.Sub(now)))
		s.known.Store(true)
	}
}
