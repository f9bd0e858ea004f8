package match

import (
	"cmp"
	"fmt"
	"slices"
)

// Ref names a record: the system that holds it and its id there.
type Ref struct{ Source, ID string }

// OnlineOptions are choices of an Online; the zero value is good.
type OnlineOptions struct {
	// Limit is the probability at and above which records are joined; the model's upper band when 0.
	Limit float64
	// MaxPerSource is the greatest number of records of each source in one cluster; 0 is any number.
	MaxPerSource int
	// CrossSourceOnly compares only records of different sources.
	CrossSourceOnly bool
}

// Online keeps clusters of records that come, change and go one by one. After each step its clusters are those that
// Cluster would make of all records at once: what is found is a function of the records, not of their order, and an
// early joining is undone when better evidence arrives. Only what a step touches is looked at again.
//
// Clusters have ids that stay: two clusters that become one keep the older id, and the other one redirects to it; what
// is split off gets a new one. It is not safe for concurrent use.
type Online struct {
	matcher *Matcher
	options OnlineOptions
	index   *Index
	numbers map[Ref]int32
	records []*Prepared // by number; nil when there is none
	lists   [][]int32   // the candidates of each record, sorted
	edges   []map[int32]float64
	sources map[string]int
	ids     identities
	// low and join are the limits, in bits, of edges that are kept and of those that join.
	low, join float64
}

// NewOnline returns an Online without records.
func NewOnline(x *Matcher, o OnlineOptions) *Online {
	if o.Limit == 0 {
		o.Limit = x.model.Bands.Auto
	}
	join := bitsOf(o.Limit)
	return &Online{
		matcher: x, options: o, index: NewIndex(), numbers: map[Ref]int32{}, sources: map[string]int{},
		ids: identities{redirects: map[ClusterID]ClusterID{}}, join: join, low: min(join, bitsOf(x.model.Bands.Review)),
	}
}

// Len returns the number of records.
func (o *Online) Len() int { return len(o.numbers) }

// Put adds a record, or replaces the one with the same source and id.
func (o *Online) Put(r Record) Changes {
	ref := Ref{r.Source, r.ID}
	p := o.matcher.Prepare(r)
	keys := o.matcher.Keys(p)
	t := o.begin()
	n, known := o.numbers[ref]
	if known {
		t.leave(n)
		o.index.Remove(int(n)) // its number is the next to be given away
	}
	n = int32(o.index.Add(p, keys))
	for int(n) >= len(o.records) {
		o.records, o.lists, o.edges = append(o.records, nil), append(o.lists, nil), append(o.edges, nil)
		o.ids.grow()
	}
	if !known {
		o.ids.born(n)
	}
	o.numbers[ref], o.records[n], o.edges[n] = n, p, map[int32]float64{}
	if _, ok := o.sources[r.Source]; !ok {
		o.sources[r.Source] = len(o.sources)
	}
	t.enter(n)
	return t.end()
}

// Remove takes a record out; a record that is not there makes no difference.
func (o *Online) Remove(ref Ref) Changes {
	n, ok := o.numbers[ref]
	if !ok {
		return Changes{}
	}
	t := o.begin()
	t.leave(n)
	o.index.Remove(int(n))
	delete(o.numbers, ref)
	delete(t.stale, n)
	o.records[n] = nil
	o.ids.gone(n)
	return t.end()
}

// Clusters returns the groups of two or more records, each sorted, sorted by their first record.
func (o *Online) Clusters() [][]Ref {
	groups := map[ClusterID][]Ref{}
	for ref, n := range o.numbers {
		groups[o.ids.of[n]] = append(groups[o.ids.of[n]], ref)
	}
	var out [][]Ref
	for _, g := range groups {
		if len(g) > 1 {
			slices.SortFunc(g, compareRefs)
			out = append(out, g)
		}
	}
	slices.SortFunc(out, func(a, b []Ref) int { return compareRefs(a[0], b[0]) })
	return out
}

