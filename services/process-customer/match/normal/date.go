package normal

import (
	"strconv"
	"strings"
	"time"
)

// Date returns a day as YYYYMMDD. Slashes are read as the American month/day/year when monthFirst is set, otherwise as
// day/month/year, and the other way round when that is no date. What is no date keeps its digits.
func Date(s string, monthFirst bool) string {
	s = strings.TrimSpace(s)
	digits := Digits(s)
	parts := strings.FieldsFunc(s, func(r rune) bool { return r < '0' || r > '9' })
	if len(parts) == 3 && len(s) < 12 {
		a, b, c := number(parts[0]), number(parts[1]), number(parts[2])
		switch {
		case len(parts[0]) == 4:
			if d := day(a, b, c); d != "" {
				return d
			}
		case len(parts[2]) == 4 || len(parts[2]) == 2:
			if len(parts[2]) == 2 {
				c += century(c)
			}
			if monthFirst && strings.Contains(s, "/") {
				a, b = b, a
			}
			if d := day(c, b, a); d != "" {
				return d
			}
			if d := day(c, a, b); d != "" {
				return d
			}
		}
	}
	// A time of day behind the date is left off.
	if len(parts) > 3 && len(parts[0]) == 4 {
		if d := day(number(parts[0]), number(parts[1]), number(parts[2])); d != "" {
			return d
		}
	}
	return digits
}

func number(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		return -1
	}
	return n
}

func century(year int) int {
	if year > 30 {
		return 1900
	}
	return 2000
}

func day(y, m, d int) string {
	if y < 1000 || y > 2200 || m < 1 || m > 12 || d < 1 {
		return ""
	}
	t := time.Date(y, time.Month(m), d, 0, 0, 0, 0, time.UTC)
	if t.Day() != d {
		return ""
	}
	return t.Format("20060102")
}
