package query

import (
	"iter"
	"math"
	"slices"
	"strings"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/schema"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/store"
)

// run is one execution on one state of the store. It remembers what parts of
// the statement share: the members of semi-joins and the families of parents.
type run struct {
	v           store.View
	withDeleted bool
	sets        map[*join]map[string]struct{}
	families    map[*schema.Field]map[string][]*store.Record
}

func newRun(v store.View, withDeleted bool) *run {
	return &run{v, withDeleted, map[*join]map[string]struct{}{}, map[*schema.Field]map[string][]*store.Record{}}
}

// Run returns the matching records in order. Deleted records are included only
// if withDeleted is set. It is not for aggregate queries.
func (p *Plan) Run(v store.View, withDeleted bool) []*store.Record {
	return p.rows(newRun(v, withDeleted))
}

// Aggregated reports whether the answer consists of groups: then Groups runs
// the plan, not Run.
func (p *Plan) Aggregated() bool { return p.group != nil }

// Groups runs an aggregate query.
func (p *Plan) Groups(v store.View, withDeleted bool) []*Group {
	return p.groups(newRun(v, withDeleted))
}

func (p *Plan) rows(x *run) []*store.Record {
	want := math.MaxInt
	if p.bounded {
		want = p.limit + p.offset
	}
	return p.cut(p.matching(x, want))
}

func (p *Plan) cut(rows []*store.Record) []*store.Record {
	rows = rows[min(p.offset, len(rows)):]
	if p.bounded {
		rows = rows[:min(p.limit, len(rows))]
	}
	return rows
}

func (p *Plan) accepts(x *run, r *store.Record) bool {
	return (x.withDeleted || !r.Deleted) && (p.hidden == nil || !p.hidden(r.ID)) && (p.where == nil || p.where.match(x, r))
}

// matching returns the records that match, in order, at least the first of
// them that are wanted.
func (p *Plan) matching(x *run, want int) []*store.Record {
	accept := func(r *store.Record) bool { return p.accepts(x, r) }
	src, order := p.source(x, want)
	switch {
	case order == bySecond:
		return collectByTime(src, accept, want)
	case order == byID:
		return collect(src, accept, want)
	case len(p.order) == 0:
		return byIDs(collect(src, accept, want))
	}
	return p.sort(x.v, collect(src, accept, math.MaxInt))
}

// childrenOf returns the rows of a child subquery for one parent.
func (p *Plan) childrenOf(x *run, parent *store.Record) []*store.Record {
	var rows []*store.Record
	for _, r := range x.family(p.link, parent.ID) {
		if p.accepts(x, r) {
			rows = append(rows, r)
		}
	}
	if len(p.order) > 0 {
		rows = p.sort(x.v, rows)
	}
	return p.cut(rows)
}

// family returns the records that refer to a parent, in id order.
func (x *run) family(link *schema.Field, parent string) []*store.Record {
	if usable(x, link) {
		return byIDs(x.v.Lookup(link, parent))
	}
	all := x.families[link]
	if all == nil {
		all = map[string][]*store.Record{}
		for r := range x.v.All(link.Object) {
			if id, ok := r.Get(link).(string); ok {
				all[id] = append(all[id], r)
			}
		}
		x.families[link] = all
	}
	return all[parent]
}

func byIDs(rows []*store.Record) []*store.Record {
	slices.SortFunc(rows, func(a, b *store.Record) int { return strings.Compare(a.ID, b.ID) })
	return rows
}

func collect(src iter.Seq[*store.Record], accept func(*store.Record) bool, want int) []*store.Record {
	var out []*store.Record
	if want <= 0 {
		return nil
	}
	for r := range src {
		if accept(r) {
			out = append(out, r)
			if len(out) >= want {
				break
			}
		}
	}
	return out
}

// collectByTime takes a source in order of modification second and stops as
// soon as a full second has filled the wanted number. This is what makes a
// keyset walk over (SystemModstamp, Id) cheap.
func collectByTime(src iter.Seq[*store.Record], accept func(*store.Record) bool, want int) []*store.Record {
	var out []*store.Record
	start := 0
	settle := func() {
		byIDs(out[start:])
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
