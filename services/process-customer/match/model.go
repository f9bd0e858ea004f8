package match

import (
	"errors"
	"fmt"
	"math"
	"slices"
)

// ModelVersion is the format of models that this package writes and reads.
const ModelVersion = 1

// Model holds what was learned: how often each level of agreement is seen among records of one entity and among others.
// It is a plain value that can be written as YAML; a Matcher is what works.
type Model struct {
	// Version is the format, ModelVersion.
	Version int    `yaml:"version"`
	Schema  Schema `yaml:"schema"`
	// Prior is the probability that two records taken at random are about one entity.
	Prior float64 `yaml:"prior"`
	// Comparisons are in the order of the schema.
	Comparisons []Comparison `yaml:"comparisons"`
	// Bands are the limits of probability between the decisions.
	Bands Bands `yaml:"bands"`
	// Rules forbid pairs.
	Rules Rules `yaml:"rules"`
	// Frequencies are those of the records that the model was trained with.
	Frequencies *Frequencies `yaml:"frequencies,omitempty"`
}

// Comparison is one comparison of a model.
type Comparison struct {
	Name string `yaml:"name"`
	// With names the comparison that this one goes along with; its levels then have two pairs of probabilities.
	With string `yaml:"with,omitempty"`
	// Frequency makes an agreement on a rare value weigh more than one on a common value.
	Frequency bool    `yaml:"frequency,omitempty"`
	Levels    []Level `yaml:"levels"`
}

// Level is one degree of agreement, best first.
type Level struct {
	Name string `yaml:"name"`
	// M is the probability of the level among records of one entity, U among records of two.
	M float64 `yaml:"m"`
	U float64 `yaml:"u"`
	// MTogether and UTogether are the same where the comparison that it goes along with agrees.
	MTogether float64 `yaml:"m_together,omitempty"`
	UTogether float64 `yaml:"u_together,omitempty"`
}

// Bands are limits of probability: at Auto and above a pair is the same, below Review it is not, between them a person
// is asked.
type Bands struct {
	Auto   float64 `yaml:"auto"`
	Review float64 `yaml:"review"`
}

// Rules are evidence that outweighs any score.
type Rules struct {
	// DifferentIDs forbids pairs with two tax numbers or identifiers that are more than a typing error apart.
	DifferentIDs bool `yaml:"different_ids"`
	// DifferentGenerations forbids pairs of people of whom one is junior and the other senior.
	DifferentGenerations bool `yaml:"different_generations"`
	// DifferentUnits forbids pairs of organisations whose names differ only in a word such as Holding or Sales, unless
	// they have one tax number.
	DifferentUnits bool `yaml:"different_units"`
	// DifferentNames forbids pairs of organisations whose names have nothing in common, such as two companies in one
	// building, unless they have one tax number or one website.
	DifferentNames bool `yaml:"different_names"`
	// AskHouseholds never joins unasked what may be two people of one family: one family name and one address or
	// telephone, but another given name or another day of birth.
	AskHouseholds bool `yaml:"ask_households"`
	// DifferentGivenNames forbids pairs of people whose given names have nothing in common, such as relatives who work for one
	// customer; where their e-mail address is the same, they are only never joined unasked.
	DifferentGivenNames bool `yaml:"different_given_names,omitempty" json:",omitempty"`
	// SharedMailboxes never joins unasked people with one e-mail address whose given names are plainly two: relatives share a
	// mailbox, and so do colleagues of one family name.
	SharedMailboxes bool `yaml:"shared_mailboxes,omitempty" json:",omitempty"`
	// DifferentGroups forbids pairs of people who are not known to belong to the same, such as contacts of two customers; where
	// their e-mail address is the same, they are only never joined unasked.
	DifferentGroups bool `yaml:"different_groups,omitempty" json:",omitempty"`
}

