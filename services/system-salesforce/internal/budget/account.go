package budget

import (
	"time"

	"github.com/selfsame-io/selfsame/pkg/priority"
)

const (
	// blind is how many calls may be under way, of all replicas, while no figure is known or the last one is stale.
	blind = 16
	// blockMax is the most calls handed out to a replica at once, and blockShare the part of what is left.
	blockMax   = 32
	blockShare = 64
	// trialPause separates the calls that find out whether the allowance has recovered.
	trialPause = 10 * time.Second
	// needed is how many calls have to be left for refused work to go on: one, and one that finds out.
	needed = 2
)

// account is what is known about the allowance of one org. Its methods are pure: the store loads, changes and saves it in one
// transaction.
//
// Salesforce counts a call when it is made, and what it says about that may be late by Config.Lag, on its own way and until a
// replica tells it: a figure told at t holds at least the calls that had been answered at t-Lag. So used, plus every call handed out that had not been answered by then, is never less than
// what will have been used. Each figure is remembered as used-base, where base is what had been answered at least Lag before;
// the greatest of the last one to two periods of Lag counts, because a figure may also be older than the one before it.
type account struct {
	most, used         int64
	granted, completed int64
	high, highBefore   int64 // of this period and the one before
	base, baseBefore   int64 // completed at the beginning of this period and the one before
	period, observed   time.Time
	closed             time.Time // calls of closedFor and less urgent ones are held back until then; zero: nobody's
	closedFor          priority.Level
	refresh            time.Time
}

// known reports whether any figure has been seen.
func (a *account) known() bool { return a.most > 0 }

// estimate is what will have been used, at most, when every call handed out has been made.
func (a *account) estimate() int64 { return max(0, max(a.high, a.highBefore)+a.granted) }

// outstanding is how many calls are handed out without a known outcome.
func (a *account) outstanding() int64 { return a.granted - a.completed }

// room is how many calls of a level may still be handed out.
func (a *account) room(c Config, l priority.Level) int64 {
	return a.band(c, l) - a.estimate()
}

// band is how much may be used before calls of a level have to wait.
func (a *account) band(c Config, l priority.Level) int64 {
	reserve := c.reserve(l) * float64(a.most)
	held := int64(reserve)
	if float64(held) < reserve {
		held++
	}
	return a.most - held
}

// observe takes a figure in. Call it after the completed calls were counted.
func (a *account) observe(c Config, used, most int64, now time.Time) {
	age := now.Sub(a.period)
	begins := !a.known() || age >= c.Lag
	if begins {
		a.highBefore, a.baseBefore = a.high, a.base
		a.base, a.period = a.completed, now
	}
	if c.Lag == 0 {
		a.baseBefore = a.completed
	}
	seen := used - a.baseBefore
	switch {
	case !a.known() || age >= 2*c.Lag:
		a.high, a.highBefore = seen, seen
	case begins:
		a.high = seen
	default:
		a.high = max(a.high, seen)
	}
	a.used, a.most, a.observed = used, most, now
}

// close holds a level and all less urgent ones back. A pause that reaches further stays.
func (a *account) close(l priority.Level, until time.Time) {
	if a.closed.IsZero() || l < a.closedFor {
		a.closedFor = l
	}
	if until.After(a.closed) {
		a.closed = until
	}
}

// open ends the pause for calls of a level that were served.
func (a *account) open(l priority.Level) {
	if !a.closed.IsZero() && l >= a.closedFor {
		a.closed, a.closedFor = time.Time{}, priority.Unset
	}
}

// verdict is the answer to one who wants calls.
type verdict struct {
	block int64
	// why and until are set when there is no block; until is zero when only the forecast can tell.
	why   refusalCause
	until time.Time
	// need is how many calls have to leave the window before there is room.
	need int64
}

type refusalCause uint8

const (
	granted refusalCause = iota
	closed               // Salesforce has refused calls
	blinded              // too many calls are under way to learn how much is left
	spent                // what is left is reserved for more urgent calls
)

// grant hands out up to want calls of a level, at least one or none.
func (a *account) grant(c Config, l priority.Level, want int64, now time.Time) verdict {
	trial := false
	if !a.closed.IsZero() && l >= a.closedFor {
		if now.Before(a.closed) {
			v := verdict{why: closed, until: a.closed}
			if a.known() {
				v.need = max(0, needed-a.room(c, l))
			}
			return v
		}
		trial = true // the pause is over: one call finds out
	}
	n := min(want, blockMax)
	if !a.known() || now.Sub(a.observed) >= c.Stale {
		left := blind - a.outstanding()
		if left < 1 {
			return verdict{why: blinded, until: now.Add(time.Second)}
		}
		n = min(n, 2, left)
	}
	if a.known() {
		room := a.room(c, l)
		if room < 1 {
			// Somebody waits for a lower figure: the limits are read sooner than they would be.
			if soon := a.observed.Add(c.Pause); soon.Before(a.refresh) {
				a.refresh = soon
			}
			return verdict{why: spent, need: needed - room}
		}
		n = min(n, max(1, room/blockShare))
	}
	if trial {
		n = 1
		a.closed = now.Add(trialPause)
	}
	a.granted += n
	return verdict{block: n}
}

// force hands out one call whatever is left: the one that reads the limits.
func (a *account) force() verdict {
	a.granted++
	return verdict{block: 1}
}

// exchange takes a report in and hands calls out.
func (a *account) exchange(c Config, mine *lease, x Exchange, now time.Time) Answer {
	r := x.Report
	// A replica that was away for longer than its lease has been counted as finished already.
	completed := min(r.Completed, mine.outstanding)
	returned := min(r.Returned, mine.outstanding-completed)
	a.completed += completed + r.Extra
	a.granted += r.Extra - returned
	mine.outstanding -= completed + returned
	if r.Limit > 0 {
		a.observe(c, r.Used, r.Limit, now)
	}
	if r.Opened != priority.Unset {
		a.open(r.Opened)
	}
	if r.Closed != priority.Unset {
		a.close(r.Closed, now.Add(c.Pause))
	}
	var out Answer
	switch {
	case x.Force:
		out.Block = a.force().block
	case x.Want > 0:
		v := a.grant(c, x.Level, x.Want, now)
		out.Block, out.refused = v.block, v
	}
	mine.outstanding += out.Block
	mine.seq, mine.block = x.Seq, out.Block
	if x.Refresh && !now.Before(a.refresh) {
		out.Refresh = true
		a.refresh = now.Add(c.Refresh)
		if a.known() && (a.room(c, priority.Sync) < 1 || !a.closed.IsZero()) {
			a.refresh = now.Add(min(c.Pause, c.Refresh))
		}
	}
	return out
}
