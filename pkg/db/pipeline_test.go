package db_test

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/pkg/db/dbtest"
	"github.com/selfsame-io/selfsame/pkg/fault"
)

const insertItem = "INSERT INTO item (id, name, n) VALUES ($1, $2, 0)"

// alone opens a database whose transactions all use one connection: what one leaves behind meets the next.
func alone(t *testing.T, engine string) *db.DB {
	t.Helper()
	dsn := dbtest.DSN(t, engine)
	if engine == "postgres" {
		dsn += "&pool_max_conns=1"
	}
	d, err := db.Open(t.Context(), dsn, nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, d.Close()) })
	migrate(t, d)
	return d
}

func TestLast(t *testing.T) {
	t.Parallel()
	for _, engine := range []string{"sqlite", "postgres"} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			d := alone(t, engine)
			errTaken, errOwn := errors.New("taken"), errors.New("own error")
			taken := func(err error) error {
				if db.IsUnique(err) {
					return errTaken
				}
				return err
			}
			put := func(ctx context.Context, tx *sql.Tx, id int, name string) error {
				return d.Last(ctx, tx, taken, insertItem, id, name)
			}
			tx := func(fn func(ctx context.Context, tx *sql.Tx) error) error { return d.Tx(t.Context(), fn) }

			require.NoError(t, tx(func(ctx context.Context, tx *sql.Tx) error {
				return errors.Join(insert(ctx, tx, 1), put(ctx, tx, 2, "second"), put(ctx, tx, 3, "third"))
			}))
			require.Equal(t, 3, count(t, d), "they are committed together")
			require.NoError(t, tx(func(ctx context.Context, tx *sql.Tx) error { return put(ctx, tx, 4, "fourth") }))
			require.Equal(t, 4, count(t, d), "there may be nothing else")

			for _, name := range []string{"second", "third"} {
				err := tx(func(ctx context.Context, tx *sql.Tx) error {
					return errors.Join(insert(ctx, tx, 10), put(ctx, tx, 11, "new"), put(ctx, tx, 12, name))
				})
				require.ErrorIs(t, err, errTaken)
				require.Equal(t, 4, count(t, d), "nothing remains of a transaction whose last statement is refused")
			}
			require.ErrorIs(t, tx(func(ctx context.Context, tx *sql.Tx) error { return put(ctx, tx, 12, "third") }), errTaken)
			require.ErrorIs(t, tx(func(ctx context.Context, tx *sql.Tx) error {
				return errors.Join(put(ctx, tx, 13, "new"), errOwn)
			}), errOwn)
			require.Error(t, tx(func(ctx context.Context, tx *sql.Tx) error {
				return d.Last(ctx, tx, nil, "INSERT INTO nowhere (id) VALUES ($1)", 1)
			}))
			require.Error(t, tx(func(ctx context.Context, tx *sql.Tx) error {
				return d.Last(ctx, tx, nil, insertItem, struct{}{}, "x")
			}), "a value that cannot be sent")
			require.Equal(t, 4, count(t, d))

			outer := t.Context()
			require.ErrorIs(t, tx(func(_ context.Context, tx *sql.Tx) error {
				err := d.Last(outer, tx, taken, insertItem, 1, "x")
				require.ErrorIs(t, err, errTaken, "with another context it is executed at once")
				return err
			}), errTaken)
			require.NoError(t, tx(func(ctx context.Context, tx *sql.Tx) error { return put(ctx, tx, 5, "fifth") }))
			require.Equal(t, 5, count(t, d), "the connection is as it was")
		})
	}
}

func TestTx_BeginsWithItsFirstStatement(t *testing.T) {
	t.Parallel()
	d := alone(t, "postgres")
	require.NoError(t, d.Tx(t.Context(), func(context.Context, *sql.Tx) error { return nil }), "a transaction may do nothing")
	require.NoError(t, d.Tx(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "INSERT INTO item (id, name, n) VALUES (1, 'a', 0); INSERT INTO item (id, name, n) VALUES (2, 'b', 0)")
		return err
	}), "a text may be several statements")
	require.Equal(t, 2, count(t, d))
	strict, err := db.Open(t.Context(), dbtest.DSN(t, "postgres")+"&default_transaction_isolation=serializable", nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, strict.Close()) })
	for _, d := range []*db.DB{d, strict} {
		var level string
		require.NoError(t, d.Tx(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
			return tx.QueryRowContext(ctx, "SHOW transaction_isolation").Scan(&level)
		}))
		require.Equal(t, "read committed", level, "whatever the URL says")
	}

	errOwn := errors.New("own error")
	for _, first := range []string{insertItem, "INSERT INTO nowhere (id, name) VALUES ($1, $2)", "no statement $1 $2"} {
		require.ErrorIs(t, d.Tx(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
			_, err := tx.ExecContext(ctx, first, 1, "a")
			require.Error(t, err)
			return errOwn
		}), errOwn)
	}
	require.ErrorIs(t, d.Tx(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
		require.NoError(t, insert(ctx, tx, 9))
		return errOwn
	}), errOwn)
	require.Equal(t, 2, count(t, d), "each error undid what its transaction did, and the connection is as it was")

	gone, cancel := context.WithCancel(t.Context())
	cancel()
	require.Error(t, d.Tx(t.Context(), func(_ context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(gone, insertItem, 5, "e")
		return err
	}))
	require.Equal(t, 2, count(t, d))
}

func TestTx_AConnectionThatBreaks(t *testing.T) {
	t.Parallel()
	d := alone(t, "postgres")
	kill := func(ctx context.Context, tx *sql.Tx) {
		_, err := tx.ExecContext(ctx, "SELECT pg_terminate_backend(pg_backend_pid()) WHERE $1", true)
		require.Error(t, err)
	}
	for _, at := range []string{"in the first statement", "before the last", "before COMMIT"} {
		err := d.Tx(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
			if !strings.HasSuffix(at, "first statement") {
				require.NoError(t, insert(ctx, tx, 1))
			}
			kill(ctx, tx)
			if at == "before the last" {
				return d.Last(ctx, tx, nil, insertItem, 2, "b")
			}
			return nil
		})
		fe, ok := fault.As(err)
		require.True(t, ok, "%s: %v", at, err)
		require.Contains(t, []fault.Kind{fault.Unavailable, fault.Uncertain}, fe.Kind, "%s: %v", at, err)
		require.Zero(t, count(t, d), "%s: nothing remains, and the next connection works", at)
	}
}
