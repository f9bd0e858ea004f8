package dbtest

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/db"
)

// Tables returns the names of the tables of a database, sorted, without those that say which migrations were applied.
func Tables(t testing.TB, d *db.DB) []string {
	t.Helper()
	query := `SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'`
	if d.Engine() == db.PostgreSQL {
		query = `SELECT table_name FROM information_schema.tables WHERE table_schema = current_schema()`
	}
	rows, err := d.Read().QueryContext(t.Context(), query)
	require.NoError(t, err)
	defer rows.Close()
	var out []string
	for rows.Next() {
		var name string
		require.NoError(t, rows.Scan(&name))
		if !strings.HasSuffix(name, "_migration") && !strings.HasSuffix(name, "_migrations") {
			out = append(out, name)
		}
	}
	require.NoError(t, rows.Err())
	slices.Sort(out)
	return out
}

// Bounded fails unless sections of a page of the documentation say of each table of the database, and of no other, what
// bounds its growth: in the last column of a row that begins with the name of the table.
func Bounded(t testing.TB, d *db.DB, page string, sections ...string) {
	t.Helper()
	text, err := os.ReadFile(page)
	require.NoError(t, err)
	var all strings.Builder
	for _, section := range sections {
		_, rest, ok := strings.Cut(string(text), "\n## "+section+"\n")
		require.True(t, ok, "%s has no section %q", page, section)
		rest, _, _ = strings.Cut(rest, "\n## ")
		all.WriteString(rest)
	}
	var said []string
	for line := range strings.Lines(all.String()) {
		row, isRow := strings.CutPrefix(strings.TrimSpace(line), "| `")
		name, cells, named := strings.Cut(row, "` |")
		if !isRow || !named {
			continue
		}
		said = append(said, name)
		cells = strings.TrimSuffix(strings.TrimSpace(cells), "|")
		bound := cells[strings.LastIndex(cells, "|")+1:]
		require.NotEmpty(t, strings.TrimSpace(bound), "%s does not say what bounds %s", page, name)
	}
	slices.Sort(said)
	require.Equal(t, Tables(t, d), said, "the tables there are, and those of which %s says under %q what bounds them", page, sections)
}
