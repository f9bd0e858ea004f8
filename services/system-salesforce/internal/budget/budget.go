// Package budget is the accountant of an org's API allowance.
//
// The problem: Salesforce allows a number of calls in a rolling day, for every program of the org together; it tells how many
// are used only when it answers, late, and refuses everybody once they are gone. The invariant: a call is made only after it
// was handed out, and calls are handed out only while the highest figure that may be true, together with everything handed out
// to all replicas, leaves the reserve of more urgent work untouched. Whoever is refused is told when to come again; refused
// work is an error, never a success.
//
// The figures are shared through a [Store]; a replica takes calls in small blocks and reports what became of them, so that
// most calls cost no transaction. What it does not do: it does not wait for the allowance on behalf of a caller, and cannot
// know of calls that other programs of the org make until Salesforce shows them.
package budget

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/priority"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/rest"
)

// Reasons of the errors of this package.
const (
	// ReasonExhausted means that what is left of the allowance is kept for more urgent calls, or that nothing is left.
	ReasonExhausted = "API_BUDGET_EXHAUSTED"
	// ReasonUnknown means that too many calls are under way before it is known how many are left.
	ReasonUnknown = "API_BUDGET_UNKNOWN"
	// ReasonStore means that the shared account cannot be reached.
	ReasonStore = "API_BUDGET_STORE_UNAVAILABLE"
)

// Keys of the metadata of a refusal.
const (
	// MetaPriority is the level that was refused.
	MetaPriority = "priority"
)

const (
	tick          = time.Second      // how often a replica with something to tell tells it
	idleTick      = 15 * time.Second // how often one without does
	poolIdle      = 2 * time.Second  // how long an unused block is kept
	storeTimeout  = 5 * time.Second
	storeRetry    = 5 * time.Second
	refusalMemory = time.Second
	blindWait     = 100 * time.Millisecond
	blindTries    = 50
	emergencyMost = 50
)

// Exchanger is what an Accountant needs of a Store.
type Exchanger interface {
	Exchange(ctx context.Context, x Exchange, now time.Time) (Answer, error)
	History(ctx context.Context) ([]Usage, error)
	SaveAllowances(ctx context.Context, all []Allowance) error
	Allowances(ctx context.Context) (map[string]Allowance, error)
}

// Options are what an Accountant works with. All but Log and Meter are required.
type Options struct {
	Store  Exchanger
	Config Config
	// Replica names this process; no two that run at once share a name.
	Replica string
	// MaxConcurrent is how many calls of this process may run at once.
	MaxConcurrent int
	Now           func() time.Time
	Meter         metric.MeterProvider
	Log           *slog.Logger
}

// Accountant hands out calls to one process. Create it with New and run Run beside it; it is safe for concurrent use.
type Accountant struct {
	o       Options
	gateway *gateway
	metrics *metrics
	turn    chan struct{} // held by whoever talks to the store
	wake    chan struct{}

	mu         sync.Mutex
	pools      [priority.Audit + 1]pool
	next       Report    // not told yet
	figureAt   time.Time // when its last figure came
	unsettled  *Exchange // told, and the answer was lost
	seq        int64
	state      State
	reached    time.Time // when the store last answered
	foreseen   time.Time // when the end of the allowance was last worked out
	exhaustion time.Time // what came of it; zero: not within a day
	offered    time.Time // when this process last offered to read the limits
	tried      time.Time // when it was last asked without an answer
	refused    [priority.Audit + 1]remembered
	emergency  int64 // calls left for interactive work without the store
	blindTries int   // how often an unknown allowance is waited for
}

// pool are calls handed out to this process and not made yet.
type pool struct {
	calls int64
	used  time.Time
}

// remembered is a refusal that is repeated without asking the store again.
type remembered struct {
	until time.Time
	err   *fault.Error
	at    time.Time
}

var _ rest.Budget = (*Accountant)(nil)

// New returns an accountant that knows nothing yet.
func New(o Options) (*Accountant, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	a := &Accountant{o: o, gateway: newGateway(o.MaxConcurrent), turn: make(chan struct{}, 1), wake: make(chan struct{}, 1), emergency: 5, blindTries: blindTries}
	var err error
	a.metrics, err = newMetrics(o.Meter, a)
	return a, err
}

type forced struct{}

// Begin implements rest.Budget at the priority of ctx.
//
// Errors: Exhausted ReasonExhausted with RetryAfter, fault.MetaResume and MetaPriority; Unavailable ReasonUnknown or ReasonStore
// with RetryAfter; Timeout when ctx ended first.
func (a *Accountant) Begin(ctx context.Context) (func(rest.CallOutcome), error) {
	level := priority.From(ctx)
	if err := a.recall(ctx, level); err != nil {
		return nil, err
	}
	if err := a.gateway.enter(ctx, level); err != nil {
		return nil, err
	}
	g, err := a.obtain(ctx, level)
	if err != nil {
		a.gateway.leave(false, false, 0)
		a.metrics.refusal(ctx, level, err)
		return nil, err
	}
	began := a.o.Now()
	var once sync.Once
	return func(o rest.CallOutcome) {
		once.Do(func() {
			a.metrics.calls(ctx, level, o)
			urgent := a.end(g, o)
			a.gateway.leave(o.Crowded, o.Served, a.o.Now().Sub(began))
			if urgent {
				a.poke()
			}
		})
	}, nil
}

// recall repeats a refusal that is fresh.
func (a *Accountant) recall(ctx context.Context, level priority.Level) error {
	if isForced(ctx) {
		return nil
	}
	a.mu.Lock()
	err := a.recalled(level)
	a.mu.Unlock()
	if err != nil {
		a.metrics.refusal(ctx, level, err)
		return err
	}
	return nil
}

