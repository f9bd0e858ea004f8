package store

import (
	"iter"
	"sort"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/schema"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/sfid"
)

// Count is how many records Lookup would find.
func (v View) Count(f *schema.Field, value any) int {
	return len(v.s.tables[f.Object].found(f, value))
}

// Changed is at most how many records Since would yield, and not more than the
// versions that are kept.
func (v View) Changed(o *schema.Object, second int64) int {
	mods := v.s.tables[o].mods
	return len(mods) - sort.Search(len(mods), func(i int) bool { return mods[i].Modified >= second })
}

// From yields every record, deleted ones too, whose id is not below the given
// one, in id order. It reports false if the table holds ids that were given to
// it, because then its rows are not in id order.
func (v View) From(o *schema.Object, id string) (iter.Seq[*Record], bool) {
	t := v.s.tables[o]
	if len(t.foreign) > 0 {
		return nil, false
	}
	start := 0
	if len(id) >= 3 && id[:3] == o.Prefix {
		if n, ok := sfid.Number(id); ok {
			start = min(n, len(t.rows))
		}
	}
	return func(yield func(*Record) bool) {
		for _, r := range t.rows[start:] {
			if r != nil && !yield(r) {
				return
			}
		}
	}, true
}
