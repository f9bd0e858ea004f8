package db

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestCheckpoints(t *testing.T) {
	t.Parallel()
	setup := func(t *testing.T, every, long int) (d *DB, fill func(n int), log func() int64) {
		t.Helper()
		path := filepath.Join(t.TempDir(), "log.db")
		d, err := Open(t.Context(), "sqlite:"+path, nil)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, d.Close()) })
		d.group.log.every, d.group.log.long = every, long // before the writer has written anything
		_, err = d.Exec(t.Context(), "CREATE TABLE t (a BIGINT PRIMARY KEY, b TEXT)")
		require.NoError(t, err)
		page := strings.Repeat("x", 4000)
		return d, func(n int) {
				for range n {
					_, err := d.ExecRelaxed(t.Context(), "INSERT INTO t (b) VALUES ($1)", page)
					require.NoError(t, err)
				}
			}, func() int64 {
				info, err := os.Stat(path + "-wal")
				require.NoError(t, err)
				return info.Size() / 4096
			}
	}
	t.Run("the log is copied beside the writer", func(t *testing.T) {
		t.Parallel()
		d, fill, _ := setup(t, 10, 1<<30)
		pages := func() (n int64) {
			var path string
			require.NoError(t, d.read.QueryRowContext(t.Context(), "SELECT file FROM pragma_database_list").Scan(&path))
			info, err := os.Stat(path)
			require.NoError(t, err)
			return info.Size() / 4096
		}
		require.Eventually(t, func() bool {
			fill(5)
			return pages() > 20 // of the file itself
		}, 30*time.Second, time.Millisecond)
	})
	t.Run("the writer keeps it from growing without end", func(t *testing.T) {
		t.Parallel()
		_, fill, log := setup(t, 1<<20, 100)
		fill(600)
		require.Less(t, log(), int64(300), "pages, of more than two thousand that were written")
	})
	t.Run("somebody who reads for long keeps it, and it goes on afterwards", func(t *testing.T) {
		t.Parallel()
		d, fill, log := setup(t, 1<<20, 100)
		fill(1)
		rows, err := d.read.QueryContext(t.Context(), "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000) SELECT i, (SELECT count(*) FROM t) FROM n")
		require.NoError(t, err)
		require.True(t, rows.Next())
		fill(150)
		var i, seen int
		require.NoError(t, rows.Scan(&i, &seen))
		require.Equal(t, 1, seen)
		require.Greater(t, log(), int64(300), "what is read is not overwritten")
		require.NoError(t, rows.Close())
		require.NoError(t, rows.Err())
		fill(150)
		before := log()
		fill(150)
		require.Equal(t, before, log(), "it has begun anew")
	})
}
