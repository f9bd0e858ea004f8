package linear

import (
	"math"

	"github.com/anishathalye/porcupine"

	"github.com/selfsame-io/selfsame/pkg/idempotent"
)

// state is the record of one key in the machine that does one thing at a time. It is written from the description of the
// store, not from its code.
type state struct {
	is      idempotent.State // "" if there is none
	print   string
	owner   string
	fence   int64
	tainted bool // an attempt before this one may have had its effect
	manual  bool // it may not simply be executed again
	// The lease ends at some time in [leaseLo, leaseHi].
	leaseLo, leaseHi int64
	body             string
}

func model() porcupine.Model {
	return porcupine.Model{
		Init: func() any { return state{} },
		Step: func(s, in, out any) (bool, any) {
			ok, next := s.(state).step(in.(input), out.(output))
			return ok, next
		},
		DescribeOperation: func(in, out any) string { return line(in.(input), out.(output)) },
	}
}

// mayBeOver and mayLive say what the readings of the clock allow.
func (s state) mayBeOver(in input) bool { return in.to >= s.leaseLo }
func (s state) mayLive(in input) bool   { return in.from < s.leaseHi }

// purged reports whether a purge, which nobody calls by its key, may have declared the claim uncertain.
func (s state) purged(in input) bool {
	return s.is == idempotent.Claimed && s.manual && s.mayBeOver(in)
}

// taken is the record after a claim was granted.
func (s state) taken(in input, recovery bool) state {
	l := Lease.Microseconds()
	return state{
		is: idempotent.Claimed, print: in.print, owner: in.owner, fence: s.fence + 1, tainted: recovery, manual: !in.takeover,
		leaseLo: in.from + l, leaseHi: in.to + l,
	}
}

// open is the record after an operation whose reply was lost, had it taken effect now. That it never did needs no branch: the
// operation ends after all others, where nobody sees any more what it does.
func (s state) open(in input) state {
	for _, out := range []output{
		{}, {outcome: idempotent.Granted, fence: s.fence + 1}, {outcome: idempotent.Granted, fence: s.fence + 1, recovery: true}, {outcome: idempotent.InDoubt},
	} {
		if ok, next := s.step(in, out); ok {
			return next
		}
	}
	return s
}

func (s state) step(in input, out output) (bool, state) {
	if out.lost {
		return true, s.open(in)
	}
	switch in.kind {
	case begin:
		return s.begin(in, out)
	case look:
		if s.purged(in) && out.outcome == idempotent.InDoubt {
			s.is = idempotent.Uncertain
		}
		return s.look(out), s
	case resolveDone, resolveNot:
		return s.resolve(in, out)
	case expire:
		switch {
		case s.is == "":
			return out.none, s
		case s.is != idempotent.Done:
			return out.stale, s
		}
		next := s
		next.is, next.body = idempotent.Tombstone, ""
		return !out.stale && !out.none, next
	default:
		return s.held(in, out)
	}
}

func (s state) begin(in input, out output) (bool, state) {
	granted := func(recovery bool) (bool, state) {
		next := s.taken(in, recovery)
		return out.outcome == idempotent.Granted && out.fence == next.fence && out.recovery == recovery, next
	}
	if s.is == "" {
		return granted(false)
	}
	if s.print != in.print {
		return out.outcome == idempotent.Mismatch, s
	}
	switch s.is {
	case idempotent.Done:
		return out.outcome == idempotent.Replay && out.body == s.body && out.fence == s.fence, s
	case idempotent.Tombstone:
		return out.outcome == idempotent.Gone && out.body == "", s
	case idempotent.Released:
		return granted(s.tainted)
	case idempotent.Uncertain:
		if in.redo {
			return granted(true)
		}
		return out.outcome == idempotent.InDoubt, s
	default: // claimed
		if s.owner == in.owner && (!s.purged(in) || (out.outcome != idempotent.InDoubt && out.fence <= s.fence)) {
			return out.outcome == idempotent.Granted && out.fence == s.fence && out.recovery == s.tainted, s
		}
		if out.outcome == idempotent.InProgress {
			next := s
			next.leaseLo = max(s.leaseLo, in.from+1) // it was alive then
			return s.mayLive(in), next
		}
		if !s.mayBeOver(in) {
			return false, s
		}
		if in.redo {
			return granted(true)
		}
		next := s
		next.is = idempotent.Uncertain
		return out.outcome == idempotent.InDoubt, next
	}
}

func (s state) look(out output) bool {
	if s.is == "" {
		return out.stale
	}
	if out.stale || out.fence != s.fence {
		return false
	}
	switch s.is {
	case idempotent.Done:
		return out.outcome == idempotent.Replay && out.body == s.body
	case idempotent.Tombstone:
		return out.outcome == idempotent.Gone
	case idempotent.Uncertain:
		return out.outcome == idempotent.InDoubt
	default:
		return out.outcome == idempotent.InProgress
	}
}

func (s state) held(in input, out output) (bool, state) {
	if s.is != idempotent.Claimed || s.fence != in.fence || s.owner != in.owner {
		return out.stale, s
	}
	next := s
	if out.stale && s.purged(in) {
		next.is = idempotent.Uncertain
		return true, next
	}
	switch in.kind {
	case complete:
		next.is, next.body = idempotent.Done, in.body
	case release:
		next.is = idempotent.Released
	case uncertain:
		next.is = idempotent.Uncertain
	case beat:
		next.leaseLo, next.leaseHi = in.from+Lease.Microseconds(), in.to+Lease.Microseconds()
	case end:
		next.leaseLo, next.leaseHi = math.MinInt64, in.to
	}
	return !out.stale && !out.none, next
}

func (s state) resolve(in input, out output) (bool, state) {
	if s.fence != in.fence || s.is != idempotent.Uncertain && s.is != idempotent.Claimed {
		return out.stale, s
	}
	if s.is == idempotent.Claimed {
		if out.stale {
			return s.mayLive(in), s
		}
		if !s.mayBeOver(in) {
			return false, s
		}
	}
	if out.stale {
		return false, s
	}
	next := s
	if in.kind == resolveDone {
		next.is, next.body, next.fence = idempotent.Done, in.body, s.fence+1
		return true, next
	}
	next.is, next.tainted = idempotent.Released, false
	return true, next
}
