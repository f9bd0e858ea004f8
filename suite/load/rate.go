package load

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// shot is a series of requests at a fixed rate.
type shot struct {
	// urls are asked for in turn.
	urls []string
	// header is sent with each.
	header http.Header
	// body, if set, makes each request a POST of what it returns; key is then its idempotency key. Both are told which of
	// the requests it is, from zero.
	body func(i int) []byte
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
}

// pace is how many requests were done in a second.
func (h hits) pace() float64 { return float64(h.done) / h.took.Seconds() }

// fire sends the requests. With a rate it is an open loop: each request has a moment at which it is due, whatever became
// of those before it, and its latency counts from there. An answer that is no success fails the whole.
func (s shot) fire(ctx context.Context, client *http.Client) (hits, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	latency := make([]time.Duration, s.requests)
	var next, received atomic.Int64
	began := time.Now()
	var workers sync.WaitGroup
	for range s.connections {
		workers.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= s.requests || ctx.Err() != nil {
					return
				}
				due := time.Now()
				if s.rate > 0 {
					due = began.Add(time.Duration(float64(i) / s.rate * float64(time.Second)))
					if !sleepUntil(ctx, due) {
						return
					}
				}
				n, refused, err := s.ask(ctx, client, i)
				if err != nil {
					cancel(err)
					return
				}
				latency[i] = time.Since(due)
				if refused {
					latency[i] = -1
				}
				received.Add(n)
			}
		})
	}
	workers.Wait()
	if err := context.Cause(ctx); err != nil {
		return hits{}, fmt.Errorf("load: %w", err)
	}
	out := hits{took: time.Since(began), bytes: received.Load()}
	done := slices.DeleteFunc(latency, func(d time.Duration) bool { return d < 0 })
	out.done, out.refused = len(done), s.requests-len(done)
	if out.done == 0 {
		return hits{}, fmt.Errorf("load: all of %d requests were refused", s.requests)
	}
	slices.Sort(done)
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

// ask sends the request number i. It returns the size of the answer's body, and whether it was a refusal.
func (s shot) ask(ctx context.Context, client *http.Client, i int) (int64, bool, error) {
	method, body := http.MethodGet, io.Reader(http.NoBody)
	if s.body != nil {
		method, body = http.MethodPost, bytes.NewReader(s.body(i))
	}
	req, err := http.NewRequestWithContext(ctx, method, s.urls[i%len(s.urls)], body)
	if err != nil {
		return 0, false, err
	}
	req.Header = s.header.Clone()
	if s.body != nil {
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Idempotency-Key", s.key(i))
	}
	res, err := client.Do(req)
	if err != nil {
		return 0, false, err
	}
	defer res.Body.Close()
	n, err := io.Copy(io.Discard, res.Body)
	if err != nil {
		return n, false, fmt.Errorf("read answer: %w", err)
	}
	switch res.StatusCode {
	case http.StatusOK, http.StatusCreated:
		return n, false, nil
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		if s.sheds {
			return n, true, nil
		}
	}
	return n, false, fmt.Errorf("answered %s", res.Status)
}

// keepAlive returns a client that keeps its connections open.
func keepAlive(connections int) *http.Client {
	return &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{
		MaxIdleConns: connections, MaxIdleConnsPerHost: connections, MaxConnsPerHost: connections, DisableCompression: true,
	}}
}
