package match

import "math"

// Observation counts how the pairs and records of a time compare, to tell whether a model still describes them. It is not
// safe for concurrent use.
type Observation struct {
	matcher     *Matcher
	same, other tables // by the state of the parent and by level
	records     float64
	filled      [maxSlots]float64
}

// Observe begins to count.
func (x *Matcher) Observe() *Observation {
	o := &Observation{matcher: x}
	for i, s := range x.layout.slots {
		for state := range states {
			o.same[i][state] = make([]float64, len(levelNames[s.how])+1)
			o.other[i][state] = make([]float64, len(levelNames[s.how])+1)
		}
	}
	return o
}

// Record counts a record.
func (o *Observation) Record(p *Prepared) {
	o.records++
	for i := range o.matcher.layout.slots {
		if len(p.values[i]) > 0 {
			o.filled[i]++
		}
	}
}

// Same counts a pair that is about one entity with a probability.
func (o *Observation) Same(a, b *Prepared, probability float64) { o.count(&o.same, a, b, probability) }

// Other counts a pair of records taken at random, which are about two.
func (o *Observation) Other(a, b *Prepared) { o.count(&o.other, a, b, 1) }

func (o *Observation) count(in *tables, a, b *Prepared, weight float64) {
	l := o.matcher.layout
	var p pattern
	l.compare(a, b, &p)
	for i := range l.slots {
		if p[i] != 0 {
			in[i][l.state(i, &p)][p[i]] += weight
		}
	}
}

// Drift says how far what was counted is from what the model has learned about one comparison.
type Drift struct {
	Comparison string
	// Same and Others are population stability indexes of the levels among pairs of one entity and of two: 0 is as learned,
	// below 0.1 is chance, above 0.25 is another population.
	Same, Others float64
	// FilledLearned and FilledSeen are the shares of records that have a value; FilledLearned is negative when the model
	// does not say it.
	FilledLearned, FilledSeen float64
	Levels                    []LevelDrift
}

// LevelDrift is how often a level is seen among the pairs for which the comparison has values.
type LevelDrift struct {
	Level                                            string
	SameLearned, SameSeen, OthersLearned, OthersSeen float64
}

// Drift returns what has changed, in the order of the comparisons.
func (o *Observation) Drift() []Drift {
	out := make([]Drift, len(o.matcher.layout.slots))
	f := o.matcher.model.Frequencies
	for i, c := range o.matcher.model.Comparisons {
		d := Drift{Comparison: c.Name, FilledLearned: -1, FilledSeen: o.filled[i] / max(o.records, 1)}
		if f != nil && f.Records > 0 {
			d.FilledLearned = float64(f.Filled[c.Name]) / float64(f.Records)
		}
		same := stability(&o.same[i], func(level *Level, state int) float64 {
			if state == together && level.MTogether > 0 {
				return level.MTogether
			}
			return level.M
		}, c.Levels)
		others := stability(&o.other[i], func(level *Level, state int) float64 {
			if state == together && level.UTogether > 0 {
				return level.UTogether
			}
			return level.U
		}, c.Levels)
		d.Same, d.Others = same.index, others.index
		for j := range c.Levels {
			d.Levels = append(d.Levels, LevelDrift{c.Levels[j].Name, same.learned[j], same.seen[j], others.learned[j], others.seen[j]})
		}
		out[i] = d
	}
	return out
}

// assumed is how many pairs the word of the model counts as: a few pairs that are not as learned are no drift.
const assumed = 50

// shares are how often levels were to be expected, and how often they were seen.
type shares struct {
	learned, seen []float64
	index         float64
}

// stability compares counts with what was learned. What is to be expected depends on how often the parent agrees, so it is
// taken from the pairs that were seen.
func stability(counts *[states][]float64, learned func(*Level, int) float64, levels []Level) shares {
	s := shares{make([]float64, len(levels)), make([]float64, len(levels)), 0}
	var n [states]float64
	for state := range states {
		for _, c := range counts[state] {
			n[state] += c
		}
	}
	total := n[apart] + n[together]
	if total == 0 {
		for j := range levels {
			s.learned[j] = learned(&levels[j], apart)
		}
		return s
	}
	for state := range states {
		sum := 0.0
		for j := range levels {
			sum += learned(&levels[j], state)
		}
		for j := range levels {
			s.learned[j] += n[state] / total * learned(&levels[j], state) / sum
		}
	}
	for j := range levels {
		count := counts[apart][j+1] + counts[together][j+1]
		s.seen[j] = count / total
		smooth := (count + assumed*s.learned[j]) / (total + assumed)
		s.index += (smooth - s.learned[j]) * math.Log(smooth/s.learned[j])
	}
	return s
}
