package linear_test

import (
	"context"
	"runtime"
	"sync"
	"time"

	"github.com/selfsame-io/selfsame/pkg/idempotent"
)

type mistake string

const (
	checkThenSet   mistake = "check, then set"
	leaseIgnored   mistake = "a living claim is taken over"
	noFence        mistake = "fence and owner are not compared"
	noOwner        mistake = "an older attempt ends its successor's claim"
	overwrites     mistake = "a stored answer is overwritten"
	printIgnored   mistake = "the request is not compared"
	neverTaken     mistake = "a vanished claim is never taken over"
	zombieBeats    mistake = "a late heartbeat extends the successor's claim"
	zombieReleases mistake = "a late release frees the successor's claim"
	releaseForgets mistake = "a release forgets earlier attempts"
	staleReads     mistake = "answers are looked up in a replica that lags"
	purgesLiving   mistake = "a purge removes what lives"
	ownerUnknown   mistake = "whoever lost the reply to a claim does not get it again"
)

type entry struct {
	is      idempotent.State
	print   string
	owner   string
	fence   int64
	tainted bool
	lease   time.Time
	body    string
}

// flawed is the machine in a map, with one mistake. What it does not override is not asked for by the histories.
type flawed struct {
	*idempotent.MemoryStore
	mistake mistake
	now     func() time.Time

	mu      sync.Mutex
	records map[idempotent.Digest]*entry
	lagging map[idempotent.Digest]entry
	reads   int
}

func (f *flawed) Begin(_ context.Context, c idempotent.Claim) (idempotent.Result, error) {
	d := f.Digest(c.Scope)
	f.mu.Lock()
	defer f.mu.Unlock()
	r := f.records[d]
	res := idempotent.Result{Digest: d}
	if f.mistake == checkThenSet && r == nil {
		f.mu.Unlock()
		for range 5 {
			runtime.Gosched()
		}
		f.mu.Lock()
	}
	take := func(e entry, recovery bool) {
		e = entry{is: idempotent.Claimed, print: string(c.Fingerprint), owner: string(c.Owner), fence: e.fence + 1, tainted: recovery, lease: f.now().Add(c.Lease)}
		f.records[d] = &e
		res.Outcome, res.Fence = idempotent.Granted, e.fence
		res.Grant = idempotent.Grant{Digest: d, Fence: e.fence, Owner: c.Owner, Retention: c.Retention, Recovery: recovery}
	}
	if r == nil {
		take(entry{}, false)
		return res, nil
	}
	seen := *r
	if f.mistake == staleReads {
		seen = f.lag(d, *r)
	}
	res.Fence = seen.fence
	redo := c.Takeover || c.Probe
	over := !r.lease.After(f.now())
	switch {
	case seen.print != string(c.Fingerprint) && f.mistake != printIgnored:
		res.Outcome = idempotent.Mismatch
	case seen.is == idempotent.Done:
		res.Outcome, res.Answer = idempotent.Replay, idempotent.Answer{OK: true, Body: []byte(seen.body)}
	case seen.is == idempotent.Tombstone:
		res.Outcome = idempotent.Gone
	case seen.is == idempotent.Released:
		take(*r, r.tainted && f.mistake != releaseForgets)
	case seen.is == idempotent.Uncertain && redo:
		take(*r, true)
	case seen.is == idempotent.Uncertain:
		res.Outcome = idempotent.InDoubt
	case r.owner == string(c.Owner) && f.mistake != ownerUnknown:
		res.Outcome, res.Fence = idempotent.Granted, r.fence
		res.Grant = idempotent.Grant{Digest: d, Fence: r.fence, Owner: c.Owner, Retention: c.Retention, Recovery: r.tainted}
	case !over && f.mistake != leaseIgnored, f.mistake == neverTaken:
		res.Outcome = idempotent.InProgress
	case redo:
		take(*r, true)
	default:
		r.is = idempotent.Uncertain
		res.Outcome = idempotent.InDoubt
	}
	return res, nil
}

