package match

import (
	"cmp"
	"errors"
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
	// sample is how many pairs are taken at random; a million when zero, as always but in tests.
	sample int
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
var DefaultRules = Rules{DifferentIDs: true, DifferentGenerations: true, DifferentUnits: true, DifferentNames: true, DifferentGroups: true, SharedMailboxes: true}

// ErrTooFew is returned by Train when there is nothing to learn from.
var ErrTooFew = errors.New("at least 20 records that share keys are needed to learn from")

// tables hold a probability by the state of the parent and by level.
type tables [maxSlots][states][]float64

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
