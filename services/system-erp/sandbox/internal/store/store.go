// Package store keeps the rows of the sandbox in memory, each set in the order of its keys.
//
// Invariant: a change set is done completely or not at all: what fails is undone in reverse. Rows are never changed once
// they are stored, so that a reader may keep them without a lock. It knows no business rules.
package store

import (
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"

	"github.com/selfsame-io/selfsame/services/system-erp/sandbox/internal/edm"
)

// Row holds the kept values of an entity in the order of its properties; nil values are null.
type Row []any

// Text returns a text, empty for null.
func (r Row) Text(set *edm.Set, name string) string {
	i := set.At(name)
	if i < 0 {
		return ""
	}
	s, _ := r[i].(string)
	return s
}

// With returns a copy with one value changed; a property that the set does not have is left out.
func (r Row) With(set *edm.Set, name string, v any) Row {
	out := slices.Clone(r)
	if i := set.At(name); i >= 0 {
		out[i] = v
	}
	return out
}

// Store is everything that is stored. Make it with New; it is safe for concurrent use.
type Store struct {
	mu     sync.RWMutex
	tables map[*edm.Set]*table
}

type table struct {
	rows map[string]Row
	keys []string // sorted
}

// New returns an empty store.
func New() *Store { return &Store{tables: map[*edm.Set]*table{}} }

// Tx is one change set, or one reader. It must not outlive the function that got it.
type Tx struct {
	s    *Store
	undo []func()
}

// View reads.
func (s *Store) View(fn func(*Tx) error) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return fn(&Tx{s: s})
}

// Update changes everything that fn does, or nothing when it returns an error.
func (s *Store) Update(fn func(*Tx) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	tx := &Tx{s: s}
	err := fn(tx)
	if err != nil {
		for _, undo := range slices.Backward(tx.undo) {
			undo()
		}
	}
	return err
}

// Key is the key of a row: its key values in order, numbers so that they sort as numbers.
func Key(set *edm.Set, r Row) string {
	keys := set.Keys()
	if len(keys) == 1 {
		return Part(&set.Props[keys[0]], r[keys[0]])
	}
	parts := make([]string, len(keys))
	for i, k := range keys {
		parts[i] = Part(&set.Props[k], r[k])
	}
	return strings.Join(parts, "\x00")
}

// Part is one value as a part of a key.
func Part(p *edm.Property, v any) string {
	switch x := v.(type) {
	case string:
		return p.Sortable(x)
	case int64:
		s := strconv.FormatInt(x, 10)
		return strings.Repeat("0", max(0, 20-len(s))) + s
	case bool:
		return strconv.FormatBool(x)
	}
	return ""
}

func (t *Tx) table(set *edm.Set) *table {
	if found := t.s.tables[set]; found != nil {
		return found
	}
	return &table{}
}

// Get returns a row by its key.
func (t *Tx) Get(set *edm.Set, key string) (Row, bool) {
	r, ok := t.table(set).rows[key]
	return r, ok
}

// Put stores a row, over the one with the same key if there is one.
func (t *Tx) Put(set *edm.Set, r Row) {
	tab := t.s.tables[set]
	if tab == nil {
		tab = &table{rows: map[string]Row{}}
		t.s.tables[set] = tab
	}
	key := Key(set, r)
	old, had := tab.rows[key]
	tab.rows[key] = r
	if !had {
		tab.insert(key)
	}
	t.undo = append(t.undo, func() {
		if had {
			tab.rows[key] = old
		} else {
			tab.remove(key)
		}
	})
}

// Delete removes a row.
func (t *Tx) Delete(set *edm.Set, key string) {
	tab := t.table(set)
	old, had := tab.rows[key]
	if !had {
		return
	}
	tab.remove(key)
	t.undo = append(t.undo, func() {
		tab.rows[key] = old
		tab.insert(key)
	})
}

func (t *table) insert(key string) {
	i := sort.SearchStrings(t.keys, key)
	t.keys = slices.Insert(t.keys, i, key)
}

func (t *table) remove(key string) {
	delete(t.rows, key)
	i := sort.SearchStrings(t.keys, key)
	t.keys = slices.Delete(t.keys, i, i+1)
}

// Len is how many rows a set has.
func (t *Tx) Len(set *edm.Set) int { return len(t.table(set).keys) }

// Scan calls fn with the rows whose key begins with a prefix of whole values, in order, until it returns false.
func (t *Tx) Scan(set *edm.Set, prefix string, fn func(Row) bool) {
	tab := t.table(set)
	for _, key := range tab.keys[sort.SearchStrings(tab.keys, prefix):] {
		if !strings.HasPrefix(key, prefix) {
			return
		}
		if prefix != "" && len(key) > len(prefix) && key[len(prefix)] != 0 {
			continue
		}
		if !fn(tab.rows[key]) {
			return
		}
	}
}

// Follow calls fn with the rows that a navigation leads to.
func (t *Tx) Follow(set *edm.Set, r Row, n *edm.Navigation, fn func(Row) bool) {
	parts := make([]string, len(n.Join))
	for i, j := range n.Join {
		if parts[i] = Part(&n.Target.Props[j[1]], r[j[0]]); r[j[0]] == nil || r[j[0]] == "" {
			return // nothing is joined to an empty value
		}
	}
	if n.Prefix {
		t.Scan(n.Target, strings.Join(parts, "\x00"), fn)
		return
	}
	t.Scan(n.Target, "", func(row Row) bool {
		for i, j := range n.Join {
			if Part(&n.Target.Props[j[1]], row[j[1]]) != parts[i] {
				return true
			}
		}
		return fn(row)
	})
}
