package idempotent

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/telemetry"
)

// answerBefore is how long before its deadline a waiting call is answered.
const answerBefore = 50 * time.Millisecond

// acquire claims, and waits while another call with the same key executes.
func (a *attempt) acquire(ctx context.Context) (Result, error) {
	res, err := a.begin(ctx)
	if err != nil || res.Outcome != InProgress {
		return res, err
	}
	end, release, ok := a.mayWait(ctx)
	if !ok {
		return res, nil
	}
	defer release()
	for pause := 10 * time.Millisecond; ; pause = min(2*pause, 100*time.Millisecond) {
		left := time.Until(end)
		if left <= 0 {
			return res, nil
		}
		if err := a.server.flights.wait(ctx, res.Digest, pause, left); err != nil {
			return Result{}, err
		}
		a.note.waited = true
		if res, err = a.begin(ctx); err != nil || res.Outcome != InProgress {
			return res, err
		}
	}
}

// mayWait says until when, if at all; release gives the place of a waiter back.
func (a *attempt) mayWait(ctx context.Context) (end time.Time, release func(), ok bool) {
	s := a.server
	if a.policy.reject {
		return time.Time{}, nil, false
	}
	select {
	case s.waiters <- struct{}{}:
	default:
		return time.Time{}, nil, false // enough wait already
	}
	limit := s.Wait
	if a.policy.wait > 0 {
		limit = a.policy.wait
	}
	if at, ok := ctx.Deadline(); ok {
		limit = min(limit, time.Until(at)-answerBefore)
	}
	return time.Now().Add(limit), func() { <-s.waiters }, true
}

// begin asks the store. It tries twice: if the store's answer to the first try was lost, the second finds its own claim.
func (a *attempt) begin(ctx context.Context) (Result, error) {
	res, err := a.ask(ctx, a.server.store.Begin)
	if err == nil && res.Outcome == Mismatch && a.compareAs(res.Fingerprint) {
		return a.ask(ctx, a.server.store.Begin)
	}
	return res, err
}

// compareAs computes the fingerprint with the algorithm of a stored one, if it is another one that is known.
func (a *attempt) compareAs(stored []byte) bool {
	if len(stored) == 0 || stored[0] == a.claim.Fingerprint[0] || stored[0] < oldestFingerprint || stored[0] > newestFingerprint {
		return false
	}
	a.claim.Fingerprint = a.server.canon.fingerprint(stored[0], a.method, a.request, a.policy.exclude)
	return true
}

func (a *attempt) ask(ctx context.Context, question func(context.Context, Claim) (Result, error)) (Result, error) {
	s := a.server
	if !s.slow {
		return question(ctx, a.claim)
	}
	if !s.breaker.allow() {
		return Result{}, errBroken
	}
	ctx, end := spanned(ctx, "idempotency begin")
	defer end()
	var res Result
	var err error
	for range 2 {
		res, err = bounded(ctx, s.StoreTimeout, a.claim, question)
		if err == nil || ctx.Err() != nil {
			break
		}
	}
	if err == nil || ctx.Err() == nil { // a caller who left says nothing about the store
		s.breaker.report(err != nil)
	}
	return res, err
}

func bounded(ctx context.Context, most time.Duration, c Claim, question func(context.Context, Claim) (Result, error)) (Result, error) {
	l := limit(ctx, most)
	defer l.end()
	return question(l, c)
}

// giveBack releases what a caller may have claimed who left before it was told: the store may have committed the claim, and
// nobody would ever execute under it, so that the key would be blocked until the lease is over. Only the claim's owner knows
// whether it is theirs: asked again, the store grants it again, or grants it now.
func (a *attempt) giveBack(ctx context.Context) {
	s := a.server
	if ctx.Err() == nil {
		return // the caller is told that the store does not answer, and asks again under the same key
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.StoreTimeout)
	defer cancel()
	res, err := s.store.Begin(ctx, a.claim)
	if err == nil && res.Outcome == Granted {
		err = s.store.Release(ctx, res.Grant)
	}
	if err != nil && !errors.Is(err, ErrStale) {
		s.Log.WarnContext(ctx, "idempotency claim of a caller who left not released: its key is blocked until the lease is over",
			slog.String(telemetry.KeyMethod, a.method), slog.String(telemetry.KeyError, err.Error()))
	}
}

