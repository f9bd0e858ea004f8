package query

import (
	"iter"
	"math"
	"slices"
	"strings"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/render"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/schema"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/store"
)

// Run returns the matching records in order. Deleted records are included only
// if withDeleted is set.
func (p *Plan) Run(v store.View, withDeleted bool) []*store.Record {
	accept := func(r *store.Record) bool {
		return (withDeleted || !r.Deleted) && (p.where == nil || p.where.match(v, r))
	}
	want := math.MaxInt
	if p.bounded {
		want = p.limit + p.offset
	}
	var rows []*store.Record
	src, byTime := p.source(v, withDeleted)
	switch {
	case byTime:
		rows = collectByTime(src, accept, want, len(p.order) == 2)
	case len(p.order) == 0:
		rows = collect(src, accept, want)
	default:
		rows = p.sort(v, collect(src, accept, math.MaxInt))
	}
	rows = rows[min(p.offset, len(rows)):]
	if p.bounded {
		rows = rows[:min(p.limit, len(rows))]
	}
	return rows
}

func collect(src iter.Seq[*store.Record], accept func(*store.Record) bool, want int) []*store.Record {
	var out []*store.Record
	for r := range src {
		if len(out) >= want {
			break
		}
		if accept(r) {
			out = append(out, r)
		}
	}
	return out
}

// collectByTime takes a source in order of modification second and stops as
// soon as a full second has filled the wanted number. This is what makes a
// keyset walk over (SystemModstamp, Id) cheap.
func collectByTime(src iter.Seq[*store.Record], accept func(*store.Record) bool, want int, thenID bool) []*store.Record {
	var out []*store.Record
	start := 0
	settle := func() {
		if thenID {
			slices.SortFunc(out[start:], func(a, b *store.Record) int { return strings.Compare(a.ID, b.ID) })
		}
		start = len(out)
	}
	second := int64(math.MinInt64)
	for r := range src {
		if r.Modified != second {
			settle()
			if len(out) >= want {
				return out
			}
			second = r.Modified
		}
		if accept(r) {
			out = append(out, r)
		}
	}
	settle()
	return out
}

// source picks the cheapest way to meet every record that can match, and says
// whether the order by time that the statement asks for comes for free.
func (p *Plan) source(v store.View, withDeleted bool) (iter.Seq[*store.Record], bool) {
	if points, ok := p.points(v, p.where, withDeleted); ok {
		return slices.Values(points), false
	}
	if p.ordersByTime() {
		return v.Since(p.Object, lower(p.where)), true
	}
	if sec := lower(p.where); sec != math.MinInt64 {
		return v.Since(p.Object, sec), false
	}
	return v.All(p.Object), false
}

func (p *Plan) ordersByTime() bool {
	for i, o := range p.order {
		sys := o.ref.field.Sys
		byTime := sys == schema.SysModstamp || sys == schema.SysModified
		if o.desc || len(o.ref.parents) > 0 || i == 0 && !byTime || i == 1 && sys != schema.SysID || i > 1 {
			return false
		}
	}
	return len(p.order) > 0
}

// points finds the candidates of an equality on an id or an indexed field.
func (p *Plan) points(v store.View, n node, withDeleted bool) ([]*store.Record, bool) {
	switch n := n.(type) {
	case all:
		for _, x := range n {
			if rows, ok := p.points(v, x, withDeleted); ok {
				return rows, true
			}
		}
	case *test:
		f := n.ref.field
		if len(n.ref.parents) > 0 || n.period || n.op != "=" && n.op != "IN" {
			return nil, false
		}
		byID := f.Sys == schema.SysID
		if !byID && (!f.Indexed() || withDeleted || slices.Contains(n.values, nil)) {
			return nil, false
		}
		return candidates(v, f, n.values, byID), true
	}
	return nil, false
}

func candidates(v store.View, f *schema.Field, values []any, byID bool) []*store.Record {
	var out []*store.Record
	seen := map[*store.Record]bool{}
	for _, want := range values {
		var found []*store.Record
		if byID {
			id, _ := want.(string)
			if r := v.Get(f.Object, id); r != nil {
				found = append(found, r)
			}
		} else {
			found = v.Lookup(f, want)
		}
		for _, r := range found {
			if !seen[r] {
				seen[r] = true
				out = append(out, r)
			}
		}
	}
	slices.SortFunc(out, func(a, b *store.Record) int { return strings.Compare(a.ID, b.ID) })
	return out
}

// lower returns a second before which nothing modified can match.
func lower(n node) int64 {
	none := int64(math.MinInt64)
	switch n := n.(type) {
	case all:
		best := none
		for _, x := range n {
			best = max(best, lower(x))
		}
		return best
	case some:
		best := int64(math.MaxInt64)
		for _, x := range n {
			best = min(best, lower(x))
		}
		return best
	case *test:
		sys := n.ref.field.Sys
		if len(n.ref.parents) > 0 || sys != schema.SysModstamp && sys != schema.SysModified {
			return none
		}
		if n.op != "=" && n.op != ">" && n.op != ">=" {
			return none
		}
		if n.period {
			return n.from / 1000
		}
		if ms, ok := n.values[0].(int64); ok && ms >= 0 {
			return ms / 1000
		}
	}
	return none
}

func (p *Plan) sort(v store.View, rows []*store.Record) []*store.Record {
	type keyed struct {
		r    *store.Record
		keys []any
	}
	list := make([]keyed, len(rows))
	for i, r := range rows {
		keys := make([]any, len(p.order))
		for j, o := range p.order {
			keys[j] = o.ref.of(v, r)
			if s, ok := keys[j].(string); ok && o.ref.field.Type.Text() {
				keys[j] = strings.ToLower(s)
			}
		}
		list[i] = keyed{r, keys}
	}
	slices.SortStableFunc(list, func(a, b keyed) int {
		for j, o := range p.order {
			x, y := a.keys[j], b.keys[j]
			d := Order(x, y)
			switch {
			case d == 0:
				continue
			case x == nil || y == nil:
				if o.nullsLast {
					return -d
				}
				return d
			case o.desc:
				return -d
			}
			return d
		}
		return 0
	})
	for i, k := range list {
		rows[i] = k.r
	}
	return rows
}

// Append writes one row of the answer as JSON.
func (p *Plan) Append(b []byte, v store.View, version string, r *store.Record) []byte {
	return p.out.append(b, v, version, r)
}

func (o *output) append(b []byte, v store.View, version string, r *store.Record) []byte {
	b = render.Attributes(append(b, '{'), version, r)
	for _, i := range o.items {
		b = append(b, ',')
		if i.into == nil {
			b = render.Member(b, r, i.field)
			continue
		}
		b = append(render.String(b, i.field.Relationship), ':')
		if parent := Parent(v, r, i.field); parent != nil {
			b = i.into.append(b, v, version, parent)
		} else {
			b = append(b, "null"...)
		}
	}
	return append(b, '}')
}

// Columns returns the selected fields with their paths, for a description of
// the answer instead of the answer.
func (p *Plan) Columns() []Column { return p.out.columns("") }

// Column is one selected field.
type Column struct {
	Path  string
	Field *schema.Field
}

func (o *output) columns(prefix string) []Column {
	var out []Column
	for _, i := range o.items {
		if i.into != nil {
			out = append(out, i.into.columns(prefix+i.field.Relationship+".")...)
			continue
		}
		out = append(out, Column{prefix + i.field.Name, i.field})
	}
	return out
}
