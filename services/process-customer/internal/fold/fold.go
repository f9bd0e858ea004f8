// Package fold puts what was observed in a system, said through our API, or acknowledged after a write together with
// what is known, and works out the golden record and what is to be written where.
//
// A [Unit] is the work of one transaction. It loads everything a batch touches with a few statements, folds the
// observations in memory one by one, and writes the outcome with a few statements more. Invariants:
//
//   - The golden values are always survive.Merge over the claims of the records that belong to the golden record
//     ([Decide]); nothing else ever sets one.
//   - A value counts as a system's own word only if the system did not have it before and we did not send it.
//   - Whenever the values a linked record should hold differ from those it is known to hold, the pair is marked.
//
// The package calls no system and owns no loop: intake and deliver do.
package fold

import (
	"context"
	"fmt"
	"io"
	"slices"
	"sync/atomic"
	"time"

	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/survive"
)

// Config is what a Folder needs. All fields are required.
type Config struct {
	Rules   *survive.Rules
	Systems []source.System
	Now     func() time.Time
	// Rand makes ids.
	Rand io.Reader
	// Identity decides beyond exact keys; optional.
	Identity Identity
}

// Folder makes units. It is safe for concurrent use.
type Folder struct {
	rules   atomic.Pointer[survive.Rules]
	systems []string
	fields  map[string]map[golden.Object][]string
	now     func() time.Time
	rand    io.Reader
	// identity is nil when exact keys alone decide.
	identity Identity
}

// New returns a folder for a fixed set of systems.
func New(c Config) *Folder {
	f := &Folder{now: c.Now, rand: c.Rand, identity: c.Identity, fields: map[string]map[golden.Object][]string{}}
	f.rules.Store(c.Rules)
	for _, s := range c.Systems {
		f.systems = append(f.systems, s.Name())
		f.fields[s.Name()] = map[golden.Object][]string{}
		for _, obj := range golden.Objects() {
			f.fields[s.Name()][obj] = s.Fields(obj)
		}
	}
	slices.Sort(f.systems)
	return f
}

// Rules returns the survivorship rules that this process knows to be in force.
func (f *Folder) Rules() *survive.Rules { return f.rules.Load() }

// Use has rules in force that the database says are. Units that have begun go on with those they began with.
func (f *Folder) Use(r *survive.Rules) { f.rules.Store(r) }

// current returns the rules that the database says are in force, as of the transaction: whoever decides identities
// decides by the same rules as every other replica. A database without rules leaves those that the folder was made with.
func (f *Folder) current(ctx context.Context, tx *store.Tx) (*survive.Rules, error) {
	rules := f.Rules()
	content, other, err := tx.RulesIfNot(ctx, rules.Digest())
	if err != nil || !other {
		return rules, err
	}
	if rules, err = survive.Parse([]byte(content)); err != nil {
		return nil, fmt.Errorf("rules in force, put there by another release: %w", err)
	}
	f.Use(rules)
	return rules, nil
}

// Systems returns the names of the systems, sorted. It must not be changed.
func (f *Folder) Systems() []string { return f.systems }

type intentKey struct {
	system string
	golden golden.ID
	record string
}

// touch says which systems have to be compared with a golden record again.
type touch struct {
	all     bool
	systems []string
}

