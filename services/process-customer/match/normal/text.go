package normal

import (
	"strings"
	"unicode"

	"github.com/mozillazg/go-unidecode"
	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// Text returns s in lower-case ASCII letters and digits, words parted by one space. Accents are dropped, umlauts
// written out (ü is ue), other scripts transliterated, so that Müller, MUELLER and "Mueller " are one.
func Text(s string) string { return strings.Join(Words(s), " ") }

// Compact is Text without its spaces.
func Compact(s string) string { return strings.Join(Words(s), "") }

// Words returns the words of Text.
func Words(s string) []string {
	words := Fold(s)
	for i, w := range words {
		if !ascii(w) {
			return strings.Fields(transliterate(strings.Join(append(words[:i:i], words[i:]...), " ")))
		}
	}
	return words
}

func ascii(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// transliterate writes what is left of other scripts in ASCII.
func transliterate(s string) string {
	var b strings.Builder
	for _, r := range unidecode.Unidecode(s) {
		switch r = unicode.ToLower(r); {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			b.WriteRune(r)
		case r == '\'' || r == '`':
			// A soft sign or a breathing is no letter of its own.
		default:
			b.WriteByte(' ')
		}
	}
	return b.String()
}

// Fold returns the words of s without case, accents and punctuation, umlauts written out. Other scripts keep their
// letters.
func Fold(s string) []string {
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

// Digits returns the digits of s.
func Digits(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return r
		}
		return -1
	}, s)
}

// Code returns the letters and digits of an identifier in upper case; empty for what cannot be one, such as a row of
// zeros that somebody typed to get past a required field.
func Code(s string) string {
	id := strings.ToUpper(Compact(s))
	if id == "" || (len(id) > 3 && strings.Count(id, id[:1]) == len(id)) {
		return ""
	}
	return id
}
