package simulation

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source/sourcetest"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/survive"
)

// world is a story while it is played.
type world struct {
	stage     *Stage
	story     Story
	bug       bug
	clock     *clock
	rules     *survive.Rules
	lines     []*line
	processes []*process
	history   bytes.Buffer
	stats     Stats
	depth     int
	truth     truth
	union     union
	calls     []*call
	view      *view
	cut       bool // a process has died, and may have noted a write that it did not make
}

func open(ctx context.Context, stage *Stage, story Story, b Bug) (*world, error) {
	if err := stage.clear(ctx); err != nil {
		return nil, err
	}
	planted, ok := plant(b)
	if !ok {
		return nil, fmt.Errorf("there is no bug called %q", b)
	}
	w := &world{
		stage: stage, story: story, clock: &clock{now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}, truth: newTruth(), union: newUnion(), bug: planted,
	}
	var err error
	if w.rules, err = stage.rulesOf(story); err != nil {
		return nil, err
	}
	sf := sourcetest.Salesforce(func() time.Time { return w.clock.Now().Add(story.Skew) })
	if story.Coarse {
		sf.ClockStep = time.Second
	}
	for _, o := range []sourcetest.Options{sf, sourcetest.ERP(w.clock.Now)} {
		o.LateSnapshots = story.Late
		o.PageSize, o.BatchSize = 3, 4
		w.lines = append(w.lines, &line{w: w, name: o.Name, fake: sourcetest.New(o), checks: o.ChecksVersions, names: o.NamesWriters, poison: map[int]string{}, told: map[string]bool{}, absent: map[string]bool{}})
	}
	for n := range story.Processes {
		p := &process{w: w, number: n}
		w.processes = append(w.processes, p)
		p.start(ctx)
	}
	return w, nil
}

func (w *world) note(format string, args ...any) {
	fmt.Fprintf(&w.history, format+"\n", args...)
}

func (w *world) line(name string) *line {
	for _, l := range w.lines {
		if l.name == name {
			return l
		}
	}
	return nil
}

func (w *world) other(l *line) *line {
	for _, o := range w.lines {
		if o != l {
			return o
		}
	}
	return nil
}

// awake returns a process that runs, starting it if it is dead; nil while it is dead and not out of what it died in.
func (w *world) awake(ctx context.Context, n int) *process {
	p := w.processes[n%len(w.processes)]
	if p.dead {
		if len(p.busy) > 0 {
			return nil
		}
		w.note("   process %s starts again", processName(p.number))
		p.start(ctx)
	}
	return p
}

// maxDepth bounds what happens inside of what happens.
const maxDepth = 3

// do lets one step happen.
func (w *world) do(ctx context.Context, s Step) {
	if w.depth >= maxDepth {
		return
	}
	w.depth++
	defer func() {
		w.depth--
		if w.cut {
			w.cut = false
			w.noted(ctx)
		}
	}()
	switch s.Act {
	case Create, Edit, Retype, Touch, Delete, Undelete, Move, Merge, Spoil:
		w.person(ctx, s)
		return
	case Read, Deliver, Order, Say, Crash, FailStore, LoseCommit:
		w.ours(ctx, s)
		return
	case Wait:
		w.clock.advance(time.Duration(s.N) * time.Second)
		return
	}
	l := w.line(s.System)
	switch s.Act {
	case Fault:
		l.faults = append(l.faults, s.Kind)
	case Meanwhile:
		l.armed = append(l.armed, s)
	case Land:
		l.land(ctx)
	case Lose:
		l.fake.Drop(s.N)
		l.lost, l.gaps = true, true
	case Overflow:
		l.fake.Drop(s.N)
		l.owes, l.gaps = true, true
	case Poison:
		l.poison[s.Who] = s.Kind
		w.truth.planted[s.Who] = true
	default:
		w.feedFault(l, s)
	}
}

func (w *world) feedFault(l *line, s Step) {
	w.stats.Faults++
	switch s.Act {
	case Refuse:
		for range s.N {
			for _, op := range []sourcetest.Op{sourcetest.OpFetch, sourcetest.OpList, sourcetest.OpWatch} {
				l.fake.Fail(op, sourcetest.Unreachable())
			}
		}
	case Down:
		l.fake.SetDown(sourcetest.Unreachable())
	case Up:
		l.fake.SetDown(nil)
	case Hold:
		l.fake.Hold()
	case Release:
		l.fake.Release(sourcetest.Shuffled(uint64(s.N))) //nolint:gosec // never negative
	case Twice:
		l.fake.Repeat(1)
	case Again:
		l.fake.Replay(s.N)
	case Expire:
		l.expired, l.gaps = true, true
		l.fake.ExpireTokens()
	}
}

