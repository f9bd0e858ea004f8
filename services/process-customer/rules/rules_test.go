package rules_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/services/process-customer/rules"
)

func TestCheck(t *testing.T) {
	t.Parallel()
	s, problems := rules.Check(rules.Default())
	require.Empty(t, problems)
	require.Positive(t, s.Version)
	require.Len(t, s.Digest, 64)

	_, problems = rules.Check([]byte("version: 1\nsystems: {erp: {priority: x}}\nobjcts: {}\n"))
	require.Equal(t, []rules.Problem{
		{Line: 2, Path: "systems.erp.priority", Text: `"x" is not a number between 0 and 1000000`},
		{Line: 3, Path: "objcts", Text: `is not known; did you mean "objects"?`},
	}, problems)
	_, problems = rules.Check([]byte("version: [\n"))
	require.Len(t, problems, 1)
	require.NotEmpty(t, problems[0].Text)

	var schema map[string]any
	require.NoError(t, json.Unmarshal(rules.Schema(), &schema))
	require.Equal(t, "https://json-schema.org/draft/2020-12/schema", schema["$schema"])
}
