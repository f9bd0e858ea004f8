package db_test

import (
	"context"
	"database/sql"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/pkg/db/dbtest"
	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/telemetry"
)

// TestLostConnection breaks the connection of a transaction after each of its round trips.
func TestLostConnection(t *testing.T) {
	t.Parallel()
	const add = "INSERT INTO lost (id) VALUES ($1)"
	for name, fn := range map[string]func(ctx context.Context, d *db.DB, tx *sql.Tx) error{
		"COMMIT goes alone": func(ctx context.Context, _ *db.DB, tx *sql.Tx) error {
			if _, err := tx.ExecContext(ctx, add, 1); err != nil {
				return err
			}
			_, err := tx.ExecContext(ctx, "UPDATE lost SET id = id + 1")
			return err
		},
		"a statement goes with COMMIT": func(ctx context.Context, d *db.DB, tx *sql.Tx) error {
			rows, err := tx.QueryContext(ctx, "SELECT id FROM lost")
			if err != nil {
				return err
			}
			for rows.Next() {
				t.Error("a row of before")
			}
			if err := rows.Close(); err != nil {
				return err
			}
			return d.Last(ctx, tx, nil, add, 1)
		},
		"all goes with COMMIT": func(ctx context.Context, d *db.DB, tx *sql.Tx) error { return d.Last(ctx, tx, nil, add, 1) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dsn := dbtest.DSN(t, "postgres")
			l, behind := dbtest.NewLine(t, dsn)
			open := func(dsn string) *db.DB {
				d, err := db.Open(t.Context(), dsn, telemetry.Discard())
				require.NoError(t, err)
				t.Cleanup(func() { require.NoError(t, d.Close()) })
				return d
			}
			d, direct := open(behind), open(dsn)
			_, err := direct.Exec(t.Context(), "CREATE TABLE lost (id BIGINT)")
			require.NoError(t, err)
			uncertain := int64(0) // and there all the same
			for n := 0; ; n++ {
				l.BreakAfter(n)
				err := d.Tx(t.Context(), func(ctx context.Context, tx *sql.Tx) error { return fn(ctx, d, tx) })
				broken := l.Spare()
				there, lerr := direct.Exec(t.Context(), "DELETE FROM lost")
				require.NoError(t, lerr)
				switch {
				case !broken:
					require.NoError(t, err)
				case fault.KindOf(err) == fault.Uncertain:
					uncertain += there
					continue
				case err != nil: // else it was a connection that lay idle, and there was another one
					require.Equal(t, fault.Unavailable, fault.KindOf(err), "round trip %d: %v", n, err)
					require.Zero(t, there, "round trip %d: %v", n, err)
					continue
				}
				require.EqualValues(t, 1, there, "round trip %d", n)
				if !broken {
					break
				}
			}
			require.Positive(t, uncertain, "the answer to COMMIT was lost")
		})
	}
	t.Run("what reads outside a transaction says so, too", func(t *testing.T) {
		t.Parallel()
		l, behind := dbtest.NewLine(t, dbtest.DSN(t, "postgres"))
		d, err := db.Open(t.Context(), behind, telemetry.Discard())
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, d.Close()) })
		var one int
		read := func() error { return d.Read().QueryRowContext(t.Context(), "SELECT $1::int", 1).Scan(&one) }
		require.NoError(t, read())
		l.BreakAfter(1)
		require.Equal(t, fault.Unavailable, fault.KindOf(read()))
		require.True(t, l.Spare())
		require.NoError(t, read(), "there is another connection")
	})
	t.Run("so does one whose connection is lost in the middle of its rows", func(t *testing.T) {
		t.Parallel()
		l, behind := dbtest.NewLine(t, dbtest.DSN(t, "postgres"))
		d, err := db.Open(t.Context(), behind, telemetry.Discard())
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, d.Close()) })
		const series, rows = "SELECT i FROM generate_series(1, $1::int) i", 300
		for name, read := range map[string]func(row func(db.Scanner) error) error{
			"by database/sql": func(row func(db.Scanner) error) error {
				found, err := d.Read().QueryContext(t.Context(), series, rows)
				if err != nil {
					return err
				}
				defer found.Close()
				for found.Next() {
					if err := row(found); err != nil {
						return err
					}
				}
				return found.Err()
			},
			"by Each": func(row func(db.Scanner) error) error { return d.Each(t.Context(), row, series, rows) },
			"by EachIn": func(row func(db.Scanner) error) error {
				return d.Tx(t.Context(), func(ctx context.Context, tx *sql.Tx) error { return d.EachIn(ctx, tx, row, series, rows) })
			},
		} {
			for _, after := range []int{1, 2, rows / 2, rows, rows + 1} {
				seen, i := 0, 0
				scan := func(s db.Scanner) error { seen++; return s.Scan(&i) }
				l.BreakAfterRow(after)
				err := read(scan)
				if !l.Spare() {
					require.NoError(t, err)
					require.Equal(t, rows+1, after)
					require.Equal(t, rows, seen)
					continue
				}
				require.Equal(t, fault.Unavailable, fault.KindOf(err), "%s, after row %d: %v", name, after, err)
				require.Equal(t, after, seen, "what had come was seen")
				require.Equal(t, after, i)
			}
		}
		var first int
		l.BreakAfterRow(3)
		err = d.Read().QueryRowContext(t.Context(), series, rows).Scan(&first)
		require.True(t, l.Spare())
		require.Equal(t, fault.Unavailable, fault.KindOf(err), "rows that nobody looks at: %v", err)
	})
	t.Run("an unexpected end of something else is what it is", func(t *testing.T) {
		t.Parallel()
		d := dbtest.Open(t, "postgres")
		require.Equal(t, io.ErrUnexpectedEOF, d.Tx(t.Context(), func(context.Context, *sql.Tx) error { return io.ErrUnexpectedEOF }))
	})
}
