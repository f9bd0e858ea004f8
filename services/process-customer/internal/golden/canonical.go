package golden

import (
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// Canonical returns value in the one form in which values are stored and compared, so that a difference which no
// person would call one (a trailing blank, a line end of another platform, a decomposed umlaut) is not taken for an
// edit and sent around. It is idempotent. It keeps letter case, except that countries are upper case, and never
// guesses a format: phone numbers and tax ids stay as people wrote them.
func Canonical(obj Object, field, value string) string {
	value = norm.NFC.String(strings.ToValidUTF8(value, "\uFFFD"))
	if obj == Customer && field == Street {
		return lines(value)
	}
	value = squeeze(value)
	if obj == Customer && field == Country {
		return norm.NFC.String(strings.ToUpper(value))
	}
	return value
}

// lines squeezes each line and drops empty ones.
func lines(s string) string {
	if !strings.ContainsAny(s, "\r\n\v\f\u0085\u2028\u2029") {
		return squeeze(s)
	}
	parts := strings.FieldsFunc(s, func(r rune) bool {
		return strings.ContainsRune("\r\n\v\f\u0085\u2028\u2029", r)
	})
	kept := parts[:0]
	for _, p := range parts {
		if p = squeeze(p); p != "" {
			kept = append(kept, p)
		}
	}
	return strings.Join(kept, "\n")
}

// squeeze trims s and makes every run of white space one blank. Control characters and the byte order mark count as
// white space: no system stores them faithfully.
func squeeze(s string) string {
	if clean(s) {
		return s
	}
	var b strings.Builder
	b.Grow(len(s))
	gap := false
	for _, r := range s {
		if blank(r) {
			gap = b.Len() > 0
			continue
		}
		if gap {
			b.WriteByte(' ')
			gap = false
		}
		b.WriteRune(r)
	}
	// Dropping a control character may bring a letter and its accent together.
	return norm.NFC.String(b.String())
}

// clean reports whether squeeze has nothing to do, for the common case of plain text.
func clean(s string) bool {
	space := true
	for _, r := range s {
		if r == ' ' {
			if space {
				return false
			}
			space = true
			continue
		}
		if blank(r) {
			return false
		}
		space = false
	}
	return !space || s == ""
}

func blank(r rune) bool {
	return unicode.IsSpace(r) || unicode.IsControl(r) || r == '\uFEFF' || r == '\u200B'
}
