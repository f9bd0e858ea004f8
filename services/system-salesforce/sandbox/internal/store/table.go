package store

import (
	"iter"
	"sort"
	"strconv"
	"strings"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/schema"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/sfid"
)

// table holds the current version of every row of one object.
//
// rows is indexed by the number inside the id, so a lookup by id needs no map
// and a scan is in id order. mods lists versions in commit order, that is by
// time; an entry counts only while it is still the current version.
type table struct {
	obj     *schema.Object
	rows    []*Record
	foreign map[string]int32 // ids that were given, not made here
	indexes []index
	mods    []*Record
	buried  []*Record // deletions whose record left the bin early, by time
	live    int
	auto    int
	sent    int // platform events, which have no rows
	spare   []int32
	traits
}

// index finds rows by the value of a field.
type index struct {
	f    *schema.Field
	rows map[string][]int32
}

func newTable(o *schema.Object) *table {
	t := &table{obj: o, foreign: map[string]int32{}, traits: traitsOf(o)}
	for _, f := range o.Fields {
		if f.Indexed() {
			t.indexes = append(t.indexes, index{f, map[string][]int32{}})
		}
	}
	return t
}

func (t *table) get(id string) *Record {
	if n, ok := t.foreign[id]; ok {
		return t.rows[n]
	}
	n, ok := sfid.Number(id)
	if !ok || n >= len(t.rows) || t.rows[n] == nil || t.rows[n].ID != id {
		return nil
	}
	return t.rows[n]
}

// indexKey is what two equal values of an indexed field have in common.
func indexKey(f *schema.Field, v any) (string, bool) {
	switch v := v.(type) {
	case nil:
		return "", false
	case string:
		if f.CaseSensitive || f.Type == schema.Reference {
			return v, true
		}
		return strings.ToLower(v), true
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64), true
	default:
		return "", false
	}
}

// found returns the rows that lookup returns the records of. They are not to be
// changed.
func (t *table) found(f *schema.Field, v any) []int32 {
	key, ok := indexKey(f, v)
	if !ok {
		return nil
	}
	for i := range t.indexes {
		if t.indexes[i].f == f {
			return t.indexes[i].rows[key]
		}
	}
	return nil
}

// alone is a list of one row. Most values occur once, so many lists share the
// memory that is asked for at a time.
func (t *table) alone(row int32) []int32 {
	if len(t.spare) == 0 {
		t.spare = make([]int32, 1024)
	}
	out := t.spare[:1:1]
	t.spare = t.spare[1:]
	out[0] = row
	return out
}

func (t *table) lookup(f *schema.Field, v any) []*Record {
	rows := t.found(f, v)
	out := make([]*Record, len(rows))
	for i, n := range rows {
		out[i] = t.rows[n]
	}
	return out
}

// put replaces old by next; either may be nil.
func (t *table) put(old, next *Record) {
	if old != nil && !old.Deleted {
		t.unindex(old, next)
		t.live--
	}
	if next != nil && !next.Deleted {
		t.index(old, next)
		t.live++
	}
	if next != nil {
		t.rows[next.row] = next
		return
	}
	t.rows[old.row] = nil
}

func (t *table) unindex(old, next *Record) {
	for i := range t.indexes {
		f, idx := t.indexes[i].f, t.indexes[i].rows
		v := old.Get(f)
		if v == nil || keeps(f, v, next) {
			continue
		}
		key, _ := indexKey(f, v)
		rows := idx[key]
		for i, n := range rows {
			if n == old.row {
				rows = append(rows[:i:i], rows[i+1:]...)
				break
			}
		}
		if len(rows) == 0 {
			delete(idx, key)
		} else {
			idx[key] = rows
		}
	}
}

func (t *table) index(old, next *Record) {
	for i := range t.indexes {
		f, idx := t.indexes[i].f, t.indexes[i].rows
		v := next.Get(f)
		if v == nil || keeps(f, v, old) {
			continue
		}
		key, _ := indexKey(f, v)
		if rows := idx[key]; len(rows) > 0 {
			idx[key] = append(rows, next.row)
		} else {
			idx[key] = t.alone(next.row)
		}
	}
}

// keeps reports whether the other version is indexed under the same value.
func keeps(f *schema.Field, v any, other *Record) bool {
	return other != nil && !other.Deleted && other.Get(f) == v
}

func (t *table) note(r *Record) {
	if t.rows[r.row] != r {
		return
	}
	t.mods = append(t.mods, r)
	if len(t.mods) > 2*len(t.rows)+1024 {
		kept := make([]*Record, 0, len(t.rows))
		for _, m := range t.mods {
			if t.rows[m.row] == m {
				kept = append(kept, m)
			}
		}
		t.mods = kept
	}
}

// since yields current versions, deleted ones too, modified at or after the
// given second, in order of that second.
func (t *table) since(second int64) iter.Seq[*Record] {
	return func(yield func(*Record) bool) {
		i := sort.Search(len(t.mods), func(i int) bool { return t.mods[i].Modified >= second })
		for _, r := range t.mods[i:] {
			if t.rows[r.row] == r && !yield(r) {
				return
			}
		}
	}
}

func (t *table) all() iter.Seq[*Record] {
	return func(yield func(*Record) bool) {
		for _, r := range t.rows {
			if r != nil && !yield(r) {
				return
			}
		}
	}
}
