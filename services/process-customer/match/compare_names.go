package match

import "github.com/selfsame-io/selfsame/services/process-customer/match/normal"

// names compares all names of two people and returns the levels of the best pair.
func names(ga, fa, gb, fb []value) (given, family uint8) {
	best := 255
	for x := range ga {
		for y := range gb {
			g, f := givenNames(&ga[x], &gb[y]), familyNames(&fa[x], &fb[y])
			if (g == 0 || g > 6) && (f == 0 || f > 4) && swapped(&ga[x], &fa[x], &gb[y], &fb[y]) {
				g, f = 7, 0
			}
			if rank := int(g) + int(f); rank < best && (g != 0 || f != 0) {
				best, given, family = rank, g, f
			}
		}
	}
	return given, family
}

// swapped reports whether the given name of one is the family name of the other, and nothing speaks against the rest.
func swapped(ga, fa, gb, fb *value) bool {
	like := func(x, y string) bool { return x != "" && near(x, y) }
	open := func(x, y string) bool { return x == "" || y == "" || near(x, y) || initialOf(x, y) }
	return (like(ga.text, fb.text) && open(fa.text, gb.text)) || (like(fa.text, gb.text) && open(ga.text, fb.text))
}

func givenNames(a, b *value) uint8 {
	if a.text == "" || b.text == "" {
		return 0
	}
	if a.text == b.text {
		return 1
	}
	x, y := a.words[0], b.words[0]
	switch {
	case x == y && len(x) > 1:
		return 2
	case len(x) == 1 || len(y) == 1:
		if x[0] == y[0] {
			return 4
		}
		return 8
	case a.alt == b.alt:
		return 3
	case len(a.words) > 1 && a.words[1] == y, len(b.words) > 1 && b.words[1] == x:
		return 2
	case near(x, y) || near(a.text, b.text):
		return 5
	}
	if jaroWinkler(x, y) >= 0.82 {
		return 6
	}
	return 8
}

func familyNames(a, b *value) uint8 {
	if a.text == "" || b.text == "" {
		return 0
	}
	if a.text == b.text {
		return 1
	}
	if near(a.text, b.text) {
		return 2
	}
	if len(a.words) != len(b.words) || len(a.words) > 1 {
		for _, x := range a.words {
			for _, y := range b.words {
				if x == y && len(x) > 3 {
					return 3
				}
			}
		}
	}
	if len(a.alt) > 2 && a.alt == b.alt {
		return 4
	}
	if jaroWinkler(a.text, b.text) >= 0.88 {
		return 5
	}
	return 6
}

func organisations(a, b *value) uint8 {
	if a.text == b.text {
		if a.num == b.num || a.num == "" || b.num == "" {
			return 1
		}
		return 2
	}
	if !shortWordsDiffer(a.words, b.words) {
		if near(a.text, b.text) {
			return 3
		}
		if len(a.text) > 6 && len(b.text) > 6 && jaroWinkler(a.text, b.text) >= 0.94 && edits(a.text, b.text, 3) <= 3 {
			return 4
		}
	}
	o := align(a, b)
	if o.units && o.same > 0 {
		return 7 // "Acme Holding" and "Acme", or "Acme Sales"
	}
	if o.restA == 0 || o.restB == 0 {
		switch {
		case o.restA == 0 && o.restB == 0 && o.initials:
			return 6
		case o.restA == 0 && o.restB == 0:
			return 5
		case o.common:
			return 8
		default:
			return 9
		}
	}
	if acronym(a.words, b.text) || acronym(b.words, a.text) {
		return 12
	}
	switch share := o.share(); {
	case share >= 0.7:
		return 10
	case share >= 0.4:
		return 11
	default:
		return 13
	}
}

// shortWordsDiffer reports whether two names have different numbers or initials: "Plant 1" and "Plant 2", "R. Smith" and
// "S. Smith" are one edit apart.
func shortWordsDiffer(a, b []string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] && (len(a[i]) < 3 || len(b[i]) < 3 || a[i][0] <= '9' || b[i][0] <= '9') {
			return true
		}
	}
	return false
}

func acronym(words []string, short string) bool {
	if len(words) < 3 || len(words) != len(short) {
		return false
	}
	for i, w := range words {
		if w[0] != short[i] {
			return false
		}
	}
	return true
}

// overlap is how much of two lists of words is the same, in bits of information.
type overlap struct {
	same, restA, restB float64
	initials           bool // a word was found as its initial only
	units              bool // what is left over are words for a part of a company
	common             bool // all that is left over are words that many names have
}

func (o overlap) share() float64 {
	all := o.same + (o.restA+o.restB)/2
	if all == 0 {
		return 0
	}
	return o.same / all
}

// align pairs off the words of two names: equal words first, then those that differ by typing errors or of which one
// is the beginning of the other, and at last words for the same part of a company.
func align(a, b *value) overlap {
	if a.text > b.text {
		a, b = b, a
	}
	var usedA, usedB uint32
	var o overlap
	na, nb := min(len(a.words), 32), min(len(b.words), 32)
	for pass := range 2 {
		for i := range na {
			if usedA&(1<<i) != 0 {
				continue
			}
			for j := range nb {
				if usedB&(1<<j) != 0 {
					continue
				}
				x, y := a.words[i], b.words[j]
				initial := pass == 1 && initialOf(x, y)
				if x == y || initial || (pass == 1 && (near(x, y) || abbreviates(x, y))) {
					usedA |= 1 << i
					usedB |= 1 << j
					o.same += min(weight(a, i), weight(b, j))
					o.initials = o.initials || initial
					break
				}
			}
		}
	}
	o.pairUnits(a, b, &usedA, &usedB, na, nb)
	o.common = true
	unitsA, otherA := o.rest(a, usedA, na, &o.restA)
	unitsB, otherB := o.rest(b, usedB, nb, &o.restB)
	o.units = unitsA+unitsB > 0 && !otherA && !otherB
	return o
}

// rest adds up what is left over of one name: the words for a part of a company, and whether there are others. A last word that
// may be a legal form is neither.
func (o *overlap) rest(v *value, used uint32, n int, bits *float64) (units int, other bool) {
	for i := range n {
		if used&(1<<i) != 0 {
			continue
		}
		w := weight(v, i)
		*bits += w
		o.common = o.common && w <= v.limit
		switch {
		case other:
		case v.isUnit(i):
			units++
		case i < len(v.words)-1 || !normal.PerhapsForm(v.words[i]):
			other = true
		}
	}
	return units, other
}

// initialOf reports whether one word is the first letter of the other.
func initialOf(x, y string) bool {
	return (len(x) == 1) != (len(y) == 1) && x[0] == y[0]
}

func weight(v *value, i int) float64 {
	if i < len(v.bits) {
		return v.bits[i]
	}
	return 1
}

// abbreviates reports whether one word is the beginning of the other.
func abbreviates(x, y string) bool {
	if len(x) > len(y) {
		x, y = y, x
	}
	return len(x) >= 3 && len(y) > len(x) && y[:len(x)] == x
}
