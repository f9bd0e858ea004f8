package remote_test

import (
	"go/parser"
	"go/token"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestAdapter_NeedsNothingInternal holds the adapter of the in-memory ERP, and the code that runs the acceptance test on it, to
// what a module outside this one may import.
func TestAdapter_NeedsNothingInternal(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"ledger_test.go", "contract_test.go"} {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		require.NoError(t, err)
		require.NotEmpty(t, file.Imports)
		for _, i := range file.Imports {
			path, err := strconv.Unquote(i.Path.Value)
			require.NoError(t, err)
			require.NotContains(t, strings.Split(path, "/"), "internal", "%s needs %s, which nobody outside can import", name, path)
		}
	}
}
