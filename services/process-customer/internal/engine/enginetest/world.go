// Package enginetest is a small world for tests: fake systems, one engine over a database, and a clock that only the
// test moves. Nothing in it sleeps; a test drives every step and then judges what the systems hold.
package enginetest

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/pkg/telemetry"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/deadletter"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/deliver"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/engine"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/fold"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source/sourcetest"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/survive"
)

// Clock is a time that only tests move. It is safe for concurrent use.
type Clock struct {
	mu  sync.Mutex
	now time.Time
}

// NewClock returns a clock that stands at a fixed moment.
func NewClock() *Clock { return &Clock{now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)} }

// Now returns the time and moves it by a millisecond, so that no two events share one by accident.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(time.Millisecond)
	return c.now
}

// Advance moves the time.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// Keep returns what sets the time back to what it is now.
func (c *Clock) Keep() (back func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	kept := c.now
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.now = kept
	}
}

// World is two systems, a database and an engine between them.
type World struct {
	Clock *Clock
	SF    *sourcetest.Fake
	ERP   *sourcetest.Fake
	Store *store.Store
	Rules *survive.Rules
	*engine.Engine
	// Deleting is set by a test in which people delete records: one that was created, whose acknowledgement was lost and
	// which was deleted before anybody heard of it, is rightly created again.
	Deleting bool
	// Identity decides beyond exact keys from the next Start on; optional.
	Identity fold.Identity
	// DeleteBrake is how many deletions are carried out within an hour from the next Start on; any number when zero.
	DeleteBrake int
	// Ahead is after how many changes of a batch what they did is written, from the next Start on; as in the service when zero.
	Ahead int

	t       T
	wrap    func(engine.Store) engine.Store
	systems []source.System
	starts  int
}

// T is the part of a test that judges: testing.TB and rapid.T.
type T interface {
	require.TestingT
	Helper()
}

// New returns a world on a fresh database. Nothing has been read yet: call Settle.
func New(t testing.TB, d *db.DB) *World {
	t.Helper()
	return NewWith(t, d, func(*sourcetest.Options) {})
}

// NewWith returns a world whose systems are somewhat different.
func NewWith(t T, d *db.DB, change func(*sourcetest.Options)) *World {
	t.Helper()
	clock := NewClock()
	sf, erp := sourcetest.Salesforce(clock.Now), sourcetest.ERP(clock.Now)
	change(&sf)
	change(&erp)
	w := &World{Clock: clock, SF: sourcetest.New(sf), ERP: sourcetest.New(erp), Rules: survive.Default(), t: t}
	var err error
	w.Store, err = store.Open(context.Background(), d)
	require.NoError(t, err)
	w.systems = []source.System{w.SF, w.ERP}
	w.Start()
	return w
}

// Wrap has later starts use another store and other systems over the same ones, for tests that make them fail. Nil
// keeps what is.
func (w *World) Wrap(wrapStore func(engine.Store) engine.Store, wrapSystem func(source.System) source.System) {
	w.wrap = wrapStore
	w.systems = []source.System{w.SF, w.ERP}
	if wrapSystem != nil {
		for i, s := range w.systems {
			w.systems[i] = wrapSystem(s)
		}
	}
}

// Only has later starts know no other systems, as after the others were taken out of the configuration. Wrap puts all of them back.
func (w *World) Only(systems ...source.System) { w.systems = systems }

// Leave puts a feed there that a system has left behind which was taken out of the configuration during its first scan.
func (w *World) Leave(system string) {
	w.t.Helper()
	require.NoError(w.t, w.Store.Tx(context.Background(), func(ctx context.Context, tx *store.Tx) error {
		if err := tx.EnsureFeed(ctx, system); err != nil {
			return err
		}
		f, _, err := tx.AcquireFeed(ctx, system, "another", w.Clock.Now(), 0)
		if err == nil {
			f.State, f.Scan, f.Epoch = store.FeedScanning, store.ScanRunning, 1
			_, err = tx.SaveFeed(ctx, f)
		}
		return err
	}))
}

// Keep returns what sets the systems, the time and the luck of later starts back to what they are now. The database is not its business.
func (w *World) Keep() (back func()) {
	sf, erp, clock, starts := w.SF.Keep(), w.ERP.Keep(), w.Clock.Keep(), w.starts
	return func() {
		sf()
		erp()
		clock()
		w.starts = starts
	}
}

