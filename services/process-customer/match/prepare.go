package match

import (
	"math"
	"strings"

	"github.com/selfsame-io/selfsame/services/process-customer/match/normal"
)

// value is one normalised value of a record with what comparing needs of it.
type value struct {
	text  string   // the whole, what is equal when values are equal
	alt   string   // a second form: see the kinds
	num   string   // house number, legal form, calling code
	words []string // of names and texts
	bits  []float64
	limit float64 // bits of a word below which many names have it
	units uint64  // the words that were learned to tell parts of a group apart, by position
	flags uint8
}

const (
	flagRole  = 1 << iota // a mailbox of a function
	flagFree              // a domain that anybody can use
	flagValid             // check digits that are right
)

// Prepared is a record made ready for comparing. It is immutable.
type Prepared struct {
	Source, ID string
	// values are those of each comparison of the layout.
	values [][]value
}

// slot is one comparison of a layout: which fields it takes its values from.
type slot struct {
	name   string
	how    how
	fields []int
	// parent is the comparison that this one goes along with also among records that are not the same: those at one
	// address have one postal code. -1 when there is none.
	parent int
}

// layout is a schema turned into comparisons.
type layout struct {
	schema  Schema
	slots   []slot
	country int // the field that holds the country; -1 when there is none
}

// how is the way in which a comparison works.
type how uint8

const (
	howGiven how = iota
	howFamily
	howOrg
	howStreet
	howNumber
	howCity
	howPostcode
	howCode
	howPhone
	howEmail
	howWebsite
	howID
	howDate
	howText
	howMember
)

func newLayout(s Schema) (*layout, error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	l := &layout{schema: s, country: -1}
	byKind := map[Kind][]int{}
	for i, f := range s.Fields {
		byKind[f.Kind] = append(byKind[f.Kind], i)
		if f.Kind == Country && l.country < 0 {
			l.country = i
		}
	}
	names := append(append(byKind[GivenName], byKind[FamilyName]...), byKind[FullName]...)
	named, sets := false, map[Kind]bool{}
	for i, f := range s.Fields {
		switch f.Kind {
		case GivenName, FamilyName, FullName:
			if !named {
				l.slots = append(l.slots, slot{"given_name", howGiven, names, -1}, slot{"family_name", howFamily, names, -1})
			}
			named = true
		case Phone, Email, Website:
			if !sets[f.Kind] {
				l.slots = append(l.slots, slot{string(f.Kind), setHow[f.Kind], byKind[f.Kind], -1})
			}
			sets[f.Kind] = true
		default:
			l.slots = append(l.slots, slot{f.Name, fieldHow[f.Kind], []int{i}, -1})
		}
	}
	l.setParents()
	return l, nil
}

// parents lists, for each comparison, those it may go along with, the first that is there: a tree, so that what two
// records share because they are neighbours or colleagues is counted once.
var parents = map[Entity]map[how][]how{
	Person: {
		howPhone: {howOrg, howStreet, howMember}, howEmail: {howOrg, howMember}, howCity: {howOrg, howPostcode, howStreet}, howPostcode: {howStreet, howOrg},
		howFamily: {howStreet, howPhone}, howNumber: {howStreet}, howWebsite: {howOrg},
	},
	Organisation: {
		howOrg: {howStreet}, howPhone: {howStreet}, howPostcode: {howStreet}, howCity: {howPostcode, howStreet}, howNumber: {howStreet},
		howWebsite: {howOrg}, howEmail: {howWebsite, howOrg}, howCode: {howCity, howPostcode},
	},
}

func (l *layout) setParents() {
	for i, s := range l.slots {
		if s.how == howCode && l.schema.Fields[s.fields[0]].Kind == Code {
			continue // no place
		}
		for _, want := range parents[l.schema.Entity][l.slots[i].how] {
			if at := l.slot(want); at >= 0 && at != i {
				l.slots[i].parent = at
				break
			}
		}
	}
}

// slot returns the first comparison of a kind; -1 when there is none.
func (l *layout) slot(h how) int {
	for i, s := range l.slots {
		if s.how == h {
			return i
		}
	}
	return -1
}

// agreeing is the worst level of a comparison that still counts as agreement, for those that go along with it.
var agreeing = map[how]uint8{howOrg: 6, howStreet: 3, howPostcode: 2, howCity: 3, howPhone: 2, howWebsite: 2, howMember: 1}

// implying is the worst level of a comparison at which those that go along with it are expected to agree too: a code of the same
// postal area is not the same, but the area lies in one city.
func implying(h how) uint8 {
	if h == howPostcode {
		return 3
	}
	return agreeing[h]
}

// The states of a parent.
const (
	apart    = iota // differs, or is missing
	together        // agrees
	states
)