func isForced(ctx context.Context) bool { return ctx.Value(forced{}) != nil }

// recalled must be called with a.mu held.
func (a *Accountant) recalled(level priority.Level) error {
	r, now := a.refused[level], a.o.Now()
	if r.err == nil || !now.Before(r.until) {
		return nil
	}
	return r.err.WithRetryAfter(max(tick, r.err.RetryAfter-now.Sub(r.at)))
}

// grant is one call that was handed out.
type grant struct {
	level priority.Level
	// leased calls are in the store's account; others are told afterwards.
	leased bool
	// trial calls were handed out although the level was held back: they find out whether it still must be.
	trial bool
}

// obtain takes one call from the pools, or from the store.
func (a *Accountant) obtain(ctx context.Context, level priority.Level) (grant, error) {
	g := grant{level: level, leased: true}
	for try := 1; ; try++ {
		if !isForced(ctx) {
			a.mu.Lock()
			ok := a.take(level, &g)
			err := a.recalled(level)
			a.mu.Unlock()
			if ok || err != nil {
				return g, err
			}
		}
		got, err := a.ask(ctx, level, &g)
		if got || err != nil && (fault.ReasonOf(err) != ReasonUnknown || try >= a.blindTries) {
			return g, err
		}
		timer := time.NewTimer(blindWait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return g, fault.Wrap(fault.Timeout, fault.ReasonTimeout, ctx.Err(), "no call of the allowance became free in time")
		case <-timer.C:
		}
	}
}

// take must be called with a.mu held. Calls handed out for less urgent work may be used by more urgent work.
func (a *Accountant) take(level priority.Level, g *grant) bool {
	now := a.o.Now()
	a.forgetOld(now)
	for l := level; l <= priority.Audit; l++ {
		if a.pools[l].calls > 0 {
			a.pools[l].calls--
			a.pools[l].used = now
			g.trial = a.held(level)
			return true
		}
	}
	return false
}

// held reports whether calls of a level are held back, as far as this process knows.
func (a *Accountant) held(level priority.Level) bool {
	return a.state.ClosedFor != priority.Unset && level >= a.state.ClosedFor
}

// forgetOld drops blocks of a time when the store was last reached: it may count us as gone and the calls as made.
func (a *Accountant) forgetOld(now time.Time) {
	if a.reached.IsZero() || now.Sub(a.reached) < a.o.Config.Lease/2 {
		return
	}
	for l := range a.pools {
		a.drop(priority.Level(l)) //nolint:gosec // a small index
	}
}

// drop gives the unused calls of a level back with the next report. a.mu must be held.
func (a *Accountant) drop(l priority.Level) {
	a.next.Returned += a.pools[l].calls
	a.pools[l].calls = 0
}

// end takes in what became of a call and reports whether the store should learn it at once.
func (a *Accountant) end(g grant, o rest.CallOutcome) (urgent bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.o.Now()
	sends := int64(o.Sends)
	a.next.Own[g.level] += sends
	switch {
	case !g.leased:
		a.next.Extra += sends // at least what Begin took for it
		a.emergency += max(0, 1-sends)
	case sends == 0 && !a.held(g.level):
		a.pools[g.level].calls++
		a.pools[g.level].used = now
	case sends == 0:
		a.next.Returned++
	default:
		a.next.Completed++
		a.next.Extra += sends - 1
	}
	if o.Limit > 0 {
		a.next.add(Report{Used: o.Used, Limit: o.Limit})
		a.figureAt = now
		a.cut(o.Used, o.Limit)
		urgent = o.Used > a.state.Estimate || o.Limit != a.state.Limit || now.Sub(a.state.Observed) >= a.o.Config.Stale
	}
	switch {
	case o.Exhausted:
		a.next.add(Report{Closed: g.level})
		a.state.Closed = now.Add(a.o.Config.Pause)
		if a.state.ClosedFor == priority.Unset || g.level < a.state.ClosedFor {
			a.state.ClosedFor = g.level
		}
		for l := g.level; l <= priority.Audit; l++ {
			a.drop(l)
		}
		urgent = true
	case o.Served && g.trial:
		a.next.add(Report{Opened: g.level})
		a.state.Closed, a.state.ClosedFor = time.Time{}, priority.Unset
		urgent = true
	}
	return urgent
}

// cut drops the blocks of levels that a new figure leaves nothing for. a.mu must be held.
func (a *Accountant) cut(used, most int64) {
	seen := account{most: most}
	for _, l := range priority.Levels() {
		if used >= seen.band(a.o.Config, l) {
			a.drop(l)
		}
	}
}

func (a *Accountant) poke() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// ends returns the end of the allowance as last worked out; the zero time when it is not near.
func (a *Accountant) ends() time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.exhaustion
}

// Spare reports whether so many calls may be made only to be faster: with them less than half of the allowance is used, and at the
// rate of the last hour it does not end within a day.
func (a *Accountant) Spare(calls int64) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.state
	return s.Limit > 0 && s.ClosedFor == priority.Unset && a.exhaustion.IsZero() && 2*(s.Estimate+calls) < s.Limit
}

// Room is how many calls one load of a level may have on their way: three quarters of the slots that there are for it now, but at least
// one. The rest is for whoever waits for an answer.
func (a *Accountant) Room(level priority.Level) int { return a.gateway.room(level) }

// State returns what this process knows.
func (a *Accountant) State() State {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.state
}
