package edge

import (
	"bytes"
	"encoding/json"
	"net/url"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/selfsame-io/selfsame/services/experience-mobile/internal/problem"
)

// fieldsParameter asks for a part of the answer (AIP-157). It is the edge's own: no method of the contract has it.
const fieldsParameter = "fields"

// selection is the part of an answer that a client wants: by name, what of the member. A nil selection is everything.
type selection map[string]selection

// selectFields reads the parameter against the message that the route answers with.
func selectFields(rt *route, values url.Values) (selection, []problem.Violation) {
	text, given := values[fieldsParameter]
	if !given {
		return nil, nil
	}
	add := func(code, detail string) []problem.Violation {
		return []problem.Violation{{Parameter: fieldsParameter, Code: code, Detail: detail}}
	}
	if rt.verb != "GET" || rt.answer == nil {
		return nil, add(unknownParameter, "This route has no such parameter.")
	}
	if len(text) > 1 {
		return nil, add(repeated, "The parameter may be given once.")
	}
	out := selection{}
	for _, path := range strings.Split(text[0], ",") {
		path = strings.TrimSpace(path)
		if path == "*" {
			return nil, nil
		}
		if !out.add(rt.answer, strings.Split(path, ".")) {
			return nil, add("UNKNOWN_FIELD", "The answer has no field "+quoted(path)+".")
		}
	}
	return out, nil
}

func quoted(name string) string { return `"` + printable(name) + `"` }

// add selects a path; false if the message has none by that name.
func (s selection) add(message protoreflect.MessageDescriptor, path []string) bool {
	field := message.Fields().ByJSONName(path[0])
	if field == nil {
		return false
	}
	have, chosen := s[path[0]]
	if len(path) == 1 {
		s[path[0]] = nil
		return true
	}
	if field.Message() == nil || field.Message().FullName() == "google.protobuf.Timestamp" {
		return false
	}
	if chosen && have == nil {
		return selection{}.add(field.Message(), path[1:]) // all of it is chosen already
	}
	if have == nil {
		have = selection{}
	}
	s[path[0]] = have
	return have.add(field.Message(), path[1:])
}

// apply leaves of a JSON text what is selected. A text that is no JSON object stays as it is.
func (s selection) apply(body []byte) []byte {
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	var v any
	if dec.Decode(&v) != nil {
		return body
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if enc.Encode(s.prune(v)) != nil {
		return body
	}
	return bytes.TrimRight(out.Bytes(), "\n")
}

func (s selection) prune(v any) any {
	if s == nil {
		return v
	}
	switch v := v.(type) {
	case []any:
		for i := range v {
			v[i] = s.prune(v[i])
		}
	case map[string]any:
		for name, member := range v {
			below, chosen := s[name]
			if !chosen {
				delete(v, name)
				continue
			}
			v[name] = below.prune(member)
		}
	}
	return v
}