// state returns the state of the parent of comparison i.
func (l *layout) state(i int, p *pattern) int {
	at := l.slots[i].parent
	if at < 0 || p[at] == 0 || p[at] > implying(l.slots[at].how) {
		return apart
	}
	return together
}

var setHow = map[Kind]how{Phone: howPhone, Email: howEmail, Website: howWebsite}

var fieldHow = map[Kind]how{
	OrgName: howOrg, Street: howStreet, HouseNumber: howNumber, City: howCity, Postcode: howPostcode, Region: howCode,
	Country: howCode, TaxID: howID, Identifier: howID, Date: howDate, Text: howText, Code: howCode,
	MemberOf: howMember,
}

// prepare normalises a record. The frequencies give each word its weight; nil gives all words the same.
func (l *layout) prepare(r Record, f *Frequencies) *Prepared {
	p := &Prepared{Source: r.Source, ID: r.ID, values: make([][]value, len(l.slots))}
	country := ""
	if l.country >= 0 && l.country < len(r.Values) {
		country = normal.Country(r.Values[l.country])
	}
	for i, s := range l.slots {
		switch s.how {
		case howGiven:
			p.values[i], p.values[i+1] = l.persons(r, s.fields)
		case howFamily: // done with the given name
		default:
			for _, at := range s.fields {
				if at >= len(r.Values) || strings.TrimSpace(r.Values[at]) == "" {
					continue
				}
				if v, ok := l.value(s.how, l.schema.Fields[at], r.Values[at], country); ok {
					p.values[i] = appendNew(p.values[i], v)
				}
			}
		}
		if s.how == howOrg || s.how == howText {
			for j := range p.values[i] {
				p.values[i][j].weigh(f, s.name)
			}
		}
	}
	return p
}

func appendNew(vs []value, v value) []value {
	for _, have := range vs {
		if have.text == v.text && have.num == v.num {
			return vs
		}
	}
	return append(vs, v)
}

// persons reads the names of a person: given and family name from their fields, and each full name as another one.
func (l *layout) persons(r Record, fields []int) (given, family []value) {
	var g, f string
	var full []string
	for _, at := range fields {
		if at >= len(r.Values) {
			continue
		}
		v := strings.TrimSpace(r.Values[at])
		switch l.schema.Fields[at].Kind {
		case GivenName:
			g = strings.TrimSpace(g + " " + v)
		case FamilyName:
			f = strings.TrimSpace(f + " " + v)
		default:
			if v != "" {
				full = append(full, v)
			}
		}
	}
	add := func(n normal.Name) {
		gv := value{text: n.Given, num: n.Suffix, words: strings.Fields(n.Given)}
		if len(gv.words) > 0 {
			gv.alt = normal.Nickname(gv.words[0])
		}
		given = append(given, gv)
		family = append(family, value{text: n.Family, alt: sound(strings.ReplaceAll(n.Family, " ", "")), words: strings.Fields(n.Family)})
	}
	if g != "" || f != "" {
		n := normal.Person(g, f)
		if len(full) == 0 && f == "" && !l.hasKind(FamilyName) {
			n = normal.Person(g, "")
		} else if f == "" {
			n = normal.Name{Given: normal.Text(g)}
		}
		add(n)
	}
	for _, v := range full {
		add(normal.Person(v, ""))
	}
	return given, family
}

func (l *layout) hasKind(k Kind) bool {
	for _, f := range l.schema.Fields {
		if f.Kind == k {
			return true
		}
	}
	return false
}

