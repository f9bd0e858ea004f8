package experiencemobile_test

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/services/experience-mobile/internal/openapi"
)

type object = map[string]any

// published is the description, read once: it is compared with every answer.
var published = sync.OnceValues(func() (object, error) {
	var doc object
	err := json.Unmarshal(openapi.Document(), &doc)
	return doc, err
})

// conforms checks an answer against the published description: the status is documented for the operation, and the
// body has no other members and types than the schema says (M50).
func conforms(t *testing.T, method, path string, a answer) {
	t.Helper()
	doc, err := published()
	require.NoError(t, err)
	op := operation(doc, strings.ToLower(method), strings.Split(path, "?")[0])
	if op == nil || method == "HEAD" {
		return
	}
	responses, ok := op["responses"].(object)
	require.True(t, ok)
	response := deref(doc, responses[strconv.Itoa(a.status)])
	require.NotNil(t, response, "%s %s answers %d, which is not documented", method, path, a.status)
	content, ok := response["content"].(object)
	if !ok {
		require.Empty(t, a.body)
		return
	}
	media, ok := content[a.header.Get("Content-Type")].(object)
	require.True(t, ok, "media type %s is not documented", a.header.Get("Content-Type"))
	var body any
	require.NoError(t, json.Unmarshal([]byte(a.body), &body))
	require.NoError(t, matches(doc, media["schema"], body, "", strings.Contains(path, "fields=")))
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

// matches compares a value with its schema; of part of an answer nothing is required.
func matches(doc object, schema, value any, at string, part bool) error {
	s := deref(doc, schema)
	want, _ := s["type"].(string)
	got := "object"
	switch v := value.(type) {
	case string:
		got = "string"
	case bool:
		got = "boolean"
	case float64:
		got = "integer"
	case []any:
		got = "array"
		for i, item := range v {
			if err := matches(doc, s["items"], item, at+"/"+strconv.Itoa(i), part); err != nil {
				return err
			}
		}
	case object:
		properties, _ := s["properties"].(object)
		for name, member := range v {
			if properties[name] == nil {
				return fmt.Errorf("%s/%s is not documented", at, name)
			}
			if err := matches(doc, properties[name], member, at+"/"+name, part); err != nil {
				return err
			}
		}
		required, _ := s["required"].([]any)
		for _, name := range required {
			if _, ok := v[name.(string)]; !ok && !part {
				return fmt.Errorf("%s/%v is missing", at, name)
			}
		}
	}
	if want != got {
		return fmt.Errorf("%s is %s, documented as %q", at, got, want)
	}
	return nil
}
