package survive

import (
	"bytes"
	"encoding/json"
	"os"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
	"pgregory.net/rapid"
)

func compiled(t *testing.T) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(Schema()))
	require.NoError(t, err)
	c := jsonschema.NewCompiler()
	require.NoError(t, c.AddResource(SchemaID, doc))
	s, err := c.Compile(SchemaID)
	require.NoError(t, err)
	return s
}

// asJSON returns a rule file as the schema's validator sees it.
func asJSON(text []byte) (any, error) {
	var v any
	if err := yaml.Unmarshal(text, &v); err != nil {
		return nil, err
	}
	b, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return jsonschema.UnmarshalJSON(bytes.NewReader(b))
}

func TestSchema(t *testing.T) {
	t.Parallel()

	t.Run("the published schema is the current one", func(t *testing.T) {
		t.Parallel()
		text, err := os.ReadFile("../../../../docs/reference/rules.schema.json")
		require.NoError(t, err)
		require.Equal(t, string(Schema()), string(text), "write docs/reference/rules.schema.json anew: selfsame rules schema")
	})
	t.Run("it accepts the built-in rules and those of the examples", func(t *testing.T) {
		t.Parallel()
		s := compiled(t)
		for _, text := range []string{string(defaultRules), exampleRules} {
			v, err := asJSON([]byte(text))
			require.NoError(t, err)
			require.NoError(t, s.Validate(v))
		}
	})
	t.Run("it accepts whatever the parser accepts", func(t *testing.T) {
		t.Parallel()
		s := compiled(t)
		rapid.Check(t, func(t *rapid.T) {
			text := drawRules(t).Text()
			v, err := asJSON(text)
			require.NoError(t, err)
			require.NoError(t, s.Validate(v), "%s", text)
		})
	})
	t.Run("it refuses every mistake that needs no knowledge of the rest of the file", func(t *testing.T) {
		t.Parallel()
		s := compiled(t)
		const head = "version: 1\nsystems: {erp: {priority: 1}}\n"
		for _, text := range []string{
			"systems: {erp: {priority: 1}}", "version: 1", "version: 0\nsystems: {erp: {priority: 1}}", "version: 1\nsystems: {pin: {priority: 1}}",
			head + "object: {}", head + "defaults: {strategy: master}", head + "defaults: {blank: no}", head + "defaults: {bucket: soon}",
			head + "objects: {customer: {fields: {emial: {}}}}", head + "objects: {customer: {fields: {name: {strategy: master}}}}",
			head + "objects: {customer: {fields: {name: {master: [erp]}}}}", head + "objects: {customer: {fields: {name: {strategy: trust}}}}",
			head + "objects: {customer: {fields: {name: {separator: '|'}}}}", head + "objects: {customer: {fields: {name: {strategy: most_complete}}}}",
			head + "objects: {customer: {units: {u: {fields: [city]}}}}", head + "objects: {customer: {units: {u: {fields: [city, street], strategy: longest}}}}",
			head + "objects: {customer: {units: {u: {fields: [city, street], blank: keep}}}}", head + "objects: {customer: {fields: {name: {overruled: ignore}}}}",
			head + "objects: {customer: {fields: {email: {normalise: emial}}}}", head + "blank_values: ['']",
		} {
			v, err := asJSON([]byte(text))
			require.NoError(t, err)
			var refused *jsonschema.ValidationError
			require.ErrorAsf(t, s.Validate(v), &refused, "the schema accepts\n%s", text)
			_, err = Parse([]byte(text))
			require.Error(t, err, "and so does the parser: %s", text)
		}
	})
}