// Unit is the work of one transaction; it is not safe for concurrent use.
type Unit struct {
	f           *Folder
	rules       *survive.Rules
	tx          *store.Tx
	now         time.Time
	traceparent string

	rows    map[golden.Ref]*store.Source
	of      map[golden.ID][]*store.Source
	goldens map[golden.ID]*store.Golden
	owners  map[store.Key]golden.ID
	free    map[store.Key]bool // keys that nobody had, and that the unit has not written since
	intents map[intentKey]store.Intent
	asked   map[questionKey]store.Question
	left    map[golden.ID][]store.Move // what went away from golden records that were merged
	came    map[golden.Ref]golden.ID   // where a record was before a merge took it away
	native  map[golden.Ref]bool        // records that were merged away in their system and that no stored merge has moved
	moves   []store.Move
	// forgotten are stored moves that count no more, of golden records that are not back themselves.
	forgotten []store.Move
	parted    map[golden.ID]bool

	newRows     map[golden.Ref]bool
	dirtyRows   map[golden.Ref]bool
	dirtyGolden map[golden.ID]bool
	dirtyIntent map[intentKey]bool
	touched     map[golden.ID]touch
	linked      map[golden.Ref]bool           // customers that a system has from now on
	revived     map[golden.ID]map[string]bool // customers that a system, "" for all, has again
	met         map[golden.Ref]int64
	events      []store.Event
	marked      map[golden.ID]bool
	undo        []func()
	doubts      []Doubt
	said        map[golden.ID]bool // golden records whose records, or what they say, have changed
	apart       []Parted
	prompt      bool
	adopted     map[golden.Ref]bool // records that a merge brought to their golden record
	mergers     bool                // a record is known that a merge in its system put another one in the place of
	keys        map[*store.Golden][]store.Key
	stored      map[golden.ID]*store.Golden // as they were read, or written ahead with new keys
	ahead       ahead
}

// Begin starts a unit in a transaction and makes it the only one that decides identities until the transaction ends.
// The traceparent is stored with what the unit causes.
func (f *Folder) Begin(ctx context.Context, tx *store.Tx, traceparent string) (*Unit, error) {
	if err := tx.LockIdentity(ctx); err != nil {
		return nil, err
	}
	rules, err := f.current(ctx, tx)
	if err != nil {
		return nil, err
	}
	return &Unit{
		f: f, rules: rules, asked: map[questionKey]store.Question{}, tx: tx,
		left: map[golden.ID][]store.Move{}, came: map[golden.Ref]golden.ID{}, native: map[golden.Ref]bool{}, parted: map[golden.ID]bool{},
		now: f.now(), traceparent: traceparent,
		rows: map[golden.Ref]*store.Source{}, of: map[golden.ID][]*store.Source{}, goldens: map[golden.ID]*store.Golden{},
		owners: map[store.Key]golden.ID{}, free: map[store.Key]bool{}, intents: map[intentKey]store.Intent{},
		newRows: map[golden.Ref]bool{}, dirtyRows: map[golden.Ref]bool{}, dirtyGolden: map[golden.ID]bool{}, dirtyIntent: map[intentKey]bool{},
		touched: map[golden.ID]touch{}, linked: map[golden.Ref]bool{}, revived: map[golden.ID]map[string]bool{}, met: map[golden.Ref]int64{}, marked: map[golden.ID]bool{}, said: map[golden.ID]bool{}, adopted: map[golden.Ref]bool{}, keys: map[*store.Golden][]store.Key{}, stored: map[golden.ID]*store.Golden{},
		ahead: ahead{map[golden.Ref]*store.Source{}, map[golden.ID]*store.Golden{}},
	}, nil
}

// Rules are those the unit decides by.
func (u *Unit) Rules() *survive.Rules { return u.rules }

// Now is the time of the unit.
func (u *Unit) Now() time.Time { return u.now }

// Golden returns a loaded golden record; nil when there is none. It must not be changed.
func (u *Unit) Golden(id golden.ID) *store.Golden { return u.goldens[id] }

// Row returns a loaded record; nil when there is none. It must not be changed.
func (u *Unit) Row(ref golden.Ref) *store.Source { return u.rows[ref] }

// Rows returns the records of a loaded golden record. They must not be changed.
func (u *Unit) Rows(id golden.ID) []*store.Source { return u.of[id] }

// Marked reports, after Flush, whether the unit has marked a delivery of the golden record.
func (u *Unit) Marked(id golden.ID) bool { return u.marked[id] }

