// Package store is the transactional memory of the local Salesforce.
//
// The problem: every write must be all or nothing per record and, where the
// caller asks, per request; unique fields must hold under concurrency; and
// change events must follow commits exactly.
//
// Invariants: one writer at a time; a record version never changes; a rolled
// back transaction leaves no trace but unused ids; the commit hook sees commits
// one by one in commit order; modification times never go back.
//
// It does not persist anything, check permissions or know about HTTP.
package store

import (
	"fmt"
	"iter"
	"sync"
	"time"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/schema"
)

// Kind is what a change did.
type Kind uint8

// The kinds of change.
const (
	Create Kind = iota
	Update
	Delete
	Undelete
	// Publish is a platform event: nothing is stored.
	Publish
)

// Change is one effect of a transaction. Old is nil for a creation.
type Change struct {
	Kind     Kind
	Old, New *Record
}

// Commit is one finished transaction.
type Commit struct {
	Time    time.Time
	User    string
	Origin  string
	Changes []Change
}

// Options configures a store.
type Options struct {
	Schema *schema.Schema
	// Now gives commit times.
	Now func() time.Time
	// OnCommit sees every commit that changed something, under the write
	// lock. It must not call the store.
	OnCommit func(Commit)
	// LockRow is asked before each record is changed, with the version to be
	// stored, or the current one before a deletion; true makes that record
	// fail as if another transaction held it. Nil means never.
	LockRow func(r *Record) bool
	// Rules are consulted before each version is stored; nil means none.
	Rules Rules
}

// Store holds the tables. It is safe for concurrent use.
type Store struct {
	opt    Options
	mu     sync.RWMutex
	tables map[*schema.Object]*table
	last   int64
	bin    []*Record // deleted versions in the order of deletion
	cut    map[string][]link
}

// New makes an empty store.
func New(opt Options) *Store {
	s := &Store{opt: opt, tables: map[*schema.Object]*table{}, cut: map[string][]link{}}
	for _, o := range opt.Schema.Objects {
		s.tables[o] = newTable(o)
	}
	return s
}

// View reads one consistent state. It is valid only inside the function that
// received it; the records it gave out stay valid.
type View struct{ s *Store }

// Read runs fn on a state that no writer changes meanwhile.
func (s *Store) Read(fn func(v View) error) error {
	now := s.opt.Now().Unix()
	s.mu.RLock()
	if s.due(now) {
		s.mu.RUnlock()
		s.mu.Lock()
		s.sweep(now)
		s.mu.Unlock()
		s.mu.RLock()
	}
	defer s.mu.RUnlock()
	return fn(View{s})
}

// Schema returns the object model.
func (v View) Schema() *schema.Schema { return v.s.opt.Schema }

// Get finds a record, deleted or not, by its 18-character id; nil if none.
func (v View) Get(o *schema.Object, id string) *Record { return v.s.tables[o].get(id) }

// Any finds a record of any object by its 18-character id; nil if none.
func (v View) Any(id string) *Record {
	if len(id) < 3 {
		return nil
	}
	o := v.s.opt.Schema.ByPrefix(id[:3])
	if o == nil {
		return nil
	}
	return v.Get(o, id)
}

// Lookup finds the live records with a value in an indexed field, by index.
func (v View) Lookup(f *schema.Field, value any) []*Record {
	return v.s.tables[f.Object].lookup(f, value)
}

// All yields every record, deleted ones too, in id order.
func (v View) All(o *schema.Object) iter.Seq[*Record] { return v.s.tables[o].all() }

// Since yields every record, deleted ones too, modified at or after a second
// since 1970, in order of modification second.
func (v View) Since(o *schema.Object, second int64) iter.Seq[*Record] {
	return v.s.tables[o].since(second)
}

// Live is the number of records that are not deleted.
func (v View) Live(o *schema.Object) int { return v.s.tables[o].live }

// Meta says who writes and through what.
type Meta struct {
	User string
	// Origin is the change origin that events carry.
	Origin string
	Wishes Wishes
	// Hidden tells the records that the user may not see: they can be neither
	// found nor referred to nor changed. Nil hides none.
	Hidden func(id string) bool
	// Fields are the rights of the user; nil means all of them.
	Fields schema.Rights
	// Mute tells the platform events that the user may not publish. Nil means
	// none.
	Mute func(o *schema.Object) bool
}

// Write runs fn as one transaction: its changes are committed if it returns
// nil and undone otherwise. Other readers and writers wait.
func (s *Store) Write(m Meta, fn func(tx *Tx) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.opt.Now()
	sec := max(now.Unix(), s.last)
	s.sweep(sec)
	tx := &Tx{View: View{s}, meta: m, now: sec}
	err := fn(tx)
	if err != nil {
		tx.Rollback(0)
		return err
	}
	if len(tx.changes) == 0 {
		return nil
	}
	s.last = sec
	for _, c := range tx.changes {
		if c.Kind == Publish {
			continue
		}
		s.tables[c.New.Object].note(c.New)
		s.account(c, tx.changes)
	}
	if s.opt.OnCommit != nil {
		s.opt.OnCommit(Commit{Time: now, User: m.User, Origin: m.Origin, Changes: tx.changes})
	}
	return nil
}

// Seed stores a row of a read-only object under a given id, without an event.
func (s *Store) Seed(o *schema.Object, id string, values map[string]any) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tables[o]
	if t.get(id) != nil {
		return fmt.Errorf("a %s with the id %s exists already", o.Name, id)
	}
	now := s.opt.Now().Unix()
	r := &Record{Object: o, ID: id, Created: now, Modified: now, row: int32(len(t.rows))}
	for name, v := range values {
		f := o.Field(name)
		if f == nil {
			return fmt.Errorf("%s has no field %s", o.Name, name)
		}
		r.set(f, v)
	}
	t.rows = append(t.rows, nil)
	t.foreign[id] = r.row
	t.put(nil, r)
	t.note(r)
	return nil
}
