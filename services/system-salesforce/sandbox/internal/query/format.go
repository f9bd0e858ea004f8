package query

import (
	"strconv"
	"strings"
	"time"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/render"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/schema"
)

// localizable reports whether FORMAT() accepts a field.
func localizable(f *schema.Field) bool {
	return f.Type.Number() || f.Type == schema.Date || f.Type == schema.DateTime
}

// localized appends a value as users of the organization read it: all of them
// live in the United States, in UTC.
func localized(b []byte, f *schema.Field, value any) []byte {
	switch v := value.(type) {
	case float64:
		return render.String(b, amount(f, v))
	case int64:
		layout := "1/2/2006, 3:04 PM"
		if f.Type == schema.Date {
			layout = "1/2/2006"
		}
		return render.String(b, time.UnixMilli(v).UTC().Format(layout))
	}
	return append(b, "null"...)
}

// amount groups the digits of a number and adds what its type needs.
func amount(f *schema.Field, v float64) string {
	decimals := -1
	if f.Type == schema.Currency {
		decimals = 2
	}
	digits := strconv.FormatFloat(v, 'f', decimals, 64)
	digits, negative := strings.CutPrefix(digits, "-")
	whole, rest, fraction := strings.Cut(digits, ".")
	var out strings.Builder
	if negative {
		out.WriteByte('-')
	}
	if f.Type == schema.Currency {
		out.WriteByte('$')
	}
	for i, d := range []byte(whole) {
		if i > 0 && (len(whole)-i)%3 == 0 {
			out.WriteByte(',')
		}
		out.WriteByte(d)
	}
	if fraction {
		out.WriteString("." + rest)
	}
	if f.Type == schema.Percent {
		out.WriteByte('%')
	}
	return out.String()
}
