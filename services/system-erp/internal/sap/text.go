package sap

import (
	"regexp"
	"strings"
	"unicode/utf8"
)

// quotedText and userName are where messages of SAP hold what was typed in, and who.
var (
	quotedText = regexp.MustCompile(`'[^']*'|"[^"]*"|»[^«]*«`)
	userName   = regexp.MustCompile(`(?i)\b((?:(?:by|von|durch) +)?(?:user|benutzer)|by|von|durch) +[A-Z0-9_.@-]+`)
	address    = regexp.MustCompile(`\S+@\S+`)
)

// impersonal takes out of a message what may name a person.
func impersonal(message string) string {
	message = address.ReplaceAllString(message, "…")
	message = quotedText.ReplaceAllString(message, "…")
	return userName.ReplaceAllString(message, "$1 …")
}

// split cuts a name at spaces into up to four parts of a length, so that joining them with spaces gives the name again;
// false when there is no such way.
func split(name string, length int) ([]string, bool) {
	name = strings.TrimSpace(name)
	var parts []string
	for len(parts) < 4 {
		if utf8.RuneCountInString(name) <= length {
			return append(parts, name), true
		}
		at := -1
		n := 0
		for i, r := range name {
			// A part neither begins nor ends with a space: SAP would drop it.
			if n <= length && r == ' ' && i > 0 && name[i-1] != ' ' && i+1 < len(name) && name[i+1] != ' ' {
				at = i
			}
			n++
		}
		if at < 0 {
			return nil, false
		}
		parts, name = append(parts, name[:at]), name[at+1:]
	}
	return nil, false
}

// houseLast are countries that write the house number behind the street.
const houseLast = " DE AT CH NL BE DK SE NO FI PL CZ SK HU IT ES PT "

var house = regexp.MustCompile(`^(.*\D) (\d{1,5} ?[a-zA-Z]?)$`)

// splitStreet takes the house number off a street where the country writes it behind; joinStreet gives the street again.
func splitStreet(street, country string) (name, number string) {
	if !strings.Contains(houseLast, " "+country+" ") {
		return street, ""
	}
	m := house.FindStringSubmatch(street)
	if m == nil || joinStreet(m[1], m[2], country) != street || strings.TrimSpace(m[1]) != m[1] {
		return street, ""
	}
	return m[1], m[2]
}

func joinStreet(name, number, country string) string {
	switch {
	case number == "":
		return name
	case name == "":
		return number
	case strings.Contains(houseLast, " "+country+" "):
		return name + " " + number
	}
	return number + " " + name
}
