package match

import (
	"slices"
	"strings"
)

// Key finds records that may be the same. Family says what it is made of; the hash is of family and value, so that no
// personal data is stored with it.
type Key struct {
	Family uint8
	Hash   uint64
}

// family is a way to make keys of a record: from one comparison alone or from several together.
type family struct {
	name  string
	slots []int // the comparisons whose agreement the key implies; they are held out when it trains weights
	make  func(p *Prepared, add func(parts ...string))
	// weak keys are shared by few pairs that belong together among many that do not; nothing is learned from them.
	weak bool
}

// families returns the ways to make keys that fit a layout.
func (l *layout) families() []family {
	var out []family
	at := map[how][]int{}
	for i, s := range l.slots {
		at[s.how] = append(at[s.how], i)
	}
	first := func(h how) int {
		if len(at[h]) == 0 {
			return -1
		}
		return at[h][0]
	}
	given, fam, org, street, number := first(howGiven), first(howFamily), first(howOrg), first(howStreet), first(howNumber)
	city, postcode, phone, email, website := first(howCity), first(howPostcode), first(howPhone), first(howEmail), first(howWebsite)
	add := func(name string, slots []int, f func(p *Prepared, add func(parts ...string))) {
		out = append(out, family{name: name, slots: slots, make: f})
	}
	for _, i := range at[howID] {
		add(l.slots[i].name, []int{i}, func(p *Prepared, add func(parts ...string)) {
			for _, v := range p.values[i] {
				add(v.alt)
			}
		})
	}
	if email >= 0 {
		slots := []int{email}
		if given >= 0 { // an address usually contains the name
			slots = append(slots, given, fam)
		}
		add("email", slots, func(p *Prepared, add func(parts ...string)) {
			for _, v := range p.values[email] {
				if v.flags&flagRole == 0 && len(v.text) > 3 {
					add(v.text)
				}
			}
		})
		out = append(out, family{name: "email_letters", slots: slots, weak: true, make: func(p *Prepared, add func(parts ...string)) {
			for _, v := range p.values[email] {
				if s := letters(v.text); v.flags&flagRole == 0 && len(s) > 3 {
					add(s)
				}
			}
		}})
	}
	if phone >= 0 {
		add("phone", []int{phone}, func(p *Prepared, add func(parts ...string)) {
			for _, v := range p.values[phone] {
				if len(v.alt) >= 6 {
					add(v.alt)
				}
			}
		})
	}
	out = l.placeFamilies(out, street, number, city, postcode)
	if given >= 0 {
		out = l.personFamilies(out, given, fam, org, at, city, postcode, street)
	}
	if org >= 0 {
		out = l.orgFamilies(out, org, website, email, city, postcode, given >= 0)
	}
	for _, i := range at[howText] {
		add(l.slots[i].name+"_words", []int{i}, func(p *Prepared, add func(parts ...string)) { rareWords(p.values[i], add) })
	}
	return out
}

func (l *layout) placeFamilies(out []family, street, number, city, postcode int) []family {
	if street < 0 {
		return out
	}
	slots := []int{street}
	if number >= 0 {
		slots = append(slots, number)
	}
	houses := func(p *Prepared, f func(name, number string)) {
		for _, v := range p.values[street] {
			n := v.num
			if number >= 0 && len(p.values[number]) > 0 {
				n = p.values[number][0].text
			}
			if n != "" {
				f(v.alt, n)
			}
		}
	}
	out = append(out, family{name: "house", slots: slots, make: func(p *Prepared, add func(parts ...string)) {
		houses(p, func(name, n string) { add(sound(name), n) })
	}})
	for _, i := range []int{postcode, city} {
		if i < 0 {
			continue
		}
		out = append(out, family{name: l.slots[i].name + "_number", slots: append(slices.Clone(slots), i), make: func(p *Prepared, add func(parts ...string)) {
			for _, v := range p.values[i] {
				houses(p, func(_, n string) { add(v.text, n) })
			}
		}})
	}
	if postcode >= 0 {
		out = append(out, family{name: "postcode_street", slots: []int{postcode, street}, make: func(p *Prepared, add func(parts ...string)) {
			for _, v := range p.values[postcode] {
				for _, s := range p.values[street] {
					add(v.text, sound(s.alt))
				}
			}
		}})
	}
	return out
}

