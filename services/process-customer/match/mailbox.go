package match

import (
	"slices"
	"strings"

	"github.com/selfsame-io/selfsame/services/process-customer/match/normal"
)

// sharedMailbox reports whether two records with one e-mail address, typing errors aside, are of two people by their given names.
// Who has one number, or much of one day of birth, is one whatever the names.
func (x *Matcher) sharedMailbox(a, b *Prepared, p *pattern) bool {
	given := x.layout.slot(howGiven)
	if given < 0 || (p[given] != 6 && p[given] != 8) {
		return false
	}
	email, born := x.layout.slot(howEmail), x.layout.slot(howDate)
	if email < 0 || p[email] == 0 || p[email] > 5 || x.layout.sameID(p) || (born >= 0 && p[born] != 0 && p[born] <= 3) {
		return false
	}
	ga, fa, gb, fb := a.values[given], a.values[given+1], b.values[given], b.values[given+1]
	for i := range ga {
		for j := range gb {
			if x.likeGiven(&ga[i], &gb[j]) || (x.likeGiven(&ga[i], &fb[j]) && x.likeGiven(&fa[i], &gb[j])) {
				return false
			}
		}
	}
	return true
}

// likeGiven reports whether two given names may be one, as far as they are known.
func (x *Matcher) likeGiven(a, b *value) bool {
	if a.text == "" || b.text == "" {
		return true
	}
	known := x.common(a) && x.common(b)
	for _, v := range a.words {
		for _, w := range b.words {
			if oneGiven(v, w) || (!known && mistyped(v, w)) {
				return true
			}
		}
	}
	return false
}

// common reports whether several records have a given name: what several write alike is no typing error.
func (x *Matcher) common(v *value) bool {
	at := x.layout.slot(howGiven)
	return x.tf[at][hashWord(v.text)] > 1
}

// oneGiven reports whether two words may be one given name: an initial, a short form, or another spelling.
func oneGiven(x, y string) bool {
	x, y = normal.Spelling(x), normal.Spelling(y)
	if len(x) > len(y) {
		x, y = y, x
	}
	if len(x) == 1 {
		return x[0] == y[0] || slices.ContainsFunc(normal.FullNames(y), func(full string) bool { return full[0] == x[0] })
	}
	if near(x, y) || (len(x) > 2 && strings.HasPrefix(y, x)) || shortFor(x, y) {
		return true
	}
	s := sound(x)
	return len(s) > 2 && s == sound(y) && x[0] == y[0] && vowel(x[len(x)-1]) == vowel(y[len(y)-1]) // Petra is not Peter
}

// shortFor reports whether two names may stand for one: Rick for Richard, or Bob and Rob for Robert.
func shortFor(x, y string) bool {
	fx, fy := normal.FullNames(x), normal.FullNames(y)
	return slices.ContainsFunc(fx, func(full string) bool { return near(full, y) || slices.Contains(fy, full) }) ||
		slices.ContainsFunc(fy, func(full string) bool { return near(full, x) })
}

// mistyped reports whether typing errors may have made one word of the other: few letters differ, or are left out.
func mistyped(x, y string) bool {
	short, long := min(len(x), len(y)), max(len(x), len(y))
	common := lettersInCommon(x, y)
	return short > 1 && (common*4 >= long*3 || common == short || (short > 5 && edits(x, y, 2) <= 2))
}

func vowel(c byte) bool { return strings.IndexByte("aeiouy", c) >= 0 }

// lettersInCommon counts the letters that two words share, in whatever order.
func lettersInCommon(x, y string) int {
	var have [256]int
	for i := range len(x) {
		have[x[i]]++
	}
	n := 0
	for i := range len(y) {
		if have[y[i]] > 0 {
			have[y[i]]--
			n++
		}
	}
	return n
}
