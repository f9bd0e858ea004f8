package db_test

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/pkg/db/dbtest"
	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/telemetry"
)

func TestEach(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		require.NoError(t, d.Migrate(t.Context(), fstest.MapFS{"00001_t.sql": {Data: []byte("-- +goose Up\nCREATE TABLE t (id BIGINT NOT NULL PRIMARY KEY, name TEXT NOT NULL, body BYTEA, ok BOOLEAN NOT NULL);")}}, "t_migrations"))
		for i, body := range [][]byte{{1}, nil, {3}} {
			_, err := d.Exec(t.Context(), "INSERT INTO t (id, name, body, ok) VALUES ($1, $2, $3, $4)", i, "row", body, i == 1)
			require.NoError(t, err)
		}
		type row struct {
			id   int64
			name string
			body []byte
			ok   bool
		}
		read := func(ctx context.Context, each func(row) error) error {
			var r row
			return d.Each(ctx, func(s db.Scanner) error {
				if err := s.Scan(&r.id, &r.name, &r.body, &r.ok); err != nil {
					return err
				}
				return each(r)
			}, "SELECT id, name, body, ok FROM t WHERE id >= $1 ORDER BY id", 0)
		}
		all := func(t *testing.T) (rows []row) {
			t.Helper()
			require.NoError(t, read(t.Context(), func(r row) error { rows = append(rows, r); return nil }))
			return rows
		}
		want := []row{{0, "row", []byte{1}, false}, {1, "row", nil, true}, {2, "row", []byte{3}, false}}

		t.Run("reads every row, and the memory of one is not that of the next", func(t *testing.T) {
			require.Equal(t, want, all(t))
		})
		t.Run("ends with the error of the caller, and the connection is as good as before", func(t *testing.T) {
			enough, seen := errors.New("enough"), 0
			require.Same(t, enough, read(t.Context(), func(row) error { seen++; return enough }))
			require.Equal(t, 1, seen)
			require.Equal(t, want, all(t))
		})
		t.Run("a statement that is wrong is an error", func(t *testing.T) {
			require.Error(t, d.Each(t.Context(), func(db.Scanner) error { return nil }, "SELECT nothing FROM t WHERE id = $1", 0))
			require.Equal(t, want, all(t))
		})
		t.Run("inside a transaction it sees what that has written, and the transaction goes on", func(t *testing.T) {
			var got []row
			enough := errors.New("enough")
			require.NoError(t, d.Tx(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
				in := func(each func(row) error) error {
					var r row
					return d.EachIn(ctx, tx, func(s db.Scanner) error {
						if err := s.Scan(&r.id, &r.name, &r.body, &r.ok); err != nil {
							return err
						}
						return each(r)
					}, "SELECT id, name, body, ok FROM t WHERE id >= $1 ORDER BY id", 0)
				}
				require.ErrorIs(t, in(func(row) error { return enough }), enough) // before anything else: BEGIN was put off
				_, err := tx.ExecContext(ctx, "INSERT INTO t (id, name, body, ok) VALUES ($1, $2, $3, $4)", 3, "new", []byte{4}, true)
				require.NoError(t, err)
				require.NoError(t, in(func(r row) error { got = append(got, r); return nil }))
				_, err = tx.ExecContext(ctx, "DELETE FROM t WHERE id = $1", 3)
				return err
			}))
			require.Equal(t, append(slices.Clone(want), row{3, "new", []byte{4}, true}), got)
			require.Equal(t, want, all(t))
		})
		t.Run("a panic over a row inside a transaction ends that, and leaves its connection free", func(t *testing.T) {
			for range 11 { // more than there are connections
				require.PanicsWithValue(t, "over a row", func() {
					_ = d.Tx(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
						if _, err := tx.ExecContext(ctx, "INSERT INTO t (id, name, body, ok) VALUES ($1, $2, $3, $4)", 3, "new", []byte{4}, true); err != nil {
							return err
						}
						return d.EachIn(ctx, tx, func(db.Scanner) error { panic("over a row") }, "SELECT id FROM t WHERE id >= $1", 0)
					})
				})
			}
			require.Equal(t, want, all(t), "nothing of it remains")
		})
		t.Run("a context that has ended ends it", func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			require.ErrorIs(t, read(ctx, func(row) error { return nil }), context.Canceled)
			require.Equal(t, want, all(t))
		})
	})
}

func TestEach_AConnectionThatTheServerClosedIsReplaced(t *testing.T) {
	t.Parallel()
	dsn := dbtest.DSN(t, "postgres")
	open := func(dsn string) *db.DB {
		d, err := db.Open(t.Context(), dsn, nil)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, d.Close()) })
		return d
	}
	other, d := open(dsn), open(dsn+"&pool_max_conns=1")
	pid := func() (pid int64, err error) {
		err = d.Each(t.Context(), func(s db.Scanner) error { return s.Scan(&pid) }, "SELECT pg_backend_pid()::bigint WHERE $1 = 0", 0)
		return pid, err
	}
	first, err := pid()
	require.NoError(t, err)
	_, err = other.Exec(t.Context(), "SELECT pg_terminate_backend($1)", first)
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		var left int
		err := other.Read().QueryRowContext(t.Context(), "SELECT count(*) FROM pg_stat_activity WHERE pid = $1", first).Scan(&left)
		return err == nil && left == 0
	}, time.Minute, 10*time.Millisecond, "it has only been told to end")
	second, err := pid()
	if err != nil { // the server said so when the statement had been sent
		require.Equal(t, fault.Unavailable, fault.KindOf(err))
		second, err = pid()
	}
	require.NoError(t, err)
	require.NotEqual(t, first, second)
}