// Start throws the engine away, as a crash does, and starts another one over the same database.
func (w *World) Start() {
	w.t.Helper()
	w.starts++
	var st engine.Store = w.Store
	if w.wrap != nil {
		st = w.wrap(st)
	}
	e, err := engine.New(engine.Deps{
		Store: st, Systems: w.systems, Rules: w.Rules, Owner: fmt.Sprintf("test/%d", w.starts), Now: w.Clock.Now,
		Rand: NewRand(uint64(w.starts)), Telemetry: telemetry.Discard(), //nolint:gosec // a count
		Deliver: deliver.Config{RetryMin: time.Second, RetryMax: time.Minute, DeleteBrake: w.DeleteBrake}, Identity: w.Identity, Ahead: w.Ahead,
	})
	require.NoError(w.t, err)
	w.Engine = e
}

// NewRand returns random bytes that depend on seed only.
func NewRand(seed uint64) io.Reader { return rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), 7}) }

// Read takes everything in that the feeds have to tell now, scans included. It returns the first error.
func (w *World) Read(ctx context.Context) error {
	for _, f := range w.Feeds {
		held, err := f.Acquire(ctx)
		if err != nil {
			return err
		}
		if !held {
			w.Clock.Advance(time.Minute)
			if held, err = f.Acquire(ctx); err != nil || !held {
				return fmt.Errorf("feed %s is not free: %w", f.System(), err)
			}
		}
		for quiet := false; !quiet; {
			more, err := f.Step(ctx)
			if err != nil {
				return err
			}
			if more {
				continue
			}
			n := -1
			if err := f.Watch(ctx, func(b source.Batch) bool { n = len(b.Changes); return true }); err != nil {
				return err
			}
			quiet = n == 0
		}
	}
	return nil
}

// Deliver writes everything that is due now.
func (w *World) Deliver(ctx context.Context) error {
	for _, d := range w.Deliverers {
		for {
			n, err := Step(ctx, d)
			if err != nil {
				return err
			}
			if n == 0 {
				break
			}
		}
	}
	return nil
}

// Step has each lane of a deliverer do a step, the more urgent one first, and returns how many marks they worked on.
func Step(ctx context.Context, d *deliver.Deliverer) (int, error) {
	sum := 0
	for _, level := range store.Levels() {
		n, err := d.Step(ctx, level)
		if sum += n; err != nil {
			return sum, err
		}
	}
	return sum, nil
}

// Turn reads and delivers once.
func (w *World) Turn(ctx context.Context) error {
	if err := w.Read(ctx); err != nil {
		return err
	}
	return w.Deliver(ctx)
}

// Settle turns until nothing is left to do or only dead letters are, moving the clock so that retries become due. It
// fails the test if that takes more than 60 turns: then something goes round in circles.
func (w *World) Settle() {
	w.t.Helper()
	ctx := context.Background()
	calm := 0
	for range 60 {
		before := w.SF.TotalWrites() + w.ERP.TotalWrites() + w.SF.Told() + w.ERP.Told()
		require.NoError(w.t, w.Turn(ctx))
		pending, err := w.Store.Read().Backlogs(ctx)
		require.NoError(w.t, err)
		if after := w.SF.TotalWrites() + w.ERP.TotalWrites() + w.SF.Told() + w.ERP.Told(); len(pending) == 0 && after == before {
			if calm++; calm == 2 {
				return
			}
			continue
		}
		calm = 0
		w.Clock.Advance(2 * time.Minute)
	}
	require.Fail(w.t, "the world does not settle")
}

// Golden returns the golden record that a system's record belongs to.
func (w *World) Golden(sys *sourcetest.Fake, obj golden.Object, recordID string) *store.Golden {
	w.t.Helper()
	ctx := context.Background()
	rows, err := w.Store.Read().Sources(ctx, sys.Name(), obj, []string{recordID})
	require.NoError(w.t, err)
	require.Len(w.t, rows, 1, "record %s is not known", recordID)
	got, err := w.Store.Read().Goldens(ctx, []golden.ID{rows[0].GoldenID})
	require.NoError(w.t, err)
	require.Len(w.t, got, 1)
	return got[0]
}

