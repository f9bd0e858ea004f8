package matrix_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/services/system-salesforce/certification/internal/matrix"
)

// client supports nothing but the named capabilities.
func client(has ...string) matrix.Client {
	c := matrix.Client{Name: "thing", Version: "1.2.3", Language: "Go", Absent: map[string]string{}}
	for _, k := range matrix.Capabilities() {
		c.Absent[k.ID] = "it is a thing"
	}
	for _, id := range has {
		delete(c.Absent, id)
	}
	return c
}

func TestJudge(t *testing.T) {
	t.Parallel()
	t.Run("a case that did not report has failed", func(t *testing.T) {
		t.Parallel()
		row, err := matrix.Judge(client("query", "records"), []matrix.Result{{Capability: "query", Passed: true}}, errors.New("it crashed"))
		require.NoError(t, err)
		require.Len(t, row.Outcomes, len(matrix.Capabilities()))
		require.Equal(t, matrix.Outcome{Reason: "the case did not report: it crashed"}, row.Outcomes["records"])
		require.Equal(t, matrix.Outcome{Absent: true, Reason: "it is a thing"}, row.Outcomes["managed"])
		passed, failed := matrix.Count([]matrix.Row{row})
		require.Equal(t, 1, passed)
		require.Equal(t, 1, failed)
	})
	for name, results := range map[string][]matrix.Result{
		"refuses an unknown capability":                {{Capability: "teleport", Passed: true}},
		"refuses a case of what is said not to exist":  {{Capability: "managed", Passed: true}},
		"refuses that a failure is reported over":      {{Capability: "query"}, {Capability: "query", Passed: true}},
		"refuses that a success is reported over also": {{Capability: "query", Passed: true}, {Capability: "query"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := matrix.Judge(client("query"), results, nil)
			require.Error(t, err)
		})
	}
}

func TestMarkdown(t *testing.T) {
	t.Parallel()
	row, err := matrix.Judge(client("query", "records"), []matrix.Result{
		{Capability: "query", Passed: true}, {Capability: "records", Reason: "a | b\nc"},
	}, nil)
	require.NoError(t, err)
	page := matrix.Markdown([]matrix.Row{row})
	require.Contains(t, page, "| thing | 1.2.3 | Go | 1 | 1 |\n")
	require.Contains(t, page, "| Query, several pages | passes |\n")
	require.Contains(t, page, "| Create, read, update, upsert, delete a record | **fails** |\n")
	require.Contains(t, page, "## What fails, and why\n\n| client | what | because |\n| --- | --- | --- |\n"+
		"| thing | Create, read, update, upsert, delete a record | a \\| b c |\n")
}
