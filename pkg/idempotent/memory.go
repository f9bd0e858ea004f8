package idempotent

import (
	"context"
	"slices"
	"sync"
	"time"
)

// DefaultTombstone is how long a store remembers that a call was done after its answer is gone.
const DefaultTombstone = 90 * 24 * time.Hour

// MemoryStore keeps everything in memory: for tests, and as the reference of what a store does. It protects one process
// until it ends.
type MemoryStore struct {
	// Tombstone is how long a finished call is remembered after its answer; zero means DefaultTombstone. Set it
	// before first use.
	Tombstone time.Duration

	now     func() time.Time
	mu      sync.Mutex
	records map[Digest]*record
}

var _ Store = (*MemoryStore)(nil)

// NewMemoryStore returns an empty store; a nil now means time.Now.
func NewMemoryStore(now func() time.Time) *MemoryStore {
	if now == nil {
		now = time.Now
	}
	return &MemoryStore{now: now, records: map[Digest]*record{}}
}

func (s *MemoryStore) lock() (now int64, unlock func()) {
	s.mu.Lock()
	return s.now().UnixMicro(), s.mu.Unlock
}

// Begin implements Store.
func (s *MemoryStore) Begin(_ context.Context, c Claim) (Result, error) {
	now, unlock := s.lock()
	defer unlock()
	d := c.Scope.digest(nil)
	r := s.records[d]
	if r == nil {
		r = &record{}
		s.records[d] = r
		r.claim(c, now)
		return Result{Outcome: Granted, Fence: 1, Grant: Grant{Digest: d, Fence: 1, Retention: c.Retention}}, nil
	}
	res, step := c.decide(d, *r, now)
	switch step {
	case stepTake:
		r.claim(c, now)
	case stepDoubt:
		r.state = stateUncertain
	case stepNone:
	}
	return res, nil
}

func (r *record) claim(c Claim, now int64) {
	lease := now + c.Lease.Microseconds()
	*r = record{
		fingerprint: slices.Clone(c.Fingerprint), state: stateClaimed, fence: r.fence + 1, owner: slices.Clone(c.Owner),
		recoverable: c.Takeover, lease: lease, expires: lease + c.Retention.Microseconds(), trace: c.Trace,
	}
}

// Look implements Store.
func (s *MemoryStore) Look(_ context.Context, g Grant) (Result, error) {
	now, unlock := s.lock()
	defer unlock()
	if r := s.records[g.Digest]; r != nil {
		return r.look(now), nil
	}
	return Result{}, ErrStale
}

// held changes the record if the grant still holds it.
func (s *MemoryStore) held(g Grant, change func(r *record, now int64)) error {
	now, unlock := s.lock()
	defer unlock()
	r := s.records[g.Digest]
	if r == nil || r.state != stateClaimed || r.fence != g.Fence {
		return ErrStale
	}
	change(r, now)
	return nil
}

// Heartbeat implements Store.
func (s *MemoryStore) Heartbeat(_ context.Context, g Grant, lease time.Duration) error {
	return s.held(g, func(r *record, now int64) {
		r.lease = now + lease.Microseconds()
		r.expires = r.lease + g.Retention.Microseconds()
	})
}

// Complete implements Store.
func (s *MemoryStore) Complete(_ context.Context, g Grant, a Answer) error {
	return s.held(g, func(r *record, now int64) {
		a.Body = slices.Clone(a.Body)
		r.state, r.answer, r.expires = stateDone, a, now+g.Retention.Microseconds()
	})
}

// Release implements Store.
func (s *MemoryStore) Release(_ context.Context, g Grant) error {
	return s.held(g, func(r *record, now int64) {
		r.state, r.lease, r.expires = stateReleased, now, now+g.Retention.Microseconds()
	})
}

// Uncertain implements Store.
func (s *MemoryStore) Uncertain(_ context.Context, g Grant) error {
	return s.held(g, func(r *record, now int64) { r.state, r.lease = stateUncertain, now })
}

// Purge implements Store.
func (s *MemoryStore) Purge(_ context.Context, limit int) (int, error) {
	now, unlock := s.lock()
	defer unlock()
	tombstone := s.Tombstone
	if tombstone <= 0 {
		tombstone = DefaultTombstone
	}
	n := 0
	for d, r := range s.records {
		if n == limit {
			break
		}
		switch {
		case r.expires > now || r.lease > now && r.state == stateClaimed || r.state == stateUncertain:
			continue
		case r.state == stateDone:
			r.state, r.answer.Body, r.expires = stateTombstone, nil, now+tombstone.Microseconds()
		case r.state == stateClaimed && !r.recoverable:
			r.state = stateUncertain
		default:
			delete(s.records, d)
		}
		n++
	}
	return n, nil
}