// Matcher scores pairs by a model. It is immutable and safe for concurrent use.
type Matcher struct {
	model    Model
	layout   *layout
	families []family
	weights  tables // 0 is missing
	tf       [maxSlots]map[uint64]int
	filled   [maxSlots]float64
	prior    float64 // in bits
	ask      float64 // a score, in bits, at which a person is asked
}

// NewMatcher makes a model ready for work. It returns all that is wrong with the model.
func NewMatcher(m Model) (*Matcher, error) {
	l, err := newLayout(m.Schema)
	if err != nil {
		return nil, fmt.Errorf("schema: %w", err)
	}
	if len(l.slots) > maxSlots {
		return nil, fmt.Errorf("schema: %d comparisons are more than %d", len(l.slots), maxSlots)
	}
	if len(m.Comparisons) != len(l.slots) {
		return nil, fmt.Errorf("comparisons: %d, but the schema needs %d", len(m.Comparisons), len(l.slots))
	}
	if m.Version != ModelVersion {
		return nil, fmt.Errorf("version: %d is not one that is known; %d is", m.Version, ModelVersion)
	}
	if m.Bands.Review <= 0 || m.Bands.Review > m.Bands.Auto || m.Bands.Auto >= 1 {
		return nil, fmt.Errorf("bands: review %v and auto %v must be between 0 and 1, in this order", m.Bands.Review, m.Bands.Auto)
	}
	if m.Prior <= 0 || m.Prior >= 1 {
		return nil, fmt.Errorf("prior: %v is not between 0 and 1", m.Prior)
	}
	x := &Matcher{model: m, layout: l, families: l.families(), prior: math.Log2(m.Prior / (1 - m.Prior)), ask: bitsOf((m.Bands.Auto + m.Bands.Review) / 2)}
	var errs []error
	for i, c := range m.Comparisons {
		names := levelNames[l.slots[i].how]
		if c.Name != l.slots[i].name || len(c.Levels) != len(names) {
			errs = append(errs, fmt.Errorf("comparisons[%d]: is %q with %d levels, but the schema needs %q with %d", i, c.Name, len(c.Levels), l.slots[i].name, len(names)))
			continue
		}
		for s := range states {
			x.weights[i][s] = make([]float64, len(names)+1)
		}
		for j, level := range c.Levels {
			if level.Name != names[j] || level.M <= 0 || level.M > 1 || level.U <= 0 || level.U > 1 {
				errs = append(errs, fmt.Errorf("comparisons[%d].levels[%d]: m and u of %q must be above 0 and at most 1", i, j, level.Name))
				continue
			}
			w := math.Log2(level.M / level.U)
			x.weights[i][apart][j+1], x.weights[i][together][j+1] = w, w
			if level.MTogether > 0 && level.UTogether > 0 {
				x.weights[i][together][j+1] = math.Log2(level.MTogether / level.UTogether)
			}
		}
		if c.Frequency && m.Frequencies != nil {
			x.tf[i], x.filled[i] = m.Frequencies.Values[c.Name], float64(m.Frequencies.Filled[c.Name])
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return x, nil
}

// Model returns the model.
func (x *Matcher) Model() Model { return x.model }

// Prepare makes a record ready for comparing.
func (x *Matcher) Prepare(r Record) *Prepared { return x.layout.prepare(r, x.model.Frequencies) }

// Keys returns what other records about the same entity are found by.
func (x *Matcher) Keys(p *Prepared) []Key { return x.layout.keys(x.families, p) }

// TellsGroupsApart reports whether people who belong to different groups, such as customers, are never joined unasked.
func (m Model) TellsGroupsApart() bool {
	return m.Rules.DifferentGroups && slices.ContainsFunc(m.Schema.Fields, func(f Field) bool { return f.Kind == MemberOf })
}

// Score is how likely two records are about one entity.
type Score struct {
	// Bits is the logarithm of the odds, prior included: 0 is even, 10 is a thousand to one.
	Bits float64
	// Veto is why the records cannot be about one entity, whatever the score; empty when nothing forbids it.
	Veto string
	// Held tells that a rule leaves the pair to a person, however it scores: it is not joined through a third record either.
	Held bool
}

// Probability returns the score as a probability; 0 when there is a veto.
func (s Score) Probability() float64 {
	if s.Veto != "" {
		return 0
	}
	return probability(s.Bits)
}

func probability(bits float64) float64 { return 1 / (1 + math.Exp2(-bits)) }

// bitsOf is the inverse of probability.
func bitsOf(p float64) float64 { return math.Log2(p / (1 - p)) }

// Score compares two records. It does not allocate, but for two people with one mailbox.
func (x *Matcher) Score(a, b *Prepared) Score {
	var p pattern
	x.layout.compare(a, b, &p)
	return x.score(a, b, &p)
}

func (x *Matcher) score(a, b *Prepared, p *pattern) Score {
	s := Score{Bits: x.bits(a, b, p), Veto: x.layout.veto(a, b, p, x.model.Rules)}
	if x.holds(a, b, p) != "" {
		s.Bits, s.Held = min(s.Bits, x.ask), true
	}
	return s
}

// holds returns which rule never joins a pair unasked; empty when none does.
func (x *Matcher) holds(a, b *Prepared, p *pattern) string {
	switch {
	case x.model.Rules.AskHouseholds && x.layout.household(p):
		return "household"
	case x.model.Rules.DifferentGroups && x.layout.otherGroups(p):
		return "other_group"
	case x.model.Rules.DifferentGivenNames && x.layout.otherGiven(p):
		return "other_given_name"
	case x.model.Rules.SharedMailboxes && x.sharedMailbox(a, b, p):
		return "shared_mailbox"
	default:
		return ""
	}
}

func (x *Matcher) bits(a, b *Prepared, p *pattern) float64 {
	total := x.prior
	for i := range x.layout.slots {
		level := p[i]
		if level == 0 {
			continue
		}
		total += x.weight(i, a, b, p)
	}
	return total
}

func (x *Matcher) weight(i int, a, b *Prepared, p *pattern) float64 {
	w := x.weights[i][x.layout.state(i, p)][p[i]]
	if p[i] == 1 && x.tf[i] != nil {
		return x.rarity(i, a, b, w)
	}
	return w
}

// rarity replaces the average probability of an accidental agreement by that of the value.
func (x *Matcher) rarity(i int, a, b *Prepared, w float64) float64 {
	if len(a.values[i]) != 1 || len(b.values[i]) != 1 {
		return w
	}
	n := float64(x.tf[i][hashWord(a.values[i][0].text)])
	// One of those that have the value is the record itself, and its duplicates have it too.
	u := max(n-1, 0.7) / max(x.filled[i], 1)
	return w + max(-8, min(4, math.Log2(x.model.Comparisons[i].Levels[0].U/u)))
}

// The vetoes.
const (
	VetoIDs         = "IDS_DIFFER"
	VetoGenerations = "GENERATIONS_DIFFER"
	VetoGivenNames  = "GIVEN_NAMES_DIFFER"
	VetoGroups      = "GROUPS_DIFFER"
	VetoUnits       = "UNITS_DIFFER"
	VetoNames       = "NAMES_DIFFER"
)

func (l *layout) veto(a, b *Prepared, p *pattern, rules Rules) string {
	for i, s := range l.slots {
		switch {
		case s.how == howID && rules.DifferentIDs && p[i] == uint8(len(levelNames[howID])) && farIDs(a.values[i], b.values[i]):
			return VetoIDs
		case s.how == howGiven && rules.DifferentGenerations && generationsDiffer(a.values[i], b.values[i]):
			return VetoGenerations
		case s.how == howMember && rules.DifferentGroups && l.otherGroups(p) && !l.sameEmail(p):
			return VetoGroups
		case s.how == howGiven && rules.DifferentGivenNames && l.otherGiven(p) && !l.sameEmail(p):
			return VetoGivenNames
		case s.how == howOrg && l.schema.Entity == Organisation && rules.DifferentUnits && p[i] == 7 && !l.sameID(p):
			return VetoUnits
		case s.how == howOrg && l.schema.Entity == Organisation && rules.DifferentNames && p[i] == 13 && !l.sameID(p) && !l.sameWebsite(p):
			return VetoNames
		}
	}
	return ""
}

// household reports whether two records may be two people of one family.
func (l *layout) household(p *pattern) bool {
	if l.schema.Entity != Person {
		return false
	}
	given, born := l.slot(howGiven), l.slot(howDate)
	if given < 0 || p[given+1] != 1 || l.sameID(p) {
		return false
	}
	home := false
	for i, s := range l.slots {
		switch s.how {
		case howStreet:
			home = home || (p[i] != 0 && p[i] <= agreeing[howStreet])
		case howPhone:
			home = home || p[i] == 1
		case howEmail:
			if p[i] == 1 {
				return false // few share one, and those are rather asked about for other reasons
			}
		}
	}
	differs := func(i int, h how) bool { return i >= 0 && int(p[i]) == len(levelNames[h]) }
	return home && (differs(given, howGiven) || differs(born, howDate))
}

// otherGroups reports whether two people are not known to belong to the same.
func (l *layout) otherGroups(p *pattern) bool {
	at := l.slot(howMember)
	return at >= 0 && p[at] != 1
}

// otherGiven reports whether two people have given names that have nothing in common.
func (l *layout) otherGiven(p *pattern) bool {
	at := l.slot(howGiven)
	return at >= 0 && int(p[at]) == len(levelNames[howGiven]) && !l.sameID(p)
}

// sameEmail reports whether the records have an e-mail address in common.
func (l *layout) sameEmail(p *pattern) bool {
	at := l.slot(howEmail)
	return at >= 0 && p[at] == 1
}

// sameID reports whether the records have a number in common.
func (l *layout) sameID(p *pattern) bool {
	for i, s := range l.slots {
		if s.how == howID && (p[i] == 1 || p[i] == 2) {
			return true
		}
	}
	return false
}

// sameWebsite reports whether the records have a domain in common.
func (l *layout) sameWebsite(p *pattern) bool {
	at := l.slot(howWebsite)
	return at >= 0 && (p[at] == 1 || p[at] == 2)
}

// farIDs reports whether all numbers of one record are more than two typing errors from those of the other.
func farIDs(a, b []value) bool {
	for x := range a {
		for y := range b {
			if a[x].flags&b[y].flags&flagValid == 0 && edits(a[x].alt, b[y].alt, 2) <= 2 {
				return false
			}
		}
	}
	return true
}

func generationsDiffer(a, b []value) bool {
	for x := range a {
		for y := range b {
			if a[x].num != "" && b[y].num != "" && a[x].num != b[y].num {
				return true
			}
		}
	}
	return false
}

// Evidence is the part of one comparison in a score.
type Evidence struct {
	Comparison string  `json:"comparison"`
	Level      string  `json:"level,omitempty"`
	Bits       float64 `json:"bits"`
}

// Explain returns what a score is made of, the strongest evidence first, for or against. Values are not in it.
func (x *Matcher) Explain(a, b *Prepared) (Score, []Evidence) {
	var p pattern
	x.layout.compare(a, b, &p)
	evidence := []Evidence{{"prior", "", x.prior}}
	for i, s := range x.layout.slots {
		if p[i] == 0 {
			continue
		}
		evidence = append(evidence, Evidence{s.name, levelNames[s.how][p[i]-1], x.weight(i, a, b, &p)})
	}
	slices.SortStableFunc(evidence[1:], func(a, b Evidence) int {
		switch x, y := math.Abs(a.Bits), math.Abs(b.Bits); {
		case x > y:
			return -1
		case x < y:
			return 1
		default:
			return 0
		}
	})
	score := x.score(a, b, &p)
	if all := x.bits(a, b, &p); all > score.Bits {
		evidence = append(evidence, Evidence{x.holds(a, b, &p), "ask", score.Bits - all})
	}
	return score, evidence
}
