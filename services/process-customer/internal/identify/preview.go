package identify

import (
	"cmp"
	"context"
	"maps"
	"math"
	"slices"

	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
	"github.com/selfsame-io/selfsame/services/process-customer/match"
)

// Preview says what joining would do to the records of a kind that there are.
type Preview struct {
	// Limit is the probability from which pairs would be joined.
	Limit float64
	// Units were looked at; Waiting have changed and are not in the report yet.
	Units, Waiting int64
	// Pairs are at or above the limit, Asked below it but above the probability from which a person is asked.
	Pairs, Asked int
	// Groups of two or more would be made; Vanish are the customers that would go into others by it.
	Groups, Vanish int
	// Largest is the size of the largest group, Refused how many pairs would not be joined because of a veto, a verdict,
	// what others of their groups say, or how many records a system may have.
	Largest, Refused int
	// Samples are the largest groups.
	Samples [][]golden.ID
}

// maxSample bounds the customers of one sample.
const maxSample = 50

// Preview groups all pairs at or above a probability, the model's own limit when it is zero, and changes nothing. It
// holds the pairs in memory.
func (d *Desk) Preview(ctx context.Context, obj golden.Object, limit float64, samples int) (Preview, error) {
	if err := d.knows(obj); err != nil {
		return Preview{}, err
	}
	j := d.decider.of(obj)
	if limit == 0 {
		limit = j.Bands().Auto
	}
	out := Preview{Limit: limit}
	r := d.store.Read()
	counts, err := r.CountMatching(ctx, obj)
	if err != nil {
		return out, err
	}
	out.Units, out.Waiting = counts.Units, counts.Waiting
	join := match.Bits(limit)
	sets := &union{parent: map[int64]int64{}}
	var edges []store.MatchEdge
	err = r.EachMatchEdge(ctx, obj, j.low, func(e store.MatchEdge) {
		if e.Bits < join {
			out.Asked++
			return
		}
		out.Pairs++
		edges = append(edges, e)
		sets.join(e.A, e.B)
	})
	if err != nil {
		return out, err
	}
	of := map[int64][]store.MatchEdge{}
	for _, e := range edges {
		root := sets.find(e.A)
		of[root] = append(of[root], e)
	}
	var groups [][]int64
	for _, root := range slices.Sorted(maps.Keys(of)) {
		got, refused, err := j.tryGroup(ctx, r, join, of[root])
		if err != nil {
			return out, err
		}
		groups = append(groups, got...)
		out.Refused += refused
	}
	slices.SortFunc(groups, func(a, b []int64) int { return cmp.Or(cmp.Compare(len(b), len(a)), cmp.Compare(a[0], b[0])) })
	for i, g := range groups {
		out.Groups++
		out.Vanish += len(g) - 1
		out.Largest = max(out.Largest, len(g))
		if i < samples {
			ids, err := named(ctx, r, g[:min(len(g), maxSample)])
			if err != nil {
				return out, err
			}
			out.Samples = append(out.Samples, ids)
		}
	}
	return out, nil
}

// tryGroup groups units that hang together, and counts the edges that do not join.
func (d *judge) tryGroup(ctx context.Context, r store.Reader, join float64, edges []store.MatchEdge) (groups [][]int64, refused int, err error) {
	var numbers []int64
	for _, e := range edges {
		numbers = append(numbers, e.A, e.B)
	}
	numbers = distinct(numbers)
	records, err := d.read(ctx, r, numbers)
	if err != nil {
		return nil, 0, err
	}
	said, err := r.MatchVerdicts(ctx, numbers)
	if err != nil {
		return nil, 0, err
	}
	at := map[int64]int32{}
	for i, n := range numbers {
		at[n] = int32(i) //nolint:gosec // bounded
	}
	apart := map[[2]int32]bool{}
	var list []match.Edge
	for _, e := range edges {
		list = append(list, match.Edge{A: at[e.A], B: at[e.B], Bits: e.Bits})
	}
	for _, v := range said {
		a, ok := at[v.A]
		b, ok2 := at[v.B]
		switch {
		case !ok || !ok2:
		case v.Same:
			list = append(list, match.Edge{A: a, B: b, Bits: math.Inf(1)})
		default:
			apart[[2]int32{a, b}] = true
		}
	}
	systems := map[int64]string{}
	if len(d.most) > 0 {
		units, err := r.MatchUnitsByNumber(ctx, numbers)
		if err != nil {
			return nil, 0, err
		}
		for _, m := range units {
			systems[m.Number] = m.Systems
		}
	}
	got := match.Cluster(len(numbers), list, match.Joining{
		Limit: join,
		Fits:  func(a, b []int32) bool { return d.few(func(n int32) string { return systems[numbers[n]] }, a, b) },
		Pair: func(a, b int32) match.Score {
			x, y := records[numbers[a]], records[numbers[b]]
			if x == nil || y == nil {
				return match.Score{}
			}
			return d.matcher.Score(x, y)
		},
		Less: cmp.Compare[int32],
		Allowed: func(a, b []int32) bool {
			for _, x := range a {
				for _, y := range b {
					if apart[[2]int32{min(x, y), max(x, y)}] {
						return false
					}
				}
			}
			return true
		},
	})
	in := map[int32]int{}
	for i, g := range got {
		group := make([]int64, len(g))
		for j, n := range g {
			group[j] = numbers[n]
			in[n] = i + 1
		}
		groups = append(groups, group)
	}
	for _, e := range edges {
		if a := in[at[e.A]]; a == 0 || a != in[at[e.B]] {
			refused++
		}
	}
	return groups, refused, nil
}

func named(ctx context.Context, r store.Reader, numbers []int64) ([]golden.ID, error) {
	units, err := r.MatchUnitsByNumber(ctx, numbers)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(units, func(a, b store.MatchUnit) int { return cmp.Compare(a.Number, b.Number) })
	ids := make([]golden.ID, len(units))
	for i, m := range units {
		ids[i] = m.GoldenID
	}
	return ids, nil
}

// union finds what hangs together.
type union struct{ parent map[int64]int64 }

func (s *union) find(n int64) int64 {
	for {
		p, ok := s.parent[n]
		if !ok || p == n {
			return n
		}
		if up, ok := s.parent[p]; ok {
			s.parent[n] = up
		}
		n = p
	}
}

func (s *union) join(a, b int64) {
	a, b = s.find(a), s.find(b)
	if a != b {
		s.parent[max(a, b)] = min(a, b)
	}
}
