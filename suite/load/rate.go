package load

import (
	"context"
	"fmt"
	"net/http"
	"runtime/debug"
	"slices"
	"sync"
	"time"
)

// silence is how long nothing may come back while something is under way.
const silence = 30 * time.Second

// shotMemory is how much memory this process may have during a shot before it collects.
const shotMemory = 512 << 20

// shot is a series of requests at a fixed rate.
type shot struct {
	// urls are asked for in turn.
	urls []string
	// header is sent with each.
	header http.Header
	// body, if set, makes each request a POST of what it returns; key is then its idempotency key. Both are told which of
	// the requests it is, from zero.
	body func(i int) string
	key  func(i int) string
	// sheds lets a 429 or 503 count as a refusal; otherwise it fails the whole like any other answer that is no success.
	sheds bool
	// requests is how many are sent.
	requests int
	// rate is how many are sent in a second; zero sends each as soon as a connection is free.
	rate float64
	// connections is how many are kept open; more requests than these are never under way.
	connections int
}

// hits is what came back. The latencies are those of requests that were not refused.
type hits struct {
	took          time.Duration
	bytes         int64
	done, refused int
	p50, p99      time.Duration
	// late is how long after they were due all but one in a hundred were sent: it is in the latencies, and nobody's but the machine's
	// and of too few connections.
	late time.Duration
}

// collector is the garbage collector of this process, which rests while any shot is on its way.
var collector resting

type resting struct {
	mu      sync.Mutex
	shots   int
	percent int
	limit   int64
}

func (r *resting) rest() (work func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.shots++; r.shots == 1 {
		r.percent, r.limit = debug.SetGCPercent(-1), debug.SetMemoryLimit(shotMemory)
	}
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.shots--; r.shots == 0 {
			debug.SetGCPercent(r.percent)
			debug.SetMemoryLimit(r.limit)
		}
	}
}

// pace is how many requests were done in a second.
func (h hits) pace() float64 { return float64(h.done) / h.took.Seconds() }

// fire sends the requests. With a rate it is an open loop: each request has a moment at which it is due, whatever became
// of those before it, and its latency counts from there. An answer that is no success fails the whole.
func (s shot) fire(ctx context.Context, w *wire) (hits, error) {
	r, err := s.newRequest()
	if err != nil {
		return hits{}, err
	}
	v := &volley{shot: s, request: r, latency: make([]time.Duration, s.requests), late: make([]time.Duration, s.requests)}
	// What is collected meanwhile would be in the latencies. What a shot leaves behind is little; that of what else this process does is bounded.
	defer collector.rest()()
	out := hits{}
	if out.took, err = w.fly(ctx, v); err != nil {
		return hits{}, err
	}
	out.bytes = v.bytes
	done := slices.DeleteFunc(v.latency, func(d time.Duration) bool { return d < 0 })
	out.done, out.refused = len(done), s.requests-len(done)
	if out.done == 0 {
		return hits{}, fmt.Errorf("load: all of %d requests were refused", s.requests)
	}
	slices.Sort(done)
	slices.Sort(v.late)
	out.late = v.late[len(v.late)*99/100]
	out.p50, out.p99 = done[len(done)/2], done[len(done)*99/100]
	return out, nil
}

func sleepUntil(ctx context.Context, due time.Time) bool {
	wait := time.Until(due)
	if wait <= 0 {
		return true
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// keepAlive returns a client that keeps one connection open.
func keepAlive() *http.Client {
	return &http.Client{Timeout: silence, Transport: &http.Transport{
		MaxIdleConns: 1, MaxIdleConnsPerHost: 1, MaxConnsPerHost: 1, DisableCompression: true,
	}}
}
