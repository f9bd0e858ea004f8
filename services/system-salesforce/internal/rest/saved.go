package rest

import "bytes"

// saved is the answer to a collections write: what became of each record, in order.
type saved []savedRecord

type savedRecord struct {
	ID      string        `json:"id"`
	Success bool          `json:"success"`
	Created bool          `json:"created"`
	Errors  []vendorError `json:"errors"`
}

// quick reads the form that an answer has when every record was written, without looking twice at what a large load gets by the
// thousand. It reports false for every other form, which is for encoding/json.
func (s *saved) quick(data []byte) bool {
	list := make(saved, 0, MaxWrite)
	in := bytes.TrimSpace(data)
	for first := true; ; first = false {
		open := byte(',')
		if first {
			open = '['
		}
		if len(in) < 2 || in[0] != open || in[1] != '{' {
			return !first && len(in) == 1 && in[0] == ']' && s.keep(list)
		}
		var r savedRecord
		var ok bool
		if in, ok = r.quick(in[2:]); !ok {
			return false
		}
		list = append(list, r)
	}
}

func (s *saved) keep(list saved) bool {
	*s = list
	return true
}

// quick reads the fields of a record that was written, each once, and returns what is behind it.
func (r *savedRecord) quick(in []byte) (behind []byte, ok bool) {
	const id, success, errors, created = 1, 2, 4, 8
	seen := 0
	for {
		field := 0
		for _, f := range []struct {
			field int
			text  string
		}{{id, `"id":"`}, {success, `"success":true`}, {errors, `"errors":[]`}, {created, `"created":true`}, {created, `"created":false`}} {
			if rest, found := bytes.CutPrefix(in, []byte(f.text)); found {
				field, in = f.field, rest
				r.Created = r.Created || f.text == `"created":true`
				break
			}
		}
		if field == 0 || seen&field != 0 {
			return nil, false
		}
		seen |= field
		if field == id {
			end := bytes.IndexByte(in, '"')
			if end < 0 || !plainID(in[:end]) {
				return nil, false
			}
			r.ID, in = string(in[:end]), in[end+1:]
		}
		if len(in) == 0 {
			return nil, false
		}
		switch in[0] {
		case ',':
			in = in[1:]
		case '}':
			r.Success = true
			return in[1:], seen&^created == id|success|errors
		default:
			return nil, false
		}
	}
}

// plainID reports whether a text stands for itself in JSON.
func plainID(text []byte) bool {
	for _, b := range text {
		if (b < '0' || b > '9') && (b < 'A' || b > 'Z') && (b < 'a' || b > 'z') {
			return false
		}
	}
	return true
}