func (l *layout) personFamilies(out []family, given, fam, org int, at map[how][]int, city, postcode, street int) []family {
	both := func(p *Prepared, f func(g, n *value)) {
		for i := range p.values[given] {
			f(&p.values[given][i], &p.values[fam][i])
		}
	}
	names := []int{given, fam}
	out = append(out, family{name: "names", slots: names, make: func(p *Prepared, add func(parts ...string)) {
		both(p, func(g, n *value) {
			if g.text == "" || n.text == "" {
				return
			}
			// Both orders, because given and family name are exchanged often.
			x, y := sound(strings.ReplaceAll(g.text, " ", "")), n.alt
			if y < x {
				x, y = y, x
			}
			add(x, y)
			if s := sound(g.alt); s != x && s != y {
				add(min(s, n.alt), max(s, n.alt))
			}
		})
	}}, family{name: "name_beginnings", slots: names, make: func(p *Prepared, add func(parts ...string)) {
		both(p, func(g, n *value) {
			if len(g.text) >= 3 && len(n.text) >= 3 {
				x, y := g.text[:3], n.text[:3]
				add(min(x, y), max(x, y))
			}
		})
	}})
	out = append(out, family{name: "family", slots: []int{fam}, make: func(p *Prepared, add func(parts ...string)) {
		both(p, func(_, n *value) { add(n.alt) })
	}, weak: true}, family{name: "given", slots: []int{given}, make: func(p *Prepared, add func(parts ...string)) {
		both(p, func(g, _ *value) { add(sound(g.alt)) })
	}, weak: true})
	with := func(name string, slots []int, part func(p *Prepared) []string) {
		out = append(out, family{name: "family_" + name, slots: append([]int{fam}, slots...), make: func(p *Prepared, add func(parts ...string)) {
			both(p, func(g, n *value) {
				for _, v := range part(p) {
					if n.text != "" {
						add("f", n.alt, v)
					}
				}
			})
		}}, family{name: "given_" + name, slots: append([]int{given}, slots...), make: func(p *Prepared, add func(parts ...string)) {
			both(p, func(g, n *value) {
				for _, v := range part(p) {
					if g.text != "" {
						add("g", sound(g.alt), v)
					}
				}
			})
		}})
	}
	for _, i := range at[howDate] {
		with(l.slots[i].name, []int{i}, func(p *Prepared) []string { return dateParts(p.values[i]) })
	}
	for _, i := range []int{city, postcode} {
		if i >= 0 {
			with(l.slots[i].name, []int{i}, func(p *Prepared) []string { return wholes(p.values[i]) })
		}
	}
	for _, i := range at[howMember] {
		with(l.slots[i].name, []int{i}, func(p *Prepared) []string { return wholes(p.values[i]) })
	}
	if street >= 0 {
		with(l.slots[street].name, []int{street}, func(p *Prepared) []string {
			var s []string
			for _, v := range p.values[street] {
				s = append(s, sound(v.alt))
			}
			return s
		})
	}
	if org >= 0 {
		with(l.slots[org].name, []int{org}, func(p *Prepared) []string {
			var s []string
			for _, v := range p.values[org] {
				if len(v.words) > 0 {
					s = append(s, sound(v.words[0]))
				}
			}
			return s
		})
	}
	for _, i := range at[howDate] {
		out = append(out, family{name: l.slots[i].name, slots: []int{i}, make: func(p *Prepared, add func(parts ...string)) {
			for _, v := range p.values[i] {
				add(v.text)
			}
		}})
	}
	return out
}

// letters returns the letters of an address in the order of the alphabet, so that exchanged letters and changed digits
// make no difference.
func letters(s string) string {
	b := make([]byte, 0, len(s))
	for i := range len(s) {
		if s[i] >= 'a' && s[i] <= 'z' {
			b = append(b, s[i])
		}
	}
	slices.Sort(b)
	return string(b)
}

