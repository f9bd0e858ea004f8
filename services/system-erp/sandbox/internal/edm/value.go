package edm

import (
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/selfsame-io/selfsame/services/system-erp/sandbox/internal/message"
)

// invalid is the code of the framework for a value that does not fit its property.
const invalid = "005056A509B11EE1B9A8FEC11C21578E"

func (p *Property) wrong(format string, args ...any) error {
	return message.New(http.StatusBadRequest, invalid, "Property %s: %s", p.Name, fmt.Sprintf(format, args...)).At(p.Name)
}

// FromJSON reads a value of a body: nil, bool, string or json.Number, and brings it into the form in which it is kept. A
// value is kept as string (String, Decimal, Guid), bool, or int64 (milliseconds of a date, seconds of a time); nil is null.
func (p *Property) FromJSON(v any, lang Language) (any, error) {
	switch x := v.(type) {
	case nil:
		return nil, nil
	case bool:
		if p.Type == Boolean {
			return x, nil
		}
	case string:
		if p.Type != Boolean {
			return p.FromText(x, lang)
		}
	case json.Number:
		if p.Type == Decimal {
			return p.FromText(x.String(), lang)
		}
	}
	return nil, p.wrong("a value of the wrong type")
}

// FromText reads a value from its text in a body.
func (p *Property) FromText(text string, lang Language) (any, error) {
	switch p.Type {
	case Decimal:
		return p.decimal(text)
	case DateTime, DateTimeOffset:
		ms, ok := parseDate(text)
		if !ok {
			return nil, p.wrong("%q is no date", text)
		}
		return ms, nil
	case Time:
		s, ok := parseTime(text)
		if !ok {
			return nil, p.wrong("%q is no time", text)
		}
		return s, nil
	}
	return p.text(text, lang)
}

// text applies what the property does to a text: units and partner functions are turned into their internal codes.
func (p *Property) text(s string, lang Language) (any, error) {
	s = strings.TrimRight(s, " ")
	switch {
	case p.Unit && s != "":
		internal, ok := lang.unitIn(s)
		if !ok {
			return nil, message.Bad("BM/303", "Unit %s is not created in language %s", s, lang).At(p.Name)
		}
		s = internal
	case p.Partner && s != "":
		internal, ok := lang.partnerIn(s)
		if !ok {
			return nil, message.Bad("VP/112", "Partner function %s is not defined", s).At(p.Name)
		}
		s = internal
	}
	if p.Upper {
		s = strings.ToUpper(s)
	}
	if p.Alpha && digits(s) {
		if s = strings.TrimLeft(s, "0"); s == "" {
			s = "0"
		}
	}
	if p.Length > 0 && utf8.RuneCountInString(s) > p.Length {
		return nil, p.wrong("the value is longer than %d characters", p.Length)
	}
	return s, nil
}

func digits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

func (p *Property) decimal(text string) (any, error) {
	r, ok := new(big.Rat).SetString(text)
	if !ok || len(text) > 64 || strings.ContainsAny(text, "/eE_xX") {
		return nil, p.wrong("%q is no decimal number", text)
	}
	out := r.FloatString(p.Scale)
	if back, _ := new(big.Rat).SetString(out); back.Cmp(r) != 0 {
		return nil, p.wrong("more than %d digits after the point", p.Scale)
	}
	whole, _, _ := strings.Cut(strings.TrimPrefix(out, "-"), ".")
	if p.Length > 0 && len(whole) > p.Length-p.Scale {
		return nil, p.wrong("more than %d digits", p.Length)
	}
	return out, nil
}

// parseDate reads /Date(ms)/, /Date(ms+0000)/ and ISO 8601.
func parseDate(text string) (int64, bool) {
	if in, ok := strings.CutPrefix(text, "/Date("); ok {
		in, ok = strings.CutSuffix(in, ")/")
		if i := strings.LastIndexAny(in, "+-"); i > 0 {
			in = in[:i]
		}
		ms, err := strconv.ParseInt(in, 10, 64)
		return ms, ok && err == nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02T15:04", "2006-01-02"} {
		if t, err := time.Parse(layout, text); err == nil {
			return t.UnixMilli(), true
		}
	}
	return 0, false
}

// parseTime reads PT10H37M47S.
func parseTime(text string) (int64, bool) {
	rest, ok := strings.CutPrefix(text, "PT")
	var total int64
	for _, u := range []struct {
		mark    string
		seconds int64
	}{{"H", 3600}, {"M", 60}, {"S", 1}} {
		n, after, found := strings.Cut(rest, u.mark)
		if !found {
			continue
		}
		n, _, _ = strings.Cut(n, ".")
		v, err := strconv.ParseInt(n, 10, 64)
		if err != nil || v < 0 {
			return 0, false
		}
		total, rest = total+v*u.seconds, after
	}
	return total, ok && rest == "" && len(text) > 2
}

