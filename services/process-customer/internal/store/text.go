package store

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
)

// Values and claims are JSON in the database, so that a person can read them. Every record is read and written several
// times on its way, and reflection made a quarter of the work of a first sync; what follows writes and reads the two
// shapes directly. Text in any other layout is read by encoding/json.

func appendText(b []byte, s string) []byte {
	plain, ascii := true, true
	for i := range len(s) {
		c := s[i]
		plain = plain && c >= 0x20 && c != '"' && c != '\\'
		ascii = ascii && c < utf8.RuneSelf
	}
	if !plain || (!ascii && !utf8.ValidString(s)) {
		quoted, err := json.Marshal(s)
		if err != nil { // a string always has a JSON form
			return append(b, '"', '"')
		}
		return append(b, quoted...)
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

// sorted appends the keys of a map in their order.
func sorted[V any](names []string, m map[string]V) []string {
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func appendValues(b []byte, v golden.Values) []byte {
	b = append(b, '{')
	var few [16]string
	for i, field := range sorted(few[:0], v) {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(appendText(b, field), ':')
		b = appendText(b, v[field])
	}
	return append(b, '}')
}

func valuesOf(text string) (golden.Values, error) {
	r := reader{s: text}
	out := make(golden.Values, strings.Count(text, `":"`))
	r.object(func(field string) { out[field] = r.text() })
	if r.done() {
		return out, nil
	}
	out = golden.Values{}
	err := json.Unmarshal([]byte(text), &out)
	return out, err
}

// claimText is a claim as stored: field and record are known from where it is.
type claimText struct {
	Value    string `json:"v,omitempty"`
	Version  int64  `json:"n,omitempty"`
	Micros   int64  `json:"t,omitempty"`
	ChangeID string `json:"c,omitempty"`
	Received int64  `json:"r,omitempty"`
	Hold     string `json:"h,omitempty"`
	Over     string `json:"o,omitempty"`
}

func appendClaims(b []byte, claims map[string][]golden.Claim) []byte {
	b = append(b, '{')
	var few [16]string
	for i, field := range sorted(few[:0], claims) {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(appendText(b, field), ":["...)
		for j, c := range claims[field] {
			if j > 0 {
				b = append(b, ',')
			}
			b = append(b, `{"v":`...)
			b = appendText(b, c.Value)
			b = append(b, `,"n":`...)
			b = strconv.AppendInt(b, c.Version, 10)
			b = append(b, `,"t":`...)
			b = strconv.AppendInt(b, db.Micros(c.EventTime), 10)
			b = append(b, `,"c":`...)
			b = appendText(b, c.ChangeID)
			b = append(appendRare(b, &c), '}')
		}
		b = append(b, ']')
	}
	return append(b, '}')
}

// appendRare appends what few claims have.
func appendRare(b []byte, c *golden.Claim) []byte {
	if !c.Received.IsZero() {
		b = strconv.AppendInt(append(b, `,"r":`...), db.Micros(c.Received), 10)
	}
	if c.Hold != "" {
		b = appendText(append(b, `,"h":`...), string(c.Hold))
	}
	if c.Over != "" {
		b = appendText(append(b, `,"o":`...), c.Over)
	}
	return b
}

func claimsOf(ref golden.Ref, text string) (map[string][]golden.Claim, error) {
	r := reader{s: text}
	out := make(map[string][]golden.Claim, strings.Count(text, `":[`))
	room := make([]golden.Claim, 0, strings.Count(text, `{"v":`)) // for all of them, however many these are
	r.object(func(field string) {
		first := len(room)
		r.expect('[')
		for more := true; more; more = r.eat(',') {
			var c claimText
			r.object(func(key string) {
				switch key {
				case "v":
					c.Value = r.text()
				case "n":
					c.Version = r.number()
				case "t":
					c.Micros = r.number()
				case "c":
					c.ChangeID = r.text()
				case "r":
					c.Received = r.number()
				case "h":
					c.Hold = r.text()
				case "o":
					c.Over = r.text()
				default:
					r.bad = true
				}
			})
			if r.bad {
				return
			}
			room = append(room, c.claim(ref, field))
		}
		out[field] = room[first:len(room):len(room)]
		r.expect(']')
	})
	if r.done() {
		return out, nil
	}
	var in map[string][]claimText
	if err := json.Unmarshal([]byte(text), &in); err != nil {
		return nil, err
	}
	out = map[string][]golden.Claim{}
	for field, list := range in {
		for _, c := range list {
			out[field] = append(out[field], c.claim(ref, field))
		}
	}
	return out, nil
}

func (c claimText) claim(ref golden.Ref, field string) golden.Claim {
	out := golden.Claim{
		Field: field, Value: c.Value, Ref: ref, Version: c.Version, EventTime: db.FromMicros(c.Micros), ChangeID: c.ChangeID,
		Hold: golden.Hold(c.Hold), Over: c.Over,
	}
	if c.Received != 0 {
		out.Received = db.FromMicros(c.Received)
	}
	return out
}

// reader reads JSON without white space. Once bad, it reads nothing more.
type reader struct {
	s   string
	i   int
	bad bool
}

func (r *reader) done() bool { return !r.bad && r.i == len(r.s) }

func (r *reader) eat(c byte) bool {
	if r.bad || r.i >= len(r.s) || r.s[r.i] != c {
		return false
	}
	r.i++
	return true
}

func (r *reader) expect(c byte) {
	if !r.eat(c) {
		r.bad = true
	}
}

// object calls member with each key; member reads the value.
func (r *reader) object(member func(key string)) {
	r.expect('{')
	if r.eat('}') {
		return
	}
	for more := true; more && !r.bad; more = r.eat(',') {
		key := r.text()
		r.expect(':')
		if !r.bad {
			member(key)
		}
	}
	r.expect('}')
}

func (r *reader) text() string {
	r.expect('"')
	if r.bad {
		return ""
	}
	n := strings.IndexByte(r.s[r.i:], '"')
	if n < 0 {
		r.bad = true
		return ""
	}
	plain := r.s[r.i : r.i+n]
	if strings.IndexByte(plain, '\\') < 0 {
		r.i += n + 1
		return plain
	}
	// Find the quote that is not escaped and leave the rest to encoding/json.
	end := r.i
	for end < len(r.s) && r.s[end] != '"' {
		if r.s[end] == '\\' {
			end++
		}
		end++
	}
	if end >= len(r.s) {
		r.bad = true
		return ""
	}
	var out string
	if json.Unmarshal([]byte(r.s[r.i-1:end+1]), &out) != nil {
		r.bad = true
	}
	r.i = end + 1
	return out
}

func (r *reader) number() int64 {
	start := r.i
	for r.i < len(r.s) && (r.s[r.i] == '-' || (r.s[r.i] >= '0' && r.s[r.i] <= '9')) {
		r.i++
	}
	n, err := strconv.ParseInt(r.s[start:r.i], 10, 64)
	if err != nil {
		r.bad = true
	}
	return n
}