func compareRefs(a, b Ref) int {
	return cmp.Or(cmp.Compare(a.Source, b.Source), cmp.Compare(a.ID, b.ID))
}

// Cluster returns the id of a record's cluster; a record alone has one too. Ok is false when the record is not there.
func (o *Online) Cluster(ref Ref) (id ClusterID, ok bool) {
	n, ok := o.numbers[ref]
	if !ok {
		return 0, false
	}
	return o.ids.of[n], true
}

// Resolve follows the redirects of clusters that were joined to others.
func (o *Online) Resolve(id ClusterID) ClusterID { return o.ids.resolve(id) }

// step is what one change touches.
type step struct {
	*Online
	stale   map[int32]bool // whose candidates may have changed
	touched map[int32]bool // whose cluster may have changed
}

func (o *Online) begin() *step {
	return &step{Online: o, stale: map[int32]bool{}, touched: map[int32]bool{}}
}

// leave takes record n out of all lists. It is still in the index, so that those who shared a key with it are known.
func (t *step) leave(n int32) {
	t.neighbours(n)
	t.touched[n] = true
	for _, other := range t.lists[n] {
		t.forget(n, other)
	}
	t.lists[n] = nil
	for other := range t.stale {
		if at, ok := slices.BinarySearch(t.lists[other], n); ok {
			t.lists[other] = slices.Delete(t.lists[other], at, at+1)
			t.forget(n, other)
		}
	}
}

// enter looks at all whose candidates record n changes, and at its own.
func (t *step) enter(n int32) {
	t.neighbours(n)
	t.stale[n], t.touched[n] = true, true
}

// neighbours marks those who share a key with n that is not too common, or is so only since n has come. The ranks of
// others among their candidates change with the size of the key, and a key that crosses the cap finds nobody any more,
// or everybody again.
func (t *step) neighbours(n int32) {
	for _, k := range t.index.keys[n] {
		bucket := t.index.buckets[k]
		if len(bucket) > t.index.keyCap+1 {
			continue
		}
		for _, other := range bucket {
			if other != n {
				t.stale[other] = true
			}
		}
	}
}

// end brings the lists and edges of what is stale up to date, and the clusters of what was touched.
func (t *step) end() Changes {
	for n := range t.stale {
		t.refresh(n)
	}
	return t.cluster()
}

// refresh looks up the candidates of a record again.
func (t *step) refresh(n int32) {
	list := slices.Clone(t.index.Candidates(int(n)))
	slices.Sort(list)
	before := t.lists[n]
	t.lists[n] = list
	for _, other := range before {
		if _, still := slices.BinarySearch(list, other); !still {
			if _, mutual := slices.BinarySearch(t.lists[other], n); !mutual {
				t.forget(n, other)
			}
		}
	}
	for _, other := range list {
		if _, had := slices.BinarySearch(before, other); had {
			continue
		}
		if _, mutual := slices.BinarySearch(t.lists[other], n); !mutual {
			t.compare(n, other)
		}
	}
}

func (t *step) compare(a, b int32) {
	if t.options.CrossSourceOnly && t.records[a].Source == t.records[b].Source {
		return
	}
	s := t.matcher.Score(t.records[a], t.records[b])
	if s.Veto != "" || s.Bits < t.low {
		return
	}
	t.edges[a][b], t.edges[b][a] = s.Bits, s.Bits
	t.touched[a], t.touched[b] = true, true
}

func (t *step) forget(a, b int32) {
	if _, ok := t.edges[a][b]; !ok {
		return
	}
	delete(t.edges[a], b)
	delete(t.edges[b], a)
	t.touched[a], t.touched[b] = true, true
}

