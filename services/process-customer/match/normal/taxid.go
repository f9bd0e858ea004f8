package normal

import "strings"

// Validity says whether the check digits of a number are right.
type Validity uint8

// The validities. Unchecked is for numbers of countries whose rule is not known here.
const (
	Unchecked Validity = iota
	Valid
	Invalid
)

// TaxID returns a tax or register number in letters and digits, with the prefix of the country when it is known, and
// whether its check digits are right. It is empty for what cannot be a number, such as a row of zeros.
func TaxID(s, country string) (id string, v Validity) {
	id = Code(s)
	if len(id) < 5 || strings.Trim(strings.TrimLeft(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZ"), "0") == "" {
		return "", Unchecked
	}
	country = Country(country)
	if country == "GR" {
		country = "EL"
	}
	prefix := id[:2]
	if strings.Trim(prefix, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" {
		if len(country) != 2 {
			return id, Unchecked
		}
		// A bare number gets its country, so that "DE123456789" and "123456789" of a German company are one.
		if checksum(country, id) == Unchecked && !vatCountry(country) {
			return id, Unchecked
		}
		return country + id, checksum(country, id)
	}
	return id, checksum(prefix, id[2:])
}

func vatCountry(c string) bool {
	switch c {
	case "AT", "BE", "BG", "CH", "CY", "CZ", "DE", "DK", "EE", "EL", "ES", "FI", "FR", "GB", "HR", "HU", "IE", "IT", "LT", "LU", "LV",
		"MT", "NL", "NO", "PL", "PT", "RO", "SE", "SI", "SK":
		return true
	default:
		return false
	}
}

// checksum applies the published check digit rule of a country's VAT or company number to the digits behind the prefix.
func checksum(country, n string) Validity {
	rule, ok := checksums[country]
	if !ok {
		return Unchecked
	}
	if rule(n) {
		return Valid
	}
	return Invalid
}

var checksums = map[string]func(string) bool{
	"DE": iso7064mod11_10(9),
	"HR": iso7064mod11_10(11),
	"AT": austria, "BE": belgium, "CH": switzerland, "DK": weighted(8, []int{2, 7, 6, 5, 4, 3, 2, 1}, 11),
	"ES": spain, "FI": finland, "FR": france, "GB": britain, "IT": luhn(11), "NL": netherlands, "PL": poland, "PT": portugal, "SE": sweden,
	"LU": luxembourg, "EL": greece, "HU": weighted(8, []int{9, 7, 3, 1, 9, 7, 3, 1}, 10),
	"NO": norway,
}

func digitsOf(s string, n int) ([]int, bool) {
	if len(s) != n {
		return nil, false
	}
	d := make([]int, n)
	for i := range n {
		if s[i] < '0' || s[i] > '9' {
			return nil, false
		}
		d[i] = int(s[i] - '0')
	}
	return d, true
}

// weighted checks that the weighted sum of all digits is a multiple of mod.
func weighted(n int, weights []int, mod int) func(string) bool {
	return func(s string) bool {
		d, ok := digitsOf(s, n)
		if !ok {
			return false
		}
		return sum(d, weights)%mod == 0
	}
}

func sum(d, weights []int) int {
	total := 0
	for i, w := range weights {
		total += w * d[i]
	}
	return total
}

func iso7064mod11_10(n int) func(string) bool {
	return func(s string) bool {
		d, ok := digitsOf(s, n)
		if !ok {
			return false
		}
		p := 10
		for _, x := range d[:n-1] {
			m := (x + p) % 10
			if m == 0 {
				m = 10
			}
			p = 2 * m % 11
		}
		return (11-p)%10 == d[n-1]
	}
}

func luhn(n int) func(string) bool {
	return func(s string) bool {
		d, ok := digitsOf(s, n)
		return ok && luhnSum(d)%10 == 0
	}
}

func luhnSum(d []int) int {
	total := 0
	for i := range d {
		x := d[len(d)-1-i]
		if i%2 == 1 {
			x *= 2
			if x > 9 {
				x -= 9
			}
		}
		total += x
	}
	return total
}

func austria(s string) bool {
	s, ok := strings.CutPrefix(s, "U")
	d, digits := digitsOf(s, 8)
	if !ok || !digits {
		return false
	}
	total := 0
	for i, x := range d[:7] {
		if i%2 == 1 {
			x *= 2
			x = x/10 + x%10
		}
		total += x
	}
	return (10-(total+4)%10)%10 == d[7]
}

func belgium(s string) bool {
	if len(s) == 9 {
		s = "0" + s
	}
	d, ok := digitsOf(s, 10)
	return ok && 97-value(d[:8])%97 == value(d[8:])
}

func value(d []int) int {
	v := 0
	for _, x := range d {
		v = v*10 + x
	}
	return v
}

func switzerland(s string) bool {
	s = strings.TrimPrefix(s, "E")
	for _, suffix := range []string{"MWST", "TVA", "IVA"} {
		s = strings.TrimSuffix(s, suffix)
	}
	return weighted(9, []int{5, 4, 3, 2, 7, 6, 5, 4, 1}, 11)(s)
}

func spain(s string) bool {
	if len(s) != 9 {
		return false
	}
	const letters = "TRWAGMYFPDXBNJZSQVHLCKE"
	if d, ok := digitsOf(s[:8], 8); ok {
		return s[8] == letters[value(d)%23]
	}
	switch s[0] {
	case 'X', 'Y', 'Z':
		d, ok := digitsOf(string('0'+s[0]-'X')+s[1:8], 8)
		return ok && s[8] == letters[value(d)%23]
	}
	d, ok := digitsOf(s[1:8], 7)
	if !ok {
		return false
	}
	total := 0
	for i, x := range d {
		if i%2 == 0 {
			x *= 2
			x = x/10 + x%10
		}
		total += x
	}
	check := (10 - total%10) % 10
	return s[8] == byte('0'+check) || s[8] == "JABCDEFGHI"[check]
}

func finland(s string) bool { return weighted(8, []int{7, 9, 10, 5, 8, 4, 2, 1}, 11)(s) }

func france(s string) bool {
	if len(s) != 11 {
		return false
	}
	siren, ok := digitsOf(s[2:], 9)
	if !ok {
		return false
	}
	if key, numeric := digitsOf(s[:2], 2); numeric {
		return (12+3*(value(siren)%97))%97 == value(key)
	}
	return luhnSum(siren)%10 == 0
}

func britain(s string) bool {
	if len(s) == 12 {
		s = s[:9]
	}
	d, ok := digitsOf(s, 9)
	if !ok {
		return false
	}
	rest := (sum(d, []int{8, 7, 6, 5, 4, 3, 2}) + value(d[7:])) % 97
	return rest == 0 || rest == 42 // 97-55: numbers given out since 2010
}

func netherlands(s string) bool {
	if len(s) != 12 || s[9] != 'B' {
		return false
	}
	if d, ok := digitsOf(s[:9], 9); ok && sum(d, []int{9, 8, 7, 6, 5, 4, 3, 2, -1})%11 == 0 {
		return true
	}
	// Since 2020 sole traders have numbers that follow ISO 7064 MOD 97-10 over all characters.
	rest := 0
	for _, c := range "NL" + s {
		if c >= '0' && c <= '9' {
			rest = (rest*10 + int(c-'0')) % 97
			continue
		}
		rest = (rest*100 + int(c-'A') + 10) % 97
	}
	return rest == 1
}

func poland(s string) bool {
	d, ok := digitsOf(s, 10)
	return ok && sum(d, []int{6, 5, 7, 2, 3, 4, 5, 6, 7})%11 == d[9]
}

func portugal(s string) bool {
	d, ok := digitsOf(s, 9)
	if !ok {
		return false
	}
	check := 11 - sum(d, []int{9, 8, 7, 6, 5, 4, 3, 2})%11
	return check%11%10 == d[8]
}

func sweden(s string) bool {
	return len(s) == 12 && s[10:] == "01" && luhn(10)(s[:10])
}

func luxembourg(s string) bool {
	d, ok := digitsOf(s, 8)
	return ok && value(d[:6])%89 == value(d[6:])
}

func greece(s string) bool {
	d, ok := digitsOf(s, 9)
	return ok && sum(d, []int{256, 128, 64, 32, 16, 8, 4, 2})%11%10 == d[8]
}

func norway(s string) bool {
	s = strings.TrimSuffix(s, "MVA")
	return weighted(9, []int{3, 2, 7, 6, 5, 4, 3, 2, 1}, 11)(s)
}
