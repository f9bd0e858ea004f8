package match

import (
	"strings"
	"unicode"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// Fold returns s in the form in which names are compared and sorted: without case, accents and punctuation, white
// space squeezed, umlauts written out, so that Müller, MUELLER and "Mueller " are one. It is idempotent. Names in
// other scripts keep their letters.
func Fold(s string) string { return strings.Join(tokens(s), " ") }

// compact returns the letters and digits of Fold(s).
func compact(s string) string { return strings.ReplaceAll(Fold(s), " ", "") }

// companyName returns the folded name without legal forms and connecting words; empty when nothing is left to tell
// companies apart.
func companyName(s string) string {
	words := tokens(s)
	kept := words[:0]
	for i, w := range words {
		if connecting(w) || (w == "the" && i == 0) {
			continue
		}
		kept = append(kept, w)
	}
	kept = joinInitials(kept)
	for len(kept) > 0 && legalForm(kept[len(kept)-1]) {
		kept = kept[:len(kept)-1]
		// "sp. z o.o." is three words.
		if n := len(kept); n > 1 && kept[n-1] == "z" && kept[n-2] == "sp" {
			kept = kept[:n-2]
		}
	}
	return strings.Join(kept, " ")
}

// tokens returns the folded words of s.
func tokens(s string) []string {
	// Folding gives Cherokee its capitals; lower case after it makes the result stable.
	s = strings.ToLower(cases.Fold().String(norm.NFKC.String(s)))
	var b strings.Builder
	b.Grow(len(s) + len(s)/8)
	var base rune // the letter that marks belong to
	for _, r := range norm.NFKD.String(s) {
		if unicode.Is(unicode.M, r) {
			b.WriteString(accent(base, r))
			continue
		}
		base = r
		switch {
		case r == '.' || r == '\'' || r == '’' || r == '`' || r == '´':
			// Abbreviations and apostrophes do not part words: S.A. is SA, O'Neill is ONeill.
		case unicode.IsLetter(r):
			b.WriteString(spelled(r))
		case unicode.IsDigit(r):
			b.WriteRune(r)
		default:
			b.WriteByte(' ')
		}
	}
	return strings.Fields(norm.NFC.String(b.String()))
}

// accent returns what remains of a mark: nothing for the accents of European letters, an e for an umlaut, and the mark
// itself in scripts where it makes another letter.
func accent(base, mark rune) string {
	const diaeresis, ring = '\u0308', '\u030A'
	switch {
	case mark == diaeresis && (base == 'a' || base == 'o' || base == 'u'):
		return "e"
	case mark == ring && base == 'a':
		return "a"
	case base == 0 || !unicode.IsLetter(base) || unicode.In(base, unicode.Latin, unicode.Greek, unicode.Cyrillic):
		return ""
	default:
		return string(mark)
	}
}

// spelled writes letters without a decomposition the way people do who do not have them.
func spelled(r rune) string {
	switch r {
	case 'æ':
		return "ae"
	case 'ø', 'œ':
		return "oe"
	case 'ð', 'đ':
		return "d"
	case 'þ':
		return "th"
	case 'ł':
		return "l"
	case 'ı':
		return "i"
	default:
		return string(r)
	}
}

// joinInitials writes runs of single letters as one word: "s r o" is "sro".
func joinInitials(words []string) []string {
	out := words[:0]
	run := false
	for _, w := range words {
		single := len([]rune(w)) == 1 && !unicode.IsDigit([]rune(w)[0])
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
	case "and", "und", "et", "en", "och", "og", "y":
		return true
	default:
		return false
	}
}

// legalForm reports whether a word at the end of a name is (part of) a legal form.
func legalForm(word string) bool {
	switch word {
	case "ab", "ag", "aktiengesellschaft", "aps", "as", "asa", "bv", "bvba", "cie", "co", "cokg", "company", "corp",
		"corporation", "cv", "doo", "eg", "ek", "eu", "ev", "gbr", "gesmbh", "ggmbh", "gmbh", "haftungsbeschraenkt",
		"inc", "incorporated", "kft", "kg", "kgaa", "limited", "llc", "llp", "lp", "ltd", "ltda", "mbh", "nv", "ohg",
		"oo", "oy", "oyj", "partg", "plc", "pte", "pty", "pvt", "sa", "sarl", "sas", "sasu", "se", "sl", "slu", "snc",
		"spa", "spj", "spolka", "spzoo", "srl", "srls", "sro", "stiftung", "ug", "vof", "zoo", "zrt":
		return true
	default:
		return false
	}
}
