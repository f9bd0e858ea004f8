package store

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/schema"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/sfid"
)

// Convert checks one decoded JSON value against a field's type and limits and
// returns the value to store; nil is null. Texts are trimmed and an empty text
// is null, as in Salesforce.
func Convert(f *schema.Field, raw any) (any, *Error) {
	if raw == nil {
		return nil, nil
	}
	switch {
	case f.Type.Text():
		return convertText(f, raw)
	case f.Type.Number():
		return convertNumber(f, raw)
	}
	switch f.Type {
	case schema.ID, schema.Reference:
		return convertID(f, raw)
	case schema.Boolean:
		return convertBool(f, raw)
	case schema.Date, schema.DateTime:
		return convertTime(f, raw)
	default:
		return nil, wrongType(f, raw)
	}
}

func wrongType(f *schema.Field, raw any) *Error {
	return refuse("JSON_PARSER_ERROR", fmt.Sprintf("Cannot deserialize instance of %s from %s value %s", f.Type, kindOf(raw), shorten(fmt.Sprint(raw))), f.Name)
}

func kindOf(raw any) string {
	switch raw.(type) {
	case string:
		return "VALUE_STRING"
	case json.Number, float64:
		return "VALUE_NUMBER"
	case bool:
		return "VALUE_BOOLEAN"
	case []any:
		return "START_ARRAY"
	default:
		return "START_OBJECT"
	}
}

func shorten(s string) string {
	if utf8.RuneCountInString(s) <= 80 {
		return s
	}
	return string([]rune(s)[:80]) + "..."
}

func convertText(f *schema.Field, raw any) (any, *Error) {
	s, ok := raw.(string)
	if !ok {
		return nil, wrongType(f, raw)
	}
	given := len(s)
	s = strings.TrimSpace(s)
	if s == "" {
		return nil, nil
	}
	if f.Length > 0 && len(s) > f.Length && utf8.RuneCountInString(s) > f.Length {
		return nil, refuse("STRING_TOO_LONG", fmt.Sprintf("%s: data value too large: %s (max length=%d)", f.Label, s, f.Length), f.Name)
	}
	switch f.Type {
	case schema.Email:
		if !validEmail(s) {
			return nil, refuse("INVALID_EMAIL_ADDRESS", fmt.Sprintf("%s: invalid email address: %s", f.Label, s), f.Name)
		}
	case schema.Picklist:
		for _, v := range f.Picklist {
			if strings.EqualFold(v, s) {
				return v, nil
			}
		}
		if f.Restricted {
			return nil, refuse("INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", fmt.Sprintf("%s: bad value for restricted picklist field: %s", f.Label, s), f.Name)
		}
	case schema.MultiPicklist:
		return convertSeveral(f, s)
	}
	if len(s) == given {
		return raw, nil // it need not be made again
	}
	return s, nil
}

// validEmail is about as strict as Salesforce: one @, something before it, a
// dotted name after it, no blanks.
func validEmail(s string) bool {
	local, domain, ok := strings.Cut(s, "@")
	if !ok || local == "" || strings.ContainsAny(s, " \t\r\n,;<>()[]\"") || strings.Contains(domain, "@") {
		return false
	}
	dot := strings.LastIndexByte(domain, '.')
	return dot > 0 && dot < len(domain)-1 && !strings.Contains(s, "..") && !strings.HasPrefix(domain, "-")
}

func convertNumber(f *schema.Field, raw any) (any, *Error) {
	var text string
	switch v := raw.(type) {
	case json.Number:
		text = v.String()
	case string:
		if text = strings.TrimSpace(v); text == "" {
			return nil, nil
		}
	default:
		return nil, wrongType(f, raw)
	}
	n, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(n) || math.IsInf(n, 0) {
		return nil, wrongType(f, raw)
	}
	if f.Type == schema.Int && n != math.Trunc(n) {
		return nil, wrongType(f, raw)
	}
	if f.Type != schema.Int {
		scale := math.Pow10(f.Scale)
		if r := math.Round(n*scale) / scale; !math.IsInf(r, 0) {
			n = r
		}
	}
	if f.Precision > 0 && math.Abs(n) >= math.Pow10(f.Precision-f.Scale) {
		return nil, refuse("NUMBER_OUTSIDE_VALID_RANGE", fmt.Sprintf("%s: value outside of valid range on numeric field: %s", f.Label, text), f.Name)
	}
	return n, nil
}

func convertID(f *schema.Field, raw any) (any, *Error) {
	s, ok := raw.(string)
	if !ok {
		return nil, wrongType(f, raw)
	}
	if s == "" {
		return nil, nil
	}
	id, ok := sfid.Normal(s)
	if !ok {
		return nil, refuse("MALFORMED_ID", fmt.Sprintf("%s: id value of incorrect type: %s", f.Label, s), f.Name)
	}
	return id, nil
}

func convertBool(f *schema.Field, raw any) (any, *Error) {
	switch v := raw.(type) {
	case bool:
		return v, nil
	case string:
		if b, err := strconv.ParseBool(strings.ToLower(v)); err == nil {
			return b, nil
		}
	}
	return nil, wrongType(f, raw)
}

func convertTime(f *schema.Field, raw any) (any, *Error) {
	s, ok := raw.(string)
	if !ok {
		return nil, wrongType(f, raw)
	}
	if s == "" {
		return nil, nil
	}
	t, ok := ParseTime(s)
	if !ok {
		return nil, wrongType(f, raw)
	}
	if f.Type == schema.Date {
		t = time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, time.UTC)
	}
	return t.UnixMilli(), nil
}

// ParseTime reads the date and time forms that Salesforce accepts.
func ParseTime(s string) (time.Time, bool) {
	for _, layout := range []string{"2006-01-02T15:04:05.999999999Z07:00", "2006-01-02T15:04:05.999999999Z0700", "2006-01-02"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}