// LoadBatch loads what the changes of one system and kind of record touch. Load customers, observe them, and only then
// load contacts: whom a contact is compared with depends on its customer.
func (u *Unit) LoadBatch(ctx context.Context, system string, obj golden.Object, changes []source.Change) error {
	var ids, parents []string
	var known []golden.ID
	for i := range changes {
		c := &changes[i]
		ids = append(ids, c.Ref.RecordID)
		if c.Record == nil {
			continue
		}
		if obj == golden.Contact && c.Record.ParentID != "" {
			parents = append(parents, c.Record.ParentID)
		}
		if id := source.GoldenIDOf(c.Record.ExternalID); id.Object() == obj {
			known = append(known, id)
		}
	}
	// Most records carry the id of their golden record, which brings them along: only the others have to be looked for.
	if err := u.LoadGoldens(ctx, known); err != nil {
		return err
	}
	owners, err := u.loadOwned(ctx, system, obj, ids)
	if err != nil {
		return err
	}
	known = append(known, owners...)
	if owners, err = u.loadOwned(ctx, system, golden.Customer, parents); err != nil {
		return err
	}
	known = append(known, owners...)
	if err := u.LoadGoldens(ctx, known); err != nil {
		return err
	}
	if err := u.loadJoins(ctx, system, obj, changes); err != nil {
		return err
	}
	candidates, err := u.loadOwners(ctx, system, obj, changes)
	if err != nil {
		return err
	}
	if err := u.LoadGoldens(ctx, candidates); err != nil {
		return err
	}
	return u.LoadIntents(ctx, system, append(known, candidates...))
}

// loadOwned returns the golden records that records belong to, to be loaded with all their records, and loads those that
// belong to none. Each record is read once.
func (u *Unit) loadOwned(ctx context.Context, system string, obj golden.Object, ids []string) ([]golden.ID, error) {
	var owners []golden.ID
	var unread, loose []string
	for _, id := range ids {
		if row := u.rows[golden.Ref{System: system, Object: obj, RecordID: id}]; row != nil {
			owners = append(owners, row.GoldenID)
		} else if id != "" {
			unread = append(unread, id)
		}
	}
	found, err := u.tx.Known(ctx, system, obj, unread)
	if err != nil {
		return nil, err
	}
	for id, k := range found {
		if k.GoldenID == "" || u.goldens[k.GoldenID] != nil { // the records of a loaded one may have been moved by this unit
			loose = append(loose, id)
		}
		owners = append(owners, k.GoldenID)
	}
	slices.Sort(loose)
	slices.Sort(owners)
	return owners, u.loadRows(ctx, system, obj, loose)
}

func (u *Unit) loadRows(ctx context.Context, system string, obj golden.Object, ids []string) error {
	var want []string
	seen := map[string]bool{}
	for _, id := range ids {
		if id != "" && !seen[id] && u.rows[golden.Ref{System: system, Object: obj, RecordID: id}] == nil {
			seen[id] = true
			want = append(want, id)
		}
	}
	rows, err := u.tx.Sources(ctx, system, obj, want)
	for _, r := range rows {
		u.know(r)
	}
	return err
}

// know adds a record that was read.
func (u *Unit) know(row *store.Source) {
	u.rows[row.Ref] = row
	u.mergers = u.mergers || row.MergedInto != ""
}

// LoadGoldens loads golden records with all their records, and those that they were merged into; those unknown are left
// out.
func (u *Unit) LoadGoldens(ctx context.Context, ids []golden.ID) error {
	var want []golden.ID
	seen := map[golden.ID]bool{}
	for _, id := range ids {
		if id != "" && !seen[id] && u.goldens[id] == nil {
			seen[id] = true
			want = append(want, id)
		}
	}
	if len(want) == 0 {
		return nil
	}
	goldens, err := u.tx.Goldens(ctx, want)
	if err != nil {
		return err
	}
	for _, g := range goldens {
		u.goldens[g.ID], u.stored[g.ID] = g, g
	}
	rows, err := u.tx.SourcesOf(ctx, want)
	if err != nil {
		return err
	}
	for _, r := range rows {
		if u.rows[r.Ref] == nil {
			u.know(r)
		}
		u.of[r.GoldenID] = append(u.of[r.GoldenID], u.rows[r.Ref])
	}
	if err := u.loadQuestions(ctx, want); err != nil {
		return err
	}
	var heirs []golden.ID
	for _, g := range goldens {
		if g.MergedInto != "" {
			heirs = append(heirs, g.MergedInto)
		}
	}
	return u.LoadGoldens(ctx, heirs)
}

