package suite

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestMigrations_HaveRows finds the sets of more than one migration that no test runs over rows of every table.
func TestMigrations_HaveRows(t *testing.T) {
	t.Parallel()
	sets := 0
	for _, pattern := range []string{"../pkg", "../services/*"} {
		modules, err := filepath.Glob(pattern)
		require.NoError(t, err)
		for _, module := range modules {
			require.NoError(t, filepath.WalkDir(module, func(dir string, e os.DirEntry, err error) error {
				if err != nil || !e.IsDir() || e.Name() != "migrations" {
					return err
				}
				if versions(t, dir) > 1 {
					sets++
					require.True(t, tested(t, filepath.Dir(dir)), "a test beside %s has to call Test of dbtest.Migrations", dir)
				}
				return filepath.SkipDir
			}))
		}
	}
	require.Positive(t, sets)
}

// versions returns how many migrations an engine has at most.
func versions(t *testing.T, dir string) int {
	t.Helper()
	shared, err := filepath.Glob(filepath.Join(dir, "*.sql"))
	require.NoError(t, err)
	most := len(shared)
	for _, engine := range []string{"sqlite", "postgres"} {
		own, err := filepath.Glob(filepath.Join(dir, engine, "*.sql"))
		require.NoError(t, err)
		most = max(most, len(shared)+len(own))
	}
	return most
}

func tested(t *testing.T, dir string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	require.NoError(t, err)
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		if strings.Contains(string(text), "dbtest.Migrations{") {
			return true
		}
	}
	return false
}