// Twin returns the live record that the other system has of the golden record.
func (w *World) Twin(id golden.ID, in *sourcetest.Fake) source.Record {
	w.t.Helper()
	rec, ok := in.Holder(id.Object(), source.ExternalIDOf(id, ""))
	require.True(w.t, ok, "%s has no record of %s", in.Name(), id)
	return rec
}

// Line returns the ledger of a system.
func (w *World) Line(system string) store.Line {
	w.t.Helper()
	lines, err := w.Store.Read().Ledger(context.Background())
	require.NoError(w.t, err)
	for _, l := range lines {
		if l.System == system {
			return l
		}
	}
	return store.Line{System: system}
}

// Events returns the kinds of what happened to a golden record, oldest first.
func (w *World) Events(id golden.ID) []string {
	w.t.Helper()
	events, err := w.Store.Read().ListEvents(context.Background(), id, 0, 1000)
	require.NoError(w.t, err)
	var kinds []string
	for _, e := range events {
		kinds = append(kinds, e.Kind)
	}
	return kinds
}

// Dead returns the open dead letters.
func (w *World) Dead() []store.DeadLetter {
	w.t.Helper()
	letters, err := w.Store.Read().ListDeadLetters(context.Background(), "", false, time.Time{}, "", 100)
	require.NoError(w.t, err)
	return letters
}

// Desk returns a desk for dead letters.
func (w *World) Desk() *deadletter.Desk {
	return deadletter.New(deadletter.Deps{Store: w.Store, Folder: w.Folder, Systems: w.Systems, Take: w.Intake.Take, Now: w.Clock.Now, Marked: w.Wake})
}

// Check judges the whole world: the ledger balances, no record was made twice, every golden record is what its claims
// say, and every live linked record holds the golden values.
func (w *World) Check() {
	w.t.Helper()
	ctx := context.Background()
	lines, err := w.Store.Read().Ledger(ctx)
	require.NoError(w.t, err)
	for _, l := range lines {
		require.True(w.t, l.Balanced(), "ledger %+v", l)
	}
	outflows, err := w.Store.Read().Outflows(ctx)
	require.NoError(w.t, err)
	for _, o := range outflows {
		require.True(w.t, o.Balanced(), "ledger of deliveries %+v", o)
	}
	for _, sys := range []*sourcetest.Fake{w.SF, w.ERP} {
		if !w.Deleting {
			require.Empty(w.t, sys.Duplicates(), "%s has duplicates", sys.Name())
		}
		for _, obj := range golden.Objects() {
			for _, rec := range sys.Records(obj) {
				w.checkRecord(ctx, sys, rec)
			}
		}
	}
}

func (w *World) checkRecord(ctx context.Context, sys *sourcetest.Fake, rec source.Record) {
	w.t.Helper()
	g := w.Golden(sys, rec.Ref.Object, rec.Ref.RecordID)
	open, err := w.Store.Read().OpenDeliver(ctx, sys.Name(), []golden.ID{g.ID})
	require.NoError(w.t, err)
	if len(open) > 0 {
		return // a person has to help
	}
	rows, err := w.Store.Read().SourcesOf(ctx, []golden.ID{g.ID})
	require.NoError(w.t, err)
	require.Equal(w.t, golden.ValuesOf(fold.Decide(g.Object, rows, w.Rules)), g.Values, "%s is not what its claims say", g.ID)
	require.False(w.t, g.Deleted, "%s is deleted but %s has it", g.ID, sys.Name())
	require.Equal(w.t, g.ID, source.GoldenIDOf(rec.ExternalID), "record %s of %s", rec.Ref.RecordID, sys.Name())
	for _, field := range sys.Fields(g.Object) {
		want, said := g.Values[field]
		if !said || field == golden.Parent || !w.Rules.WritesTo(g.Object, field, sys.Name()) {
			continue
		}
		require.Equal(w.t, want, rec.Values[field], "%s of %s in %s", field, g.ID, sys.Name())
	}
	for _, row := range rows {
		if row.Ref == rec.Ref {
			for field, value := range rec.Values {
				require.Equal(w.t, value, row.Shadow[field], "what %s is known to hold in %s of %s", sys.Name(), field, g.ID)
			}
		}
	}
}