// cluster makes the clusters of all components that were touched anew. Who was joined to a touched record by an edge
// that is gone is touched as well.
func (t *step) cluster() Changes {
	var members []int32
	local := map[int32]int32{}
	reach := func(n int32) {
		if _, ok := local[n]; !ok && t.records[n] != nil {
			local[n] = int32(len(members))
			members = append(members, n)
		}
	}
	for n := range t.touched {
		reach(n)
	}
	var edges []Edge
	for i := 0; i < len(members); i++ {
		n := members[i]
		for other, bits := range t.edges[n] {
			if bits < t.join {
				continue
			}
			reach(other)
			if n < other {
				edges = append(edges, Edge{local[n], local[other], bits})
			}
		}
	}
	groups := Cluster(len(members), edges, Joining{
		Limit: t.join, MaxPerSource: t.options.MaxPerSource,
		Pair:   func(a, b int32) Score { return t.matcher.Score(t.records[members[a]], t.records[members[b]]) },
		Source: func(n int32) int { return t.sources[t.records[members[n]].Source] },
		Less: func(a, b int32) int {
			x, y := t.records[members[a]], t.records[members[b]]
			return cmp.Or(cmp.Compare(x.Source, y.Source), cmp.Compare(x.ID, y.ID))
		},
	})
	joined := map[int32]bool{}
	for _, g := range groups {
		for i := range g {
			g[i] = members[g[i]]
			joined[g[i]] = true
		}
	}
	for _, n := range members {
		if !joined[n] {
			groups = append(groups, []int32{n})
		}
	}
	return t.ids.assign(groups)
}

// ClusterID is the lasting name of a cluster within one Online, from 1; 0 is none. A smaller one is older.
type ClusterID uint64

// String returns the id as text.
func (id ClusterID) String() string { return fmt.Sprintf("c%d", uint64(id)) }

// Changes is what one step did to the clusters.
type Changes struct {
	// Merged are ids that redirect now, with what they redirect to; Split are new ids with what they were split from.
	Merged, Split []Move
}

// Move is a cluster's id and another's.
type Move struct{ From, To ClusterID }

// identities gives clusters their ids.
type identities struct {
	of        []ClusterID // by record; 0 when it has none yet
	age       []uint64    // when the record came
	now       uint64
	last      ClusterID
	redirects map[ClusterID]ClusterID
}

func (s *identities) grow() { s.of, s.age = append(s.of, 0), append(s.age, 0) }

func (s *identities) born(n int32) {
	s.now++
	s.of[n], s.age[n] = 0, s.now
}

func (s *identities) gone(n int32) { s.of[n] = 0 }

func (s *identities) resolve(id ClusterID) ClusterID {
	for {
		to, ok := s.redirects[id]
		if !ok {
			return id
		}
		id = to
	}
}

// assign gives each group an id. An id follows its oldest record; a group to which several come keeps the smallest, and
// one to which none comes gets a new one.
func (s *identities) assign(groups [][]int32) Changes {
	var c Changes
	home := map[ClusterID]int{} // the group of the oldest record of an id
	oldest := map[ClusterID]uint64{}
	for i, g := range groups {
		slices.SortFunc(g, func(a, b int32) int { return cmp.Compare(s.age[a], s.age[b]) })
		for _, n := range g {
			if id := s.of[n]; id != 0 && (oldest[id] == 0 || s.age[n] < oldest[id]) {
				home[id], oldest[id] = i, s.age[n]
			}
		}
	}
	chosen := make([]ClusterID, len(groups))
	for id, i := range home {
		if chosen[i] == 0 || id < chosen[i] {
			chosen[i] = id
		}
	}
	order := make([]int, len(groups))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(s.age[groups[a][0]], s.age[groups[b][0]]) })
	for _, i := range order {
		if chosen[i] == 0 {
			s.last++
			chosen[i] = s.last
			if from := s.of[groups[i][0]]; from != 0 {
				c.Split = append(c.Split, Move{from, chosen[i]})
			}
		}
	}
	for id, i := range home {
		if id != chosen[i] {
			s.redirects[id] = chosen[i]
			c.Merged = append(c.Merged, Move{id, chosen[i]})
		}
	}
	slices.SortFunc(c.Merged, func(a, b Move) int { return cmp.Compare(a.From, b.From) })
	for i, g := range groups {
		for _, n := range g {
			s.of[n] = chosen[i]
		}
	}
	return c
}