// dateParts returns what is left of dates with one error: month and day, year and month, year and day.
func dateParts(vs []value) []string {
	var parts []string
	for _, v := range vs {
		if len(v.text) != 8 {
			continue
		}
		parts = append(parts, "md"+v.text[4:], "ym"+v.text[:6], "yd"+v.text[:4]+v.text[6:])
	}
	return parts
}

func wholes(vs []value) []string {
	var s []string
	for _, v := range vs {
		s = append(s, v.text)
	}
	return s
}

func (l *layout) orgFamilies(out []family, org, website, email, city, postcode int, person bool) []family {
	if !person {
		out = append(out, family{name: "name", slots: []int{org}, make: func(p *Prepared, add func(parts ...string)) {
			for _, v := range p.values[org] {
				add(v.text)
			}
		}}, family{name: "name_words", slots: []int{org}, make: func(p *Prepared, add func(parts ...string)) { rareWords(p.values[org], add) }},
			family{name: "name_sound", slots: []int{org}, make: func(p *Prepared, add func(parts ...string)) {
				for _, v := range p.values[org] {
					add(sound(v.text), last(sound(reversed(v.text)), 4))
				}
			}})
	}
	for _, i := range []int{city, postcode} {
		if i < 0 || person {
			continue
		}
		out = append(out, family{name: "name_" + l.slots[i].name, slots: []int{org, i}, make: func(p *Prepared, add func(parts ...string)) {
			for _, v := range p.values[org] {
				for _, c := range p.values[i] {
					for _, w := range v.words {
						add(sound(w), c.text)
					}
				}
			}
		}})
	}
	if website >= 0 {
		slots := []int{website, org}
		out = append(out, family{name: "domain", slots: slots, make: func(p *Prepared, add func(parts ...string)) {
			for _, v := range p.values[website] {
				add(v.alt)
			}
			// A name written together is what most domains are made of.
			for _, v := range p.values[org] {
				add(v.text)
			}
			if email >= 0 {
				for _, v := range p.values[email] {
					if v.flags&flagFree == 0 {
						add(v.num)
					}
				}
			}
		}})
	}
	return out
}

func reversed(s string) string {
	b := []byte(s)
	slices.Reverse(b)
	return string(b)
}

// rareWords adds the words of a name that tell most, and each pair of neighbours.
func rareWords(vs []value, add func(parts ...string)) {
	for _, v := range vs {
		order := make([]int, len(v.words))
		for i := range order {
			order[i] = i
		}
		slices.SortStableFunc(order, func(a, b int) int {
			switch x, y := weight(&v, a), weight(&v, b); {
			case x > y:
				return -1
			case x < y:
				return 1
			}
			return strings.Compare(v.words[a], v.words[b])
		})
		for _, i := range order[:min(2, len(order))] {
			add(sound(v.words[i]), last(v.words[i], 2))
		}
		for i := 1; i < len(v.words); i++ {
			add(sound(v.words[i-1]), sound(v.words[i]))
		}
	}
}

// hashKey is FNV-1a: fixed, so that keys can be stored.
func hashKey(family uint8, parts []string) uint64 {
	const offset, prime = 14695981039346656037, 1099511628211
	h := uint64(offset)
	h = (h ^ uint64(family)) * prime
	for _, p := range parts {
		for i := range len(p) {
			h = (h ^ uint64(p[i])) * prime
		}
		h = (h ^ 0xff) * prime
	}
	return h
}

// hashWord is FNV-1a of one word or value.
func hashWord(s string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return h
}

// keys returns the keys of a record, each once.
func (l *layout) keys(fams []family, p *Prepared) []Key {
	var out []Key
	for i, f := range fams {
		f.make(p, func(parts ...string) {
			for _, s := range parts {
				if s == "" {
					return
				}
			}
			k := Key{uint8(i), hashKey(uint8(i), parts)}
			if !slices.Contains(out, k) {
				out = append(out, k)
			}
		})
	}
	return out
}