func TestEach_AStatementThatHangsEndsWithItsContext(t *testing.T) {
	t.Parallel()
	d := dbtest.Open(t, "postgres")
	for range 3 {
		// The one before took its connection with it. To dial is not what is to be in time here.
		require.NoError(t, d.Each(t.Context(), func(db.Scanner) error { return nil }, "SELECT 1 WHERE $1 = 1", 1))
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		require.ErrorIs(t, d.Each(ctx, func(db.Scanner) error { return nil }, "SELECT pg_sleep(2) WHERE $1 = 0 /* hangs */", 0), context.DeadlineExceeded)
		cancel()
	}
	var got int64
	require.NoError(t, d.Each(t.Context(), func(s db.Scanner) error { return s.Scan(&got) }, "SELECT $1::bigint", int64(7)))
	require.EqualValues(t, 7, got)
	// The driver waits for the end of those that were given up, and so do we.
	require.Eventually(t, func() bool {
		var running int64
		err := d.Each(t.Context(), func(s db.Scanner) error { return s.Scan(&running) },
			"SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%hangs *' || '/%' AND pid <> pg_backend_pid()")
		return err == nil && running == 0
	}, time.Minute, 20*time.Millisecond)
}

func TestEach_OnlyTheStatementIsMeasured(t *testing.T) {
	t.Parallel()
	dsn := dbtest.DSN(t, "postgres")
	tel, err := telemetry.Start(t.Context(), "test", telemetry.Config{LogLevel: "error"})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, tel.Shutdown(context.WithoutCancel(t.Context()))) })
	d, err := db.Open(t.Context(), dsn+"&pool_max_conns=1", tel)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, d.Close()) })
	measured := func() (all, failed int) { return counted(t, tel, "sql.conn.query") }
	each := func(ctx context.Context, text string, row func(db.Scanner) error) error {
		return d.Each(ctx, row, text, 1)
	}
	before, failed := measured()
	require.Zero(t, failed)
	const good = "SELECT 1 WHERE $1 = 1"
	require.NoError(t, each(t.Context(), good, func(db.Scanner) error { return nil }))
	enough := errors.New("enough")
	require.Same(t, enough, each(t.Context(), good, func(db.Scanner) error { return enough }))
	all, failed := measured()
	require.Equal(t, before+2, all)
	require.Zero(t, failed, "what the caller makes of a row is no failure of the statement")
	require.Error(t, each(t.Context(), "SELECT nothing WHERE $1 = 1", func(db.Scanner) error { return nil }))
	all, failed = measured()
	require.Equal(t, before+3, all)
	require.Equal(t, 1, failed)

	busy, err := d.Read().QueryContext(t.Context(), "SELECT 1")
	require.NoError(t, err)
	defer busy.Close()
	before, _ = measured()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, each(ctx, good, func(db.Scanner) error { return nil }), context.DeadlineExceeded)
	all, failed = measured()
	require.Equal(t, before, all, "there was no connection for it")
	require.Equal(t, 1, failed)
	require.NoError(t, busy.Err())
}

func TestMigrate_WhatOneEngineNeeds(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		require.NoError(t, d.Migrate(t.Context(), fstest.MapFS{
			"00001_t.sql":          {Data: []byte("-- +goose Up\nCREATE TABLE t (engine TEXT NOT NULL);")},
			"sqlite/00002_t.sql":   {Data: []byte("-- +goose Up\nINSERT INTO t (engine) VALUES ('sqlite');")},
			"postgres/00002_t.sql": {Data: []byte("-- +goose Up\nINSERT INTO t (engine) VALUES ('postgres');")},
			"00003_t.sql":          {Data: []byte("-- +goose Up\nINSERT INTO t (engine) VALUES ('both');")},
		}, "t_migrations"))
		require.ElementsMatch(t, []string{d.Engine().String(), "both"}, texts(t, d, "SELECT engine FROM t"))
	})
}

// texts returns the one column of what is asked for.
func texts(t *testing.T, d *db.DB, query string) []string {
	t.Helper()
	var all []string
	require.NoError(t, d.Each(t.Context(), func(s db.Scanner) error {
		var text string
		err := s.Scan(&text)
		all = append(all, text)
		return err
	}, query))
	return all
}

// TestMigrate_Statements has files of several statements that are run together, and some that goose has to divide.
func TestMigrate_Statements(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		require.NoError(t, d.Migrate(t.Context(), fstest.MapFS{
			"00001_together.sql": {Data: []byte("-- +goose Up\n-- What it is for.\nCREATE TABLE t (line TEXT NOT NULL); -- a; b\n" +
				"INSERT INTO t VALUES ('a;\n-- b');\n\nINSERT INTO t VALUES ('c'); INSERT INTO t VALUES ('d')")},
			"00002_down.sql":   {Data: []byte("-- +goose Up\nINSERT INTO t VALUES ('up');\n-- +goose Down\nINSERT INTO t VALUES ('down');\n")},
			"00003_own.sql":    {Data: []byte("-- +goose Up\n-- +goose StatementBegin\nINSERT INTO t VALUES ('e'); INSERT INTO t VALUES ('f');\n-- +goose StatementEnd\n")},
			"00004_single.sql": {Data: []byte("-- +goose NO TRANSACTION\n-- +goose Up\nINSERT INTO t VALUES ('g');")},
		}, "t_migrations"))
		require.ElementsMatch(t, []string{"a;\n-- b", "c", "d", "up", "e", "f", "g"}, texts(t, d, "SELECT line FROM t"))
	})
}
