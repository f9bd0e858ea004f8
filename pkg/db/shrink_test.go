package db_test

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/pkg/db/dbtest"
)

func TestShrink(t *testing.T) {
	t.Parallel()
	dsn := dbtest.DSN(t, "sqlite")
	d, err := db.Open(t.Context(), dsn, nil)
	require.NoError(t, err)
	migrate(t, d)
	fill := func() {
		_, err := d.Exec(t.Context(), `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $1)
 INSERT INTO item (id, name, data, n) SELECT i, 'name ' || i, randomblob(3000), 0 FROM n`, 800)
		require.NoError(t, err)
	}
	pages := func() (n int) {
		require.NoError(t, d.Read().QueryRowContext(t.Context(), "PRAGMA page_count").Scan(&n))
		return n
	}
	fill()
	full := pages()
	n, err := d.Shrink(t.Context(), 100)
	require.NoError(t, err)
	require.Zero(t, n, "a full file has nothing to give")
	_, err = d.Exec(t.Context(), "DELETE FROM item WHERE id > $1", 20)
	require.NoError(t, err)
	require.Equal(t, full, pages())
	n, err = d.Shrink(t.Context(), 100)
	require.NoError(t, err)
	require.Equal(t, 100, n)
	require.Equal(t, full-100, pages())
	for n > 0 {
		n, err = d.Shrink(t.Context(), 1000)
		require.NoError(t, err)
	}
	require.Less(t, pages(), full/2)
	require.Equal(t, 20, count(t, d))
	_, err = d.Exec(t.Context(), "DELETE FROM item WHERE id >= $1", 0)
	require.NoError(t, err)
	fill()
	require.LessOrEqual(t, pages(), full+full/20, "what was given back is taken again")
	require.NoError(t, d.Close())
	info, err := os.Stat(strings.TrimPrefix(dsn, "sqlite:"))
	require.NoError(t, err)
	require.LessOrEqual(t, info.Size(), int64(full+full/20)*4096)
	_, err = d.Shrink(t.Context(), 1)
	require.Error(t, err, "closed")

	pg := dbtest.Open(t, "postgres")
	n, err = pg.Shrink(t.Context(), 100)
	require.NoError(t, err)
	require.Zero(t, n)
}
