package query

import (
	"iter"
	"math"
	"slices"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/schema"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/store"
)

// arrangement is the order in which a source yields its records.
type arrangement uint8

const (
	anyhow arrangement = iota
	bySecond
	byID
)

// source picks the cheapest way to meet every record that can match, and says
// whether it comes in the order that the statement asks for.
//
// There are four ways: through an index, from a modification time on, from an
// id on, and everything. An index needs its finds collected and sorted, so it
// has to be clearly better; and reading in the wanted order can stop early.
func (p *Plan) source(x *run, want int) (iter.Seq[*store.Record], arrangement) {
	second := lower(p.where)
	scan := x.v.Changed(p.Object, second)
	found := p.points(x, p.where)
	order := p.natural(x)
	enough := scan / 2
	if order != anyhow && want < scan {
		enough = max(4*want, scan/16)
	}
	if found != nil && found.cost <= max(enough, 1) {
		return slices.Values(found.records()), anyhow
	}
	switch {
	case order == bySecond:
		return x.v.Since(p.Object, second), bySecond
	case second != math.MinInt64 && order != byID && scan < x.v.Changed(p.Object, math.MinInt64)/2:
		return x.v.Since(p.Object, second), anyhow
	}
	if rows, ok := x.v.From(p.Object, lowerID(p.where)); ok {
		return rows, order
	}
	return x.v.All(p.Object), anyhow
}

// natural is the arrangement that ORDER BY asks for, if it is one in which the
// store can yield records.
func (p *Plan) natural(x *run) arrangement {
	if len(p.order) == 0 || p.order[0].desc || len(p.order[0].ref.parents) > 0 {
		return anyhow
	}
	switch p.order[0].ref.field.Sys {
	case schema.SysID:
		if _, ok := x.v.From(p.Object, ""); ok {
			return byID // an id decides alone
		}
	case schema.SysModstamp, schema.SysModified:
		if len(p.order) == 1 {
			return bySecond
		}
		next := p.order[1]
		if next.ref.field.Sys == schema.SysID && len(next.ref.parents) == 0 && !next.desc {
			return bySecond
		}
	}
	return anyhow
}

// points is a set of records that an index finds.
type points struct {
	// cost is how many there are at most.
	cost int
	emit func(yield func(*store.Record))
}

func (p *points) records() []*store.Record {
	var out []*store.Record
	seen := make(map[*store.Record]struct{}, p.cost)
	p.emit(func(r *store.Record) {
		if _, again := seen[r]; !again {
			seen[r] = struct{}{}
			out = append(out, r)
		}
	})
	return byIDs(out)
}

// points finds indexed conditions that every match fulfils, the best of those
// joined by AND; nil if there is none.
func (p *Plan) points(x *run, n node[*store.Record]) *points {
	switch n := n.(type) {
	case all[*store.Record]:
		var best *points
		for _, term := range n {
			if found := p.points(x, term); found != nil && (best == nil || found.cost < best.cost) {
				best = found
			}
		}
		return best
	case some[*store.Record]:
		return p.union(x, n)
	case *test:
		if len(n.ref.parents) > 0 || len(n.periods) > 0 || n.op != "=" && n.op != "IN" {
			return nil
		}
		return lookup(x, n.ref.field, len(n.values), slices.Values(n.values))
	case *join:
		if n.negate || n.field.Sys != schema.SysID && !usable(x, n.field) {
			return nil
		}
		ids := x.members(n)
		return lookup(x, n.field, len(ids), func(yield func(any) bool) {
			for id := range ids {
				if !yield(id) {
					return
				}
			}
		})
	}
	return nil
}

func (p *Plan) union(x *run, terms some[*store.Record]) *points {
	out := &points{}
	var parts []*points
	for _, term := range terms {
		found := p.points(x, term)
		if found == nil {
			return nil
		}
		out.cost += found.cost
		parts = append(parts, found)
	}
	out.emit = func(yield func(*store.Record)) {
		for _, part := range parts {
			part.emit(yield)
		}
	}
	return out
}

// usable reports whether the index of a field finds all that a run wants:
// indexes do not hold deleted records.
func usable(x *run, f *schema.Field) bool {
	return f.Indexed() && !x.withDeleted && (f.Type.Text() || f.Type.Number() || f.Type == schema.Reference)
}

func lookup(x *run, f *schema.Field, n int, values iter.Seq[any]) *points {
	if f.Sys == schema.SysID {
		return &points{n, func(yield func(*store.Record)) {
			for v := range values {
				id, _ := v.(string)
				if r := x.v.Get(f.Object, id); r != nil {
					yield(r)
				}
			}
		}}
	}
	if !usable(x, f) {
		return nil
	}
	out := &points{}
	for v := range values {
		if v == nil {
			return nil // nulls are not indexed
		}
		out.cost += x.v.Count(f, v)
	}
	out.emit = func(yield func(*store.Record)) {
		for v := range values {
			for _, r := range x.v.Lookup(f, v) {
				yield(r)
			}
		}
	}
	return out
}

// lower returns a second before which nothing modified can match.
func lower(n node[*store.Record]) int64 {
	none := int64(math.MinInt64)
	switch n := n.(type) {
	case all[*store.Record]:
		best := none
		for _, term := range n {
			best = max(best, lower(term))
		}
		return best
	case some[*store.Record]:
		best := int64(math.MaxInt64)
		for _, term := range n {
			best = min(best, lower(term))
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
		if len(n.periods) > 0 {
			return n.periods[0].from / 1000
		}
		if ms, ok := n.values[0].(int64); ok && ms >= 0 {
			return ms / 1000
		}
	}
	return none
}

// lowerID returns an id below which no match can be; empty if there is none.
func lowerID(n node[*store.Record]) string {
	switch n := n.(type) {
	case all[*store.Record]:
		best := ""
		for _, term := range n {
			best = max(best, lowerID(term))
		}
		return best
	case *test:
		if len(n.ref.parents) > 0 || n.ref.field.Sys != schema.SysID || n.op != ">" && n.op != ">=" {
			return ""
		}
		id, _ := n.values[0].(string)
		return id
	}
	return ""
}
