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
type unitVotes map[string]*[2]float64

// learnUnits learns which words tell parts of a group of companies apart: two records at one address or with one website, whose names
// differ in that word alone, mostly have different tax numbers or telephones. A legal form, or a word that is often left out,
// goes along with the same numbers. Where it finds any, all names are weighed anew.
func (t *trainer) learnUnits(candidates [][]int32) {
	org := t.layout.slot(howOrg)
	if t.layout.schema.Entity != Organisation || org < 0 {
		return
	}
	votes := map[string]unitVotes{}
	for i, near := range candidates {
		for _, j := range near {
			if int(j) > i {
				t.voteUnit(org, t.records[i], t.records[j], votes)
			}
		}
	}
	var found []uint64
	for _, w := range slices.Sorted(maps.Keys(votes)) {
		names, apart := 0.0, 0.0
		for _, v := range votes[w] {
			names++
			apart += v[1] / (v[0] + v[1])
		}
		if names >= unitNames && apart >= unitShare*names {
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

func (t *trainer) voteUnit(org int, a, b *Prepared, votes map[string]unitVotes) {
	if len(a.values[org]) != 1 || len(b.values[org]) != 1 {
		return
	}
	word, name := addedWord(&a.values[org][0], &b.values[org][0])
	if len(word) < 3 || unitWord(word) {
		return
	}
	var p pattern
	t.layout.compare(a, b, &p)
	together, same, apart := false, 0.0, 0.0
	for i, s := range t.layout.slots {
		switch s.how {
		case howStreet, howWebsite:
			together = together || (p[i] != 0 && p[i] <= 2)
		case howID:
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
	if votes[word] == nil {
		votes[word] = unitVotes{}
	}
	if votes[word][name] == nil {
		votes[word][name] = &[2]float64{}
	}
	votes[word][name][0] += same
	votes[word][name][1] += apart
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