func (a *attempt) storeDown(ctx context.Context, err error) error {
	a.note.outcome = outcomeStoreError
	if ctx.Err() != nil {
		a.note.outcome = outcomeCanceled
		return ctx.Err()
	}
	return fault.Wrap(fault.Unavailable, ReasonStoreUnavailable, err, "the idempotency store does not answer; nothing was done").
		WithRetryAfter(time.Second)
}

var errBroken = errors.New("the idempotency store failed several times in a row and is left alone for a moment")

// breaker keeps calls from queueing for a store that does not answer.
type breaker struct {
	bad    atomic.Bool // failed is not zero: most calls need to know no more
	mu     sync.Mutex
	failed int
	until  time.Time
}

const (
	breakAfter = 5
	breakFor   = time.Second
)

// allow reports whether the store may be asked. When the pause is over one call may, and the others follow if it succeeds.
func (b *breaker) allow() bool {
	if !b.bad.Load() {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.failed < breakAfter {
		return true
	}
	now := time.Now()
	if now.Before(b.until) {
		return false
	}
	b.until = now.Add(breakFor)
	return true
}

func (b *breaker) report(failed bool) {
	if !failed && !b.bad.Load() {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if !failed {
		b.failed = 0
		b.bad.Store(false)
		return
	}
	b.bad.Store(true)
	if b.failed++; b.failed == breakAfter {
		b.until = time.Now().Add(breakFor)
	}
}

// flights are the calls that this process executes at the moment.
type flights struct {
	mu  sync.Mutex
	now map[Digest]flight
}

type flight struct {
	fingerprint []byte
	done        chan struct{}
}

// enter notes that the process executes for the record, until leave. If it already does, leave is nil and running the
// fingerprint of the request that it executes.
func (f *flights) enter(d Digest, fingerprint []byte) (leave func(), running []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.now == nil {
		f.now = map[Digest]flight{}
	}
	if now, ok := f.now[d]; ok {
		return nil, now.fingerprint
	}
	done := make(chan struct{})
	f.now[d] = flight{fingerprint, done}
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.now, d)
		close(done)
	}, nil
}

// wait returns when the process stops executing for the record; if it does not execute, after pause; in any case after
// limit. The error is that of ctx.
func (f *flights) wait(ctx context.Context, d Digest, pause, limit time.Duration) error {
	f.mu.Lock()
	done := f.now[d].done
	f.mu.Unlock()
	if done != nil {
		pause = time.Second // another process may take over
	}
	t := time.NewTimer(min(pause, limit))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
	case <-done:
	}
	return nil
}

// Quota bounds how many keys each caller may use, whether or not it used them before.
type Quota struct {
	// PerMinute is how many in the long run; zero does not bound.
	PerMinute int
	// Burst is how many at once; zero means PerMinute.
	Burst int
}

// quota is a token bucket per caller. It forgets callers that have not been heard of for so long that their bucket is
// full.
type quota struct {
	rate  float64 // per second
	burst float64
	mu    sync.Mutex
	of    map[string]bucket
	swept time.Time
}

type bucket struct {
	tokens float64
	at     time.Time
}

func newQuota(q Quota) *quota {
	if q.PerMinute <= 0 {
		return nil
	}
	if q.Burst <= 0 {
		q.Burst = q.PerMinute
	}
	return &quota{rate: float64(q.PerMinute) / 60, burst: float64(q.Burst), of: map[string]bucket{}}
}

// take takes a token, or says when there will be one.
func (q *quota) take(who string, now time.Time) (time.Duration, bool) {
	if q == nil {
		return 0, true
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	full := time.Duration(q.burst / q.rate * float64(time.Second))
	if now.Sub(q.swept) > full {
		q.swept = now
		for name, b := range q.of {
			if now.Sub(b.at) > full {
				delete(q.of, name)
			}
		}
	}
	b, known := q.of[who]
	if !known {
		b = bucket{q.burst, now}
	}
	b.tokens = min(q.burst, b.tokens+now.Sub(b.at).Seconds()*q.rate)
	b.at = now
	ok := b.tokens >= 1
	if ok {
		b.tokens--
	}
	q.of[who] = b
	return time.Duration((1 - b.tokens) / q.rate * float64(time.Second)), ok
}
