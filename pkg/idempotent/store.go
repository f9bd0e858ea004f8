package idempotent

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"slices"
	"time"
)

// Scope is what a key is unique within. Stores see it only as an HMAC.
type Scope struct {
	// Principal is the verified caller.
	Principal string
	// Method is the full gRPC method.
	Method string
	// Key is the caller's key.
	Key string
}

// Digest identifies a record: the HMAC of its scope under the store's secret.
type Digest [sha256.Size]byte

func (s Scope) digest(secret []byte) (d Digest) {
	h := hmac.New(sha256.New, secret)
	var n [8]byte
	for _, part := range []string{s.Principal, s.Method, s.Key} {
		binary.BigEndian.PutUint64(n[:], uint64(len(part)))
		h.Write(n[:])
		h.Write([]byte(part))
	}
	copy(d[:], h.Sum(nil))
	return d
}

// Claim asks for the right to execute.
type Claim struct {
	// Scope names the effect.
	Scope Scope
	// Fingerprint is the identity of the request.
	Fingerprint []byte
	// Owner is random and made before Begin, so that a caller whose Begin was answered but not heard still owns it.
	Owner []byte
	// Lease is how long the claim lives without a heartbeat.
	Lease time.Duration
	// Retention is how long the answer is kept.
	Retention time.Duration
	// Takeover allows an attempt whose owner vanished to be executed again: every effect below is keyed.
	Takeover bool
	// Probe allows that too, and for an uncertain outcome as well: the handler looks before it acts.
	Probe bool
	// Trace is the traceparent of this call.
	Trace string
}

// Outcome is the answer to a claim.
type Outcome uint8

const (
	// Granted means: execute.
	Granted Outcome = iota + 1
	// Replay means: it is done, this is the answer.
	Replay
	// Mismatch means: the key was used for another request.
	Mismatch
	// InProgress means: another attempt executes.
	InProgress
	// InDoubt means: an attempt ended and nobody knows whether it had its effect.
	InDoubt
	// Gone means: it is done, but the answer is no longer kept.
	Gone
)

// Result is the answer of Begin and Look.
type Result struct {
	// Outcome says which of the other fields are set.
	Outcome Outcome
	// Grant is the right to execute (Granted).
	Grant Grant
	// Answer is what was stored (Replay; Gone: only Resource).
	Answer Answer
	// Remaining is how long the other attempt's lease still runs (InProgress).
	Remaining time.Duration
	// Fence is the number of the attempt that the record is about.
	Fence int64
	// Trace is the traceparent of that attempt.
	Trace string
}

// Grant is the right to execute one attempt.
type Grant struct {
	// Digest is the record.
	Digest Digest
	// Fence is the number of the attempt, from 1.
	Fence int64
	// Retention is how long the answer will be kept.
	Retention time.Duration
	// Recovery is true if an earlier attempt may already have had effects.
	Recovery bool
}

// Answer is a stored answer.
type Answer struct {
	// OK tells a response from an error.
	OK bool
	// Body is a marshalled google.protobuf.Any (OK) or google.rpc.Status; nil if it was too large to keep.
	Body []byte
	// Resource names what the call made, if known; it outlives Body.
	Resource string
}

// ErrStale means that the claim is no longer held: another attempt took over, or the record is finished. The caller
// must not answer with its own result; it looks what is stored.
var ErrStale = errors.New("idempotency claim is no longer held")

// Store keeps claims and answers. All methods are safe for concurrent use and linearizable per record; the store's
// clock decides about leases. Any other error than ErrStale means that the store could not be asked.
type Store interface {
	// Begin claims, or says why not. Beginning again with the same Owner returns the same grant.
	Begin(ctx context.Context, c Claim) (Result, error)
	// Look returns what is stored, without claiming; InProgress also for a claim that ran out or was released.
	Look(ctx context.Context, g Grant) (Result, error)
	// Heartbeat lets the claim live for another lease from now; with 0 it ends now and may be taken over. It works as
	// long as nobody took over, even after the lease. ErrStale otherwise.
	Heartbeat(ctx context.Context, g Grant, lease time.Duration) error
	// Complete stores the answer, for good. ErrStale if the claim is no longer held.
	Complete(ctx context.Context, g Grant, a Answer) error
	// Release says that nothing was executed: the next claim with the same request is granted. ErrStale as above.
	Release(ctx context.Context, g Grant) error
	// Uncertain says that the effect may have happened. ErrStale as above.
	Uncertain(ctx context.Context, g Grant) error
	// Purge turns answers past their retention into tombstones and removes what is past its time, at most about limit
	// records of each, and returns how many it changed. Live claims and uncertain outcomes stay.
	Purge(ctx context.Context, limit int) (int, error)
}

// The states of a record.
const (
	stateClaimed   = "c"
	stateDone      = "d"
	stateReleased  = "r"
	stateUncertain = "u"
	stateTombstone = "t"
)

// record is one row. Times are microseconds of the store's clock.
type record struct {
	fingerprint []byte
	state       string
	fence       int64
	owner       []byte
	recoverable bool
	lease       int64 // the claim lives until then
	expires     int64 // the answer, or the tombstone, is kept until then
	answer      Answer
	trace       string
}

// step is what a claim does to a record.
type step uint8

const (
	stepNone  step = iota
	stepTake       // the claim gets the next fence
	stepDoubt      // the vanished attempt's outcome is declared uncertain
)

// decide is the state machine of Begin, the same for every store. It says what the claim gets if the step is done, and
// the step; the store does it only if the record is still as it was read.
func (c Claim) decide(d Digest, r record, now int64) (Result, step) {
	res := Result{Fence: r.fence, Trace: r.trace}
	take := func(recovery bool) (Result, step) {
		res.Outcome, res.Fence = Granted, r.fence+1
		res.Grant = Grant{Digest: d, Fence: r.fence + 1, Retention: c.Retention, Recovery: recovery}
		return res, stepTake
	}
	if r.state == stateTombstone && r.expires <= now {
		return take(false) // forgotten: only Purge has not come by yet
	}
	if !slices.Equal(r.fingerprint, c.Fingerprint) {
		res.Outcome = Mismatch // before anything else, also against a claim whose owner vanished
		return res, stepNone
	}
	redo := c.Takeover || c.Probe
	switch r.state {
	case stateDone, stateTombstone:
		res.Answer = r.answer
		res.Outcome = Replay
		if r.state == stateTombstone || r.expires <= now || r.answer.Body == nil {
			res.Outcome, res.Answer.Body = Gone, nil
		}
		return res, stepNone
	case stateReleased:
		return take(false)
	case stateClaimed:
		switch {
		case slices.Equal(r.owner, c.Owner):
			res.Outcome = Granted
			res.Grant = Grant{Digest: d, Fence: r.fence, Retention: c.Retention, Recovery: r.fence > 1 && redo}
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
func (r record) look(now int64) Result {
	res := Result{Fence: r.fence, Trace: r.trace}
	switch r.state {
	case stateDone, stateTombstone:
		res.Outcome, res.Answer = Replay, r.answer
		if r.answer.Body == nil || r.expires <= now {
			res.Outcome, res.Answer.Body = Gone, nil
		}
	case stateUncertain:
		res.Outcome = InDoubt
	default:
		res.Outcome, res.Remaining = InProgress, time.Duration(max(r.lease-now, 0))*time.Microsecond
	}
	return res
}
