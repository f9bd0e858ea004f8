package identify

import (
	"cmp"
	"context"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/selfsame-io/selfsame/services/process-customer/internal/fold"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
	"github.com/selfsame-io/selfsame/services/process-customer/match"
)

// maxComponent bounds how many units are grouped at once. What hangs together more than that is left as it is.
const maxComponent = 1000

// component are units that hang together, with what joins them.
type component struct {
	members []*member // by number
	at      map[*member]int32
	edges   []match.Edge
	apart   map[[2]int32]bool
}

// separate notes merges that were taken back by a person or a system: what was taken out is not one with what it left,
// whatever the scores say.
func (w *work) separate(ctx context.Context, parted []fold.Parted) error {
	var verdicts []store.MatchVerdict
	for _, p := range parted {
		from, into := w.byID[p.From], w.byID[w.u.Follow(p.Into)]
		if from == nil || into == nil || from.Number == 0 {
			continue
		}
		for _, m := range w.group(into.root) {
			if m != from && m.Number != 0 {
				verdicts = append(verdicts, store.MatchVerdict{MatchPair: store.PairOf(from.Number, m.Number), Note: "unmerged", At: w.u.Now()})
			}
		}
	}
	w.person = w.person || len(verdicts) > 0
	return w.tx.PutMatchVerdicts(ctx, verdicts)
}

// group returns the loaded units of a golden record, by number.
func (w *work) group(root golden.ID) []*member {
	var out []*member
	for _, m := range w.byID {
		if m.root == root {
			out = append(out, m)
		}
	}
	slices.SortFunc(out, func(a, b *member) int { return cmp.Compare(a.Number, b.Number) })
	return out
}

// regroup makes the groups of all that hangs together with the touched units anew, and joins and parts golden records
// until they are so.
func (w *work) regroup(ctx context.Context, touched map[int64]bool) error {
	numbers, err := w.tied(ctx, touched)
	if err != nil {
		return err
	}
	if err := w.loadNumbers(ctx, numbers); err != nil {
		return err
	}
	done := map[*member]bool{}
	for _, n := range numbers {
		if m := w.byNumber[n]; m == nil || done[m] {
			continue
		}
		c, err := w.component(ctx, n)
		if err != nil {
			return err
		}
		for _, m := range c.members {
			done[m] = true
		}
		if err := w.arrange(ctx, c); err != nil {
			return err
		}
		if err := w.ask(ctx, c.members); err != nil {
			return err
		}
	}
	return nil
}

// tied returns those of the touched units that anything hangs together with: by an edge, a verdict, or a merge.
func (w *work) tied(ctx context.Context, touched map[int64]bool) ([]int64, error) {
	numbers := slices.Sorted(maps.Keys(touched))
	edges, err := w.tx.MatchEdges(ctx, numbers)
	if err != nil {
		return nil, err
	}
	said, err := w.tx.MatchVerdicts(ctx, numbers)
	if err != nil {
		return nil, err
	}
	has := map[int64]bool{}
	for _, e := range edges {
		has[e.A], has[e.B] = true, true
	}
	for _, v := range said {
		has[v.A], has[v.B] = true, true
	}
	return slices.DeleteFunc(numbers, func(n int64) bool {
		m := w.byNumber[n]
		return !has[n] && m != nil && m.alone && len(m.within) == 0
	}), nil
}

// component returns all that hangs together with a unit: by scores that join, by what people have said, and by being
// joined already.
func (w *work) component(ctx context.Context, seed int64) (*component, error) {
	c := &component{at: map[*member]int32{}, apart: map[[2]int32]bool{}}
	var edges []store.MatchEdge
	var verdicts []store.MatchVerdict
	add := func(m *member) []int64 {
		if m == nil || m.Number == 0 {
			return nil
		}
		if _, have := c.at[m]; have {
			return nil
		}
		c.at[m] = int32(len(c.members)) //nolint:gosec // bounded
		c.members = append(c.members, m)
		numbers := []int64{m.Number}
		for n, other := range w.byNumber {
			if other == m && n != m.Number {
				numbers = append(numbers, n)
			}
		}
		return numbers
	}
	frontier := add(w.byNumber[seed])
	for len(frontier) > 0 && len(c.members) <= maxComponent {
		found, err := w.tx.MatchEdges(ctx, frontier)
		if err != nil {
			return nil, err
		}
		said, err := w.tx.MatchVerdicts(ctx, frontier)
		if err != nil {
			return nil, err
		}
		var ends []int64
		for _, e := range found {
			if w.mode == Join && e.Bits >= w.join {
				edges = append(edges, e)
				ends = append(ends, e.A, e.B)
			}
		}
		for _, v := range said {
			verdicts = append(verdicts, v)
			ends = append(ends, v.A, v.B)
		}
		ends = distinct(ends)
		if err := w.loadNumbers(ctx, ends); err != nil {
			return nil, err
		}
		var next []int64
		for _, m := range slices.Clone(c.members) {
			for _, mate := range w.group(m.root) {
				next = append(next, add(mate)...)
			}
		}
		for _, e := range edges {
			next = append(append(next, add(w.byNumber[e.A])...), add(w.byNumber[e.B])...)
		}
		for _, v := range verdicts {
			if v.Same {
				next = append(append(next, add(w.byNumber[v.A])...), add(w.byNumber[v.B])...)
			}
		}
		frontier = next
	}
	w.tie(c, edges, verdicts)
	return c, nil
}

