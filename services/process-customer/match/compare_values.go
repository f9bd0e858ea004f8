package match

func streets(a, b *value) uint8 {
	if box(a) != box(b) {
		return 0 // the post is fetched elsewhere, which says nothing
	}
	if a.text == b.text {
		return 1
	}
	sameName := a.alt == b.alt
	nearName := sameName || near(a.alt, b.alt) || (len(a.alt) > 5 && jaroWinkler(a.alt, b.alt) >= 0.94)
	if !nearName && (len(a.words) > 1 || len(b.words) > 1) {
		o := align(a, b)
		nearName = o.same > 0 && (o.restA == 0 || o.restB == 0)
	}
	switch {
	case nearName && a.num == b.num:
		return 2
	case nearName && (a.num == "" || b.num == ""):
		return 4
	case nearName && edits(a.num, b.num, 1) == 1 && len(a.num)+len(b.num) > 2:
		return 3
	case nearName:
		return 5
	case a.num != "" && a.num == b.num:
		return 6
	default:
		return 7
	}
}

func box(v *value) bool { return len(v.words) > 0 && v.words[0] == "pobox" }

// graded is exact, one edit, or different.
func graded(a, b string) uint8 {
	switch {
	case a == b:
		return 1
	case max(len(a), len(b)) > 1 && edits(a, b, 1) == 1:
		return 2
	default:
		return 3
	}
}

func cities(a, b string) uint8 {
	switch {
	case a == b:
		return 1
	case near(a, b) || jaroWinkler(a, b) >= 0.93:
		return 2
	case abbreviates(a, b):
		return 4
	case len(a) > 4 && len(b) > 4 && jaroWinkler(a, b) >= 0.8:
		return 3
	default:
		return 5
	}
}

func postcodes(a, b string) uint8 {
	switch {
	case a == b:
		return 1
	case edits(a, b, 1) == 1:
		return 2
	case len(a) > 2 && len(b) > 2 && a[:2] == b[:2]:
		return 3
	default:
		return 4
	}
}

func phones(a, b *value) uint8 {
	sameCountry := a.num == b.num || a.num == "" || b.num == ""
	x, y := a.text, b.text
	switch {
	case x == y && sameCountry:
		return 1
	case a.alt == b.alt:
		return 2
	case len(x) > 6 && len(y) > 6 && edits(x, y, 1) == 1 && x[:len(x)-1] != y[:len(y)-1]:
		return 3
	case len(x) > 7 && len(x) == len(y) && x[:len(x)-3] == y[:len(y)-3]:
		return 4
	default:
		return 5
	}
}

func emails(a, b *value) uint8 {
	sameDomain := a.alt == b.alt && a.alt != ""
	role := (a.flags|b.flags)&flagRole != 0
	switch {
	case a.text == b.text && a.alt == b.alt && !role:
		return 1
	case role && sameDomain:
		return 6
	case role:
		return 7
	case a.text == b.text && len(a.text) > 3:
		return 2
	case (sameDomain || near(a.alt, b.alt)) && otherInitial(a.text, b.text):
		return 6 // colleagues of one family name, or nobody knows
	case (sameDomain || near(a.alt, b.alt)) && near(a.text, b.text), jaroWinkler(a.words[0], b.words[0]) >= 0.96:
		return 3
	case sameDomain && jaroWinkler(a.text, b.text) >= 0.85:
		return 4
	case len(a.text) > 5 && edits(a.text, b.text, 2) <= 2:
		return 5
	case sameDomain && a.flags&flagFree == 0:
		return 6
	default:
		return 7
	}
}

// otherInitial reports whether two mailboxes differ in an initial, one of which may be missing: j.doe and m.doe, or doe.
func otherInitial(a, b string) bool {
	x, rest := initialAndRest(a)
	y, other := initialAndRest(b)
	return rest == other && x != y
}

// initialAndRest parts j.doe into j and doe; without a single letter in front it is all rest.
func initialAndRest(s string) (initial byte, rest string) {
	if len(s) > 3 && (s[1] == '.' || s[1] == '_' || s[1] == '-') {
		return s[0], s[2:]
	}
	return 0, s
}

func websites(a, b *value) uint8 {
	switch {
	case a.text == b.text:
		return 1
	case a.alt == b.alt:
		return 2
	case near(a.alt, b.alt):
		return 3
	default:
		return 4
	}
}

// identifiers compares numbers that belong to one entity. The letters in front count only when both have them.
func identifiers(a, b *value) uint8 {
	switch {
	case a.text == b.text || (a.alt == b.alt && a.alt != "" && (a.text == a.alt || b.text == b.alt)):
		return 1
	case edits(a.text, b.text, 1) == 1 && a.flags&b.flags&flagValid == 0:
		return 2
	default:
		return 3
	}
}

func dates(a, b string) uint8 {
	if a == b {
		return 1
	}
	if edits(a, b, 1) == 1 {
		return 2
	}
	if len(a) != 8 || len(b) != 8 {
		return 6
	}
	year, month, day := a[:4] == b[:4], a[4:6] == b[4:6], a[6:] == b[6:]
	switch {
	case year && a[4:6] == b[6:] && a[6:] == b[4:6]:
		return 2
	case (year && month) || (year && day) || (month && day):
		return 3
	case days(a)-days(b) <= 400 && days(b)-days(a) <= 400:
		return 4
	case year:
		return 5
	default:
		return 6
	}
}

// days returns about how many days a date is after the beginning of the calendar.
func days(s string) int {
	n := func(s string) (v int) {
		for i := range len(s) {
			v = v*10 + int(s[i]-'0')
		}
		return v
	}
	return n(s[:4])*365 + n(s[4:6])*30 + n(s[6:])
}

func texts(a, b *value) uint8 {
	if a.text == b.text {
		return 1
	}
	if near(a.text, b.text) || (len(a.text) > 5 && jaroWinkler(a.text, b.text) >= 0.94) {
		return 2
	}
	o := align(a, b)
	switch {
	case o.restA == 0 && o.restB == 0:
		return 3
	case o.same > 0 && (o.restA == 0 || o.restB == 0):
		return 4
	}
	switch share := o.share(); {
	case share >= 0.5:
		return 5
	case share >= 0.2:
		return 6
	default:
		return 7
	}
}
