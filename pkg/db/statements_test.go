package db

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/telemetry"
)

func TestPositional(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, text, want string
		args             int
		order            []int
	}{
		{"in order", "SELECT a FROM t WHERE a = $1 AND b IN ($2,$3)", "SELECT a FROM t WHERE a = ? AND b IN (?,?)", 3, nil},
		{"text is not looked into", "SELECT '$1 ''$2', \"$3\" FROM t WHERE a = $1", "SELECT '$1 ''$2', \"$3\" FROM t WHERE a = ?", 1, nil},
		{"an operator stays", "SELECT a - 1, a / 2 FROM t WHERE a = $1", "SELECT a - 1, a / 2 FROM t WHERE a = ?", 1, nil},
		{"twice the same", "SELECT $1, $1", "SELECT ?, ?", 1, []int{0, 0}},
		{"another order", "SELECT $2, $1", "SELECT ?, ?", 2, []int{1, 0}},
		{"a name stays", "SELECT $a", "SELECT $a", 1, nil},
		{"an argument that is not used stays", "SELECT $1", "SELECT $1", 2, nil},
		{"an argument that is not there stays", "SELECT $1, $3", "SELECT $1, $3", 2, nil},
		{"a comment stays", "SELECT $1 -- $2", "SELECT $1 -- $2", 1, nil},
		{"a text without an end stays", "SELECT $1, '", "SELECT $1, '", 1, nil},
		{"a question mark stays", "SELECT $1, ?2", "SELECT $1, ?2", 2, nil},
		{"more than nine", "SELECT $1,$2,$3,$4,$5,$6,$7,$8,$9,$10", "SELECT ?,?,?,?,?,?,?,?,?,?", 10, nil},
		{"a leading zero stays", "SELECT $01", "SELECT $01", 1, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			run, order := positional(c.text, c.args)
			require.Equal(t, c.want, run)
			require.Equal(t, c.order, order)
		})
	}
}

func TestKeptStatements(t *testing.T) {
	t.Parallel()
	setup := func(t *testing.T) (*DB, *sql.Conn, *keepingConn) {
		t.Helper()
		d, err := Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "kept.db"), telemetry.Discard())
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, d.Close()) })
		require.NoError(t, d.Tx(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
			_, err := tx.ExecContext(ctx, "CREATE TABLE t (a BIGINT PRIMARY KEY, b TEXT)")
			return err
		}))
		conn, err := d.write.Conn(t.Context())
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, conn.Close()) })
		var under *keepingConn
		require.NoError(t, conn.Raw(func(c any) error {
			traced, ok := c.(interface{ Raw() driver.Conn })
			require.True(t, ok, "%T", c)
			under, ok = traced.Raw().(*keepingConn)
			require.True(t, ok)
			return nil
		}))
		return d, conn, under
	}
	exec := func(t *testing.T, c *sql.Conn, text string, args ...any) {
		t.Helper()
		_, err := c.ExecContext(t.Context(), text, args...)
		require.NoError(t, err)
	}
	t.Run("a statement is compiled once and sees new values each time", func(t *testing.T) {
		t.Parallel()
		_, conn, under := setup(t)
		for i := range 5 {
			exec(t, conn, "INSERT INTO t (a, b) VALUES ($1, $2)", i, fmt.Sprint(i))
			var b string
			require.NoError(t, conn.QueryRowContext(t.Context(), "SELECT b FROM t WHERE a = $1", i).Scan(&b))
			require.Equal(t, fmt.Sprint(i), b)
		}
		require.Contains(t, under.kept, "INSERT INTO t (a, b) VALUES ($1, $2)")
		require.Contains(t, under.kept, "SELECT b FROM t WHERE a = $1")
	})
	t.Run("a query may run while its own rows are read", func(t *testing.T) {
		t.Parallel()
		_, conn, _ := setup(t)
		exec(t, conn, "INSERT INTO t (a) VALUES (1), (2), (3)")
		var read func(level int) int
		read = func(level int) (n int) {
			rows, err := conn.QueryContext(t.Context(), "SELECT a FROM t WHERE a > $1 ORDER BY a", 0)
			require.NoError(t, err)
			defer rows.Close()
			for want := int64(1); rows.Next(); want++ {
				var a int64
				require.NoError(t, rows.Scan(&a))
				require.Equal(t, want, a)
				if n++; level > 0 {
					n += read(level - 1)
				}
			}
			require.NoError(t, rows.Err())
			return n
		}
		require.Equal(t, 3+3*(3+3*3), read(2))
	})
	t.Run("a failed statement works the next time", func(t *testing.T) {
		t.Parallel()
		_, conn, under := setup(t)
		const text = "INSERT INTO t (a, b) VALUES ($1, $2)"
		exec(t, conn, text, 1, "x")
		_, err := conn.ExecContext(t.Context(), text, 1, "y")
		require.True(t, IsUnique(err), "%v", err)
		require.NotContains(t, under.kept, text)
		exec(t, conn, text, 2, "z")
	})
	t.Run("a table that changes is seen", func(t *testing.T) {
		t.Parallel()
		_, conn, _ := setup(t)
		exec(t, conn, "INSERT INTO t (a, b) VALUES (1, 'x')")
		columns := func() []string {
			rows, err := conn.QueryContext(t.Context(), "SELECT * FROM t")
			require.NoError(t, err)
			defer rows.Close()
			names, err := rows.Columns()
			require.NoError(t, err)
			return names
		}
		require.Equal(t, []string{"a", "b"}, columns())
		exec(t, conn, "ALTER TABLE t ADD COLUMN c TEXT")
		require.Equal(t, []string{"a", "b", "c"}, columns())
	})
	t.Run("no more than a few are kept and long ones are not", func(t *testing.T) {
		t.Parallel()
		_, conn, under := setup(t)
		for i := range 3 * keptStatements {
			var n int
			require.NoError(t, conn.QueryRowContext(t.Context(), fmt.Sprintf("SELECT count(*) + %d FROM t", i)).Scan(&n))
			require.Equal(t, i, n)
		}
		require.Len(t, under.kept, keptStatements)
		require.Equal(t, keptStatements, under.recent.Len())
		long := "SELECT count(*) FROM t WHERE a IN (1" + strings.Repeat(", 1", keptLength) + ")"
		var n int
		require.NoError(t, conn.QueryRowContext(t.Context(), long).Scan(&n))
		require.NotContains(t, under.kept, long)
	})
	t.Run("an abandoned query does not keep its view of the data", func(t *testing.T) {
		t.Parallel()
		d, conn, _ := setup(t)
		d.read.SetMaxOpenConns(1)
		exec(t, conn, "INSERT INTO t (a) VALUES (1), (2)")
		const text = "SELECT a FROM t WHERE a > $1"
		ctx, cancel := context.WithCancel(t.Context())
		rows, err := d.read.QueryContext(ctx, text, 0)
		require.NoError(t, err)
		require.True(t, rows.Next())
		cancel()
		require.NoError(t, rows.Close())
		exec(t, conn, "INSERT INTO t (a) VALUES (3)")
		var n int
		rows, err = d.read.QueryContext(t.Context(), text, 0)
		require.NoError(t, err)
		defer rows.Close()
		for rows.Next() {
			n++
		}
		require.NoError(t, rows.Err())
		require.Equal(t, 3, n)
	})
}
