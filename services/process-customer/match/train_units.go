package match

import (
	"maps"
	"slices"
)

// The evidence at which a word is taken to tell parts of a group apart.
const (
	unitNames = 3   // names that it was added to
	unitShare = 0.6 // of them, how many had other numbers with it than without
)

// unitVotes say, for one word and each name that it was added to, how many pairs of records have the same numbers and how many others.
type unitVotes struct {
	names   map[string]*[2]float64
	taxable bool // some of them have tax numbers
}

// proven reports whether the votes are enough. Telephones alone are not: a department has one of its own.
func (u *unitVotes) proven() bool {
	if !u.taxable || len(u.names) < unitNames {
		return false
	}
	apart := 0.0
	for _, name := range slices.Sorted(maps.Keys(u.names)) { // in one order: the same records give the same model
		v := u.names[name]
		apart += v[1] / (v[0] + v[1])
	}
	return apart >= unitShare*float64(len(u.names))
}

// learnUnits learns which words tell parts of a group of companies apart: two records at one address or with one website, whose names
// differ in that word alone, mostly have different tax numbers, and telephones. A legal form, or a word that is often left out,
// goes along with the same numbers. Where it finds any, all names are weighed anew.
func (t *trainer) learnUnits(candidates [][]int32) {
	org := t.layout.slot(howOrg)
	if t.layout.schema.Entity != Organisation || org < 0 {
		return
	}
	votes := map[string]*unitVotes{}
	for i, near := range candidates {
		for _, j := range near {
			if int(j) > i {
				t.voteUnit(org, t.records[i], t.records[j], votes)
			}
		}
	}
	var found []uint64
	for _, w := range slices.Sorted(maps.Keys(votes)) {
		if votes[w].proven() {
			found = append(found, hashWord(w))
		}
	}
	if len(found) == 0 {
		return
	}
	slices.Sort(found)
	name := t.layout.slots[org].name
	t.freq.Units = map[string][]uint64{name: found}
	for _, p := range t.records {
		for j := range p.values[org] {
			p.values[org][j].weigh(t.freq, name)
		}
	}
}

func (t *trainer) voteUnit(org int, a, b *Prepared, votes map[string]*unitVotes) {
	if len(a.values[org]) != 1 || len(b.values[org]) != 1 {
		return
	}
	word, name := addedWord(&a.values[org][0], &b.values[org][0])
	if len(word) < 3 || unitClass(word) != 0 {
		return
	}
	var p pattern
	t.layout.compare(a, b, &p)
	together, taxable, same, apart := false, false, 0.0, 0.0
	for i, s := range t.layout.slots {
		switch s.how {
		case howStreet, howWebsite:
			together = together || (p[i] != 0 && p[i] <= 2)
		case howID:
			taxable = taxable || p[i] != 0
			switch p[i] {
			case 1, 2:
				same += 2
			case 3:
				apart += 2
			}
		case howPhone:
			switch p[i] {
			case 1, 2, 3:
				same++
			case 5:
				apart++
			}
		}
	}
	if !together || same+apart == 0 {
		return
	}
	u := votes[word]
	if u == nil {
		u = &unitVotes{names: map[string]*[2]float64{}}
		votes[word] = u
	}
	u.taxable = u.taxable || taxable
	if u.names[name] == nil {
		u.names[name] = &[2]float64{}
	}
	u.names[name][0] += same
	u.names[name][1] += apart
}

// addedWord returns the only word that one name has and the other has not, and the name without it; empty when they differ in
// anything else.
func addedWord(a, b *value) (word, name string) {
	if len(a.words) > len(b.words) {
		a, b = b, a
	}
	if len(a.words) == 0 || len(b.words) != len(a.words)+1 {
		return "", ""
	}
	at := 0
	for at < len(a.words) && a.words[at] == b.words[at] {
		at++
	}
	if !slices.Equal(a.words[at:], b.words[at+1:]) {
		return "", ""
	}
	return b.words[at], a.text
}