// ours lets one of our processes do something, or sees to its end.
func (w *world) ours(ctx context.Context, s Step) {
	p := w.awake(ctx, s.Process)
	if p == nil {
		return
	}
	switch s.Act {
	case Read:
		w.line(s.System).own()
		p.read(ctx, s.System)
	case Deliver:
		p.deliver(ctx, s.System)
	case Order, Say:
		w.request(ctx, p, s)
	case Crash:
		p.fuse = s.N
	case FailStore:
		p.refuse = s.N
	case LoseCommit:
		p.unsure = s.N
	}
}

// calm ends all faults. What the feeds have lost without saying so is found by the reading that is made on schedule.
func (w *world) calm(ctx context.Context) {
	w.note("all faults end")
	for _, l := range w.lines {
		l.faults, l.armed = nil, nil
		l.fake.SetDown(nil)
		l.fake.ClearFailures()
		l.land(ctx)
		l.fake.Release(sourcetest.Shuffled(w.story.Seed))
		if !l.owes {
			l.fake.Drop(0)
		}
		l.own()
		l.fake.Repeat(0)
	}
	for n, p := range w.processes {
		p.fuse, p.refuse, p.unsure = 0, 0, 0
		w.awake(ctx, n)
	}
	w.clock.advance(5 * time.Minute)
	for _, l := range w.lines {
		if !l.lost {
			continue
		}
		w.note("%s is read again on schedule", l.name)
		err := w.stage.store.Tx(ctx, func(ctx context.Context, tx *store.Tx) error {
			_, err := tx.RequestScan(ctx, l.name)
			return err
		})
		if err != nil {
			breach("the simulation is sound", "request a scan: %v", err)
		}
	}
	for _, c := range w.calls {
		c.again(ctx)
	}
}

// maxTurns is how often the world may turn before it has to rest.
const maxTurns = 60

// settle turns until nothing is left to do.
func (w *world) settle(ctx context.Context) {
	quiet := 0
	for turn := range maxTurns {
		before := w.activity()
		for n := range w.processes {
			p := w.awake(ctx, n)
			for _, l := range w.lines {
				p.read(ctx, l.name)
			}
			for _, l := range w.lines {
				p.deliver(ctx, l.name)
			}
		}
		if w.activity() == before && w.rests(ctx) {
			if quiet++; quiet == 2 {
				w.note("at rest after %d turns", turn+1)
				return
			}
			continue
		}
		quiet = 0
		w.clock.advance(2 * time.Minute)
	}
	feeds, err := w.stage.store.Read().Feeds(ctx)
	for _, f := range feeds {
		w.note("feed %s %s %s scan %s %s", f.System, f.State, f.Reason, f.Scan, f.Phase)
	}
	breach("everything comes to rest", "it does not within %d turns; marks left: %v; %v", maxTurns, w.marks(ctx), err)
}

// activity grows with everything that happens in the systems.
func (w *world) activity() int {
	n := 0
	for _, l := range w.lines {
		n += l.fake.TotalWrites() + l.fake.Told()
	}
	return n
}

// rests reports whether the feeds are read to their ends and no mark is left but such as wait for a person.
func (w *world) rests(ctx context.Context) bool {
	feeds, err := w.stage.store.Read().Feeds(ctx)
	if err != nil || len(feeds) != len(w.lines) {
		return false
	}
	for _, f := range feeds {
		if f.State != store.FeedLive || f.Scan != store.ScanDone {
			return false
		}
	}
	return len(w.marks(ctx)) == 0
}

// whose returns which customer a write is about; 0 when it cannot be told.
func (w *world) whose(l *line, obj golden.Object, x source.Write) int {
	if obj != golden.Customer {
		return 0
	}
	if n := w.truth.who[golden.Ref{System: l.name, Object: obj, RecordID: x.Ref.RecordID}]; n > 0 {
		return n
	}
	return numberOf(x.Values[golden.TaxID])
}

// taxIDOf is what customer n is recognised by, and numberOf the other way round.
func taxIDOf(n int) string { return fmt.Sprintf("DE10000%04d", n*11+1000) }

func numberOf(taxID string) int {
	for n := 1; n <= customers; n++ {
		if taxIDOf(n) == taxID {
			return n
		}
	}
	return 0
}

// records returns the live records of an object in a system, in a fixed order.
func (l *line) records(obj golden.Object) []source.Record {
	recs := l.fake.Records(obj)
	slices.SortFunc(recs, func(a, b source.Record) int { return compare(a.Ref.RecordID, b.Ref.RecordID) })
	return recs
}

func compare(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	default:
		return 0
	}
}
