package normal

import "strings"

// Name is the name of a person in normal form.
type Name struct {
	// Given holds the given names, the first one first; initials are single letters.
	Given string
	// Family is the family name with its prefixes; a double-barrelled one is two words.
	Family string
	// Suffix is jr, sr, ii, iii or iv; empty when there is none. It tells father and son apart.
	Suffix string
}

// Person returns the name of a person from its parts, without titles. A family name that is empty is taken from the
// end of the given names, so that a full name can be passed as given; "Last, First" is understood.
func Person(given, family string) Name {
	if family == "" {
		if last, first, ok := strings.Cut(given, ","); ok && generation(strings.Join(Words(first), "")) == "" {
			given, family = first, last
		}
	}
	var n Name
	g, f := n.strip(Words(given)), n.strip(Words(family))
	if len(f) == 0 && len(g) > 1 {
		cut := len(g) - 1
		for cut > 1 && particle(g[cut-1]) {
			cut--
		}
		g, f = g[:cut], g[cut:]
	}
	n.Given, n.Family = strings.Join(g, " "), strings.Join(f, " ")
	return n
}

// strip removes titles and takes out the generation. A name that consists of nothing else is kept.
func (n *Name) strip(words []string) []string {
	var kept []string
	for i, w := range words {
		if g := generation(w); g != "" && i > 0 {
			n.Suffix = g
			continue
		}
		if !honorific(w) {
			kept = append(kept, w)
		}
	}
	if len(kept) == 0 {
		return words
	}
	return kept
}

func generation(word string) string {
	switch word {
	case "jr", "jnr", "junior":
		return "jr"
	case "sr", "snr", "senior":
		return "sr"
	case "ii", "2nd":
		return "ii"
	case "iii", "3rd":
		return "iii"
	case "iv":
		return "iv"
	default:
		return ""
	}
}

func honorific(word string) bool {
	switch word {
	case "mr", "mrs", "ms", "miss", "mx", "sir", "dame", "dr", "prof", "professor", "herr", "frau", "hr", "fr", "dipl",
		"ing", "dipling", "mag", "phd", "md", "mba", "msc", "bsc", "monsieur", "madame", "mme", "mlle", "m", "senor",
		"senora", "sr", "sra", "srta", "don", "dona", "dott", "dottssa", "sig", "signor", "signora", "ir", "drs", "mw", "dhr",
		"pan", "pani", "esq", "hon", "rev":
		return word != "m" && word != "don" && word != "sr"
	default:
		return false
	}
}

func particle(word string) bool {
	switch word {
	case "van", "von", "der", "den", "de", "del", "della", "di", "da", "dos", "das", "do", "du", "la", "le", "ter", "ten",
		"zu", "zum", "zur", "vom", "al", "el", "bin", "ibn", "mac", "mc", "san", "st":
		return true
	default:
		return false
	}
}

// Nickname returns the full given name that a short form stands for, and any other name as it is: Bob, Rob and Robert
// are all robert. Short forms of several names stand for the most common one.
func Nickname(given string) string {
	if full, ok := nicknames[given]; ok {
		return full
	}
	return given
}

// FullNames returns all full given names that a short form may stand for. It takes and returns what Spelling makes of them.
func FullNames(short string) []string { return fullNames[short] }

// Spelling makes one of what languages write in several ways: Yuliya, Julija and Iuliia, or Sophie and Sofie.
func Spelling(given string) string {
	out := make([]byte, 0, 32)
	for i := range len(given) {
		c := given[i]
		switch {
		case c == 'j' || c == 'y':
			c = 'i'
		case c == 'h' && i > 0 && given[i-1] == 'p':
			out[len(out)-1] = 'f'
			continue
		}
		if c != 'i' || len(out) == 0 || out[len(out)-1] != 'i' {
			out = append(out, c)
		}
	}
	return string(out)
}
