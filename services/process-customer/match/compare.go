package match

// maxSlots is the greatest number of comparisons of a schema.
const maxSlots = 24

// pattern holds the level of each comparison; 0 means that a value is missing.
type pattern [maxSlots]uint8

// The levels of the comparisons by name, best first; the level is the index plus one.
var levelNames = map[how][]string{
	howGiven:    {"exact", "first_of_several", "short_form", "initial", "near", "similar", "swapped", "differs"},
	howFamily:   {"exact", "near", "part", "sound", "similar", "differs"},
	howOrg:      {"exact", "exact_other_form", "near", "similar", "same_words", "abbreviated", "unit_added", "common_word_added", "word_added", "mostly", "partly", "acronym", "differs"},
	howStreet:   {"exact", "near", "number_near", "no_number", "other_number", "same_number", "differs"},
	howNumber:   {"exact", "near", "differs"},
	howCity:     {"exact", "near", "similar", "part", "differs"},
	howPostcode: {"exact", "near", "area", "differs"},
	howCode:     {"exact", "differs"},
	howMember:   {"exact", "differs"},
	howPhone:    {"exact", "last_digits", "near", "switchboard", "differs"},
	howEmail:    {"exact", "other_domain", "near", "similar", "near_other_domain", "same_domain", "differs"},
	howWebsite:  {"exact", "same_name", "near", "differs"},
	howID:       {"exact", "near", "differs"},
	howDate:     {"exact", "near", "two_parts", "close", "year", "differs"},
	howText:     {"exact", "near", "same_words", "words_added", "mostly", "partly", "differs"},
}

// compare fills in the pattern of a pair. It does not allocate. It is symmetric.
func (l *layout) compare(a, b *Prepared, p *pattern) {
	for i := range l.slots {
		h := l.slots[i].how
		if h == howFamily {
			continue
		}
		if h == howGiven {
			p[i], p[i+1] = names(a.values[i], a.values[i+1], b.values[i], b.values[i+1])
			continue
		}
		best := uint8(0)
		for x := range a.values[i] {
			for y := range b.values[i] {
				if level := compareValues(h, &a.values[i][x], &b.values[i][y]); level != 0 && (best == 0 || level < best) {
					best = level
				}
			}
		}
		p[i] = best
	}
}

func compareValues(h how, a, b *value) uint8 {
	switch h {
	case howOrg:
		return organisations(a, b)
	case howStreet:
		return streets(a, b)
	case howNumber:
		return graded(a.text, b.text)
	case howCity:
		return cities(a.text, b.text)
	case howPostcode:
		return postcodes(a.text, b.text)
	case howPhone:
		return phones(a, b)
	case howEmail:
		return emails(a, b)
	case howWebsite:
		return websites(a, b)
	case howID:
		return identifiers(a, b)
	case howDate:
		return dates(a.text, b.text)
	case howText:
		return texts(a, b)
	default:
		if a.text == b.text {
			return 1
		}
		return 2
	}
}
