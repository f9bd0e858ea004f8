package simulation

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/telemetry"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/deliver"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/engine"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
)

// clock is a time that only the story moves.
type clock struct {
	mu  sync.Mutex // the database has goroutines of its own
	now time.Time
}

// Now returns the time and moves it a little, so that no two moments are one by accident.
func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(10 * time.Microsecond)
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// errKilled is what everything answers once the process is dead.
var errKilled = errors.New("the process is dead")

// process is one of our processes. It dies where the story says, and is started again when it is needed next.
type process struct {
	w       *world
	number  int
	starts  int
	engine  *engine.Engine
	dead    bool
	fuse    int             // points until it dies; 0 is never
	refuse  int             // statements until one is refused; 0 is never
	unsure  int             // transactions until one is committed without an answer; 0 is never
	session map[string]bool // feeds that it believes to hold
	busy    map[string]bool // what it is in the middle of
	links   []*link
}

// point is a moment at which it makes a difference to die: around every statement, commit and call.
func (p *process) point() error {
	if p.fuse > 0 {
		if p.fuse--; p.fuse == 0 {
			p.dead, p.w.cut = true, true
			p.w.stats.Crashes++
			p.w.note("   process %s dies", processName(p.number))
		}
	}
	if p.dead {
		return errKilled
	}
	return nil
}

// start begins with nothing but the database.
func (p *process) start(ctx context.Context) {
	p.starts++
	p.dead, p.fuse, p.refuse, p.unsure = false, 0, 0, 0
	p.session, p.busy, p.links = map[string]bool{}, map[string]bool{}, nil
	var systems []source.System
	for _, l := range p.w.lines {
		k := &link{p: p, line: l, seen: map[golden.Ref]source.Record{}}
		p.links = append(p.links, k)
		var s source.System = k
		if p.w.bug.system != nil {
			s = p.w.bug.system(p.w, s)
		}
		systems = append(systems, s)
	}
	var st engine.Store = &mortal{p: p, store: p.w.stage.store.Through(p.statement)}
	if p.w.bug.store != nil {
		st = p.w.bug.store(p, st)
	}
	var seed [32]byte
	copy(seed[:], fmt.Sprintf("%d/%d/%d", p.w.story.Seed, p.number, p.starts))
	var err error
	p.engine, err = engine.New(engine.Deps{
		Store: st, Systems: systems, Rules: p.w.rules, Owner: fmt.Sprintf("%s/%d", processName(p.number), p.starts), Now: p.w.clock.Now,
		Rand: rand.NewChaCha8(seed), Telemetry: telemetry.Discard(), Deliver: deliver.Config{RetryMin: time.Second, RetryMax: time.Minute},
		Ahead: 1 + int(p.w.story.Seed%3), //nolint:gosec // one to three: batches are small here
	})
	if err != nil {
		breach("our code starts", "%v", err)
	}
	if err := p.engine.Recover(ctx); err != nil && !p.dead {
		p.w.note("   process %s cannot recover: %s", processName(p.number), fault.ReasonOf(err))
	}
}

// statement is asked before every statement of the process.
func (p *process) statement(_ context.Context, query string, args []any) (string, []any, error) {
	if err := p.point(); err != nil {
		return query, args, err
	}
	if p.refuse > 0 {
		if p.refuse--; p.refuse == 0 {
			p.w.stats.Faults++
			p.w.note("   the database refuses process %s a statement", processName(p.number))
			return query, args, fault.New(fault.Unavailable, fault.ReasonStoreUnavailable, "the database does not answer")
		}
	}
	if p.w.bug.statement != nil {
		query, args = p.w.bug.statement(query, args)
	}
	return query, args, nil
}

// mortal is the database as a process that can die sees it.
type mortal struct {
	p     *process
	store *store.Store
}

// Tx runs a transaction; the process may die before its commit, or after it and before knowing.
func (m *mortal) Tx(ctx context.Context, fn func(ctx context.Context, tx *store.Tx) error) error {
	if m.p.dead {
		return errKilled
	}
	err := m.store.Tx(ctx, func(ctx context.Context, tx *store.Tx) error {
		if err := fn(ctx, tx); err != nil {
			return err
		}
		return m.p.point()
	})
	if err != nil {
		return err
	}
	if m.p.unsure > 0 {
		if m.p.unsure--; m.p.unsure == 0 {
			m.p.w.stats.Faults++
			m.p.w.note("   the database does not tell process %s of a commit", processName(m.p.number))
			return fault.New(fault.Uncertain, fault.ReasonOutcomeUncertain, "the connection broke during the commit")
		}
	}
	return m.p.point()
}

// Read reads what is committed.
func (m *mortal) Read() store.Reader { return m.store.Read() }

// Ping reports whether the database answers.
func (m *mortal) Ping(ctx context.Context) error {
	if m.p.dead {
		return errKilled
	}
	return m.store.Ping(ctx)
}

// Single reports whether no other process has the database.
func (m *mortal) Single() bool { return m.p.w.story.Processes == 1 }

// rounds is how many batches one step may go on for.
const rounds = 40

// read is what Feed.Run does between two waits.
func (p *process) read(ctx context.Context, system string) {
	key := "read " + system
	if p.busy[key] {
		return
	}
	p.busy[key] = true
	busy := p.busy
	defer func() { delete(busy, key) }()
	for _, f := range p.engine.Feeds {
		if f.System() != system {
			continue
		}
		if !p.session[system] {
			held, err := f.Acquire(ctx)
			if err != nil || !held {
				p.outcome("the feed is not ours", err)
				return
			}
			p.session[system] = true
		}
		for range rounds {
			more, err := f.Step(ctx)
			told := -1
			if err == nil && !more {
				err = f.Watch(ctx, func(b source.Batch) bool { told = len(b.Changes); return true })
			}
			if err != nil {
				p.session[system] = false
				p.outcome("reading "+system, err)
				if !p.dead && !errors.Is(err, store.ErrFenced) {
					f.Failed(ctx, err)
				}
				return
			}
			if told == 0 {
				return
			}
		}
		return
	}
}

// deliver is what Deliverer.Run does between two waits. While a lane is in the middle of something, the other one goes on.
func (p *process) deliver(ctx context.Context, system string) {
	for _, level := range store.Levels() {
		p.deliverLevel(ctx, system, level)
	}
}

func (p *process) deliverLevel(ctx context.Context, system string, level store.Level) {
	key := fmt.Sprintf("deliver %s %d", system, level)
	if p.busy[key] {
		return
	}
	p.busy[key] = true
	busy := p.busy
	defer func() { delete(busy, key) }()
	for _, k := range p.links {
		if k.line.name == system { // what one lane has looked at is not what the other one has
			before := k.seen
			k.seen = map[golden.Ref]source.Record{}
			defer func() { k.seen = before }()
		}
	}
	for _, d := range p.engine.Deliverers {
		if d.System() != system {
			continue
		}
		for range rounds {
			p.forget(system)
			n, err := d.Step(ctx, level)
			if err != nil {
				p.outcome("delivering to "+system, err)
				return
			}
			if n == 0 {
				return
			}
		}
	}
}

// forget has the process begin to look anew.
func (p *process) forget(system string) {
	for _, k := range p.links {
		if k.line.name == system {
			clear(k.seen)
		}
	}
}

func (p *process) outcome(what string, err error) {
	switch {
	case p.dead:
	case err != nil:
		p.w.note("   %s fails: %s", what, fault.ReasonOf(err))
	default:
		p.w.note("   %s", what)
	}
}
