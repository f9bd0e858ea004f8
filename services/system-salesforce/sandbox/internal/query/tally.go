package query

import (
	"cmp"
	"encoding/binary"
	"math"
	"slices"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/soql"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/store"
)

// tally collects one group.
type tally struct {
	mask uint8 // the keys that are left out
	keys []any
	sort []any // the keys in the form that orders
	aggs []sum
}

// newTally begins a group with its first record.
func newTally(mask uint8, keys, sort []any, aggs int) *tally {
	t := &tally{mask, slices.Clone(keys), slices.Clone(sort), make([]sum, aggs)}
	for i := range keys {
		if mask&(1<<i) != 0 {
			t.keys[i], t.sort[i] = nil, nil
		}
	}
	return t
}

// compare orders groups by their keys, subtotals after what they are of.
func (t *tally) compare(u *tally) int {
	for i := range t.sort {
		if d := cmp.Compare(t.mask>>i&1, u.mask>>i&1); d != 0 {
			return d
		}
		if d := Order(t.sort[i], u.sort[i]); d != 0 {
			return d
		}
	}
	return 0
}

// sum collects one aggregate.
type sum struct {
	n        int
	total    float64
	best     any
	bestKey  any
	distinct map[any]struct{}
}

// groups runs an aggregate query.
func (p *Plan) groups(x *run) []*Group {
	g := p.group
	rank := g.rankers()
	found := map[string]*tally{}
	var list []*tally
	var name []byte
	keys, sort := make([]any, len(g.keys)), make([]any, len(g.keys)) // of the row at hand
	for _, r := range p.matching(x, math.MaxInt) {
		for i, k := range g.keys {
			keys[i] = k.of(x.v, r)
			sort[i] = rank[i].key(keys[i])
		}
		for _, mask := range g.masks {
			name = append(name[:0], mask)
			for i := range keys {
				if mask&(1<<i) == 0 {
					name = appendKey(name, sort[i])
				}
			}
			t := found[string(name)]
			if t == nil {
				t = newTally(mask, keys, sort, len(g.aggs))
				found[string(name)] = t
				list = append(list, t)
			}
			t.name(keys)
			for i, a := range g.aggs {
				t.aggs[i].add(x, a, rank[len(g.keys)+i], r)
			}
		}
	}
	if list == nil && (len(g.keys) == 0 || len(g.masks) > 1) { // nothing is one group, too
		list = append(list, newTally(g.masks[len(g.masks)-1], keys, sort, len(g.aggs)))
	}
	slices.SortStableFunc(list, (*tally).compare)
	return p.finish(x, list)
}

// rankers are for what is compared: the keys and the arguments of functions.
func (g *grouping) rankers() []ranker {
	var out []ranker
	for _, k := range g.keys {
		out = append(out, rankerOf(k.result))
	}
	for _, a := range g.aggs {
		f := a.ref.field
		if f == nil {
			f = a.result
		}
		out = append(out, rankerOf(f))
	}
	return out
}

// name lets the keys of a group be the first in byte order of those that compare
// as equal, so that they do not depend on how the records were met.
func (t *tally) name(keys []any) {
	for i, k := range keys {
		if earlier(k, t.keys[i]) {
			t.keys[i] = k
		}
	}
}

func earlier(a, b any) bool {
	x, ok1 := a.(string)
	y, ok2 := b.(string)
	return ok1 && ok2 && x < y
}

// appendKey appends a form of a value that differs for different values.
func appendKey(b []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(b, 0)
	case string:
		return append(binary.AppendUvarint(append(b, 1), uint64(len(v))), v...)
	case float64:
		return binary.BigEndian.AppendUint64(append(b, 2), math.Float64bits(v))
	case int64:
		return binary.BigEndian.AppendUint64(append(b, 3), uint64(v))
	case bool:
		if v {
			return append(b, 4, 1)
		}
		return append(b, 4, 0)
	default:
		return append(b, 5)
	}
}

func (s *sum) add(x *run, a aggregate, rank ranker, r *store.Record) {
	if a.ref.field == nil {
		s.n++
		return
	}
	if a.fn == soql.Grouping {
		return
	}
	v := a.ref.of(x.v, r)
	if v == nil {
		return
	}
	s.n++
	switch a.fn {
	case "SUM", "AVG":
		n, _ := v.(float64)
		s.total += n
	case "COUNT_DISTINCT":
		if s.distinct == nil {
			s.distinct = map[any]struct{}{}
		}
		s.distinct[rank.key(v)] = struct{}{}
	case "MIN", "MAX":
		key := rank.key(v)
		d := Order(key, s.bestKey)
		if s.best == nil || a.fn == "MIN" && d < 0 || a.fn == "MAX" && d > 0 || d == 0 && earlier(v, s.best) {
			s.best, s.bestKey = v, key
		}
	}
}

func (s *sum) value(a aggregate, mask uint8) any {
	fn := a.fn
	switch {
	case fn == soql.Grouping:
		return float64(mask >> a.key & 1)
	case fn == "COUNT":
		return float64(s.n)
	case fn == "COUNT_DISTINCT":
		return float64(len(s.distinct))
	case s.n == 0:
		return nil
	case fn == "SUM":
		return decimal(s.total, a.ref.field.Scale)
	case fn == "AVG":
		return decimal(s.total, a.ref.field.Scale) / float64(s.n)
	}
	return s.best
}

// decimal undoes what binary addition did to decimals of a scale.
func decimal(n float64, scale int) float64 {
	unit := math.Pow10(scale)
	if r := math.Round(n*unit) / unit; !math.IsInf(r, 0) && !math.IsNaN(r) {
		return r
	}
	return n
}

// finish filters, orders and cuts the groups.
func (p *Plan) finish(x *run, list []*tally) []*Group {
	g := p.group
	var out []*Group
	for _, t := range list {
		values := append([]any(nil), t.keys...)
		for i, a := range g.aggs {
			values = append(values, t.aggs[i].value(a, t.mask))
		}
		group := &Group{values}
		if g.having == nil || g.having.match(x, group) {
			out = append(out, group)
		}
	}
	if len(g.order) > 0 {
		rank := make([]ranker, len(g.order))
		for i, o := range g.order {
			rank[i] = rankerOf(g.field(o.slot))
		}
		slices.SortStableFunc(out, func(a, b *Group) int {
			for i, o := range g.order {
				x, y := rank[i].key(a.values[o.slot]), rank[i].key(b.values[o.slot])
				if d := directed(x, y, o.desc, o.nullsLast); d != 0 {
					return d
				}
			}
			return 0
		})
	}
	out = out[min(p.offset, len(out)):]
	if p.bounded {
		out = out[:min(p.limit, len(out))]
	}
	return out
}
