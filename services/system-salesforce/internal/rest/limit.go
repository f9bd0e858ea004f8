package rest

import (
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/selfsame-io/selfsame/pkg/fault"
)

// probePause separates the calls that find out whether the allowance has recovered.
const probePause = 10 * time.Second

// Usage is the API allowance of the org as last reported by Salesforce.
type Usage struct {
	// Used and Limit count calls of every client of the org in the rolling window; both are 0 until the first answer.
	Used, Limit int64
	// Own counts the calls this client made.
	Own int64
}

// Usage returns the allowance as last reported.
func (c *Client) Usage() Usage {
	c.usage.mu.Lock()
	defer c.usage.mu.Unlock()
	return Usage{Used: c.usage.used, Limit: c.usage.max, Own: c.own.Load()}
}

// usage is the allowance as last reported.
type usage struct {
	mu        sync.Mutex
	used, max int64
}

// observe reads the header Sforce-Limit-Info: "api-usage=18/15000", possibly followed by ", per-app-api-usage=17/250(appName=x)".
func (u *usage) observe(header http.Header) {
	used, limit, ok := parseUsage(header.Get("Sforce-Limit-Info"))
	if !ok {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.used, u.max = used, limit
}

// limiter holds calls back while there is none: every refused call would be one more in a window
// that the whole org shares.
type limiter struct {
	pause time.Duration

	mu    sync.Mutex
	until time.Time // calls are held back before; zero: the circuit is closed
}

func (l *limiter) allow(now time.Time) *fault.Error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.until.IsZero():
		return nil
	case now.Before(l.until):
		return limitExceeded().WithRetryAfter(l.until.Sub(now))
	}
	l.until = now.Add(probePause) // this call is the probe
	return nil
}

func (l *limiter) exhausted(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.until = now.Add(l.pause)
}

func (l *limiter) served() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.until = time.Time{}
}

func parseUsage(header string) (used, limit int64, ok bool) {
	for part := range strings.FieldsFuncSeq(header, func(r rune) bool { return r == ',' || r == ';' || r == ' ' }) {
		value, found := strings.CutPrefix(part, "api-usage=")
		if !found {
			continue
		}
		u, m, cut := strings.Cut(value, "/")
		used, err1 := strconv.ParseInt(u, 10, 64)
		limit, err2 := strconv.ParseInt(m, 10, 64)
		return used, limit, cut && err1 == nil && err2 == nil && used >= 0 && limit >= 0
	}
	return 0, 0, false
}

func limitExceeded() *fault.Error {
	return fault.New(fault.Exhausted, ReasonLimit, "the org's API allowance is used up")
}