// LoadIntents loads what was sent to a system of golden records and not seen yet.
func (u *Unit) LoadIntents(ctx context.Context, system string, ids []golden.ID) error {
	var want []golden.ID
	seen := map[golden.ID]bool{}
	for _, id := range ids {
		if id != "" && !seen[id] {
			seen[id] = true
			want = append(want, id)
		}
	}
	intents, err := u.tx.Intents(ctx, system, want)
	for _, i := range intents {
		k := intentKey{system, i.GoldenID, i.RecordID}
		if !u.dirtyIntent[k] {
			u.intents[k] = i
		}
	}
	return err
}

// putRow replaces a record, in a way that rollback can take back.
func (u *Unit) putRow(next *store.Source) {
	old := u.rows[next.Ref]
	wasDirty := u.dirtyRows[next.Ref]
	before := u.of[next.GoldenID]
	u.undo = append(u.undo, func() {
		if old == nil {
			delete(u.rows, next.Ref)
		} else {
			u.rows[next.Ref] = old
		}
		u.of[next.GoldenID] = before
		u.dirtyRows[next.Ref] = wasDirty
	})
	u.know(next)
	u.dirtyRows[next.Ref] = true
	if next.GoldenID == "" {
		return
	}
	after := make([]*store.Source, 0, len(before)+1)
	replaced := false
	for _, r := range before {
		if r.Ref == next.Ref {
			r, replaced = next, true
		}
		after = append(after, r)
	}
	if !replaced {
		after = append(after, next)
		slices.SortFunc(after, compareRows)
	}
	u.of[next.GoldenID] = after
}

func (u *Unit) putGolden(next *store.Golden) {
	old, wasDirty := u.goldens[next.ID], u.dirtyGolden[next.ID]
	u.undo = append(u.undo, func() {
		if old == nil {
			delete(u.goldens, next.ID)
		} else {
			u.goldens[next.ID] = old
		}
		u.dirtyGolden[next.ID] = wasDirty
	})
	u.goldens[next.ID], u.dirtyGolden[next.ID] = next, true
}

func (u *Unit) putIntent(next store.Intent) {
	k := intentKey{next.System, next.GoldenID, next.RecordID}
	old, had := u.intents[k]
	wasDirty := u.dirtyIntent[k]
	u.undo = append(u.undo, func() {
		if had {
			u.intents[k] = old
		} else {
			delete(u.intents, k)
		}
		u.dirtyIntent[k] = wasDirty
	})
	u.intents[k], u.dirtyIntent[k] = next, true
}

// touch has the golden record compared with a system, with every system when the name is empty.
func (u *Unit) touch(id golden.ID, system string) {
	old, had := u.touched[id]
	u.undo = append(u.undo, func() {
		if had {
			u.touched[id] = old
		} else {
			delete(u.touched, id)
		}
	})
	next := touch{all: old.all || system == "", systems: old.systems}
	if system != "" && !slices.Contains(old.systems, system) {
		next.systems = append(slices.Clip(old.systems), system)
	}
	u.touched[id] = next
}

// link notes that a system has a customer from now on. Contacts that were not written there because of the rules are looked
// at again.
func (u *Unit) link(ref golden.Ref, id golden.ID) {
	u.linked[ref] = true
	if !u.rules.Creates(golden.Customer, nil) {
		u.revive(id, ref.System)
	}
}

// revive has the contacts of a customer looked at again that were not written to a system, to any when the name is
// empty, because it had deleted their customer.
func (u *Unit) revive(id golden.ID, system string) {
	if id.Object() != golden.Customer {
		return
	}
	if u.revived[id] == nil {
		u.revived[id] = map[string]bool{}
	}
	u.revived[id][system] = true
}

// Note appends to the audit trail.
func (u *Unit) Note(e store.Event) {
	e.At, e.Traceparent = u.now, u.traceparent
	n := len(u.events)
	u.undo = append(u.undo, func() { u.events = u.events[:n] })
	u.events = append(u.events, e)
}

// Try runs fn; when it panics, what it did to the unit is undone and the panic is returned as an error.
func (u *Unit) Try(fn func() error) (err error) {
	u.undo = u.undo[:0]
	failed := true
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
		if failed {
			for i := len(u.undo) - 1; i >= 0; i-- {
				u.undo[i]()
			}
		}
		u.undo = u.undo[:0]
	}()
	err = fn()
	failed = err != nil
	return err
}
