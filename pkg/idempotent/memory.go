package idempotent

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// DefaultTombstone is how long a store remembers that a call was done after its answer is gone.
const DefaultTombstone = 90 * 24 * time.Hour

const memoryShards = 64

// MemoryStore keeps everything in memory: for tests, and as the reference of what a store does. It protects one process
// until it ends.
type MemoryStore struct {
	// Tombstone is how long a finished call is remembered after its answer; zero means DefaultTombstone. Set it
	// before first use.
	Tombstone time.Duration

	now    func() time.Time
	secret []byte
	shards [memoryShards]shard
}

type shard struct {
	mu      sync.Mutex
	records map[Digest]*record
}

var _ Store = (*MemoryStore)(nil)

// NewMemoryStore returns an empty store; a nil now means time.Now.
func NewMemoryStore(now func() time.Time) *MemoryStore {
	if now == nil {
		now = time.Now
	}
	s := &MemoryStore{now: now, secret: []byte(rand.Text())}
	for i := range s.shards {
		s.shards[i].records = map[Digest]*record{}
	}
	return s
}

// Capabilities implements Store.
func (*MemoryStore) Capabilities() Capabilities { return Capabilities{Durability: Volatile} }

// Digest implements Store.
func (s *MemoryStore) Digest(scope Scope) Digest { return scope.Digest(s.secret) }

func (s *MemoryStore) lock(d Digest) (sh *shard, now int64) {
	sh = &s.shards[d[0]%memoryShards]
	sh.mu.Lock()
	return sh, s.now().UnixMicro()
}

// Begin implements Store.
func (s *MemoryStore) Begin(_ context.Context, c Claim) (Result, error) {
	d := s.Digest(c.Scope)
	sh, now := s.lock(d)
	defer sh.mu.Unlock()
	r := sh.records[d]
	if r == nil {
		r = &record{}
		sh.records[d] = r
		r.claim(c, now, false)
		return c.first(d), nil
	}
	res, step := c.decide(d, *r, now)
	switch step {
	case stepTake:
		r.claim(c, now, res.Grant.Recovery)
	case stepDoubt:
		r.state = Uncertain
	case stepNone:
	}
	return res, nil
}

func (r *record) claim(c Claim, now int64, earlier bool) {
	lease := now + c.Lease.Microseconds()
	*r = record{
		fingerprint: slices.Clone(c.Fingerprint), state: Claimed, fence: r.fence + 1, owner: slices.Clone(c.Owner),
		recoverable: c.Takeover, earlier: earlier, lease: lease, expires: lease + c.Retention.Microseconds(), trace: c.Trace,
		method: c.Scope.Method, claimed: now, steps: r.steps,
	}
}

// Look implements Store.
func (s *MemoryStore) Look(_ context.Context, g Grant) (Result, error) {
	sh, now := s.lock(g.Digest)
	defer sh.mu.Unlock()
	if r := sh.records[g.Digest]; r != nil {
		return r.look(g.Digest, now), nil
	}
	return Result{}, ErrStale
}

