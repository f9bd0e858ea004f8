package rest

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// encoded is a request body that is JSON already.
type encoded []byte

// collection is the body of a collections call: records of one object, none of which stops the others. It is written straight from
// the records, which are maps: as values of encoding/json they would be copied twice and sorted by reflection.
func collection(object string, records []Record) (encoded, error) {
	out := make([]byte, 0, 64+256*len(records))
	out = append(out, `{"allOrNone":false,"records":[`...)
	head := appendText([]byte(`{"attributes":{"type":`), object)
	head = append(head, '}')
	var names []string
	for i, r := range records {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, head...)
		names = names[:0]
		for name := range r {
			names = append(names, name)
		}
		slices.Sort(names) // the order of a map is none
		var err error
		for _, name := range names {
			out = append(out, ',')
			if out, err = appendField(out, name, r[name]); err != nil {
				return nil, err
			}
		}
		out = append(out, '}')
	}
	return append(out, "]}"...), nil
}

// appendField writes a field; "Account.Key__c" is an object Account with the field Key__c.
func appendField(out []byte, name string, v any) ([]byte, error) {
	relation, field, dotted := strings.Cut(name, ".")
	if !dotted {
		return appendValue(append(appendText(out, name), ':'), v)
	}
	out = append(appendText(out, relation), ":{"...)
	out, err := appendValue(append(appendText(out, field), ':'), v)
	return append(out, '}'), err
}

func appendValue(out []byte, v any) ([]byte, error) {
	switch x := v.(type) {
	case nil:
		return append(out, "null"...), nil
	case string:
		return appendText(out, x), nil
	case bool:
		if x {
			return append(out, "true"...), nil
		}
		return append(out, "false"...), nil
	}
	b, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode a value: %w", err)
	}
	return append(out, b...), nil
}

// appendText writes a text as encoding/json does.
func appendText(out []byte, s string) []byte {
	for i := range len(s) {
		if b := s[i]; b < ' ' || b >= utf8.RuneSelf || b == '"' || b == '\\' || b == '<' || b == '>' || b == '&' {
			quoted, err := json.Marshal(s)
			if err != nil {
				return append(out, `""`...) // a string can be marshalled always
			}
			return append(out, quoted...)
		}
	}
	return append(append(append(out, '"'), s...), '"')
}
