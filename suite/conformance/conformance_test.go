package conformance

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCases(t *testing.T) {
	t.Parallel()
	cases, err := Cases()
	require.NoError(t, err)
	require.Len(t, cases, 182)
	count, seen := map[string]int{}, map[string]bool{}
	for _, c := range cases {
		require.False(t, seen[c.ID], c.ID)
		seen[c.ID] = true
		count[c.Priority]++
		require.NotEmpty(t, c.Then, c.ID)
		require.NotEmpty(t, groups()[c.ID[:1]])
	}
	require.Equal(t, map[string]int{"1": 130, "2": 48, "3": 4}, count)
}

// The design record holds the argument in full, the table only that there is one: neither may know a case the other does not.
func TestArguments(t *testing.T) {
	t.Parallel()
	cases, err := Cases()
	require.NoError(t, err)
	var said, written []string
	for _, c := range cases {
		if c.Argued != "" {
			said = append(said, c.ID)
		}
	}
	text, err := os.ReadFile("../../docs/design/0011-one-effect-per-key.md")
	require.NoError(t, err)
	for _, row := range regexp.MustCompile(`(?m)^\| ((?:[A-O]-\d\d(?:, )?)+) \|`).FindAllStringSubmatch(string(text), -1) {
		written = append(written, strings.Split(row[1], ", ")...)
	}
	require.ElementsMatch(t, written, said)
}

func TestPage(t *testing.T) {
	t.Parallel()
	cases := []Case{{ID: "A-01", Priority: "1", Then: "refused | no"}, {ID: "A-02", Priority: "2", Then: "2xx", Argued: "because"}}
	line := func(action, id string) string {
		return `{"Action":"` + action + `","Package":"m/pkg/idempotent","Test":"TestConformance/` + id + `_a_key_is_needed"}` + "\n"
	}
	page := func(t *testing.T, output string) (string, error) {
		t.Helper()
		r := &Results{}
		require.NoError(t, r.Read(strings.NewReader(output)))
		return Page(cases, r)
	}

	t.Run("a case is listed with its tests, once, or with its argument", func(t *testing.T) {
		t.Parallel()
		text, err := page(t, "# some package\n"+line("run", "A-01")+line("pass", "A-01")+line("pass", "A-01"))
		require.NoError(t, err)
		require.Contains(t, text, "| A-01 | 1 | refused &#124; no | **gRPC** a key is needed | pass |\n")
		require.Contains(t, text, "| A-02 | 2 | 2xx | [argued](../design/0011-one-effect-per-key.md): because | argued |\n")
		require.Contains(t, text, "Of 2 cases 1 are held")
	})
	t.Run("a subtest of a case is part of it", func(t *testing.T) {
		t.Parallel()
		_, err := page(t, line("pass", "A-01")+`{"Action":"fail","Package":"p","Test":"TestConformance/A-01_x/on_a_store"}`)
		require.NoError(t, err, "the case itself fails with it")
	})
	t.Run("a page with holes cannot be written", func(t *testing.T) {
		t.Parallel()
		for output, why := range map[string]string{
			"":                   "A-01 (refused | no) has neither a test nor an argument",
			line("fail", "A-01"): "fail",
			line("skip", "A-01"): "skip",
			line("pass", "A-01") + line("pass", "Z-99"): "Z-99, which is no case",
		} {
			_, err := page(t, output)
			require.ErrorContains(t, err, why)
		}
	})
	t.Run("a case that names an HTTP status has a test through the edge", func(t *testing.T) {
		t.Parallel()
		for then, fails := range map[string]bool{"409 until reconciled": true, "503, never 500": true, "answer 2xx": true, "exec 1": false, "4,096 calls": false} {
			r := &Results{}
			require.NoError(t, r.Read(strings.NewReader(line("pass", "A-01"))))
			one := []Case{{ID: "A-01", Priority: "1", Then: then}}
			_, err := Page(one, r)
			require.Equal(t, fails, err != nil, then)
			require.NoError(t, r.Read(strings.NewReader(strings.Replace(line("pass", "A-01"), "pkg/idempotent", "services/experience-mobile", 1))))
			_, err = Page(one, r)
			require.NoError(t, err, then)
		}
	})
	t.Run("what is no test output is refused", func(t *testing.T) {
		t.Parallel()
		require.Error(t, (&Results{}).Read(strings.NewReader("{not json")))
	})
}