// tie puts edges and verdicts between the members of a component.
func (w *work) tie(c *component, edges []store.MatchEdge, verdicts []store.MatchVerdict) {
	slices.SortFunc(c.members, func(a, b *member) int { return cmp.Compare(a.Number, b.Number) })
	for i, m := range c.members {
		c.at[m] = int32(i) //nolint:gosec // bounded
	}
	between := func(p store.MatchPair) (a, b int32, ok bool) {
		x, y := w.byNumber[p.A], w.byNumber[p.B]
		if x == nil || y == nil || x == y {
			return 0, 0, false
		}
		a, ok1 := c.at[x]
		b, ok2 := c.at[y]
		return min(a, b), max(a, b), ok1 && ok2
	}
	seen := map[[2]int32]bool{}
	for _, e := range edges {
		if a, b, ok := between(e.MatchPair); ok && !seen[[2]int32{a, b}] {
			seen[[2]int32{a, b}] = true
			c.edges = append(c.edges, match.Edge{A: a, B: b, Bits: e.Bits})
		}
	}
	for _, v := range verdicts {
		a, b, ok := between(v.MatchPair)
		switch {
		case !ok:
		case v.Same:
			c.edges = append(c.edges, match.Edge{A: a, B: b, Bits: math.Inf(1)})
		default:
			c.apart[[2]int32{a, b}] = true
		}
	}
	for i, m := range c.members {
		if !m.Joined || (w.mode == Join && len(m.Record) > 0) {
			continue // scores decide
		}
		// What is joined stays so: matching only asks, or has not looked at it with this model yet.
		if root, ok := c.at[w.byID[m.root]]; ok && root != int32(i) { //nolint:gosec // bounded
			c.edges = append(c.edges, match.Edge{A: min(root, int32(i)), B: max(root, int32(i)), Bits: math.Inf(1)}) //nolint:gosec // bounded
		}
	}
}

// groups returns the groups that the members of a component should form, singles included.
func (w *work) groups(c *component) ([][]int32, error) {
	for _, m := range c.members {
		if _, err := w.compared(m); err != nil {
			return nil, err
		}
	}
	compare := func(a, b int32) int {
		x, y := c.members[a].prepared, c.members[b].prepared
		if x == nil || y == nil {
			return cmp.Compare(c.members[a].Number, c.members[b].Number)
		}
		return cmp.Or(cmp.Compare(x.Source, y.Source), cmp.Compare(x.ID, y.ID))
	}
	groups := match.Cluster(len(c.members), c.edges, match.Joining{
		Limit: w.join,
		Pair: func(a, b int32) match.Score {
			x, y := c.members[a].prepared, c.members[b].prepared
			if x == nil || y == nil {
				return match.Score{}
			}
			return w.matcher.Score(x, y)
		},
		Less: compare,
		Allowed: func(a, b []int32) bool {
			for _, x := range a {
				for _, y := range b {
					if c.apart[[2]int32{min(x, y), max(x, y)}] {
						return false
					}
				}
			}
			return true
		},
		Fits: func(a, b []int32) bool { return w.few(func(n int32) string { return c.members[n].Systems }, a, b) },
	})
	in := make([]bool, len(c.members))
	for _, g := range groups {
		for _, n := range g {
			in[n] = true
		}
	}
	for n := range c.members {
		if !in[n] {
			groups = append(groups, []int32{int32(n)}) //nolint:gosec // bounded
		}
	}
	return groups, nil
}

// few reports whether two groups together have no more records of a system than there may be.
func (d *judge) few(systems func(n int32) string, a, b []int32) bool {
	if len(d.most) == 0 {
		return true
	}
	count := map[string]int{}
	for _, n := range append(slices.Clone(a), b...) {
		for part := range strings.SplitSeq(systems(n), ",") {
			system, number, _ := strings.Cut(part, "=")
			if k, err := strconv.Atoi(number); err == nil {
				count[system] += k
			}
		}
	}
	for system, most := range d.most {
		if count[system] > most {
			return false
		}
	}
	return true
}

// ask notes which pairs with these units a person has to decide: those that may be one, are not in one group, and about
// which nobody has said anything; of two groups the most likely pair alone.
func (w *work) ask(ctx context.Context, members []*member) error {
	var numbers, ends []int64
	for _, m := range members {
		numbers = append(numbers, m.Number)
	}
	edges, err := w.tx.MatchEdges(ctx, numbers)
	if err != nil || len(edges) == 0 {
		return err
	}
	said, err := w.tx.MatchVerdicts(ctx, numbers)
	if err != nil {
		return err
	}
	for _, e := range edges {
		ends = append(ends, e.A, e.B)
	}
	for _, v := range said {
		ends = append(ends, v.A, v.B)
	}
	if err := w.loadNumbers(ctx, distinct(ends)); err != nil {
		return err
	}
	between := func(p store.MatchPair) [2]golden.ID {
		var a, b golden.ID
		if m := w.byNumber[p.A]; m != nil {
			a = m.root
		}
		if m := w.byNumber[p.B]; m != nil {
			b = m.root
		}
		return [2]golden.ID{min(a, b), max(a, b)}
	}
	settled := map[[2]golden.ID]bool{} // nothing is to be asked about these two groups, or it is being asked
	for _, v := range said {
		if !v.Same {
			settled[between(v.MatchPair)] = true
		}
	}
	slices.SortFunc(edges, func(a, b store.MatchEdge) int {
		return cmp.Or(cmp.Compare(b.Bits, a.Bits), cmp.Compare(a.A, b.A), cmp.Compare(a.B, b.B))
	})
	var put []store.MatchEdge
	for _, e := range edges {
		pair := between(e.MatchPair)
		asked := pair[0] != pair[1] && !settled[pair]
		settled[pair] = true
		if asked != e.Asked {
			e.Asked, e.Since = asked, w.u.Now()
			put = append(put, e)
		}
	}
	return w.tx.PutMatchEdges(ctx, put)
}
