package db_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.uber.org/goleak"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/pkg/db/dbtest"
	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/telemetry"
	"github.com/selfsame-io/selfsame/pkg/telemetry/telemetrytest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var schema = fstest.MapFS{"00001_items.sql": {Data: []byte(`-- +goose Up
CREATE TABLE item (id BIGINT PRIMARY KEY, name TEXT NOT NULL UNIQUE, data BYTEA, n BIGINT NOT NULL);`)}}

func migrate(t testing.TB, d *db.DB) {
	t.Helper()
	require.NoError(t, d.Migrate(t.Context(), schema, "item_migrations"))
}

func insert(ctx context.Context, tx *sql.Tx, id int) error {
	_, err := tx.ExecContext(ctx, "INSERT INTO item (id, name, n) VALUES ($1, $2, $3)", id, fmt.Sprint("name ", id), 0)
	return err
}

func count(t testing.TB, d *db.DB) (n int) {
	t.Helper()
	require.NoError(t, d.Read().QueryRowContext(t.Context(), "SELECT count(*) FROM item").Scan(&n))
	return n
}

func TestTx(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		migrate(t, d)
		errOwn := errors.New("own error")

		require.NoError(t, d.Tx(t.Context(), func(ctx context.Context, tx *sql.Tx) error { return insert(ctx, tx, 1) }))
		require.Equal(t, 1, count(t, d), "a committed row is visible to readers")

		err := d.Tx(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
			require.NoError(t, insert(ctx, tx, 2))
			return errOwn
		})
		require.ErrorIs(t, err, errOwn)
		require.Equal(t, 1, count(t, d), "an error undoes the caller's rows")

		require.PanicsWithValue(t, "boom", func() {
			_ = d.Tx(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
				require.NoError(t, insert(ctx, tx, 2))
				panic("boom")
			})
		})
		require.Equal(t, 1, count(t, d), "a panic undoes the caller's rows and goes on in the caller")

		err = d.Tx(t.Context(), func(ctx context.Context, tx *sql.Tx) error { return insert(ctx, tx, 1) })
		require.True(t, db.IsUnique(err), "%v", err)
		require.False(t, db.IsRetryable(err))

		err = d.Tx(t.Context(), func(ctx context.Context, _ *sql.Tx) error {
			return d.Tx(ctx, func(context.Context, *sql.Tx) error { return nil })
		})
		require.ErrorIs(t, err, db.ErrNested)

		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		err = d.Tx(ctx, func(context.Context, *sql.Tx) error { t.Error("ran"); return nil })
		require.Equal(t, fault.Canceled, fault.KindOf(err))
	})
}

func TestTx_OnePartnersFailureIsItsOwn(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		migrate(t, d)
		const callers = 200
		var wg sync.WaitGroup
		errs := make([]error, callers)
		for i := range callers {
			wg.Go(func() {
				defer func() {
					if v := recover(); v != nil {
						errs[i] = fmt.Errorf("panic %v", v)
					}
				}()
				errs[i] = d.Tx(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
					if err := insert(ctx, tx, i); err != nil {
						return err
					}
					switch i % 4 {
					case 1:
						return errors.New("changed my mind")
					case 2:
						panic(i)
					}
					return nil
				})
			})
		}
		wg.Wait()
		for i, err := range errs {
			require.Equal(t, i%4 == 1 || i%4 == 2, err != nil, "caller %d: %v", i, err)
		}
		require.Equal(t, callers/2, count(t, d))
	})
}

func TestTx_CompareAndSetIsSerial(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		migrate(t, d)
		require.NoError(t, d.Tx(t.Context(), func(ctx context.Context, tx *sql.Tx) error { return insert(ctx, tx, 1) }))
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				err := d.Tx(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
					if err := d.Lock(ctx, tx, "counter"); err != nil {
						return err
					}
					var n int64
					if err := tx.QueryRowContext(ctx, "SELECT n FROM item WHERE id = $1", 1).Scan(&n); err != nil {
						return err
					}
					_, err := tx.ExecContext(ctx, "UPDATE item SET n = $1 WHERE id = $2", n+1, 1)
					return err
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		var n int
		require.NoError(t, d.Read().QueryRowContext(t.Context(), "SELECT n FROM item WHERE id = 1").Scan(&n))
		require.Equal(t, 20, n, "the named lock makes read-modify-write safe")
	})
}

func TestTx_PostgresRunsAgainAfterADeadlock(t *testing.T) {
	t.Parallel()
	d := dbtest.Open(t, "postgres")
	migrate(t, d)
	for i := range 2 {
		require.NoError(t, d.Tx(t.Context(), func(ctx context.Context, tx *sql.Tx) error { return insert(ctx, tx, i) }))
	}
	var both, wg sync.WaitGroup
	both.Add(2)
	for i := range 2 {
		first := sync.OnceFunc(func() { both.Done(); both.Wait() }) // both hold one row before they ask for the other
		wg.Go(func() {
			err := d.Tx(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
				for k := range 2 {
					if _, err := tx.ExecContext(ctx, "UPDATE item SET n = n + 1 WHERE id = $1", (i+k)%2); err != nil {
						return fmt.Errorf("update: %w", err)
					}
					first()
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	var sum int
	require.NoError(t, d.Read().QueryRowContext(t.Context(), "SELECT sum(n) FROM item").Scan(&sum))
	require.Equal(t, 4, sum)
}

func TestTx_SQLiteLostTransaction(t *testing.T) {
	t.Parallel()
	t.Run("a caller that destroys the shared transaction does not cost its partners their rows", func(t *testing.T) {
		t.Parallel()
		d := dbtest.Open(t, "sqlite")
		migrate(t, d)
		inside, queued := make(chan struct{}), make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() {
			once := sync.OnceFunc(func() { close(inside); <-queued })
			err := d.Tx(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
				once()
				return insert(ctx, tx, 1)
			})
			if err != nil {
				t.Error(err)
			}
		})
		<-inside
		var destroyer error
		wg.Go(func() {
			destroyer = d.Tx(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
				_, err := tx.ExecContext(ctx, "ROLLBACK") // what SQLite does by itself on an interrupt or a full disk
				return errors.Join(errors.New("destroyed"), err)
			})
		})
		close(queued)
		wg.Wait()
		require.ErrorContains(t, destroyer, "destroyed")
		require.Equal(t, 1, count(t, d))
		require.NoError(t, d.Tx(t.Context(), func(ctx context.Context, tx *sql.Tx) error { return insert(ctx, tx, 2) }))
	})
	t.Run("a function that commits by itself is an error and is not run again", func(t *testing.T) {
		t.Parallel()
		d := dbtest.Open(t, "sqlite")
		migrate(t, d)
		for _, end := range []func(*sql.Tx) error{(*sql.Tx).Commit, (*sql.Tx).Rollback} {
			runs := 0
			err := d.Tx(t.Context(), func(_ context.Context, tx *sql.Tx) error { runs++; return end(tx) })
			require.ErrorIs(t, err, sql.ErrTxDone)
			require.Equal(t, 1, runs)
			require.NoError(t, d.Tx(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
				_, err := tx.ExecContext(ctx, "DELETE FROM item")
				return err
			}))
		}
	})
	t.Run("a caller that keeps losing it is told that the database is unavailable", func(t *testing.T) {
		t.Parallel()
		d := dbtest.Open(t, "sqlite")
		err := d.Tx(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
			_, err := tx.ExecContext(ctx, "ROLLBACK")
			return err
		})
		require.Equal(t, fault.Unavailable, fault.KindOf(err))
	})
}

func TestTx_SQLiteWaiterLeaves(t *testing.T) {
	t.Parallel()
	d := dbtest.Open(t, "sqlite")
	migrate(t, d)
	inside, leave := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		err := d.Tx(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
			close(inside)
			<-leave
			return insert(ctx, tx, 1)
		})
		if err != nil {
			t.Error(err)
		}
	})
	<-inside
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error)
	wg.Go(func() {
		result <- d.Tx(ctx, func(ctx context.Context, tx *sql.Tx) error { return insert(ctx, tx, 2) })
	})
	cancel()
	require.ErrorIs(t, <-result, context.Canceled, "the waiter does not wait for the one before it")
	close(leave)
	wg.Wait()
	require.Equal(t, 1, count(t, d))
}

func TestTx_SQLiteFunctionOutlivesItsContext(t *testing.T) {
	t.Parallel()
	d := dbtest.Open(t, "sqlite")
	migrate(t, d)
	ctx, cancel := context.WithCancel(t.Context())
	err := d.Tx(ctx, func(ctx context.Context, tx *sql.Tx) error {
		cancel()
		return insert(ctx, tx, 1)
	})
	require.NoError(t, err, "once begun, the outcome is certain")
	require.Equal(t, 1, count(t, d))
}

func TestClose(t *testing.T) {
	t.Parallel()
	for _, engine := range []string{"sqlite", "postgres"} {
		t.Run(engine+" drains what has begun and refuses the rest", func(t *testing.T) {
			t.Parallel()
			dsn := dbtest.DSN(t, engine)
			d, err := db.Open(t.Context(), dsn, nil)
			require.NoError(t, err)
			migrate(t, d)
			inside, leave := make(chan struct{}), make(chan struct{})
			var wg sync.WaitGroup
			wg.Go(func() {
				err := d.Tx(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
					close(inside)
					<-leave
					return insert(ctx, tx, 1)
				})
				if err != nil {
					t.Error(err)
				}
			})
			<-inside
			wg.Go(func() {
				if err := d.Close(); err != nil {
					t.Error(err)
				}
			})
			gone, cancel := context.WithCancel(t.Context())
			cancel() // so that the probe does not queue behind the transaction that waits for us
			for !errors.Is(d.Tx(gone, func(context.Context, *sql.Tx) error { return nil }), db.ErrClosed) {
				runtime.Gosched()
			}
			close(leave)
			wg.Wait()
			require.NoError(t, d.Close(), "closing twice is harmless")
			require.ErrorIs(t, d.Tx(t.Context(), func(context.Context, *sql.Tx) error { return nil }), db.ErrClosed)

			again, err := db.Open(t.Context(), dsn, nil)
			require.NoError(t, err)
			defer func() { require.NoError(t, again.Close()) }()
			require.Equal(t, 1, count(t, again))
		})
	}
}

func TestMigrate(t *testing.T) {
	t.Parallel()
	for _, engine := range []string{"sqlite", "postgres"} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			dsn := dbtest.DSN(t, engine)
			replicas := 1
			if engine == "postgres" {
				replicas = 5
			}
			var wg sync.WaitGroup
			for range replicas {
				wg.Go(func() {
					d, err := db.Open(t.Context(), dsn, nil)
					if err == nil {
						err = errors.Join(d.Migrate(t.Context(), schema, "item_migrations"), d.Close())
					}
					if err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			d, err := db.Open(t.Context(), dsn, nil)
			require.NoError(t, err)
			defer func() { require.NoError(t, d.Close()) }()
			migrate(t, d) // again: nothing to do
			require.Equal(t, 0, count(t, d))

			broken := fstest.MapFS{
				"00001_ok.sql":  {Data: []byte("-- +goose Up\nCREATE TABLE a (x BIGINT);")},
				"00002_bad.sql": {Data: []byte("-- +goose Up\nCREATE TABLE b (x BIGINT);\nCREATE NONSENSE;")},
			}
			require.Error(t, d.Migrate(t.Context(), broken, "other_migrations"))
			broken["00002_bad.sql"] = &fstest.MapFile{Data: []byte("-- +goose Up\nCREATE TABLE b (x BIGINT);")}
			require.NoError(t, d.Migrate(t.Context(), broken, "other_migrations"), "a failed file is rolled back and tried again")
		})
	}
}

func TestPortableTypes(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		migrate(t, d)
		at := time.Date(2026, 3, 29, 1, 59, 59, 123456789, time.FixedZone("x", 7200))
		require.NoError(t, d.Tx(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
			_, err := tx.ExecContext(ctx, "INSERT INTO item (id, name, data, n) VALUES ($2, $1, $4, $3)", "Zoë 株式会社", 7, db.Micros(at), []byte{0, 255, 1})
			return err
		}))
		var (
			name string
			data []byte
			us   int64
		)
		row := d.Read().QueryRowContext(t.Context(), "SELECT name, data, n FROM item WHERE id = $1 AND name = $2", 7, "Zoë 株式会社")
		require.NoError(t, row.Scan(&name, &data, &us))
		require.Equal(t, []byte{0, 255, 1}, data)
		require.Equal(t, at.UTC().Truncate(time.Microsecond), db.FromMicros(us))

		rows, err := d.Read().QueryContext(t.Context(), "SELECT id FROM item ORDER BY id LIMIT 1"+d.SkipLocked())
		require.NoError(t, err)
		require.True(t, rows.Next())
		require.NoError(t, rows.Close())
	})
	require.True(t, db.FromMicros(db.Micros(time.Time{})).IsZero(), "the zero time survives")
}

func TestRead_SQLite(t *testing.T) {
	t.Parallel()
	d := dbtest.Open(t, "sqlite")
	migrate(t, d)
	t.Run("refuses to write", func(t *testing.T) {
		rows, err := d.Read().QueryContext(t.Context(), "INSERT INTO item (id, name, n) VALUES (9, 'x', 0) RETURNING id")
		if err == nil {
			rows.Next()
			err = errors.Join(rows.Err(), rows.Close())
		}
		require.ErrorContains(t, err, "readonly")
	})
	t.Run("does not wait for the writer", func(t *testing.T) {
		err := d.Tx(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
			require.NoError(t, insert(ctx, tx, 1))
			require.Equal(t, 0, count(t, d), "and does not see what is not committed")
			return nil
		})
		require.NoError(t, err)
	})
	t.Run("is durable: synchronous=FULL with a write-ahead log", func(t *testing.T) {
		require.NoError(t, d.Tx(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
			var sync int
			var mode string
			require.NoError(t, tx.QueryRowContext(ctx, "PRAGMA synchronous").Scan(&sync))
			require.NoError(t, tx.QueryRowContext(ctx, "PRAGMA journal_mode").Scan(&mode))
			require.Equal(t, 2, sync)
			require.Equal(t, "wal", mode)
			return nil
		}))
	})
}

func TestBrief(t *testing.T) {
	t.Parallel()
	t.Run("it sees what is committed and nothing else", func(t *testing.T) {
		t.Parallel()
		dbtest.Each(t, func(t *testing.T, d *db.DB) {
			migrate(t, d)
			names := func() (n int) {
				rows, err := d.Brief().QueryContext(t.Context(), "SELECT name FROM item")
				require.NoError(t, err)
				defer rows.Close()
				for rows.Next() {
					n++
				}
				require.NoError(t, rows.Err())
				return n
			}
			for i := range 20 {
				require.NoError(t, d.Tx(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
					require.NoError(t, insert(ctx, tx, i))
					require.Equal(t, i, names())
					return nil
				}))
				require.Equal(t, i+1, names(), "as soon as it is acknowledged")
			}
		})
	})
	t.Run("a call that is over does not begin a statement", func(t *testing.T) {
		t.Parallel()
		dbtest.Each(t, func(t *testing.T, d *db.DB) {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			rows, err := d.Brief().QueryContext(ctx, "SELECT 1")
			require.ErrorIs(t, err, context.Canceled)
			require.Nil(t, rows)
			var one int
			require.ErrorIs(t, d.Brief().QueryRowContext(ctx, "SELECT 1").Scan(&one), context.Canceled)
		})
	})
	t.Run("on SQLite it waits for no other reader and cannot write", func(t *testing.T) {
		t.Parallel()
		d := dbtest.Open(t, "sqlite")
		migrate(t, d)
		var held []*sql.Rows
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		for {
			rows, err := d.Read().QueryContext(ctx, "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000) SELECT i FROM n")
			if err != nil {
				break // every connection for reading is in use
			}
			held = append(held, rows)
			require.NoError(t, rows.Err())
		}
		require.NotEmpty(t, held)
		var one int
		require.NoError(t, d.Brief().QueryRowContext(t.Context(), "SELECT 1").Scan(&one))
		for _, rows := range held {
			require.NoError(t, rows.Close())
		}
		require.Error(t, d.Brief().QueryRowContext(t.Context(), "INSERT INTO item (id, name, n) VALUES (1, '', 0) RETURNING id").Scan(&one))
	})
}

func TestBrief_IsMeasuredAsOtherStatementsAre(t *testing.T) {
	t.Parallel()
	for name, options := range map[string][]telemetry.Option{"without spans": nil, "with spans": {telemetry.WithSpanExporter(tracetest.NewInMemoryExporter())}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tel, err := telemetry.Start(t.Context(), "test", telemetry.Config{LogLevel: "error"}, options...)
			require.NoError(t, err)
			defer func() { require.NoError(t, tel.Shutdown(t.Context())) }()
			d, err := db.Open(t.Context(), dbtest.DSN(t, "sqlite"), tel)
			require.NoError(t, err)
			defer func() { require.NoError(t, d.Close()) }()
			const series = `db_client_operation_duration_seconds_count{db_operation_name="sql.conn.query",db_system_name="sqlite"}`
			count := func() int {
				n, err := strconv.Atoi(telemetrytest.Sample(tel.Metrics, series))
				require.NoError(t, err)
				return n
			}
			var one int
			require.NoError(t, d.Read().QueryRowContext(t.Context(), "SELECT 1").Scan(&one))
			before := count()
			require.Positive(t, before)
			require.NoError(t, d.Brief().QueryRowContext(t.Context(), "SELECT 1").Scan(&one))
			rows, err := d.Brief().QueryContext(t.Context(), "SELECT 1")
			require.NoError(t, err)
			require.NoError(t, rows.Close())
			require.NoError(t, rows.Err())
			require.Equal(t, before+2, count())
			require.Error(t, d.Brief().QueryRowContext(t.Context(), "SELECT nothing").Scan(&one))
			require.Equal(t, before+2, count())
			require.Contains(t, scrape(t, tel), `db_client_operation_duration_seconds_count{db_operation_name="sql.conn.query",db_system_name="sqlite",error_type="`)
		})
	}
}

