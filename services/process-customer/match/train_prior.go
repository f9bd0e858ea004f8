package match

import (
	"math"
	"slices"
)

// all returns the number of pairs that there are.
func (t *trainer) all() float64 {
	n := float64(len(t.records))
	pairs := n * (n - 1) / 2
	if t.options.CrossSourceOnly {
		sources := map[string]float64{}
		for _, p := range t.records {
			sources[p.Source]++
		}
		for _, n := range sources {
			pairs -= n * (n - 1) / 2
		}
	}
	return max(pairs, 1)
}

// learnPrior finds the prior at which as many matches are expected as it says, and what each pair is then.
func (t *trainer) learnPrior() {
	all := t.all()
	w := t.weights(t.m, t.u)
	bits := make([]float64, len(t.groups))
	for x := range t.groups {
		p := &t.groups[x]
		if p.veto {
			bits[x] = -1000
			continue
		}
		for i := range t.layout.slots {
			bits[x] += w[i][t.layout.state(i, &p.pattern)][p.pattern[i]]
		}
	}
	prior := 1 / float64(len(t.records))
	for range 200 {
		odds := math.Log2(prior / (1 - prior))
		sum := 0.0
		for x, b := range bits {
			sum += t.groups[x].count * probability(b+odds)
		}
		next := max(sum, 0.5) / all
		if math.Abs(next-prior) < 1e-6*prior {
			break
		}
		prior = next
	}
	t.prior = prior
	odds := math.Log2(prior / (1 - prior))
	for x := range t.groups {
		t.groups[x].q = probability(bits[x] + odds)
	}
}

// cleanU takes the pairs that do belong together out of u: among random pairs they are few, but nearly all that agree
// on a number that nobody else has.
func (t *trainer) cleanU() {
	for i := range t.layout.slots {
		for j := 1; j < len(t.u0[i]); j++ {
			clean := (t.u0[i][j] - t.prior*t.m[i][apart][j]) / (1 - t.prior)
			t.u[i][apart][j] = min(1, max(clean, t.u0[i][j]*0.02, 1e-9))
		}
	}
}

// learnTogether estimates u among pairs whose parent agrees, from the pairs that were found by what the parent implies
// and are not the same.
func (t *trainer) learnTogether() {
	for i, s := range t.layout.slots {
		if s.parent < 0 {
			continue
		}
		var mask uint64
		for f := range t.families {
			if !t.families[f].weak && slices.Contains(t.families[f].slots, s.parent) && !slices.Contains(t.families[f].slots, i) {
				mask |= 1 << f
			}
		}
		counts := make([]float64, len(t.u0[i]))
		for x := range t.groups {
			p := &t.groups[x]
			if p.families&mask != 0 && t.layout.state(i, &p.pattern) == together {
				counts[p.pattern[i]] += p.count * (1 - p.q) * (1 - p.q)
			}
		}
		known, strength := t.expected(i)
		for j, p := range known {
			counts[j] += strength * p
		}
		t.u[i][together] = normalised(counts, 0.02)
	}
}

// sharing is how often records of different entities are known to agree as well when the parent does: neighbours have
// one postal code, families one name, colleagues one switchboard. It counts where the records themselves are too few
// to tell.
var sharing = map[Entity]map[how]map[how]float64{
	Person: {
		howPostcode: {howStreet: 0.9, howOrg: 0.3},
		howCity:     {howPostcode: 0.95, howStreet: 0.9, howOrg: 0.5},
		howFamily:   {howStreet: 0.5, howPhone: 0.5},
		howPhone:    {howStreet: 0.3, howOrg: 0.3},
		howWebsite:  {howOrg: 0.5},
		howEmail:    {howOrg: 0.5},
	},
	Organisation: {
		howPostcode: {howStreet: 0.9},
		howCity:     {howPostcode: 0.95, howStreet: 0.9},
		howWebsite:  {howOrg: 0.2},
		howEmail:    {howOrg: 0.2, howWebsite: 0.5},
		howCode:     {howCity: 0.95, howPostcode: 0.9},
	},
}

// expected returns the probability of each level among records of different entities whose parent agrees, as far as it
// is known without looking at any, and how many pairs it counts as.
func (t *trainer) expected(i int) (p []float64, strength float64) {
	s := t.layout.slots[i]
	parent := t.layout.slots[s.parent].how
	share := sharing[t.layout.schema.Entity][s.how][parent]
	if parent == howStreet && t.layout.slot(howNumber) >= 0 {
		share *= 0.2 // the name of a street alone is in many towns
	}
	if share == 0 {
		return t.u[i][apart], 150
	}
	out := make([]float64, len(t.u[i][apart]))
	for j := range out {
		out[j] = (1 - share) * t.u[i][apart][j]
	}
	if s.how == howEmail {
		out[6] += share // the domain
		return out, 50
	}
	best := int(max(agreeing[s.how], 1))
	sum := 0.0
	for j := 1; j <= best; j++ {
		sum += t.m[i][together][j]
	}
	for j := 1; j <= best; j++ {
		out[j] += share * t.m[i][together][j] / sum
	}
	return out, 50
}
