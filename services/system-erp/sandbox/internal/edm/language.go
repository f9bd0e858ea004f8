package edm

import "strings"

// Language is the logon language: "EN" or "DE". It decides how units and partner functions are written.
type Language string

// The languages that are installed.
const (
	English Language = "EN"
	German  Language = "DE"
)

// ParseLanguage reads sap-language or Accept-Language; English when neither names an installed one.
func ParseLanguage(texts ...string) Language {
	for _, t := range texts {
		for part := range strings.SplitSeq(t, ",") {
			switch {
			case len(part) < 2:
			case strings.EqualFold(strings.TrimSpace(part)[:2], "de"):
				return German
			case strings.EqualFold(strings.TrimSpace(part)[:2], "en"):
				return English
			}
		}
	}
	return English
}

// code is one internal code with what it is outside: by language, and in ISO.
type code struct{ internal, english, german, iso string }

func units() []code {
	return []code{
		{"ST", "PC", "ST", "PCE"},
		{"EA", "EA", "EA", "EA"},
		{"KG", "KG", "KG", "KGM"},
		{"G", "G", "G", "GRM"},
		{"TO", "TO", "TO", "TNE"},
		{"L", "L", "L", "LTR"},
		{"M", "M", "M", "MTR"},
		{"KAR", "CAR", "KAR", "CT"},
		{"PAK", "PAC", "PAK", "PK"},
		{"PAA", "PAA", "PAA", "PR"},
		{"STD", "H", "STD", "HUR"},
		{"LE", "AU", "LE", "C62"},
	}
}

func partners() []code {
	return []code{
		{internal: "AG", english: "SP", german: "AG"},
		{internal: "WE", english: "SH", german: "WE"},
		{internal: "RE", english: "BP", german: "RE"},
		{internal: "RG", english: "PY", german: "RG"},
		{internal: "AP", english: "CP", german: "AP"},
	}
}

func (l Language) outside(c code) string {
	if l == German {
		return c.german
	}
	return c.english
}

func in(table []code, l Language, text string) (string, bool) {
	for _, c := range table {
		if strings.EqualFold(l.outside(c), text) {
			return c.internal, true
		}
	}
	return "", false
}

func out(table []code, l Language, internal string) string {
	for _, c := range table {
		if c.internal == internal {
			return l.outside(c)
		}
	}
	return internal
}

func (l Language) unitIn(s string) (string, bool)    { return in(units(), l, s) }
func (l Language) unitOut(s string) string           { return out(units(), l, s) }
func (l Language) partnerIn(s string) (string, bool) { return in(partners(), l, s) }
func (l Language) partnerOut(s string) string        { return out(partners(), l, s) }

// UnitISO returns the ISO code of an internal unit; empty when it has none.
func UnitISO(internal string) string {
	for _, c := range units() {
		if c.internal == internal {
			return c.iso
		}
	}
	return ""
}

// UnitOfISO returns the internal unit of an ISO code.
func UnitOfISO(iso string) (string, bool) {
	for _, c := range units() {
		if c.iso == strings.ToUpper(iso) {
			return c.internal, true
		}
	}
	return "", false
}

// KnownUnit tells whether there is an internal unit.
func KnownUnit(internal string) bool { return UnitISO(internal) != "" }

// Unit is how an internal unit is written in the language.
func (l Language) Unit(internal string) string { return l.unitOut(internal) }