func TestOpen(t *testing.T) {
	t.Parallel()
	t.Run("a password never shows in an error", func(t *testing.T) {
		t.Parallel()
		for _, dsn := range []string{
			"mysql://u:hunter2@x/y", "postgres://u:hunter2@127.0.0.1:1/x?connect_timeout=1", "postgres://u:hunter2@%zz",
			"postgres://u:hunter2@h/d?pool_max_conns=0",
		} {
			_, err := db.Open(t.Context(), dsn, nil)
			require.Error(t, err)
			require.NotContains(t, err.Error(), "hunter2")
		}
	})
	t.Run("an unreachable server is unavailable", func(t *testing.T) {
		t.Parallel()
		_, err := db.Open(t.Context(), "postgres://u@127.0.0.1:1/x", nil)
		require.Equal(t, fault.Unavailable, fault.KindOf(err))
	})
	t.Run("the file of a database is private, whatever its name", func(t *testing.T) {
		t.Parallel()
		path := t.TempDir() + "/sub/a b?c#d%20.db"
		d, err := db.Open(t.Context(), "sqlite:"+path, nil)
		require.NoError(t, err)
		migrate(t, d)
		info, err := os.Stat(path)
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
		require.NotZero(t, info.Size())
		require.NoError(t, d.Close())
	})
	t.Run("two private databases share nothing", func(t *testing.T) {
		t.Parallel()
		for range 2 {
			d, err := db.Open(t.Context(), "sqlite::memory:", nil)
			require.NoError(t, err)
			defer func() { require.NoError(t, d.Close()) }()
			migrate(t, d)
			require.NoError(t, d.Tx(t.Context(), func(ctx context.Context, tx *sql.Tx) error { return insert(ctx, tx, 1) }))
			require.Equal(t, 1, count(t, d))
			require.NoError(t, d.Ping(t.Context()))
		}
	})
}

func TestMetrics_ShowStatementsWithoutTheirValues(t *testing.T) {
	t.Parallel()
	var logs bytes.Buffer
	tel, err := telemetry.Start(t.Context(), "test", telemetry.Config{}, telemetry.WithLogWriter(&logs))
	require.NoError(t, err)
	defer func() { require.NoError(t, tel.Shutdown(t.Context())) }()
	d, err := db.Open(t.Context(), dbtest.DSN(t, "sqlite"), tel)
	require.NoError(t, err)
	defer func() { require.NoError(t, d.Close()) }()
	migrate(t, d)
	require.NoError(t, d.Tx(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "INSERT INTO item (id, name, n) VALUES ($1, $2, 0)", 1, "canary@example.com")
		return err
	}))
	page := scrape(t, tel)
	require.Contains(t, page, "db_client_operation_duration")
	require.NotContains(t, page, "canary")
	require.NotContains(t, logs.String(), "canary")
}