// lag returns what a replica shows: every third look brings it up to date.
func (f *flawed) lag(d idempotent.Digest, now entry) entry {
	if f.lagging == nil {
		f.lagging = map[idempotent.Digest]entry{}
	}
	old, ok := f.lagging[d]
	if f.reads++; !ok || f.reads%3 == 0 {
		f.lagging[d] = now
		return now
	}
	return old
}

func (f *flawed) held(g idempotent.Grant, change func(r *entry)) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := f.records[g.Digest]
	switch {
	case r == nil:
		return idempotent.ErrStale
	case f.mistake == noFence && r.is == idempotent.Claimed:
	case f.mistake == overwrites && r.is == idempotent.Done && r.fence == g.Fence:
	case f.mistake == noOwner && r.is == idempotent.Claimed && r.fence >= g.Fence:
	case r.is != idempotent.Claimed || r.fence != g.Fence || r.owner != string(g.Owner):
		return idempotent.ErrStale
	}
	change(r)
	return nil
}

// late is held for the two mistakes of a zombie.
func (f *flawed) late(m mistake, g idempotent.Grant, change func(r *entry)) error {
	if f.mistake == m {
		f.mu.Lock()
		defer f.mu.Unlock()
		if r := f.records[g.Digest]; r != nil && r.is == idempotent.Claimed {
			change(r)
			return nil
		}
		return idempotent.ErrStale
	}
	return f.held(g, change)
}

func (f *flawed) Complete(_ context.Context, g idempotent.Grant, a idempotent.Answer) error {
	return f.held(g, func(r *entry) { r.is, r.body = idempotent.Done, string(a.Body) })
}

func (f *flawed) Release(_ context.Context, g idempotent.Grant) error {
	return f.late(zombieReleases, g, func(r *entry) { r.is = idempotent.Released })
}

func (f *flawed) Uncertain(_ context.Context, g idempotent.Grant) error {
	return f.held(g, func(r *entry) { r.is = idempotent.Uncertain })
}

func (f *flawed) Heartbeat(_ context.Context, g idempotent.Grant, lease time.Duration) error {
	return f.late(zombieBeats, g, func(r *entry) { r.lease = f.now().Add(lease) })
}

func (f *flawed) Look(_ context.Context, g idempotent.Grant) (idempotent.Result, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := f.records[g.Digest]
	if r == nil {
		return idempotent.Result{}, idempotent.ErrStale
	}
	res := idempotent.Result{Digest: g.Digest, Fence: r.fence, Outcome: idempotent.InProgress}
	switch r.is {
	case idempotent.Done:
		res.Outcome, res.Answer = idempotent.Replay, idempotent.Answer{OK: true, Body: []byte(r.body)}
	case idempotent.Tombstone:
		res.Outcome = idempotent.Gone
	case idempotent.Uncertain:
		res.Outcome = idempotent.InDoubt
	case idempotent.Claimed, idempotent.Released:
	}
	return res, nil
}

func (f *flawed) Resolve(_ context.Context, g idempotent.Grant, v idempotent.Verdict) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := f.records[g.Digest]
	if r == nil || r.fence != g.Fence || r.is != idempotent.Uncertain && (r.is != idempotent.Claimed || r.lease.After(f.now())) {
		return idempotent.ErrStale
	}
	if v.Executed {
		r.is, r.body = idempotent.Done, string(v.Answer.Body)
		r.fence++
		return nil
	}
	r.is, r.tainted = idempotent.Released, false
	return nil
}

func (f *flawed) Expire(_ context.Context, d idempotent.Digest) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch r := f.records[d]; {
	case r == nil:
		return idempotent.ErrNoRecord
	case r.is != idempotent.Done:
		return idempotent.ErrStale
	default:
		r.is, r.body = idempotent.Tombstone, ""
		return nil
	}
}

func (f *flawed) Purge(context.Context, int) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	if f.mistake == purgesLiving {
		for d, r := range f.records {
			if r.is == idempotent.Claimed {
				delete(f.records, d)
				n++
			}
		}
	}
	return n, nil
}
