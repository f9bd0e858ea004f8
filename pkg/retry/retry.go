// Package retry repeats a call that may be repeated, and no other.
//
// The invariant: only an error that [fault.Retryable] allows is tried again, so an Uncertain outcome or a
// permanent refusal comes back at once, and a server's RetryAfter is never undercut. The caller promises that
// fn is idempotent. The package does not limit the rate of all callers together; that is the work of a budget
// or a circuit breaker in front of it.
package retry

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/selfsame-io/selfsame/pkg/fault"
)

// Backoff is an exponential delay. The zero value waits 100 ms, 200 ms, 400 ms … up to 30 s, without jitter.
// It is a value: copy it freely, use it from any goroutine.
type Backoff struct {
	// Min is the first delay; zero means 100 ms.
	Min time.Duration
	// Max bounds the delay, jitter included; zero means 30 s.
	Max time.Duration
	// Factor multiplies the delay from attempt to attempt; below 1 means 2.
	Factor float64
	// Jitter spreads a delay d evenly over [d*(1-Jitter), d*(1+Jitter)]; 0 to 1.
	Jitter float64
	// Rand returns numbers in [0, 1); nil means math/rand.
	Rand func() float64
}

// Next returns the delay after the attempt-th failure, counted from 1.
func (b Backoff) Next(attempt int) time.Duration {
	lo, hi, factor := b.Min, b.Max, b.Factor
	if lo <= 0 {
		lo = 100 * time.Millisecond
	}
	if hi <= 0 {
		hi = 30 * time.Second
	}
	if factor < 1 {
		factor = 2
	}
	d := math.Min(float64(lo)*math.Pow(factor, float64(max(attempt, 1)-1)), float64(hi))
	if j := math.Min(math.Max(b.Jitter, 0), 1); j > 0 {
		r := b.Rand
		if r == nil {
			r = rand.Float64
		}
		d *= 1 - j + 2*j*r()
	}
	return time.Duration(math.Min(d, float64(hi)))
}

// Policy says how often and how patiently.
type Policy struct {
	// Backoff is the delay between attempts.
	Backoff Backoff
	// MaxAttempts counts all attempts, the first included; zero means 3, negative means until ctx ends.
	MaxAttempts int
	// PerAttempt bounds each attempt; zero means only ctx does.
	PerAttempt time.Duration
	// OnRetry, if set, is told about each failure that will be retried.
	OnRetry func(attempt int, err error, wait time.Duration)
}

// Do calls fn until it succeeds, fails with an error that must not be retried, or the policy or ctx is at its
// end. It returns the last error of fn; when ctx would end before the next attempt, it does not wait for that.
func Do(ctx context.Context, p Policy, fn func(ctx context.Context) error) error {
	limit := p.MaxAttempts
	if limit == 0 {
		limit = 3
	}
	for attempt := 1; ; attempt++ {
		err := once(ctx, p.PerAttempt, fn)
		if err == nil || !fault.Retryable(err) || ctx.Err() != nil {
			return err
		}
		if limit > 0 && attempt >= limit {
			if attempt == 1 {
				return err
			}
			return fmt.Errorf("after %d attempts: %w", attempt, err)
		}
		wait := max(p.Backoff.Next(attempt), fault.RetryAfter(err))
		if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= wait {
			return fmt.Errorf("no time for another attempt: %w", err)
		}
		if p.OnRetry != nil {
			p.OnRetry(attempt, err, wait)
		}
		if !sleep(ctx, wait) {
			return err
		}
	}
}

func once(ctx context.Context, limit time.Duration, fn func(ctx context.Context) error) error {
	if limit <= 0 {
		return fn(ctx)
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return fn(ctx)
}

// sleep waits for d; false if ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
