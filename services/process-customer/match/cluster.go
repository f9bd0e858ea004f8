package match

import (
	"cmp"
	"math"
	"slices"
)

// Edge joins two records, by number, that may be about one entity. Bits of positive infinity are somebody's word that they
// are: only Joining.Allowed stands against it, no veto and no score.
type Edge struct {
	A, B int32
	Bits float64
}

// Joining says what clusters must fulfil.
type Joining struct {
	// Limit is the least score, in bits, of an edge that joins.
	Limit float64
	// MaxPerSource is the greatest number of records of each source in one cluster; 0 is any number. It needs Source.
	MaxPerSource int
	// Pair scores two records; it is asked about every pair that would come into one group by a score, with an edge or without.
	Pair func(a, b int32) Score
	// Source returns the source of a record, as a small number.
	Source func(n int32) int
	// Allowed, if set, says whether two groups may be joined at all; it may not depend on anything but the groups.
	Allowed func(a, b []int32) bool
	// Fits, if set, says whether two groups may be joined by a score.
	Fits func(a, b []int32) bool
	// Less orders records for ties by something that does not depend on arrival, such as their ids.
	Less func(a, b int32) int
}

// The limits of what clusters are checked with.
const (
	// linkage is the least average score, in bits, between two groups of records that are joined: one strong pair does
	// not join two groups of which all others disagree.
	linkage = 0.0
	// clamp limits what a single pair adds to the average.
	clamp = 15.0
)

// Cluster groups n records: it takes the edges from the strongest to the weakest and joins their groups, unless a veto
// or a rule that leaves them to a person stands between any two of their records, a source would have too many, or the groups as a whole disagree. The result
// has one list of numbers for each group of two or more, each sorted; it does not depend on the order of edges.
func Cluster(n int, edges []Edge, j Joining) [][]int32 {
	edges = slices.Clone(edges)
	for i := range edges {
		if j.Less(edges[i].A, edges[i].B) > 0 {
			edges[i].A, edges[i].B = edges[i].B, edges[i].A
		}
	}
	slices.SortFunc(edges, func(x, y Edge) int {
		return cmp.Or(cmp.Compare(y.Bits, x.Bits), j.Less(x.A, y.A), j.Less(x.B, y.B))
	})
	c := &clustering{Joining: j, group: make([]int32, n), known: map[[2]int32]float64{}}
	c.members = make(map[int32][]int32, len(edges))
	for i := range c.group {
		c.group[i] = int32(i)
	}
	for _, e := range edges {
		if math.IsInf(e.Bits, 1) {
			c.known[pairKey(e.A, e.B)] = e.Bits
		}
	}
	for _, e := range edges {
		if e.Bits < j.Limit {
			break
		}
		c.join(e)
	}
	var out [][]int32
	for _, m := range c.members {
		slices.Sort(m)
		out = append(out, m)
	}
	slices.SortFunc(out, func(x, y []int32) int { return cmp.Compare(x[0], y[0]) })
	return out
}

type clustering struct {
	Joining
	group   []int32
	members map[int32][]int32 // of groups of two and more
	// known has the scores of pairs that somebody vouches for, or that Pair neither forbids nor leaves to a person.
	known map[[2]int32]float64
}

func pairKey(a, b int32) [2]int32 {
	if a > b {
		a, b = b, a
	}
	return [2]int32{a, b}
}

func (c *clustering) of(g int32) []int32 {
	if m, ok := c.members[g]; ok {
		return m
	}
	return []int32{g}
}

func (c *clustering) join(e Edge) {
	ga, gb := c.group[e.A], c.group[e.B]
	if ga == gb {
		return
	}
	a, b := c.of(ga), c.of(gb)
	if (c.Allowed != nil && !c.Allowed(a, b)) || (!math.IsInf(e.Bits, 1) && !c.fits(a, b)) {
		return
	}
	all := append(slices.Clone(a), b...)
	delete(c.members, gb)
	c.members[ga] = all
	for _, n := range b {
		c.group[n] = ga
	}
}

func (c *clustering) fits(a, b []int32) bool {
	if c.Fits != nil && !c.Fits(a, b) {
		return false
	}
	if c.MaxPerSource > 0 {
		var count [256]int
		for _, n := range a {
			count[c.Source(n)]++
		}
		for _, n := range b {
			s := c.Source(n)
			count[s]++
			if count[s] > c.MaxPerSource {
				return false
			}
		}
	}
	sum := 0.0
	for _, x := range a {
		for _, y := range b {
			bits, ok := c.known[pairKey(x, y)]
			if !ok {
				s := c.Pair(x, y)
				if s.Veto != "" || s.Held {
					return false
				}
				bits = s.Bits
				c.known[pairKey(x, y)] = bits
			}
			sum += min(max(bits, -clamp), clamp)
		}
	}
	return sum >= linkage*float64(len(a)*len(b))
}