// value normalises one value; ok is false when nothing is left.
func (l *layout) value(h how, f Field, s, country string) (v value, ok bool) {
	switch h {
	case howOrg:
		o := normal.Organisation(s)
		v = value{text: strings.ReplaceAll(o.Core, " ", ""), alt: o.Core, num: o.Form, words: strings.Fields(o.Core)}
	case howStreet:
		st := normal.Address(s)
		v = value{text: strings.TrimSpace(st.Name + " " + st.Number), alt: strings.ReplaceAll(st.Name, " ", ""), num: st.Number, words: strings.Fields(st.Name)}
	case howNumber:
		v.text = strings.TrimLeft(normal.Compact(s), "0")
	case howCity:
		v.text = normal.City(s)
	case howPostcode:
		v.text = normal.Postcode(s)
	case howCode:
		v.text = normal.Compact(s)
		if f.Kind == Country {
			v.text = normal.Country(s)
		}
	case howMember:
		v.text = strings.TrimSpace(s)
	case howPhone:
		n := normal.Phone(s, country)
		v.text = n.National
		v.alt = last(n.National, 7)
		if n.Country != 0 {
			v.num = string(rune(n.Country))
		}
	case howEmail:
		m := normal.Email(s)
		v.text, v.alt, v.num = m.Local, m.Domain, normal.DomainName(m.Domain)
		v.words = []string{normal.Compact(m.Local + m.Domain)}
		if m.Role {
			v.flags |= flagRole
		}
		if m.Free || m.Domain == "" {
			v.flags |= flagFree
		}
	case howWebsite:
		v.text = normal.Domain(s)
		v.alt = normal.DomainName(v.text)
	case howID:
		if f.Kind == TaxID {
			id, valid := normal.TaxID(s, country)
			v.text = id
			if valid == normal.Valid {
				v.flags |= flagValid
			}
		} else {
			v.text = normal.Code(s)
		}
		v.alt = strings.TrimLeft(v.text, "ABCDEFGHIJKLMNOPQRSTUVWXYZ")
	case howDate:
		v.text = normal.Date(s, f.MonthFirst)
	case howText:
		v.words = normal.Words(s)
		v.text, v.alt = strings.Join(v.words, ""), strings.Join(v.words, " ")
	}
	return v, v.text != ""
}

func last(s string, n int) string {
	if len(s) > n {
		return s[len(s)-n:]
	}
	return s
}

// Frequencies says how often values and words occur. It is built from a set of records and then frozen, so that a
// score does not depend on what arrived since. A nil pointer knows nothing.
type Frequencies struct {
	// Records is the number of records that were counted.
	Records int `yaml:"records"`
	// Values counts the values of each comparison, Words the words of its names, by their hash, so that the names of
	// people are not in it; what occurs once is left out.
	Values map[string]map[uint64]int `yaml:"values,omitempty"`
	Words  map[string]map[uint64]int `yaml:"words,omitempty"`
	// Filled counts the records that have a value.
	Filled map[string]int `yaml:"filled,omitempty"`
	// Units are the words, by their hash, that tell parts of a group of companies apart among these records, besides those that do
	// so everywhere.
	Units map[string][]uint64 `yaml:"units,omitempty" json:",omitempty"`
}

// bits returns the information of each word, 1 to about 20 bits: a word that few names have tells more.
func (f *Frequencies) bits(name string, words []string) []float64 {
	out := make([]float64, len(words))
	for i, w := range words {
		out[i] = 1
		if f != nil && f.Filled[name] > 0 {
			out[i] = max(0.5, math.Log2(float64(f.Filled[name])/float64(max(f.Words[name][hashWord(w)], 1))))
		}
	}
	return out
}

// weigh gives each word its information.
func (v *value) weigh(f *Frequencies, name string) {
	v.bits = f.bits(name, v.words)
	v.limit, v.units = 0, 0
	if f != nil && len(f.Units[name]) > 0 { // mostly there are none
		for i, w := range v.words[:min(len(v.words), 64)] {
			if f.unit(name, w) {
				v.units |= 1 << i
			}
		}
	}
	if f != nil && f.Filled[name] > 0 {
		v.limit = min(10, math.Log2(float64(f.Filled[name])/3))
	}
}

// count adds up a set of prepared records.
func (l *layout) count(records []*Prepared) *Frequencies {
	f := &Frequencies{Records: len(records), Values: map[string]map[uint64]int{}, Words: map[string]map[uint64]int{}, Filled: map[string]int{}}
	for i, s := range l.slots {
		values, words := map[uint64]int{}, map[uint64]int{}
		for _, p := range records {
			if len(p.values[i]) == 0 {
				continue
			}
			f.Filled[s.name]++
			for _, v := range p.values[i] {
				if k := v.key(s.how); k != "" {
					values[hashWord(k)]++
				}
				if s.how == howOrg || s.how == howText {
					for _, w := range v.words {
						words[hashWord(w)]++
					}
				}
			}
		}
		f.Values[s.name], f.Words[s.name] = common(values), common(words)
	}
	return f
}

// key is what is counted as one value.
func (v *value) key(h how) string {
	if h == howEmail {
		return v.text + "@" + v.alt
	}
	return v.text
}

func common(counts map[uint64]int) map[uint64]int {
	out := map[uint64]int{}
	for k, n := range counts {
		if n > 1 {
			out[k] = n
		}
	}
	return out
}

func (l *layout) parentName(i int) string {
	if l.slots[i].parent < 0 {
		return ""
	}
	return l.slots[l.slots[i].parent].name
}

// place reports whether a comparison is about where something is: who moved differs in all of them at once.
func (l *layout) place(i int) bool {
	switch l.slots[i].how {
	case howStreet, howNumber, howCity, howPostcode, howCode:
		return true
	default:
		return false
	}
}