// held changes the record if the grant still holds it.
func (s *MemoryStore) held(g Grant, change func(r *record, now int64)) error {
	sh, now := s.lock(g.Digest)
	defer sh.mu.Unlock()
	r := sh.records[g.Digest]
	if r == nil || r.state != Claimed || r.fence != g.Fence || !bytes.Equal(r.owner, g.Owner) {
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
	return s.held(g, func(r *record, now int64) { s.done(r, now, g.Retention, a) })
}

func (s *MemoryStore) done(r *record, now int64, retention time.Duration, a Answer) {
	r.subject = nil
	if a.Subject != "" {
		r.subject = SubjectDigest(s.secret, a.Subject)
	}
	r.state, r.expires, r.steps = Done, now+retention.Microseconds(), nil
	r.answer = Answer{OK: a.OK, Body: slices.Clone(a.Body), Resource: a.Resource}
}

// Release implements Store.
func (s *MemoryStore) Release(_ context.Context, g Grant) error {
	return s.held(g, func(r *record, now int64) {
		r.state, r.lease, r.expires = Released, now, now+g.Retention.Microseconds()
	})
}

// Uncertain implements Store.
func (s *MemoryStore) Uncertain(_ context.Context, g Grant) error {
	return s.held(g, func(r *record, now int64) { r.state, r.lease = Uncertain, now })
}

// Step implements Store.
func (s *MemoryStore) Step(_ context.Context, g Grant, name string, result []byte) error {
	return s.held(g, func(r *record, _ int64) {
		if _, done := r.steps[name]; done {
			return
		}
		if r.steps == nil {
			r.steps = map[string][]byte{}
		}
		r.steps[name] = slices.Clone(result)
	})
}

// Steps implements Store.
func (s *MemoryStore) Steps(_ context.Context, g Grant) (map[string][]byte, error) {
	sh, _ := s.lock(g.Digest)
	defer sh.mu.Unlock()
	if r := sh.records[g.Digest]; r != nil {
		return maps.Clone(r.steps), nil
	}
	return nil, nil
}

// Resolve implements Store.
func (s *MemoryStore) Resolve(_ context.Context, g Grant, v Verdict) error {
	sh, now := s.lock(g.Digest)
	defer sh.mu.Unlock()
	r := sh.records[g.Digest]
	if r == nil || !r.resolvable(g, v, now) {
		return ErrStale
	}
	if v.Executed {
		r.fence++
		s.done(r, now, g.Retention, v.Answer)
		return nil
	}
	r.state, r.earlier, r.lease, r.expires = Released, false, now, now+g.Retention.Microseconds()
	return nil
}

// each visits every record, at most one shard at a time, until visit returns false.
func (s *MemoryStore) each(visit func(d Digest, r *record, now int64, remove func()) bool) {
	now := s.now().UnixMicro()
	for i := range s.shards {
		if !s.shards[i].each(now, visit) {
			return
		}
	}
}

func (sh *shard) each(now int64, visit func(d Digest, r *record, now int64, remove func()) bool) bool {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for d, r := range sh.records {
		if !visit(d, r, now, func() { delete(sh.records, d) }) {
			return false
		}
	}
	return true
}

func (s *MemoryStore) bury(r *record, now int64) {
	r.state, r.answer.Body, r.subject, r.expires = Tombstone, nil, nil, now+s.tombstone()
}

func (s *MemoryStore) tombstone() int64 {
	if s.Tombstone <= 0 {
		return DefaultTombstone.Microseconds()
	}
	return s.Tombstone.Microseconds()
}

// Purge implements Store.
func (s *MemoryStore) Purge(_ context.Context, limit int) (int, error) {
	n := 0
	s.each(func(_ Digest, r *record, now int64, remove func()) bool {
		switch {
		case r.state == Claimed && !r.recoverable && r.lease <= now:
			r.state = Uncertain
		case r.expires > now || r.lease > now && r.state == Claimed || r.state == Uncertain:
			return true
		case r.state == Done:
			s.bury(r, now)
		case (r.state == Claimed || r.state == Released && r.earlier) && r.expires > now-s.tombstone():
			return true // what may have had its effect is remembered as long as what had it
		default:
			remove()
		}
		n++
		return n < limit
	})
	return n, nil
}

// Erase implements Store.
func (s *MemoryStore) Erase(_ context.Context, subject string) (int, error) {
	want, n := SubjectDigest(s.secret, subject), 0
	s.each(func(_ Digest, r *record, now int64, _ func()) bool {
		if r.state == Done && bytes.Equal(r.subject, want) {
			s.bury(r, now)
			n++
		}
		return true
	})
	return n, nil
}

// List implements Store. A page is everything that matches, up to the limit, after the cursor.
func (s *MemoryStore) List(_ context.Context, f Filter) (Page, error) {
	if _, err := f.after(); err != nil {
		return Page{}, err
	}
	var all []Entry
	s.each(func(d Digest, r *record, _ int64, _ func()) bool {
		if e := r.entry(d); f.matches(e) && d.String() > f.Cursor {
			all = append(all, e)
		}
		return true
	})
	slices.SortFunc(all, func(x, y Entry) int { return bytes.Compare(x.Digest[:], y.Digest[:]) })
	if limit := f.limit(); len(all) > limit {
		return Page{Entries: all[:limit], Next: all[limit-1].Digest.String()}, nil
	}
	return Page{Entries: all}, nil
}

func (f Filter) limit() int {
	if f.Limit <= 0 {
		return 100
	}
	return f.Limit
}

// after reads the cursor and the prefix as the digest that a page begins behind.
func (f Filter) after() ([]byte, error) {
	after, err := hex.DecodeString(f.Cursor)
	if err == nil {
		_, err = hex.DecodeString(f.Prefix)
	}
	if err != nil {
		return nil, fmt.Errorf("cursor and prefix are hexadecimal: %w", err)
	}
	return after, nil
}

func (f Filter) matches(e Entry) bool {
	return (len(f.States) == 0 || slices.Contains(f.States, e.State)) && (f.Method == "" || f.Method == e.Method) &&
		(f.ClaimedBefore.IsZero() || e.ClaimedAt.Before(f.ClaimedBefore)) && strings.HasPrefix(e.Digest.String(), strings.ToLower(f.Prefix))
}

// Show implements Store.
func (s *MemoryStore) Show(_ context.Context, d Digest) (Entry, error) {
	sh, _ := s.lock(d)
	defer sh.mu.Unlock()
	if r := sh.records[d]; r != nil {
		return r.entry(d), nil
	}
	return Entry{}, ErrNoRecord
}

// Expire implements Store.
func (s *MemoryStore) Expire(_ context.Context, d Digest) error {
	sh, now := s.lock(d)
	defer sh.mu.Unlock()
	switch r := sh.records[d]; {
	case r == nil:
		return ErrNoRecord
	case r.state != Done:
		return ErrStale
	default:
		s.bury(r, now)
		return nil
	}
}

// Stats implements Store.
func (s *MemoryStore) Stats(context.Context) (Stats, error) {
	var st Stats
	s.each(func(_ Digest, r *record, now int64, _ func()) bool {
		st.Records++
		st.Bytes += int64(len(r.answer.Body))
		age := time.Duration(now-r.claimed) * time.Microsecond
		switch r.state {
		case Claimed:
			if r.recoverable && r.lease <= now-GivenUp.Microseconds() {
				return true
			}
			st.Open++
			st.OldestOpen = max(st.OldestOpen, age)
			if r.lease <= now {
				st.Abandoned++
			}
		case Uncertain:
			st.Uncertain++
			st.OldestUncertain = max(st.OldestUncertain, age)
		case Done, Released, Tombstone:
		}
		return true
	})
	return st, nil
}
