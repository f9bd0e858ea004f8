package budget

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/selfsame-io/selfsame/pkg/priority"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/rest"
)

// world is an org, its other programs, and replicas that come and go. It knows what is true, which no accountant does.
type world struct {
	*bench
	rt       *rapid.T
	replicas []*Accountant
	names    int
	flight   []flying
	// otherTold is how many calls of other programs any figure has shown that reached the store.
	otherTold int64
	// shown is how many any figure of a replica has shown that it has not told yet.
	shown map[*Accountant]sight
	late  bool
	// fresh is set when the store hands out a block.
	fresh bool
}

// sight is how many calls of other programs a figure held, and when it came.
type sight struct {
	calls int64
	at    time.Time
}

type flying struct {
	of  *Accountant
	end func(rest.CallOutcome)
}

func (w *world) add() {
	w.names++
	w.replicas = append(w.replicas, w.replica(fmt.Sprint("replica ", w.names)))
}

func (w *world) one() *Accountant {
	return w.replicas[rapid.IntRange(0, len(w.replicas)-1).Draw(w.rt, "replica")]
}

// begin begins a call and checks what must be true whenever calls are handed out: with everything that is under way they stay
// within their band, but for what other programs did since they were last seen. Calls of a block may be made for the few seconds
// that it is kept, whatever others do meanwhile; alone in the org they never exceed the whole.
func (w *world) begin() {
	a, l := w.one(), rapid.SampledFrom(priority.Levels()).Draw(w.rt, "level")
	w.fresh = false
	end, err := a.Begin(at(w.t, l))
	if err != nil {
		return
	}
	w.flight = append(w.flight, flying{of: a, end: end})
	known := account{most: w.org.limit}
	unseen := int64(len(w.org.other)) - w.otherTold
	used := w.org.used(w.org.now) + int64(len(w.flight))
	if w.fresh {
		require.LessOrEqual(w.rt, used, known.band(w.store.cfg, l)+unseen,
			"%s: %d calls used and under way of %d, %d of other programs unseen", l, used, w.org.limit, unseen)
	}
	if len(w.org.other) == 0 {
		require.LessOrEqual(w.rt, used, w.org.limit, "a call of a block that was handed out before")
	}
}

// finish ends the oldest call in one of the ways that calls end.
func (w *world) finish() {
	if len(w.flight) == 0 {
		return
	}
	i := rapid.IntRange(0, len(w.flight)-1).Draw(w.rt, "call")
	f := w.flight[i]
	w.flight = append(w.flight[:i], w.flight[i+1:]...)
	var o rest.CallOutcome
	switch rapid.IntRange(0, 5).Draw(w.rt, "how") {
	case 0: // it never left
	case 1: // made, and the answer was lost
		w.org.serve(0)
		o = rest.CallOutcome{Sends: 1}
	default:
		var late time.Duration
		if w.late {
			late = time.Duration(rapid.Int64Range(0, int64(w.store.cfg.Lag/2)).Draw(w.rt, "late"))
		}
		o = w.org.serve(late)
		if late == 0 {
			w.shown[f.of] = sight{calls: int64(len(w.org.other)), at: w.org.now}
		}
	}
	f.end(o)
}

// tell has a replica report.
func (w *world) tell(a *Accountant) {
	if _, err := a.flush(w.t.Context(), false); err == nil && w.org.now.Sub(w.shown[a].at) <= w.store.cfg.Lag/2 {
		w.otherTold = max(w.otherTold, w.shown[a].calls)
	}
}

// crash ends a replica without a word; its calls under way are made or not.
func (w *world) crash() {
	dead := w.one()
	var rest []flying
	for _, f := range w.flight {
		switch {
		case f.of != dead:
			rest = append(rest, f)
		case rapid.Bool().Draw(w.rt, "made"):
			w.org.serve(0)
		}
	}
	w.flight = rest
	for i, a := range w.replicas {
		if a == dead {
			w.replicas = append(w.replicas[:i:i], w.replicas[i+1:]...)
			break
		}
	}
	w.add()
}

