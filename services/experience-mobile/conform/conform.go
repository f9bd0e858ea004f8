// Package conform compares answers of the mobile API with its published description, for tests of whoever calls it.
package conform

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/selfsame-io/selfsame/services/experience-mobile/internal/openapi"
)

type object = map[string]any

// Document returns the description, read once: it is compared with every answer. Nobody changes it.
var Document = sync.OnceValues(func() (map[string]any, error) {
	var doc object
	err := json.Unmarshal(openapi.Document(), &doc)
	return doc, err
})

// Operation returns what the description says of a method and a path; nil for nothing.
func Operation(method, path string) (map[string]any, error) {
	doc, err := Document()
	return operation(doc, strings.ToLower(method), path), err
}

// Check returns what an answer has that the description does not: the status, the media type, a member, a type or a format;
// and members and headers that it must have. What a request asks for as a part (fields) may lack members. A path that is not described is
// not looked at.
func Check(method, target string, status int, header http.Header, body []byte) error {
	doc, err := Document()
	if err != nil {
		return err
	}
	at, err := url.Parse(target)
	if err != nil {
		return nil //nolint:nilerr // a target that is none is described nowhere
	}
	verb := strings.ToLower(method)
	if method == http.MethodHead {
		verb = "get"
	}
	op := operation(doc, verb, at.EscapedPath())
	if op == nil {
		return nil
	}
	responses, _ := op["responses"].(object)
	response := deref(doc, responses[strconv.Itoa(status)])
	if response == nil {
		return fmt.Errorf("%s %s answers %d, which is not documented", method, target, status)
	}
	if err := headers(doc, response, header); err != nil {
		return fmt.Errorf("%s %s answers %d: %w", method, target, status, err)
	}
	content, ok := response["content"].(object)
	if !ok || method == http.MethodHead {
		if len(body) > 0 {
			return fmt.Errorf("%s %s answers %d with a body", method, target, status)
		}
		return nil
	}
	kind := header.Get("Content-Type")
	media, ok := content[kind].(object)
	if !ok {
		return fmt.Errorf("%s %s: media type %s is not documented", method, target, kind)
	}
	if !strings.HasSuffix(kind, "json") {
		return nil // a stream
	}
	if body, err = plain(header, body); err != nil {
		return err
	}
	var value any
	if err := json.Unmarshal(body, &value); err != nil {
		return fmt.Errorf("%s %s: %w", method, target, err)
	}
	c := check{doc: doc, part: at.Query().Has("fields") && status == http.StatusOK}
	if err := c.matches(media["schema"], value, ""); err != nil {
		return fmt.Errorf("%s %s answers %d: %w", method, target, status, err)
	}
	return nil
}

// headers checks those that are described: that they are there if they have to, and what each says.
func headers(doc, response object, header http.Header) error {
	described, _ := response["headers"].(object)
	for name, item := range described {
		h := deref(doc, item)
		values := header.Values(name)
		if len(values) == 0 && h["required"] == true {
			return fmt.Errorf("header %s is missing", name)
		}
		for _, value := range values {
			if err := matchesText(deref(doc, h["schema"]), value); err != nil {
				return fmt.Errorf("header %s: %w", name, err)
			}
		}
	}
	return nil
}

// matchesText checks a value that is sent as text.
func matchesText(schema object, value string) error {
	switch schema["type"] {
	case "integer":
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil {
			return errors.New("is no whole number")
		}
		if least, ok := schema["minimum"].(float64); ok && float64(n) < least {
			return fmt.Errorf("is less than %v", least)
		}
	case "string":
		pattern, ok := schema["pattern"].(string)
		if !ok {
			return nil
		}
		valid, err := regexp.MatchString(pattern, value)
		if err != nil {
			return err
		}
		if !valid {
			return fmt.Errorf("does not match %s", pattern)
		}
	default:
		return fmt.Errorf("is of a type that a header cannot have: %v", schema["type"])
	}
	return nil
}

func plain(header http.Header, body []byte) ([]byte, error) {
	if header.Get("Content-Encoding") != "gzip" {
		return body, nil
	}
	r, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}

// check is one comparison.
type check struct {
	doc  object
	part bool // members may be missing
}

func operation(doc object, verb, path string) object {
	paths, _ := doc["paths"].(object)
	parts := strings.Split(path, "/")
	for template, item := range paths {
		want := strings.Split(template, "/")
		same := len(want) == len(parts)
		for i := range want {
			same = same && i < len(parts) && (want[i] == parts[i] || (strings.HasPrefix(want[i], "{") && parts[i] != ""))
		}
		if same {
			m, _ := item.(object)
			op, _ := m[verb].(object)
			return op
		}
	}
	return nil
}

func deref(doc object, v any) object {
	o, _ := v.(object)
	if all, ok := o["allOf"].([]any); ok && len(all) == 1 {
		o, _ = all[0].(object)
	}
	ref, ok := o["$ref"].(string)
	if !ok {
		return o
	}
	at := doc
	for _, part := range strings.Split(strings.TrimPrefix(ref, "#/"), "/") {
		at, _ = at[part].(object)
	}
	return at
}

func (c check) matches(schema, value any, at string) error {
	s := deref(c.doc, schema)
	want, _ := s["type"].(string)
	got := "object"
	switch v := value.(type) {
	case string:
		got = "string"
		if err := format(s, v); err != nil {
			return fmt.Errorf("%s: %w", at, err)
		}
	case bool:
		got = "boolean"
	case float64:
		got = "integer"
	case []any:
		got = "array"
		for i, item := range v {
			if err := c.matches(s["items"], item, at+"/"+strconv.Itoa(i)); err != nil {
				return err
			}
		}
	case object:
		properties, _ := s["properties"].(object)
		for name, member := range v {
			if properties[name] == nil {
				return fmt.Errorf("%s/%s is not documented", at, name)
			}
			if err := c.matches(properties[name], member, at+"/"+name); err != nil {
				return err
			}
		}
		required, _ := s["required"].([]any)
		for _, n := range required {
			name, _ := n.(string)
			if _, ok := v[name]; !ok && !c.part {
				return fmt.Errorf("%s/%s is missing", at, name)
			}
		}
	}
	if want != got {
		return fmt.Errorf("%s is %s, documented as %q", at, got, want)
	}
	return nil
}

// format checks a text as the description wants it.
func format(schema object, text string) error {
	if schema["format"] == "date-time" {
		at, err := time.Parse(time.RFC3339Nano, text)
		if err != nil {
			return err
		}
		if at.Location() != time.UTC {
			return errors.New("a time is not in UTC")
		}
	}
	return nil
}
