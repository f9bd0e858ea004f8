package idempotent

import (
	"slices"
	"time"
)

// record is one row. Times are microseconds of the store's clock.
type record struct {
	fingerprint []byte
	state       State
	fence       int64
	owner       []byte
	recoverable bool
	earlier     bool  // an attempt before this one may have had its effect
	lease       int64 // the claim lives until then
	expires     int64 // the answer, or the tombstone, is kept until then
	answer      Answer
	trace       string
	method      string
	claimed     int64
	subject     []byte
	steps       map[string][]byte // memory only
}

// step is what a claim does to a record.
type step uint8

const (
	stepNone  step = iota
	stepTake       // the claim gets the next fence
	stepDoubt      // the vanished attempt's outcome is declared uncertain
)

// grant is the right to the attempt fence of a claim.
func (c Claim) grant(d Digest, fence int64, recovery bool) Grant {
	return Grant{Digest: d, Fence: fence, Owner: c.Owner, Retention: c.Retention, Recovery: recovery}
}

// first is the result of a claim that nothing stood against.
func (c Claim) first(d Digest) Result {
	return Result{Outcome: Granted, Digest: d, Fence: 1, Grant: c.grant(d, 1, false)}
}

// decide is the state machine of Begin, the same for every store. It says what the claim gets if the step is done, and
// the step; the store does it only if the record is still as it was read.
func (c Claim) decide(d Digest, r record, now int64) (Result, step) {
	res := Result{Digest: d, Fence: r.fence, Trace: r.trace, At: time.UnixMicro(r.claimed).UTC()}
	take := func(recovery bool) (Result, step) {
		res.Outcome, res.Fence = Granted, r.fence+1
		res.Grant = c.grant(d, r.fence+1, recovery)
		return res, stepTake
	}
	if r.state == Tombstone && r.expires <= now {
		return take(false) // forgotten: only Purge has not come by yet
	}
	if !slices.Equal(r.fingerprint, c.Fingerprint) {
		res.Outcome = Mismatch // before anything else, also against a claim whose owner vanished
		res.Fingerprint = r.fingerprint
		return res, stepNone
	}
	redo := c.Takeover || c.Probe
	switch r.state {
	case Done, Tombstone:
		res.Answer = r.answer
		res.Outcome = Replay
		if r.state == Tombstone || r.expires <= now || r.answer.Body == nil {
			res.Outcome, res.Answer.Body = Gone, nil
		}
		return res, stepNone
	case Released:
		return take(r.earlier) // the attempt that released speaks for itself only
	case Claimed:
		switch {
		case slices.Equal(r.owner, c.Owner):
			res.Outcome = Granted
			res.Grant = c.grant(d, r.fence, r.earlier)
			return res, stepNone
		case r.lease > now:
			res.Outcome, res.Remaining = InProgress, time.Duration(r.lease-now)*time.Microsecond
			return res, stepNone
		case redo:
			return take(true)
		default:
			res.Outcome = InDoubt
			return res, stepDoubt
		}
	default: // uncertain
		if redo {
			return take(true)
		}
		res.Outcome = InDoubt
		return res, stepNone
	}
}

// look is what Look says about a record.
func (r record) look(d Digest, now int64) Result {
	res := Result{Digest: d, Fence: r.fence, Trace: r.trace, At: time.UnixMicro(r.claimed).UTC()}
	switch r.state {
	case Done, Tombstone:
		res.Outcome, res.Answer = Replay, r.answer
		if r.answer.Body == nil || r.expires <= now {
			res.Outcome, res.Answer.Body = Gone, nil
		}
	case Uncertain:
		res.Outcome = InDoubt
	default:
		res.Outcome, res.Remaining = InProgress, time.Duration(max(r.lease-now, 0))*time.Microsecond
	}
	return res
}

// resolvable reports whether the verdict may settle the record.
func (r record) resolvable(g Grant, v Verdict, now int64) bool {
	return r.fence == g.Fence && (r.state == Uncertain || r.state == Claimed && (v.Force || r.lease <= now))
}

// entry is the record as operators see it.
func (r record) entry(d Digest) Entry {
	at := func(us int64) time.Time { return time.UnixMicro(us).UTC() }
	return Entry{
		Digest: d, Method: r.method, State: r.state, Fence: r.fence, ClaimedAt: at(r.claimed), LeaseUntil: at(r.lease),
		ExpiresAt: at(r.expires), OK: r.answer.OK, Bytes: len(r.answer.Body), Resource: r.answer.Resource, Trace: r.trace,
		Recoverable: r.recoverable,
	}
}