func (w *world) actions() map[string]func(*rapid.T) {
	act := func(do func()) func(*rapid.T) { return func(rt *rapid.T) { w.rt = rt; do() } }
	return map[string]func(*rapid.T){
		"begin":  act(func() { w.begin() }),
		"begin2": act(func() { w.begin(); w.begin(); w.begin() }),
		"finish": act(func() { w.finish(); w.finish() }),
		"tell":   act(func() { w.tell(w.one()) }),
		"idle": act(func() {
			for _, a := range w.replicas {
				if a.due() {
					w.tell(a)
				}
			}
		}),
		"crash": act(func() { w.crash() }),
		"wait": act(func() {
			for range rapid.IntRange(1, 20).Draw(w.rt, "minutes") {
				w.wait(time.Minute)
				for _, a := range w.replicas {
					w.tell(a) // a replica that lives reports, also when it has nothing to say
				}
			}
		}),
		"moment": act(func() {
			w.wait(time.Duration(rapid.Int64Range(1, int64(5*time.Second)).Draw(w.rt, "wait")))
		}),
		"lose answer": act(func() { w.store.loseAnswer = true }),
		"store":       act(func() { w.store.down = !w.store.down }),
	}
}

func newWorld(t *testing.T, rt *rapid.T, cfg Config) *world {
	w := &world{bench: setup(t, cfg, rapid.Int64Range(20, 400).Draw(rt, "limit")), rt: rt, shown: map[*Accountant]sight{}}
	w.store.granted = func(Exchange, Answer) { w.fresh = true }
	for range rapid.IntRange(1, 4).Draw(rt, "replicas") {
		w.add()
	}
	w.look()
	return w
}

// TestProperty_Alone: with no other program in the org, nothing that crashes, gets lost or comes late makes the calls of any
// level exceed its band, at any moment of the rolling day.
func TestProperty_Alone(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(t, rt, DefaultConfig())
		w.late = true
		w.emergencyOff()
		actions := w.actions()
		delete(actions, "store") // calls without the account are tested by themselves
		actions[""] = func(*rapid.T) { w.emergencyOff() }
		rt.Repeat(actions)
	})
}

// emergencyOff takes the calls away that a person gets without the account.
func (w *world) emergencyOff() {
	for _, a := range w.replicas {
		a.mu.Lock()
		a.emergency = 0
		a.mu.Unlock()
	}
}

// TestProperty_Others: other programs use calls at will. What they use is known once any replica has told a figure that shows
// it; from then on no call begins that would not leave the reserve of the levels above.
func TestProperty_Others(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(t, rt, DefaultConfig())
		actions := w.actions()
		delete(actions, "store")
		actions["others"] = func(rt *rapid.T) {
			w.others(rapid.IntRange(1, int(w.org.limit)/2).Draw(rt, "calls"))
		}
		actions[""] = func(*rapid.T) { w.emergencyOff() }
		rt.Repeat(actions)
	})
}

// TestProperty_StoreDown: without the account only people get calls, and never more than their few.
func TestProperty_StoreDown(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(t, rt, exact())
		for range 5 {
			w.begin()
			w.finish()
		}
		w.told()
		w.store.down = true
		for _, a := range w.replicas {
			for l := range a.pools {
				a.pools[l].calls = 0
			}
			people := 0
			for range 3 * emergencyMost {
				l := rapid.SampledFrom(priority.Levels()).Draw(rt, "level")
				if _, err := a.Begin(at(t, l)); err == nil {
					require.Equal(rt, priority.Interactive, l)
					people++
				}
			}
			require.LessOrEqual(rt, people, emergencyMost)
		}
	})
}

// TestProperty_Told: whoever is refused is told when, not before now and not after a day, and asking again at that time after a
// new figure is not in vain while nobody else makes calls.
func TestProperty_Told(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		limit := rapid.Int64Range(20, 500).Draw(rt, "limit")
		b := setup(t, exact(), limit)
		b.look()
		b.wait(slotLength) // what was used before the first figure is not known; what comes is
		for range rapid.IntRange(1, 40).Draw(rt, "slots") {
			b.others(rapid.IntRange(0, int(limit)/20).Draw(rt, "others"))
			b.look()
			b.wait(slotLength)
		}
		l := rapid.SampledFrom(priority.Levels()).Draw(rt, "level")
		for range limit {
			if b.call(l) != nil {
				break
			}
		}
		err := b.call(l)
		if err == nil {
			return
		}
		b.told()
		for range 3 { // the estimate at that moment may count calls that were not made
			b.wait(poolIdle)
			b.due()
			b.told()
		}
		if err = b.call(l); err == nil {
			return
		}
		resume := resumeOf(rt, err)
		require.False(rt, resume.Before(b.org.now.Add(-time.Second)))
		require.False(rt, resume.After(b.org.now.Add(window+slotLength)))
		b.org.now = maxTime(resume, b.org.now.Add(2*refusalMemory))
		b.look()
		require.NoError(rt, b.call(l), "refused until %s, and it is", resume)
	})
}
