package idempotent

import (
	"io/fs"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/pkg/db/dbtest"
)

// earlier are the migrations that both engines share, oldest first; each was the last one of a release.
var earlier = []string{"00001_idempotency.sql", "00002_operators.sql", "00003_earlier_attempts.sql", "00004_purge.sql"}

// release returns the first n of the earlier migrations.
func release(t *testing.T, n int) fstest.MapFS {
	t.Helper()
	out := fstest.MapFS{}
	for _, name := range earlier[:n] {
		text, err := migrations.ReadFile("migrations/" + name)
		require.NoError(t, err)
		out[name] = &fstest.MapFile{Data: text}
	}
	return out
}

// TestMigrate brings the tables of earlier releases up to date: what was answered is answered again, what was in doubt still is, and
// the store can be worked with.
func TestMigrate(t *testing.T) {
	t.Parallel()
	from := 1
	if testing.Short() {
		from = len(earlier)
	}
	for n := from; n <= len(earlier); n++ {
		before := release(t, n)
		t.Run("from "+earlier[n-1], func(t *testing.T) {
			t.Parallel()
			dbtest.Each(t, func(t *testing.T, d *db.DB) {
				require.NoError(t, d.Migrate(t.Context(), before, migrationTable))
				fill(t, d)
				stillAnswered(t, d)
			})
		})
	}
}

// TestMigrateRows has rows in every table, as soon as there is one, while the migrations after it run.
func TestMigrateRows(t *testing.T) {
	t.Parallel()
	files, err := fs.Sub(migrations, "migrations")
	require.NoError(t, err)
	dbtest.Migrations{
		Files: files, Table: migrationTable, Seed: fill, Works: stillAnswered,
		Values: map[string][]any{"idempotency.state": {"c", "d", "r", "u", "t"}, "idempotency.answer": {nil, []byte("answer"), nil, nil, nil}},
	}.Test(t)
}

var migrateSecret = []byte("0123456789abcdef")

func migrateClaim(key string) Claim {
	return Claim{Scope: Scope{Method: "/m", Key: key}, Fingerprint: []byte("f"), Owner: []byte("later"), Lease: time.Minute, Retention: time.Hour}
}

func fill(t *testing.T, d *db.DB) {
	t.Helper()
	now := time.Now()
	for key, row := range map[string]struct {
		state  string
		answer []byte
	}{"done": {"d", []byte("answer")}, "in doubt": {"u", nil}, "forgotten": {"t", nil}, "vanished": {"c", nil}} {
		k := migrateClaim(key).Scope.Digest(migrateSecret)
		_, err := d.Exec(t.Context(), `INSERT INTO idempotency (k, fp, state, fence, owner, recoverable, lease_until, expires_at, answer_ok, answer, resource, trace)
			VALUES ($1, $2, $3, 1, $4, TRUE, $5, $6, TRUE, $7, 'customers/1', '')`,
			k[:], []byte("f"), row.state, []byte("earlier"), now.Add(-time.Minute).UnixMicro(), now.Add(24*time.Hour).UnixMicro(), row.answer)
		require.NoError(t, err)
	}
}

// stillAnswered checks that what was answered is answered again, what was in doubt still is, and the store can be worked with.
func stillAnswered(t *testing.T, d *db.DB) {
	t.Helper()
	for range 2 { // a second replica finds nothing to do
		s, err := NewSQLStore(d, migrateSecret, nil)
		require.NoError(t, err)
		res, err := s.Begin(t.Context(), migrateClaim("done"))
		require.NoError(t, err)
		require.Equal(t, Replay, res.Outcome)
		require.Equal(t, Answer{OK: true, Body: []byte("answer"), Resource: "customers/1"}, res.Answer)
		other := migrateClaim("done")
		other.Fingerprint = []byte("g")
		res, err = s.Begin(t.Context(), other)
		require.NoError(t, err)
		require.Equal(t, Mismatch, res.Outcome)
		res, err = s.Begin(t.Context(), migrateClaim("in doubt"))
		require.NoError(t, err)
		require.Equal(t, InDoubt, res.Outcome)
		res, err = s.Begin(t.Context(), migrateClaim("forgotten"))
		require.NoError(t, err)
		require.Equal(t, Gone, res.Outcome)
	}
	s, err := NewSQLStore(d, migrateSecret, nil)
	require.NoError(t, err)
	if d.Engine() == db.PostgreSQL {
		var checks int
		require.NoError(t, d.Read().QueryRowContext(t.Context(), "SELECT count(*) FROM pg_constraint WHERE conrelid = 'idempotency'::regclass AND contype = 'c'").Scan(&checks))
		require.Zero(t, checks, "each would be compiled for each statement")
	}
	again := migrateClaim("vanished")
	again.Takeover = true
	for key, c := range map[string]Claim{"taken over": again, "new": migrateClaim("new")} {
		res, err := s.Begin(t.Context(), c)
		require.NoError(t, err)
		require.Equal(t, Granted, res.Outcome, key)
		require.NoError(t, s.Step(t.Context(), res.Grant, "first", []byte("1")))
		require.NoError(t, s.Complete(t.Context(), res.Grant, Answer{OK: true, Body: []byte(key)}))
		res, err = s.Begin(t.Context(), c)
		require.NoError(t, err)
		require.Equal(t, Replay, res.Outcome)
		require.Equal(t, key, string(res.Answer.Body))
	}
}
