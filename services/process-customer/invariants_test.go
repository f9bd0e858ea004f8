package processcustomer_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestInvariantsAreHeld fails when a law of mastering or matching has neither a test that carries its number nor an
// argument in docs/design/0013-invariants.md, when the page names a test that is not there, or leaves one out that is.
func TestInvariantsAreHeld(t *testing.T) {
	t.Parallel()
	tests := map[string][]string{}
	named := regexp.MustCompile(`t\.Run\("((?:I\d\d )+)`)
	require.NoError(t, filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path) //nolint:gosec // our own tests
		if err != nil || !strings.Contains(string(text), "func TestInvariants(") {
			return err
		}
		for _, m := range named.FindAllStringSubmatch(string(text), -1) {
			for _, id := range strings.Fields(m[1]) {
				tests[id] = append(tests[id], filepath.ToSlash(filepath.Dir(path)))
			}
		}
		return nil
	}))
	page, err := os.ReadFile("../../docs/design/0013-invariants.md")
	require.NoError(t, err)
	rows := map[string][2]string{} // where, why
	for _, m := range regexp.MustCompile(`(?m)^\| (I\d\d) \|[^|]*\|([^|]*)\|([^|]*)\|$`).FindAllStringSubmatch(string(page), -1) {
		rows[m[1]] = [2]string{strings.TrimSpace(m[2]), strings.TrimSpace(m[3])}
	}
	for i := range 29 {
		id := fmt.Sprintf("I%02d", i+1)
		row, listed := rows[id]
		require.True(t, listed, "%s is not on the page", id)
		if len(tests[id]) == 0 {
			require.Equal(t, "-", row[0], "%s names a test that is not there", id)
			require.Greater(t, len(row[1]), 40, "%s has neither a test nor an argument", id)
			continue
		}
		for _, where := range tests[id] {
			require.Contains(t, row[0], "`"+where+"`", "the page does not say where %s is tested", id)
		}
	}
	require.Len(t, rows, 29)
}