// AppendJSON writes a kept value into a body.
func (p *Property) AppendJSON(b []byte, v any, lang Language) []byte {
	switch x := v.(type) {
	case bool:
		return strconv.AppendBool(b, x)
	case int64:
		switch p.Type {
		case DateTime:
			return fmt.Appendf(b, `"/Date(%d)/"`, x)
		case DateTimeOffset:
			return fmt.Appendf(b, `"/Date(%d+0000)/"`, x)
		}
		return fmt.Appendf(b, `"PT%02dH%02dM%02dS"`, x/3600, x/60%60, x%60)
	case string:
		return AppendString(b, p.Shown(x, lang))
	}
	return append(b, "null"...)
}

// AppendString writes a text into a body.
func AppendString(b []byte, s string) []byte {
	text, err := json.Marshal(s)
	if err != nil { // texts always marshal
		return append(b, `""`...)
	}
	return append(b, text...)
}

// Shown is how a kept text is shown in a language.
func (p *Property) Shown(s string, lang Language) string {
	switch {
	case p.Unit:
		return lang.unitOut(s)
	case p.Partner:
		return lang.partnerOut(s)
	}
	return s
}

// Literal writes a kept value into an address: 'a', datetime'…'.
func (p *Property) Literal(v any, lang Language) string {
	switch x := v.(type) {
	case bool:
		return strconv.FormatBool(x)
	case int64:
		switch p.Type {
		case DateTime:
			return "datetime'" + time.UnixMilli(x).UTC().Format("2006-01-02T15:04:05") + "'"
		case DateTimeOffset:
			return "datetimeoffset'" + time.UnixMilli(x).UTC().Format("2006-01-02T15:04:05.999Z") + "'"
		}
		return fmt.Sprintf("time'PT%02dH%02dM%02dS'", x/3600, x/60%60, x%60)
	case string:
		if p.Type == GUID {
			return "guid'" + x + "'"
		}
		if p.Type == Decimal {
			return x + "M"
		}
		return "'" + strings.ReplaceAll(p.Shown(x, lang), "'", "''") + "'"
	}
	return "null"
}

// Constant is a literal of an address, not yet of a property's type.
type Constant struct {
	Kind string // "", "datetime", "datetimeoffset", "time", "guid", "number", "bool", "null"
	Text string
}

// FromLiteral brings a literal into the form in which the property keeps it.
func (p *Property) FromLiteral(c Constant, lang Language) (any, error) {
	want := map[Type]string{String: "", Boolean: "bool", Decimal: "number", DateTime: "datetime", DateTimeOffset: "datetimeoffset", Time: "time", GUID: "guid"}
	switch {
	case c.Kind == "null":
		return nil, nil
	case c.Kind != want[p.Type]:
		return nil, message.New(http.StatusBadRequest, "005056A509B11EE1B9A8FEC11C21D78E", "Type of %s and of the literal are not compatible", p.Name)
	case p.Type == Boolean:
		return c.Text == "true", nil
	case p.Type == Decimal:
		r, ok := new(big.Rat).SetString(c.Text)
		if !ok {
			return nil, p.wrong("%q is no number", c.Text)
		}
		return r.FloatString(max(p.Scale, 9)), nil
	}
	return p.FromText(c.Text, lang)
}

// Compare orders two kept values of the property; null comes first.
func (p *Property) Compare(a, b any) int {
	switch {
	case a == nil && b == nil:
		return 0
	case a == nil:
		return -1
	case b == nil:
		return 1
	}
	switch x := a.(type) {
	case bool:
		y := b.(bool)
		if x == y {
			return 0
		} else if !x {
			return -1
		}
		return 1
	case int64:
		y := b.(int64)
		return int(max(min(x-y, 1), -1))
	}
	x, y := a.(string), b.(string)
	if p.Type == Decimal {
		r, _ := new(big.Rat).SetString(x)
		o, _ := new(big.Rat).SetString(y)
		return r.Cmp(o)
	}
	return strings.Compare(p.Sortable(x), p.Sortable(y))
}

// Sortable is the text by which values are ordered: numbers without leading zeros as if they had them.
func (p *Property) Sortable(s string) string {
	if p.Alpha && digits(s) && len(s) < p.Length {
		return strings.Repeat("0", p.Length-len(s)) + s
	}
	return s
}
