package survive

import (
	"maps"
	"net/url"
	"slices"
	"strings"
	"unicode"
)

// normalisers bring a value into one form. Each is idempotent, and none turns a value into an empty one: what cannot be
// brought into the form stays as it is, because a rule must not lose what somebody said.
var normalisers = map[string]func(string) string{
	"lower":   strings.ToLower,
	"upper":   strings.ToUpper,
	"email":   email,
	"phone":   phone,
	"digits":  func(s string) string { return orElse(only(s, isDigit), s) },
	"letters": func(s string) string { return orElse(only(s, isAlnum), s) },
	"tax_id":  func(s string) string { return orElse(strings.ToUpper(only(s, isAlnum)), s) },
	"url":     webAddress,
}

func normaliserNames() []string { return slices.Sorted(maps.Keys(normalisers)) }

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

func isDigit(r rune) bool { return r >= '0' && r <= '9' }

func isAlnum(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }

func only(s string, keep func(rune) bool) string {
	return strings.Map(func(r rune) rune {
		if keep(r) {
			return r
		}
		return -1
	}, s)
}

// email is lower case without blanks and without the "mailto:" of a link.
func email(s string) string {
	plain := strings.ReplaceAll(strings.ToLower(s), " ", "")
	for strings.HasPrefix(plain, "mailto:") {
		plain = plain[len("mailto:"):]
	}
	return orElse(plain, s)
}

// phone keeps digits and a leading plus; 00 in front means plus. A number with an extension or other letters stays.
func phone(s string) string {
	if strings.ContainsFunc(s, unicode.IsLetter) {
		return s
	}
	digits := only(strings.ReplaceAll(s, "(0)", ""), isDigit)
	if digits == "" {
		return s
	}
	plain := strings.TrimSpace(s)
	switch {
	case strings.HasPrefix(plain, "+"):
		return "+" + digits
	case strings.HasPrefix(digits, "00") && len(digits) > 2:
		return "+" + digits[2:]
	default:
		return digits
	}
}

// webAddress gives a web address a scheme, a host in lower case, and no slash at its end.
func webAddress(s string) string {
	text := s
	if !strings.Contains(text, "://") {
		text = "https://" + text
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || strings.ContainsAny(u.Host, " %") {
		return s
	}
	u.Scheme, u.Host = strings.ToLower(u.Scheme), strings.ToLower(u.Host)
	u.Path, u.RawPath = strings.TrimRight(u.Path, "/"), strings.TrimRight(u.RawPath, "/")
	return u.String()
}
