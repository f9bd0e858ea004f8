package odata

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Quote writes a text as a literal of a filter.
func Quote(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

// Date writes a day as a literal of a filter.
func Date(t time.Time) string { return "datetime'" + t.UTC().Format("2006-01-02T15:04:05") + "'" }

// Offset writes a moment as a literal of a filter.
func Offset(t time.Time) string {
	return "datetimeoffset'" + t.UTC().Format("2006-01-02T15:04:05.999Z") + "'"
}

// Clock writes a time of the day as a literal of a filter.
func Clock(t time.Time) string { return t.UTC().Format("time'PT15H04M05S'") }

// Key writes the address of an entity, escaped: "A_SalesOrder('1')", "A_X(A='1',B='2')" for pairs of names and values.
func Key(set string, values ...string) string {
	if len(values) == 1 {
		return set + "(" + escape(Quote(values[0])) + ")"
	}
	var parts []string
	for i := 0; i+1 < len(values); i += 2 {
		parts = append(parts, values[i]+"="+escape(Quote(values[i+1])))
	}
	return set + "(" + strings.Join(parts, ",") + ")"
}

func escape(s string) string { return strings.ReplaceAll(url.PathEscape(s), "%27", "'") }

// DateJSON writes a moment into a body.
func DateJSON(t time.Time) string { return fmt.Sprintf("/Date(%d)/", t.UnixMilli()) }

// ErrDate is returned for a text that is no date of OData V2.
var ErrDate = errors.New("not a date")

// years that are taken for dates: everything SAP means, and nothing that overflows.
var (
	firstDate = time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli()
	lastDate  = time.Date(9999, 12, 31, 23, 59, 59, 999e6, time.UTC).UnixMilli()
)

// ParseDate reads /Date(ms)/ and /Date(ms+0000)/; the offset is how it is shown and does not change the moment.
func ParseDate(s string) (time.Time, error) {
	in, ok := strings.CutPrefix(s, "/Date(")
	in, end := strings.CutSuffix(in, ")/")
	if !ok || !end {
		return time.Time{}, ErrDate
	}
	if i := strings.LastIndexAny(in, "+-"); i > 0 {
		if _, err := strconv.ParseUint(in[i+1:], 10, 16); err != nil {
			return time.Time{}, ErrDate
		}
		in = in[:i]
	}
	ms, err := strconv.ParseInt(in, 10, 64)
	if err != nil || ms < firstDate || ms > lastDate {
		return time.Time{}, ErrDate
	}
	return time.UnixMilli(ms).UTC(), nil
}

// ParseClock reads PT20H37M47S, the time since midnight.
func ParseClock(s string) (time.Duration, error) {
	rest, ok := strings.CutPrefix(s, "PT")
	if !ok || rest == "" {
		return 0, ErrDate
	}
	var total time.Duration
	for _, u := range []struct {
		mark string
		unit time.Duration
	}{{"H", time.Hour}, {"M", time.Minute}, {"S", time.Second}} {
		n, after, found := strings.Cut(rest, u.mark)
		if !found {
			continue
		}
		whole, _, _ := strings.Cut(n, ".")
		v, err := strconv.ParseUint(whole, 10, 16)
		if err != nil {
			return 0, ErrDate
		}
		total, rest = total+time.Duration(v)*u.unit, after
	}
	if rest != "" || total > 24*time.Hour {
		return 0, ErrDate
	}
	return total, nil
}
