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
	words = joinInitials(words)
	words, form := withoutForms(words)
	words = withoutAllConnecting(words)
	// A legal form may stand in front: "ООО Ромашка", "PT Astra", "SARL Dupont", "Công ty TNHH Sao Mai".
	for {
		n, f := leadingForm(words)
		if n == 0 {
			break
		}
		if words = withoutConnecting(words[n:]); form == "" {
			form = f
		}
	}
	bare = len(words) == 0 || (len(words) == 1 && (words[0] == "the" || LegalForm(words[0])))
	return Company{Core: strings.Join(words, " "), Form: form}, bare
}

// withoutForms returns a name without the legal forms at its end, and their class. One word always remains. Forms are found
// without connecting words, as "GmbH und Co. KG"; but whether such a word is at the end of a name does not depend on a form behind it.
func withoutForms(words []string) (core []string, form string) {
	for {
		inner := withoutAllConnecting(words)
		if len(inner) < 2 {
			return words, form
		}
		n, f := legalForm(inner)
		if n == 0 || n >= len(inner) {
			return words, form
		}
		before, ok := inFront(words, inner[len(inner)-n:])
		if !ok {
			return words, form
		}
		if words = before; form == "" || f != "co" {
			form = f
		}
	}
}

// inFront returns the words in front of a legal form that was found at the end when connecting words were left out and
// initials joined. What connects a name with a company behind it goes, too: "Huber und Co". It reports false when the form begins
// within a word.
func inFront(words, form []string) ([]string, bool) {
	letters := 0
	for _, w := range form {
		letters += len(w)
	}
	i := len(words)
	for letters > 0 && i > 0 {
		i--
		if i == len(words)-1 || !connecting(words[i]) {
			letters -= len(words[i])
		}
	}
	if canonicalForm(form[0]) == "co" {
		for i > 1 && connecting(words[i-1]) {
			i--
		}
	}
	return words[:i], letters == 0 && i > 0
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

// withoutAllConnecting leaves out connecting words until none is left, since initials come together when one goes.
func withoutAllConnecting(words []string) []string {
	for {
		rest := withoutConnecting(words)
		if len(rest) == len(words) {
			return words
		}
		words = joinInitials(rest)
	}
}

// withoutConnecting leaves out the words between the names that mean "and", and an article in front.
func withoutConnecting(words []string) []string {
	var out []string
	kept := 0
	for i, w := range words {
		drop := i < len(words)-1 && ((connecting(w) && kept > 0) || (w == "the" && i == 0))
		if drop && out == nil {
			out = append(make([]string, 0, len(words)), words[:i]...)
		}
		if !drop {
			kept++
			if out != nil {
				out = append(out, w)
			}
		}
	}
	if out == nil {
		return words
	}
	return out
}

// connecting reports whether a word within a name means "and"; at its ends a letter is rather an initial.
func connecting(word string) bool {
	switch word {
	case "and", "und", "u", "et", "en", "och", "og", "ja", "y", "i", "e", "ve":
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
	{strings.Fields("spolka akcyjna"), "sa"},
	{strings.Fields("spolka jawna"), "spj"},
	{strings.Fields("spolka komandytowa"), "spk"},
	{strings.Fields("sp j"), "spj"},
	{strings.Fields("sp k"), "spk"},
	{strings.Fields("spol s ro"), "sro"},
	{strings.Fields("spol sro"), "sro"},
	{strings.Fields("spolecnost s rucenim omezenym"), "sro"},
	{strings.Fields("spolocnost s rucenim obmedzenym"), "sro"},
	{strings.Fields("akciova spolecnost"), "as"},
	{strings.Fields("korlatolt felelossegu tarsasag"), "kft"},
	{strings.Fields("sociedade anonima"), "sa"},
	{strings.Fields("sociedade unipessoal limitada"), "lda"},
	{strings.Fields("sociedade unipessoal lda"), "lda"},
	{strings.Fields("unipessoal limitada"), "lda"},
	{strings.Fields("unipessoal lda"), "lda"},
	{strings.Fields("sociedad limitada unipersonal"), "sl"},
	{strings.Fields("sociedad anonima unipersonal"), "sa"},
	{strings.Fields("entreprise unipersonnelle a responsabilite limitee"), "sarl"},
	{strings.Fields("societe nom collectif"), "snc"},
	{strings.Fields("societa in accomandita semplice"), "sas"},
	{strings.Fields("societa in nome collettivo"), "snc"},
	{strings.Fields("vennootschap onder firma"), "vof"},
	{strings.Fields("commanditaire vennootschap"), "cv"},
	{strings.Fields("anonim sirketi"), "as"},
	{strings.Fields("limited sirketi"), "ltd"},
	{strings.Fields("limited sti"), "ltd"},
	{strings.Fields("ltd sirketi"), "ltd"},
	{strings.Fields("ltd sti"), "ltd"},
	{strings.Fields("sanayi ticaret"), "co"},
	{strings.Fields("san tic"), "co"},
	{strings.Fields("ab publ"), "ab"},
	{strings.Fields("ekonomisk foerening"), "eg"},
	{strings.Fields("anonymi etaireia"), "ae"},
	{strings.Fields("monoprosopi epe"), "epe"},
	{strings.Fields("monoprosopi ike"), "ike"},
	{strings.Fields("joint stock company"), "jsc"},
	{strings.Fields("company limited"), "ltd"},
	{strings.Fields("kabushiki kaisha"), "kk"},
	{strings.Fields("sapi de cv"), "sadecv"},
	{strings.Fields("sab de cv"), "sadecv"},
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

// leadingForms are legal forms of several words that stand in front.
var leadingForms = []struct {
	words []string
	form  string
}{
	{strings.Fields("cong ty tnhh mtv"), "tnhh"},
	{strings.Fields("cong ty tnhh"), "tnhh"},
	{strings.Fields("cong ty co phan"), "jsc"},
	{strings.Fields("cong ty cp"), "jsc"},
	{strings.Fields("obshchestvo s ogranichennoy otvetstvennostyu"), "ooo"},
	{strings.Fields("obshchestvo s ogranichennoi otvetstvennostiu"), "ooo"},
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

// PerhapsForm reports whether a word at the end of a name is a legal form in one country, and a word, a state or initials in others.
// It stays in the name, where it weighs little if many names have it. So does what a short field has left of one.
func PerhapsForm(word string) bool {
	for _, long := range []string{"aktiengesellschaft", "gesellschaft"} {
		if len(word) > 5 && strings.HasPrefix(long, word) {
			return true
		}
	}
	switch word {
	case "ad", "ae", "ans", "bt", "dac", "ee", "hb", "ike", "is", "kb", "ks", "ky", "oe", "sci":
		return true
	default:
		return false
	}
}

// canonicalForm returns the class of a legal form of one word; empty when it is none, or only perhaps.
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
	case "limitada", "ltda":
		return "lda"
	case "eurl", "sagl":
		return "sarl"
	case "sprl":
		return "srl"
	case "sau":
		return "sa"
	case "aktiebolag":
		return "ab"
	case "handelsbolag":
		return "hb"
	case "kommanditbolag":
		return "kb"
	case "aktieselskab", "aksjeselskap":
		return "as"
	case "allmennaksjeselskap":
		return "asa"
	case "anpartsselskab":
		return "aps"
	case "interessentskab":
		return "is"
	case "kommanditselskab":
		return "ks"
	case "osakeyhtioe", "osakeyhtio":
		return "oy"
	case "kommandiittiyhtioe", "kommandiittiyhtio":
		return "ky"
	case "osauehing":
		return "oue"
	case "ab", "ag", "aps", "as", "asa", "bv", "co", "corp", "cv", "doo", "dd", "eg", "ek", "ev", "gbr", "ggmbh",
		"gmbh", "inc", "kft", "kg", "kgaa", "llc", "llp", "lp", "lda", "ltd", "nv", "ohg", "oo", "oy", "partg", "plc", "pte",
		"pty", "pvt", "sa", "sadecv", "sarl", "sas", "se", "sicav", "sl", "snc", "spa", "spj", "spzoo", "srl", "sro", "ug",
		"vof", "zoo", "eireli", "ead", "eood", "ood", "ooo", "pao", "zao", "pc", "pllc", "sapa", "bhd", "sca", "scs", "scrl",
		"asbl", "vzw", "kk", "gk", "hf", "ehf", "uab", "sia", "cokgaa", "aisbl", "ivs", "enk",
		"tmi", "oue", "epe", "jsc", "pjsc", "ojsc", "cjsc", "ao", "oao", "tov", "tnhh", "spk", "scarl", "cvba", "clg", "partgmbb", "sti":
		return word
	default:
		return ""
	}
}

// leadingForm returns how many words at the beginning are a legal form there, and its class.
func leadingForm(words []string) (n int, form string) {
	if len(words) < 2 {
		return 0, ""
	}
	for _, l := range leadingForms {
		if len(words) > len(l.words) && equalWords(words[:len(l.words)], l.words) {
			return len(l.words), l.form
		}
	}
	switch words[0] {
	case "ooo", "oao", "pao", "zao", "ao", "tov", "pt", "sarl", "sas", "sa", "firma", "fa", "kk", "llc", "jsc", "pjsc", "ojsc", "cjsc":
		return 1, canonicalForm(words[0])
	default:
		return 0, ""
	}
}
