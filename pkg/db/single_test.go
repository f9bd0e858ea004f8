package db_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/pkg/db/dbtest"
)

func TestSingle(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		require.NoError(t, d.Migrate(t.Context(), fstest.MapFS{"00001_x.sql": {Data: []byte("-- +goose Up\nCREATE TABLE n (id TEXT NOT NULL PRIMARY KEY);")}}, "single_migrations"))
		insert := func(id string) func(ctx context.Context, e db.Execer) error {
			return func(ctx context.Context, e db.Execer) error {
				_, err := e.ExecContext(ctx, "INSERT INTO n (id) VALUES ($1)", id)
				return err
			}
		}
		var wg sync.WaitGroup
		for i := range 200 {
			wg.Go(func() {
				run := d.Single
				if i%2 == 0 {
					run = d.Relaxed
				}
				if err := run(t.Context(), insert(fmt.Sprint(i))); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		var n int
		require.NoError(t, d.Read().QueryRowContext(t.Context(), "SELECT count(*) FROM n").Scan(&n))
		require.Equal(t, 200, n)
		for _, run := range []func(context.Context, func(context.Context, db.Execer) error) error{d.Single, d.Relaxed} {
			require.True(t, db.IsUnique(run(t.Context(), insert("7"))))
			if d.Engine() == db.SQLite { // on PostgreSQL each is a transaction of its own anyway
				require.ErrorIs(t, run(t.Context(), func(ctx context.Context, _ db.Execer) error { return d.Relaxed(ctx, insert("nested")) }), db.ErrNested)
			}
		}
	})
}

func TestRelaxed_TheNextDurableCommitIsDurable(t *testing.T) {
	t.Parallel()
	d := dbtest.Open(t, "sqlite")
	level := func(ctx context.Context, e db.Execer) (n int) {
		require.NoError(t, e.QueryRowContext(ctx, "PRAGMA synchronous").Scan(&n))
		return n
	}
	for range 3 {
		require.NoError(t, d.Relaxed(t.Context(), func(ctx context.Context, e db.Execer) error {
			require.Equal(t, 1, level(ctx, e))
			return nil
		}))
		require.NoError(t, d.Single(t.Context(), func(ctx context.Context, e db.Execer) error {
			require.Equal(t, 2, level(ctx, e))
			return nil
		}))
	}
	require.NoError(t, d.Close())
	require.ErrorIs(t, d.Relaxed(t.Context(), nil), db.ErrClosed)
}
