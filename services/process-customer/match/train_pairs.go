package match

import (
	"cmp"
	"slices"
)

// group stands for all candidate pairs with one pattern that were found by the same families of keys.
type group struct {
	likeness
	count float64
	q     float64 // the probability that they are the same
}

// likeness is what training knows of a pair.
type likeness struct {
	pattern  pattern
	families uint64
	veto     bool
}

// collect finds all candidate pairs, compares them, and counts what is alike.
func (t *trainer) collect() {
	ix := NewIndex()
	for _, p := range t.records {
		ix.Add(p, t.layout.keys(t.families, p))
	}
	found := map[likeness]int{}
	candidates := make([][]int32, len(t.records))
	for i := range t.records {
		candidates[i] = slices.Clone(ix.Candidates(i))
		slices.Sort(candidates[i])
	}
	t.learnUnits(candidates)
	shared := map[int32]uint64{}
	for i := range t.records {
		clear(shared)
		for _, k := range ix.keys[i] {
			if len(ix.buckets[k]) <= KeyCap {
				for _, j := range ix.buckets[k] {
					shared[j] |= 1 << k.Family
				}
			}
		}
		for _, j := range candidates[i] {
			// A pair counts once, also when only one of the two has the other among its candidates.
			if _, mutual := slices.BinarySearch(candidates[j], int32(i)); mutual && int(j) < i {
				continue
			}
			if t.options.CrossSourceOnly && t.records[i].Source == t.records[j].Source {
				continue
			}
			a, b := t.records[i], t.records[j]
			l := likeness{families: shared[j]}
			t.layout.compare(a, b, &l.pattern)
			l.veto = t.layout.veto(a, b, &l.pattern, *t.options.Rules) != ""
			found[l]++
			t.pairs++
		}
	}
	for l, n := range found {
		t.groups = append(t.groups, group{likeness: l, count: float64(n)})
	}
	slices.SortFunc(t.groups, func(x, y group) int {
		veto := 0
		if x.veto != y.veto {
			veto = 1
			if x.veto {
				veto = -1
			}
		}
		return cmp.Or(slices.Compare(x.pattern[:], y.pattern[:]), cmp.Compare(x.families, y.families), veto)
	})
}

// sample estimates u from pairs taken at random.
func (t *trainer) sample() {
	most := cmp.Or(t.options.sample, 1_000_000)
	n := uint64(len(t.records))
	for i, s := range t.layout.slots {
		t.u0[i] = make([]float64, len(levelNames[s.how])+1)
	}
	var p pattern
	state := uint64(1)
	next := func() uint64 { // splitmix64
		state += 0x9e3779b97f4a7c15
		z := state
		z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9
		z = (z ^ (z >> 27)) * 0x94d049bb133111eb
		return z ^ (z >> 31)
	}
	for range min(most, int(n*(n-1))) {
		a, b := next()%n, next()%n
		if a == b || (t.options.CrossSourceOnly && t.records[a].Source == t.records[b].Source) {
			continue
		}
		t.layout.compare(t.records[a], t.records[b], &p)
		for i := range t.layout.slots {
			t.u0[i][p[i]]++
		}
	}
	for i, s := range t.layout.slots {
		t.smooth(t.u0[i])
		// Exact agreement is too rare to be counted in a sample; how often values occur gives it exactly.
		if f := float64(t.freq.Filled[s.name]); f > 1 && s.how != howPhone && s.how != howEmail {
			same := 0.0
			for _, c := range t.freq.Values[s.name] {
				same += float64(c) * float64(c-1)
			}
			exact := max(same/(f*(f-1)), 0.2/(f*f))
			scale := (1 - exact) / (1 - t.u0[i][1])
			for j := 2; j < len(t.u0[i]); j++ {
				t.u0[i][j] *= scale
			}
			t.u0[i][1] = exact
		}
		t.u[i][apart], t.u[i][together] = slices.Clone(t.u0[i]), slices.Clone(t.u0[i])
	}
}

// smooth turns counts by level into probabilities, none of them zero. Level 0, missing, has none.
func (t *trainer) smooth(counts []float64) {
	total := 0.0
	for _, c := range counts[1:] {
		total += c
	}
	const alpha = 0.05
	for j := 1; j < len(counts); j++ {
		counts[j] = (counts[j] + alpha) / (total + alpha*float64(len(counts)-1))
	}
	counts[0] = 0
}
