// Package render writes records as the JSON that Salesforce answers with.
//
// It keeps key order, number and date forms exactly, which encoding/json over
// maps would not. It only appends; it never fails.
package render

import (
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/schema"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/store"
)

// TimeForm is the wire form of a dateTime.
const TimeForm = "2006-01-02T15:04:05.000-0700"

// Base is the path under which a version's resources live.
func Base(version string) string { return "/services/data/v" + version }

// Attributes appends the "attributes" member of a record.
func Attributes(b []byte, version string, r *store.Record) []byte {
	b = append(b, `"attributes":{"type":"`...)
	b = append(b, r.Object.Name...)
	b = append(b, `","url":"`...)
	b = append(b, Base(version)...)
	b = append(b, "/sobjects/"...)
	b = append(b, r.Object.Name...)
	b = append(b, '/')
	b = append(b, r.ID...)
	return append(b, `"}`...)
}

// Record appends a record with the given fields.
func Record(b []byte, version string, r *store.Record, fields []*schema.Field) []byte {
	b = Attributes(append(b, '{'), version, r)
	for _, f := range fields {
		b = Member(append(b, ','), r, f)
	}
	return append(b, '}')
}

// Member appends one "name":value pair.
func Member(b []byte, r *store.Record, f *schema.Field) []byte {
	b = append(b, '"')
	b = append(b, f.Name...)
	b = append(b, `":`...)
	return Value(b, r, f)
}

// Value appends the value of a field.
func Value(b []byte, r *store.Record, f *schema.Field) []byte {
	if f.Type == schema.Address {
		return address(b, r, f)
	}
	return Scalar(b, f, r.Get(f))
}

// Scalar appends a value as one of the field, which must not be compound.
func Scalar(b []byte, f *schema.Field, value any) []byte {
	switch v := value.(type) {
	case string:
		return String(b, v)
	case bool:
		return strconv.AppendBool(b, v)
	case float64:
		return number(b, f, v)
	case int64:
		b = append(b, '"')
		layout := TimeForm
		if f.Type == schema.Date {
			layout = time.DateOnly
		}
		return append(time.UnixMilli(v).UTC().AppendFormat(b, layout), '"')
	default:
		return append(b, "null"...)
	}
}

func number(b []byte, f *schema.Field, v float64) []byte {
	start := len(b)
	b = strconv.AppendFloat(b, v, 'f', -1, 64)
	if f.Type == schema.Int {
		return b
	}
	for _, c := range b[start:] {
		if c == '.' {
			return b
		}
	}
	return append(b, ".0"...)
}

func address(b []byte, r *store.Record, f *schema.Field) []byte {
	part := func(name string) any { return r.Get(r.Object.Field(f.Parts + name)) }
	empty := true
	for _, p := range r.Object.Parts(f) {
		empty = empty && r.Get(p) == nil
	}
	if empty {
		return append(b, "null"...)
	}
	b = append(b, '{')
	for _, m := range [][2]string{{"city", "City"}, {"country", "Country"}, {"postalCode", "PostalCode"}, {"state", "State"}, {"street", "Street"}} {
		b = append(String(b, m[0]), ':')
		if s, ok := part(m[1]).(string); ok {
			b = String(b, s)
		} else {
			b = append(b, "null"...)
		}
		b = append(b, ',')
	}
	return append(b, `"geocodeAccuracy":null,"latitude":null,"longitude":null}`...)
}

// String appends a JSON string. Invalid UTF-8 becomes U+FFFD.
func String(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && size == 1 {
				b = append(append(b, s[start:i]...), "\ufffd"...)
				start = i + 1
			}
			i += size
			continue
		}
		if c >= 0x20 && c != '"' && c != '\\' {
			i++
			continue
		}
		b = append(b, s[start:i]...)
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\n':
			b = append(b, '\\', 'n')
		case '\r':
			b = append(b, '\\', 'r')
		case '\t':
			b = append(b, '\\', 't')
		default:
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
		i++
		start = i
	}
	return append(append(b, s[start:]...), '"')
}
