package rest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
)

// references are the answers that later sub-requests may refer to, by name.
type references map[string]*partResult

// reference is such as @{ref.id} or @{q.records[0].Id}.
var reference = regexp.MustCompile(`@\{([A-Za-z0-9_]+)([^{}]*)\}`)

// fill puts values in the place of references in the URL and the body of a
// sub-request, or answers that one cannot be resolved.
func (known references) fill(p *part) (target string, body any, bad *answer) {
	var broken string
	text := func(s string, escape func(string) string) string {
		return reference.ReplaceAllStringFunc(s, func(m string) string {
			v, problem := known.value(m)
			if problem != "" && broken == "" {
				broken = problem
			}
			return escape(fmt.Sprint(v))
		})
	}
	path, query, asked := strings.Cut(p.URL, "?")
	target = text(path, url.PathEscape)
	if asked {
		target += "?" + text(query, url.QueryEscape)
	}
	var walk func(v any) any
	walk = func(v any) any {
		switch v := v.(type) {
		case string:
			if m := reference.FindString(v); m != "" && m == v {
				found, problem := known.value(m)
				if problem != "" && broken == "" {
					broken = problem
				}
				return found
			}
			return text(v, func(s string) string { return s })
		case []any:
			out := make([]any, len(v))
			for i := range v {
				out[i] = walk(v[i])
			}
			return out
		case map[string]any:
			out := make(map[string]any, len(v))
			for k := range v {
				out[k] = walk(v[k])
			}
			return out
		}
		return v
	}
	body = walk(p.Body)
	if broken != "" {
		return "", nil, fail(http.StatusBadRequest, "PROCESSING_HALTED", "Invalid reference specified. "+broken)
	}
	return target, body, nil
}

// value finds what one reference stands for. Names are case-sensitive.
func (known references) value(text string) (v any, problem string) {
	m := reference.FindStringSubmatch(text)
	name, path := m[1], m[2]
	missing := fmt.Sprintf("No value for %s found in %s", name+path, name)
	r := known[name]
	if r == nil || r.Status >= http.StatusMultipleChoices {
		return nil, missing
	}
	if r.decoded == nil {
		d := json.NewDecoder(bytes.NewReader(r.Body))
		d.UseNumber()
		if d.Decode(&r.decoded) != nil {
			return nil, missing
		}
	}
	v = r.decoded
	for path != "" {
		var ok bool
		if v, path, ok = step(v, path); !ok {
			return nil, missing
		}
	}
	switch v.(type) {
	case nil, map[string]any, []any:
		return nil, missing
	}
	return v, ""
}

// step follows one ".name" or "[n]".
func step(v any, path string) (next any, rest string, ok bool) {
	if inside, found := strings.CutPrefix(path, "["); found {
		number, rest, closed := strings.Cut(inside, "]")
		n, err := strconv.Atoi(number)
		list, isList := v.([]any)
		if !closed || err != nil || !isList || n < 0 || n >= len(list) {
			return nil, "", false
		}
		return list[n], rest, true
	}
	name, found := strings.CutPrefix(path, ".")
	if !found {
		return nil, "", false
	}
	if i := strings.IndexAny(name, ".["); i >= 0 {
		name, rest = name[:i], name[i:]
	}
	object, isObject := v.(map[string]any)
	if !isObject {
		return nil, "", false
	}
	next, ok = object[name]
	return next, rest, ok
}
