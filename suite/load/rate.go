package load

import (
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
	// requests is how many are sent.
	requests int
	// rate is how many are sent in a second; zero sends each as soon as a connection is free.
	rate float64
	// connections is how many are kept open; more requests than these are never under way.
	connections int
}

// hits is what came back.
type hits struct {
	took     time.Duration
	bytes    int64
	p50, p99 time.Duration
}

// fire sends the requests. With a rate it is an open loop: each request has a moment at which it is due, whatever became
// of those before it, and its latency counts from there. An answer that is not 200 fails the whole.
func (s shot) fire(ctx context.Context, client *http.Client) (hits, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	latency := make([]time.Duration, s.requests)
	var next, bytes atomic.Int64
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
				n, err := s.ask(ctx, client, s.urls[i%len(s.urls)])
				if err != nil {
					cancel(err)
					return
				}
				latency[i] = time.Since(due)
				bytes.Add(n)
			}
		})
	}
	workers.Wait()
	if err := context.Cause(ctx); err != nil {
		return hits{}, fmt.Errorf("load: %w", err)
	}
	took := time.Since(began)
	slices.Sort(latency)
	return hits{took: took, bytes: bytes.Load(), p50: latency[len(latency)/2], p99: latency[len(latency)*99/100]}, nil
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

func (s shot) ask(ctx context.Context, client *http.Client, url string) (int64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, err
	}
	req.Header = s.header.Clone()
	res, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	n, err := io.Copy(io.Discard, res.Body)
	if err != nil {
		return n, fmt.Errorf("read answer: %w", err)
	}
	if res.StatusCode != http.StatusOK {
		return n, fmt.Errorf("answered %s", res.Status)
	}
	return n, nil
}

// keepAlive returns a client that keeps its connections open.
func keepAlive(connections int) *http.Client {
	return &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{
		MaxIdleConns: connections, MaxIdleConnsPerHost: connections, MaxConnsPerHost: connections, DisableCompression: true,
	}}
}
