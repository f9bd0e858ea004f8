package normal

import "strings"

// Company is the name of an organisation in normal form.
type Company struct {
	// Core is the name without its legal form and connecting words; the whole name if nothing else is left.
	Core string
	// Form is the class of the legal form, such as "gmbh" for GmbH and "Gesellschaft mit beschränkter Haftung"; empty
	// when the name has none.
	Form string
}

// Organisation parses the name of an organisation.
func Organisation(s string) Company {
	c, _ := OrganisationWords(Words(s))
	return c
}

// LegalForm reports whether a word is a legal form.
func LegalForm(word string) bool {
	n, _ := legalForm([]string{word})
	return n == 1
}

// OrganisationWords parses a name whose words are folded already. Bare is true when there is nothing but a legal form and
// connecting words.
func OrganisationWords(words []string) (c Company, bare bool) {
	all := joinInitials(words)
	words = all[:0:0]
	for i, w := range all {
		if connecting(w) || (w == "the" && i == 0) {
			continue
		}
		words = append(words, w)
	}
	var form string
	for len(words) > 1 {
		n, f := legalForm(words)
		if n == 0 || n >= len(words) {
			break
		}
		words = words[:len(words)-n]
		if form == "" || f != "co" {
			form = f
		}
	}
	// A legal form may stand in front: "ООО Ромашка", "PT Astra", "SARL Dupont".
	for len(words) > 1 && leadingForm(words[0]) {
		if form == "" {
			form = canonicalForm(words[0])
		}
		words = words[1:]
	}
	bare = len(words) == 0 || (len(words) == 1 && LegalForm(words[0]))
	if len(words) == 0 {
		words = all
	}
	return Company{Core: strings.Join(words, " "), Form: form}, bare
}

// joinInitials writes runs of single letters as one word: "s r o" is "sro".
func joinInitials(words []string) []string {
	out := words[:0:0]
	run := false
	for _, w := range words {
		single := len(w) == 1 && (w[0] < '0' || w[0] > '9')
		if single && run {
			out[len(out)-1] += w
			continue
		}
		out = append(out, w)
		run = single
	}
	return out
}

func connecting(word string) bool {
	switch word {
	case "and", "und", "u", "et", "en", "och", "og", "y", "i":
		return true
	default:
		return false
	}
}

// longForms are legal forms of several words, the longest first.
var longForms = []struct {
	words []string
	form  string
}{
	{strings.Fields("gesellschaft mit beschraenkter haftung"), "gmbh"},
	{strings.Fields("gesellschaft mit beschrankter haftung"), "gmbh"},
	{strings.Fields("spolka z ograniczona odpowiedzialnoscia"), "spzoo"},
	{strings.Fields("besloten vennootschap"), "bv"},
	{strings.Fields("naamloze vennootschap"), "nv"},
	{strings.Fields("societe a responsabilite limitee"), "sarl"},
	{strings.Fields("societe par actions simplifiee"), "sas"},
	{strings.Fields("sociedad de responsabilidad limitada"), "sl"},
	{strings.Fields("sociedad anonima"), "sa"},
	{strings.Fields("sociedad limitada"), "sl"},
	{strings.Fields("societa a responsabilita limitata"), "srl"},
	{strings.Fields("societa per azioni"), "spa"},
	{strings.Fields("societe anonyme"), "sa"},
	{strings.Fields("limited liability company"), "llc"},
	{strings.Fields("limited liability partnership"), "llp"},
	{strings.Fields("public limited company"), "plc"},
	{strings.Fields("private limited"), "ltd"},
	{strings.Fields("pvt ltd"), "ltd"},
	{strings.Fields("pty ltd"), "ltd"},
	{strings.Fields("pte ltd"), "ltd"},
	{strings.Fields("co ltd"), "ltd"},
	{strings.Fields("co inc"), "inc"},
	{strings.Fields("gmbh co kg"), "gmbhcokg"},
	{strings.Fields("gmbh co kgaa"), "kgaa"},
	{strings.Fields("gmbh co ohg"), "ohg"},
	{strings.Fields("ag co kg"), "kg"},
	{strings.Fields("eingetragener kaufmann"), "ek"},
	{strings.Fields("eingetragene genossenschaft"), "eg"},
	{strings.Fields("eingetragener verein"), "ev"},
	{strings.Fields("offene handelsgesellschaft"), "ohg"},
	{strings.Fields("sp z oo"), "spzoo"},
	{strings.Fields("sa de cv"), "sadecv"},
	{strings.Fields("s de rl"), "srl"},
	{strings.Fields("de cv"), "sadecv"},
}

// legalForm returns how many words at the end are a legal form, and its class.
func legalForm(words []string) (n int, form string) {
	for _, l := range longForms {
		if len(words) > len(l.words) && equalWords(words[len(words)-len(l.words):], l.words) {
			return len(l.words), l.form
		}
	}
	if f := canonicalForm(words[len(words)-1]); f != "" {
		return 1, f
	}
	// Fields are short: "Gesellschaft mit beschr".
	for _, l := range longForms {
		for n := min(len(l.words), len(words)-1); n >= 2 && len(l.words) > 2; n-- {
			tail := words[len(words)-n:]
			if equalWords(tail[:n-1], l.words[:n-1]) && len(tail[n-1]) > 1 && strings.HasPrefix(l.words[n-1], tail[n-1]) {
				return n, l.form
			}
		}
	}
	return 0, ""
}

func equalWords(a, b []string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range b {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// canonicalForm returns the class of a legal form of one word; empty when it is none.
func canonicalForm(word string) string {
	switch word {
	case "aktiengesellschaft":
		return "ag"
	case "kommanditgesellschaft":
		return "kg"
	case "gesmbh", "mbh":
		return "gmbh"
	case "haftungsbeschraenkt":
		return "ug"
	case "incorporated":
		return "inc"
	case "corporation":
		return "corp"
	case "company", "cie":
		return "co"
	case "limited":
		return "ltd"
	case "bvba":
		return "srl"
	case "cokg":
		return "gmbhcokg"
	case "oyj":
		return "oy"
	case "slu":
		return "sl"
	case "sasu":
		return "sas"
	case "srls":
		return "srl"
	case "nyrt", "zrt":
		return "rt"
	case "ab", "ag", "aps", "as", "asa", "bv", "co", "corp", "cv", "doo", "dd", "eg", "ek", "ev", "gbr", "ggmbh",
		"gmbh", "inc", "kft", "kg", "kgaa", "llc", "llp", "lp", "ltd", "ltda", "nv", "ohg", "oo", "oy", "partg", "plc", "pte",
		"pty", "pvt", "sa", "sadecv", "sarl", "sas", "se", "sicav", "sl", "snc", "spa", "spj", "spzoo", "srl", "sro", "ug",
		"vof", "zoo", "eireli", "ead", "eood", "ood", "ooo", "pao", "zao", "pc", "pllc", "sapa", "bhd", "sca", "scs", "scrl",
		"asbl", "vzw", "kk", "gk", "hf", "ehf", "uab", "sia", "cokgaa", "aisbl":
		return word
	default:
		return ""
	}
}

// leadingForm reports whether a word at the beginning of a name is a legal form there.
func leadingForm(word string) bool {
	switch word {
	case "ooo", "oao", "pao", "zao", "tov", "pt", "sarl", "sas", "sa", "firma", "fa", "kk":
		return true
	default:
		return false
	}
}
