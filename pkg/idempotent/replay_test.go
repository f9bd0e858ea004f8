package idempotent_test

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"os"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/pkg/db/dbtest"
	"github.com/selfsame-io/selfsame/pkg/idempotent"
)

// replayWorld is a store on PostgreSQL with finished calls in it.
type replayWorld struct {
	d      *db.DB
	dsn    string
	secret []byte
	claims []idempotent.Claim
}

func newReplayWorld(t *testing.T) *replayWorld {
	t.Helper()
	w := &replayWorld{dsn: dbtest.DSN(t, "postgres"), secret: secret}
	w.d = w.open(t, "off")
	s := w.store(t, w.d)
	for i := range 20 { // too few for autovacuum to care
		c := idempotent.Claim{
			Scope:       idempotent.Scope{Principal: "p", Method: method("Manual"), Key: fmt.Sprint("key ", i)},
			Fingerprint: []byte{2, byte(i)}, Owner: []byte("owner"), Lease: time.Minute, Retention: time.Hour,
		}
		res, err := s.Begin(t.Context(), c)
		require.NoError(t, err)
		require.NoError(t, s.Complete(t.Context(), res.Grant, idempotent.Answer{OK: true, Body: []byte("answer")}))
		w.claims = append(w.claims, c)
	}
	return w
}

// open opens the database; its transactions may be kept from writing.
func (w *replayWorld) open(t *testing.T, readOnly string) *db.DB {
	t.Helper()
	u, err := url.Parse(w.dsn)
	require.NoError(t, err)
	q := u.Query()
	q.Set("default_transaction_read_only", readOnly)
	u.RawQuery = q.Encode()
	d, err := db.Open(t.Context(), u.String(), nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, d.Close()) })
	return d
}

func (w *replayWorld) store(t *testing.T, d *db.DB) *idempotent.SQLStore {
	t.Helper()
	s, err := idempotent.NewSQLStore(d, w.secret, nil)
	require.NoError(t, err)
	return s
}

// replay asks for every answer, one after the other and all at once, in both ways in which a call asks.
func (w *replayWorld) replay(t *testing.T, s *idempotent.SQLStore) {
	t.Helper()
	errs := make(chan error)
	for _, c := range w.claims {
		ask := func() error {
			res, err := s.Begin(t.Context(), c)
			if err == nil && (res.Outcome != idempotent.Replay || string(res.Answer.Body) != "answer") {
				err = fmt.Errorf("outcome %d", res.Outcome)
			}
			return err
		}
		require.NoError(t, ask())
		go func() { errs <- ask() }()
	}
	for range w.claims {
		require.NoError(t, <-errs)
	}
}

func (w *replayWorld) text(t *testing.T, query string, args ...any) (v string) {
	t.Helper()
	require.NoError(t, w.d.Read().QueryRowContext(t.Context(), query, args...).Scan(&v))
	return v
}

// A replay costs the server a read: no lock of a row, no transaction id, nothing in its log, and so nothing to flush.
func TestSQLStore_ReplayOnPostgresLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	w := newReplayWorld(t)
	s := w.store(t, w.d)
	rows := `SELECT string_agg(xmin::text || ' ' || xmax::text || ' ' || ctid::text, ',' ORDER BY k) FROM idempotency`
	w.replay(t, s)
	before := w.text(t, rows)

	t.Run("it works in transactions that may neither write nor lock a row", func(t *testing.T) {
		readOnly := w.store(t, w.open(t, "on"))
		w.replay(t, readOnly)
		c := w.claims[0]
		c.Scope.Key = "new"
		_, err := readOnly.Begin(t.Context(), c)
		require.ErrorContains(t, err, "read-only", "a new claim does not: the server watches")
	})
	t.Run("it waits for nobody who has locked the rows", func(t *testing.T) {
		err := w.d.Tx(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
			// Nobody else may lock or change a row now.
			if _, err := tx.ExecContext(ctx, "LOCK TABLE idempotency IN EXCLUSIVE MODE"); err != nil {
				return err
			}
			w.replay(t, s)
			return nil
		})
		require.NoError(t, err)
	})
	t.Run("the log of the server does not mention its records", func(t *testing.T) { w.requireNothingLogged(t, s) })
	require.Equal(t, before, w.text(t, rows), "every row has the version, locker and place it had")
}

// requireNothingLogged looks what the server wrote to its log. Others write there too, so what counts is what it wrote
// about the table of keys and its indexes; that of another table, written last, must be among it.
func (w *replayWorld) requireNothingLogged(t *testing.T, s *idempotent.SQLStore) {
	t.Helper()
	if _, err := w.d.Exec(t.Context(), "CREATE EXTENSION IF NOT EXISTS pg_walinspect SCHEMA public"); err != nil {
		if _, again := w.d.Exec(t.Context(), "CREATE EXTENSION IF NOT EXISTS pg_walinspect SCHEMA public"); again != nil {
			if os.Getenv("CI") == "true" {
				t.Fatal("the server cannot show its log, and CI must see it (the test needs pg_walinspect and the right to create it):", err, again)
			}
			t.Skip("the server cannot show its log; that it may not write one was shown above:", err)
		}
	}
	require.NoError(t, w.d.Migrate(t.Context(), fstest.MapFS{"00001_x.sql": {Data: []byte("-- +goose Up\nCREATE TABLE marker (id BIGINT NOT NULL);")}}, "marker_migrations"))
	from := w.text(t, "SELECT pg_current_wal_insert_lsn()::text")
	for range 10 {
		w.replay(t, s)
	}
	_, err := w.d.Exec(t.Context(), "INSERT INTO marker (id) VALUES ($1)", 1) // and flushes everything before it
	require.NoError(t, err)
	mentions := func(relation string) (n int) {
		file := w.text(t, "SELECT pg_relation_filepath($1::regclass)", relation)
		require.NoError(t, w.d.Read().QueryRowContext(t.Context(),
			"SELECT count(*) FROM public.pg_get_wal_records_info($1::pg_lsn, pg_current_wal_flush_lsn()) WHERE block_ref LIKE $2",
			from, "%/"+file[strings.LastIndex(file, "/")+1:]+" %").Scan(&n))
		return n
	}
	require.Positive(t, mentions("marker"))
	for _, relation := range []string{"idempotency", "idempotency_pkey", "idempotency_ended", "idempotency_open", "idempotency_subject"} {
		require.Zero(t, mentions(relation), relation)
	}
}
