package match

import (
	"cmp"
	"errors"
	"math"
	"slices"
)

// TrainOptions are choices of Train; the zero value is good.
type TrainOptions struct {
	// CrossSourceOnly makes only pairs of records of different sources count.
	CrossSourceOnly bool
	// Costs decide the bands of the model; DefaultCosts of the entity when zero.
	Costs Costs
	// Rules of the model; DefaultRules when nil.
	Rules *Rules
}

// Costs are what wrong decisions cost, each as a multiple of asking a person once.
type Costs struct {
	// WrongMerge is the cost of two entities joined, Duplicate that of one entity left as two.
	WrongMerge, Duplicate float64
}

// DefaultCosts returns the costs when none are given. Two companies joined by mistake share orders, terms and credit, so
// that they cost more to part than two people.
func DefaultCosts(e Entity) Costs {
	if e == Person {
		return Costs{WrongMerge: 8, Duplicate: 2}
	}
	return Costs{WrongMerge: 12, Duplicate: 2}
}

// Bands returns the limits at which asking becomes cheaper than deciding: joining costs (1-p)·WrongMerge on average,
// holding apart p·Duplicate, asking 1.
func (c Costs) Bands() Bands {
	b := Bands{Auto: 1 - 1/c.WrongMerge, Review: 1 / c.Duplicate}
	if b.Review >= b.Auto { // asking never pays
		b.Auto = c.WrongMerge / (c.WrongMerge + c.Duplicate)
		b.Review = b.Auto
	}
	return b
}

// DefaultRules are the rules when none are given. Households are not asked about: in most data a family name and an
// address with another given name are rather errors than relatives, and all of them would be asked about.
var DefaultRules = Rules{DifferentIDs: true, DifferentGenerations: true, DifferentUnits: true, DifferentNames: true}

// ErrTooFew is returned by Train when there is nothing to learn from.
var ErrTooFew = errors.New("at least 20 records that share keys are needed to learn from")

// tables hold a probability by the state of the parent and by level.
type tables [maxSlots][states][]float64

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

// Train learns a model from records without labels by expectation maximisation. The same records give the same model,
// in whatever order they come. It holds all records and their candidate pairs in memory.
func Train(s Schema, records []Record, o TrainOptions) (Model, error) {
	l, err := newLayout(s)
	if err != nil {
		return Model{}, err
	}
	records = slices.Clone(records)
	slices.SortFunc(records, func(a, b Record) int {
		return cmp.Or(cmp.Compare(a.Source, b.Source), cmp.Compare(a.ID, b.ID))
	})
	if o.Rules == nil {
		rules := DefaultRules
		o.Rules = &rules
	}
	t := &trainer{layout: l, families: l.families(), options: o}
	t.prepare(records)
	t.collect()
	if t.pairs < 20 {
		return Model{}, ErrTooFew
	}
	t.sample()
	t.learn()
	return t.model(), nil
}

type trainer struct {
	layout   *layout
	families []family
	options  TrainOptions
	records  []*Prepared
	freq     *Frequencies
	groups   []group
	pairs    int
	m, u     tables
	u0       [maxSlots][]float64 // u before the pairs that do belong together are taken out
	prior    float64
}

func (t *trainer) prepare(records []Record) {
	t.records = make([]*Prepared, len(records))
	for i, r := range records {
		t.records[i] = t.layout.prepare(r, nil)
	}
	t.freq = t.layout.count(t.records)
	for _, p := range t.records {
		for i, s := range t.layout.slots {
			for j := range p.values[i] {
				if s.how == howOrg || s.how == howText {
					p.values[i][j].weigh(t.freq, s.name)
				}
			}
		}
	}
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
	const most = 1_000_000
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

// learn estimates m, the prior, u without the pairs that belong together, and u where the parent agrees.
func (t *trainer) learn() {
	t.start()
	for range 4 {
		t.learnM()
		t.learnPrior()
		t.cleanU()
		t.learnTogether()
	}
	t.learnPrior()
}

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

func (t *trainer) model() Model {
	costs := t.options.Costs
	if costs == (Costs{}) {
		costs = DefaultCosts(t.layout.schema.Entity)
	}
	m := Model{
		Version: ModelVersion, Schema: t.layout.schema, Prior: t.prior, Bands: costs.Bands(),
		Rules: *t.options.Rules, Frequencies: t.freq,
	}
	values := t.freq.Values
	t.freq.Values = map[string]map[uint64]int{}
	for i, s := range t.layout.slots {
		c := Comparison{Name: s.name, With: t.layout.parentName(i), Frequency: s.how == howOrg || s.how == howCity || s.how == howGiven || s.how == howFamily || s.how == howText}
		for j, name := range levelNames[s.how] {
			level := Level{Name: name, M: t.m[i][apart][j+1], U: t.u[i][apart][j+1]}
			if s.parent >= 0 {
				level.MTogether, level.UTogether = t.m[i][together][j+1], t.u[i][together][j+1]
			}
			c.Levels = append(c.Levels, level)
		}
		if c.Frequency {
			t.freq.Values[c.Name] = values[c.Name]
		}
		m.Comparisons = append(m.Comparisons, c)
	}
	return m
}
