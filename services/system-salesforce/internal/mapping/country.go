package mapping

import (
	"strings"

	"golang.org/x/text/language"
	"golang.org/x/text/language/display"
)

// countries knows the two-letter codes and their English names.
type countries struct {
	names map[string]string // DE → Germany
	codes map[string]string // germany → DE
}

func newCountries() *countries {
	c := &countries{names: map[string]string{}, codes: map[string]string{}}
	namer := display.English.Regions()
	for a := 'A'; a <= 'Z'; a++ {
		for b := 'A'; b <= 'Z'; b++ {
			code := string(a) + string(b)
			region, err := language.ParseRegion(code)
			if err != nil || !region.IsCountry() || region.String() != code {
				continue
			}
			if name := namer.Name(region); name != "" {
				c.names[code] = name
				c.codes[strings.ToLower(name)] = code
			}
		}
	}
	return c
}

// code returns the two-letter code of a code or an English name in any case; other text is returned as it is.
func (c *countries) code(text string) string {
	t := strings.TrimSpace(text)
	if _, ok := c.names[strings.ToUpper(t)]; ok {
		return strings.ToUpper(t)
	}
	if code, ok := c.codes[strings.ToLower(t)]; ok {
		return code
	}
	return text
}

// name returns the English name of a two-letter code; other text is returned as it is.
func (c *countries) name(text string) string {
	if name, ok := c.names[c.code(text)]; ok {
		return name
	}
	return text
}
