package query

import (
	"fmt"
	"slices"
	"strings"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/schema"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/store"
)

// ranker turns values of one field into values that order: texts without regard
// to case, picklists as they are defined.
type ranker struct {
	fold bool
	pick map[string]string
}

func rankerOf(f *schema.Field) ranker {
	k := ranker{fold: f.Type.Text() && !f.CaseSensitive}
	if f.Type == schema.Picklist && len(f.Picklist) > 0 {
		k.pick = make(map[string]string, len(f.Picklist))
		for i, v := range f.Picklist {
			k.pick[strings.ToLower(v)] = fmt.Sprintf("\x00%05d", i)
		}
	}
	return k
}

// key is equal for values that compare as equal. Values that a picklist does
// not define come after those it does.
func (k ranker) key(v any) any {
	s, ok := v.(string)
	if !ok || !k.fold {
		return v
	}
	s = strings.ToLower(s)
	if p, ok := k.pick[s]; ok {
		return p
	}
	return s
}

// directed compares two keys for ORDER BY.
func directed(x, y any, desc, nullsLast bool) int {
	d := Order(x, y)
	switch {
	case d == 0:
		return 0
	case x == nil || y == nil:
		if nullsLast {
			return -d
		}
		return d
	case desc:
		return -d
	}
	return d
}

func (p *Plan) sort(v store.View, rows []*store.Record) []*store.Record {
	type keyed struct {
		r    *store.Record
		keys []any
	}
	rank := make([]ranker, len(p.order))
	for i, o := range p.order {
		rank[i] = rankerOf(o.ref.field)
	}
	list := make([]keyed, len(rows))
	keys := make([]any, len(rows)*len(p.order))
	for i, r := range rows {
		own := keys[i*len(p.order) : (i+1)*len(p.order)]
		for j, o := range p.order {
			own[j] = rank[j].key(o.ref.of(v, r))
		}
		list[i] = keyed{r, own}
	}
	slices.SortFunc(list, func(a, b keyed) int {
		for j, o := range p.order {
			if d := directed(a.keys[j], b.keys[j], o.desc, o.nullsLast); d != 0 {
				return d
			}
		}
		return strings.Compare(a.r.ID, b.r.ID)
	})
	for i, k := range list {
		rows[i] = k.r
	}
	return rows
}
