package match

import (
	"math"
	"slices"
)

// start gives m a first guess: agreement is likely, and the more so the better the level. Pairs are first taken as the
// same when their names are.
func (t *trainer) start() {
	for i, s := range t.layout.slots {
		n := len(levelNames[s.how])
		m := make([]float64, n+1)
		rest := 1.0
		for j := 1; j < n; j++ {
			m[j] = rest * 0.6
			rest -= m[j]
		}
		m[n] = rest
		t.m[i] = [states][]float64{slices.Clone(m), slices.Clone(m)}
	}
	for x := range t.groups {
		t.groups[x].q = t.guess(&t.groups[x])
	}
}

// naming lists the comparisons of names with the worst level that still is the same name.
var naming = map[how]uint8{howGiven: 5, howFamily: 3, howOrg: 6}

func (t *trainer) guess(p *group) float64 {
	q := 0.3 // without names there is nothing to go by
	for i, s := range t.layout.slots {
		worst, ok := naming[s.how]
		if !ok || p.pattern[i] == 0 || (s.how == howOrg && t.layout.schema.Entity == Person) {
			continue
		}
		if p.pattern[i] > worst && (s.how != howGiven || p.pattern[i] != 7) {
			return 0.05
		}
		q = 0.9
	}
	return q
}

// learnM runs one estimation for each family of keys: among the records that share such a key, the comparisons that the
// key implies say nothing, so they are left out and learned from the other families.
func (t *trainer) learnM() {
	var sum tables
	for i := range t.layout.slots {
		for s := range states {
			sum[i][s] = make([]float64, len(t.m[i][s]))
		}
	}
	for f := range t.families {
		if t.families[f].weak {
			continue
		}
		held := t.held(f)
		matches, counts := t.estimate(uint64(1)<<f, held)
		if matches < 10 {
			continue
		}
		for i := range t.layout.slots {
			if held[i] {
				continue
			}
			for s := range states {
				for j := 1; j < len(counts[i][s]); j++ {
					sum[i][s][j] += counts[i][s][j]
				}
			}
		}
	}
	t.m = t.shrunk(sum, t.m)
}

// shrunk turns expected counts into probabilities by state. A state with few counts is drawn to both together, and a
// comparison without any keeps what it has.
func (t *trainer) shrunk(counts, before tables) tables {
	for i := range t.layout.slots {
		all := make([]float64, len(counts[i][apart]))
		total := 0.0
		for s := range states {
			for j, c := range counts[i][s] {
				all[j] += c
				total += c
			}
		}
		if total == 0 {
			continue
		}
		mean := normalised(all, 0.5)
		for s := range states {
			if !t.layout.place(i) {
				before[i][s] = mean
				continue
			}
			p := slices.Clone(counts[i][s])
			for j := 1; j < len(p); j++ {
				p[j] += 20 * mean[j]
			}
			before[i][s] = normalised(p, 0.05)
		}
	}
	return before
}

// normalised turns expected counts into probabilities, none of them zero.
func normalised(counts []float64, alpha float64) []float64 {
	out := make([]float64, len(counts))
	total := 0.0
	for _, c := range counts[1:] {
		total += c + alpha
	}
	for j := 1; j < len(counts); j++ {
		out[j] = (counts[j] + alpha) / total
	}
	return out
}

// held returns the comparisons that a family implies, with all that goes along with a place.
func (t *trainer) held(f int) [maxSlots]bool {
	var held [maxSlots]bool
	place := false
	for _, i := range t.families[f].slots {
		// What a comparison goes along with is as good as implied.
		for at := i; at >= 0; at = t.layout.slots[at].parent {
			held[at] = true
		}
		switch t.layout.slots[i].how {
		case howCity, howPostcode, howStreet:
			place = true
		}
	}
	if place {
		for i, s := range t.layout.slots {
			switch s.how {
			case howCity, howPostcode, howCode:
				held[i] = true
			}
		}
	}
	return held
}

// estimate runs expectation maximisation over the pairs of one family, and returns the expected number of matches and
// the expected counts of their levels. What is seen among the others is estimated along with it, because pairs that
// share a key are not taken at random: colleagues share more than their telephone. It is used for nothing else.
func (t *trainer) estimate(mask uint64, held [maxSlots]bool) (matches float64, counts tables) {
	m, u := t.m, t.u
	lambda := 0.2
	for range 60 {
		var n float64
		var others tables
		matches = 0
		for i := range t.layout.slots {
			for s := range states {
				counts[i][s] = make([]float64, len(m[i][s]))
				others[i][s] = make([]float64, len(m[i][s]))
			}
		}
		weights := t.weights(m, u)
		odds := math.Log2(lambda / (1 - lambda))
		for x := range t.groups {
			p := &t.groups[x]
			if p.families&mask == 0 {
				continue
			}
			n += p.count
			q := 0.0
			if !p.veto {
				bits := odds
				for i := range t.layout.slots {
					if !held[i] {
						bits += weights[i][t.layout.state(i, &p.pattern)][p.pattern[i]]
					}
				}
				q = probability(bits)
			}
			q *= p.count
			matches += q
			for i := range t.layout.slots {
				s := t.layout.state(i, &p.pattern)
				counts[i][s][p.pattern[i]] += q
				others[i][s][p.pattern[i]] += p.count - q
			}
		}
		if n == 0 {
			return 0, counts
		}
		use := counts
		for i := range t.layout.slots {
			for s := range states {
				if held[i] {
					use[i][s] = make([]float64, len(counts[i][s]))
				}
				for j := 1; j < len(others[i][s]); j++ {
					others[i][s][j] += max(50, anchor*n) * t.u[i][s][j]
				}
				u[i][s] = normalised(others[i][s], 0)
			}
		}
		next := t.shrunk(use, m)
		moved := 0.0
		for i := range t.layout.slots {
			for s := range states {
				for j := range next[i][s] {
					moved = max(moved, math.Abs(next[i][s][j]-m[i][s][j]))
				}
			}
		}
		m = next
		lambda = min(max(matches/n, 1e-6), 0.999)
		if moved < 1e-4 {
			break
		}
	}
	return matches, counts
}

// anchor is how much the pairs taken at random count beside those that share a key, for what is seen among records of
// different entities.
const anchor = 0.05

func (t *trainer) weights(m, u tables) tables {
	var w tables
	for i := range t.layout.slots {
		for s := range states {
			w[i][s] = make([]float64, len(m[i][s]))
			for j := 1; j < len(m[i][s]); j++ {
				w[i][s][j] = math.Log2(m[i][s][j] / u[i][s][j])
			}
		}
	}
	return w
}
