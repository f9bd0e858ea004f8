package budget

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/selfsame-io/selfsame/pkg/priority"
)

// Remaining is how many calls are left before work of a level has to wait; negative when it must already.
func (s State) Remaining(c Config, l priority.Level) int64 {
	a := account{most: s.Limit}
	return a.band(c, l) - s.Estimate
}

// Overview is the allowance as an operator sees it.
type Overview struct {
	State State
	// Levels are the priorities, the most urgent first.
	Levels []LevelOverview
	// Exhaustion is when everything will be used up at the rate of the last hour; zero when not within a day.
	Exhaustion time.Time
	// Rate is how many calls the org used in the last hour.
	Rate float64
	// Own is how many requests all replicas sent in the last day.
	Own int64
	// Concurrent is how many calls of this process may run at once now, Running how many do.
	Concurrent, Running int
	// Allowances are the org's other limits, by name.
	Allowances map[string]Allowance
}

// LevelOverview is what is left for one priority.
type LevelOverview struct {
	Level priority.Level
	// Remaining is how many calls are left before it has to wait; never negative.
	Remaining int64
	// Resume is when it may go on; zero when it may now.
	Resume time.Time
	// Own is how many requests all replicas sent for it in the last day.
	Own int64
	// Waiting is how many of its calls wait for a slot in this process.
	Waiting int
}

// Overview returns the allowance after telling the store everything. Errors are about the store.
func (a *Accountant) Overview(ctx context.Context) (Overview, error) {
	if _, err := a.flush(ctx, false); err != nil {
		return Overview{}, err
	}
	usage, err := a.o.Store.History(ctx)
	if err != nil {
		return Overview{}, err
	}
	others, err := a.o.Store.Allowances(ctx)
	if err != nil {
		return Overview{}, err
	}
	now, s := a.o.Now(), a.State()
	h := newHistory(readings(usage))
	out := Overview{State: s, Allowances: others, Rate: h.rate() * 4, Exhaustion: h.exhaustion(s.Estimate, s.Limit, now)}
	var own [priority.Audit + 1]int64
	for _, u := range usage {
		if u.slot > slotOf(now)-slots {
			for l, n := range u.Own {
				own[l] += n
				out.Own += n
			}
		}
	}
	var waiting map[priority.Level]int
	out.Concurrent, out.Running, waiting = a.gateway.state()
	for _, l := range priority.Levels() {
		left := s.Remaining(a.o.Config, l)
		x := LevelOverview{Level: l, Remaining: max(0, left), Own: own[l], Waiting: waiting[l]}
		if s.Limit > 0 && left < 1 {
			x.Resume = h.resume(needed-left, now)
		}
		if s.ClosedFor != priority.Unset && l >= s.ClosedFor && s.Closed.After(now) {
			x.Resume = maxTime(x.Resume, s.Closed)
		}
		out.Levels = append(out.Levels, x)
	}
	return out, nil
}

// Named returns the org's other limits in the order of their names.
func (v Overview) Named() []Allowance {
	out := make([]Allowance, 0, len(v.Allowances))
	for _, name := range slices.Sorted(maps.Keys(v.Allowances)) {
		out = append(out, v.Allowances[name])
	}
	return out
}
