package soql

import (
	"strings"
	"time"
)

// dateWord reports whether a word is a date literal and whether it needs :n.
func dateWord(w string) (counted, known bool) {
	if fiscal := strings.Contains(w, "_FISCAL_QUARTER") || strings.Contains(w, "_FISCAL_YEAR"); fiscal {
		w = calendar(w)
	}
	switch w {
	case "TODAY", "YESTERDAY", "TOMORROW", "LAST_90_DAYS", "NEXT_90_DAYS":
		return false, true
	}
	if rest, ok := strings.CutSuffix(w, "S_AGO"); ok {
		_, ok = strings.CutPrefix(rest, "N_")
		return true, ok && unit(strings.TrimPrefix(rest, "N_"))
	}
	head, rest, _ := strings.Cut(w, "_")
	if head != "THIS" && head != "LAST" && head != "NEXT" {
		return false, false
	}
	if u, ok := strings.CutPrefix(rest, "N_"); ok && head != "THIS" {
		u, plural := strings.CutSuffix(u, "S")
		return true, plural && unit(u)
	}
	return false, unit(rest) && rest != "DAY"
}

// calendar drops what tells a fiscal period from a calendar one: the fiscal
// year of the sandbox begins in January.
func calendar(w string) string { return strings.Replace(w, "_FISCAL_", "_", 1) }

func unit(u string) bool {
	switch u {
	case "DAY", "WEEK", "MONTH", "QUARTER", "YEAR":
		return true
	}
	return false
}

// Range returns the first instant of a date literal and the first one after
// it, in UTC. Weeks begin on Sunday.
func (v Value) Range(now time.Time) (from, to time.Time) {
	now = now.UTC()
	v.Text = calendar(v.Text)
	day := floor(now, "DAY")
	switch v.Text {
	case "TODAY":
		return day, day.AddDate(0, 0, 1)
	case "YESTERDAY":
		return day.AddDate(0, 0, -1), day
	case "TOMORROW":
		return day.AddDate(0, 0, 1), day.AddDate(0, 0, 2)
	case "LAST_90_DAYS":
		return day.AddDate(0, 0, -90), day.AddDate(0, 0, 1)
	case "NEXT_90_DAYS":
		return day.AddDate(0, 0, 1), day.AddDate(0, 0, 91)
	}
	if rest, ok := strings.CutSuffix(v.Text, "S_AGO"); ok {
		u := strings.TrimPrefix(rest, "N_")
		from = add(floor(now, u), u, -v.N)
		return from, add(from, u, 1)
	}
	head, rest, _ := strings.Cut(v.Text, "_")
	if u, ok := strings.CutPrefix(rest, "N_"); ok {
		u = strings.TrimSuffix(u, "S")
		start := floor(now, u)
		switch {
		case head == "NEXT":
			return add(start, u, 1), add(start, u, v.N+1)
		case u == "DAY":
			return add(start, u, -v.N), add(start, u, 1) // the last n days include today
		default:
			return add(start, u, -v.N), start
		}
	}
	start := floor(now, rest)
	switch head {
	case "LAST":
		return add(start, rest, -1), start
	case "NEXT":
		return add(start, rest, 1), add(start, rest, 2)
	}
	return start, add(start, rest, 1)
}

func floor(t time.Time, unit string) time.Time {
	y, m, d := t.Date()
	switch unit {
	case "WEEK":
		d -= int(t.Weekday())
	case "MONTH":
		d = 1
	case "QUARTER":
		m, d = (m-1)/3*3+1, 1
	case "YEAR":
		m, d = 1, 1
	}
	return time.Date(y, m, d, 0, 0, 0, 0, time.UTC)
}

func add(t time.Time, unit string, n int) time.Time {
	switch unit {
	case "DAY":
		return t.AddDate(0, 0, n)
	case "WEEK":
		return t.AddDate(0, 0, 7*n)
	case "MONTH":
		return t.AddDate(0, n, 0)
	case "QUARTER":
		return t.AddDate(0, 3*n, 0)
	default:
		return t.AddDate(n, 0, 0)
	}
}
