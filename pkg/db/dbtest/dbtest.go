// Package dbtest gives a test a fresh database of either engine.
//
// SQLite always runs. PostgreSQL runs when SELFSAME_TEST_POSTGRES holds the URL of a server whose user may create
// schemas; every test gets its own schema, so tests run in parallel on one server. Without it the PostgreSQL tests
// are skipped, or fail when CI=true, so that a pipeline cannot forget them.
package dbtest

import (
	"context"
	"crypto/rand"
	"database/sql"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the connection that makes and drops schemas
	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/pkg/telemetry"
)

// PostgresEnv names the environment variable with the URL of the PostgreSQL server to test with.
const PostgresEnv = "SELFSAME_TEST_POSTGRES"

// Each runs fn as a parallel subtest on a fresh database of each engine and closes it afterwards.
func Each(t *testing.T, fn func(t *testing.T, d *db.DB)) {
	t.Helper()
	each(t, Open, fn)
}

func each(t *testing.T, open func(testing.TB, string) *db.DB, fn func(t *testing.T, d *db.DB)) {
	t.Helper()
	for _, engine := range []string{"sqlite", "postgres"} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			fn(t, open(t, engine))
		})
	}
}

// Open returns a fresh database of the engine, "sqlite" or "postgres", that is closed when the test ends.
func Open(t testing.TB, engine string) *db.DB {
	t.Helper()
	return open(t, DSN(t, engine))
}

func open(t testing.TB, dsn string) *db.DB {
	t.Helper()
	d, err := db.Open(t.Context(), dsn, telemetry.Discard())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, d.Close()) })
	return d
}

// DSN returns the name of a fresh database of the engine; it is gone when the test ends. Opening it twice gives
// two replicas of one service.
func DSN(t testing.TB, engine string) string {
	t.Helper()
	switch engine {
	case "sqlite":
		return "sqlite:" + filepath.Join(t.TempDir(), "test.db")
	case "postgres":
		return schema(t)
	default:
		t.Fatalf("dbtest: unknown engine %q", engine)
		return ""
	}
}

func schema(t testing.TB) string {
	t.Helper()
	base := os.Getenv(PostgresEnv)
	if base == "" {
		if os.Getenv("CI") == "true" {
			t.Fatalf("%s is not set, and CI must test PostgreSQL", PostgresEnv)
		}
		t.Skipf("%s is not set", PostgresEnv)
	}
	u, err := url.Parse(base)
	require.NoError(t, err)
	name := "t_" + strings.ToLower(rand.Text()[:16])
	run := func(statement string) {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
		defer cancel()
		admin, err := sql.Open("pgx", base)
		require.NoError(t, err)
		defer admin.Close()
		_, err = admin.ExecContext(ctx, statement)
		require.NoError(t, err)
	}
	run("CREATE SCHEMA " + name)
	t.Cleanup(func() { run("DROP SCHEMA " + name + " CASCADE") })
	q := u.Query()
	q.Set("search_path", name)
	q.Set("connect_timeout", "60") // a server that works for many tests at once is slow to let the next one in
	u.RawQuery = q.Encode()
	return u.String()
}

// Steps returns the names of the steps that SQLite takes for a statement, which is not run; there is at least one.
func Steps(t testing.TB, d *db.DB, text string, args ...any) []string {
	t.Helper()
	rows, err := d.Read().QueryContext(t.Context(), "EXPLAIN "+text, args...)
	require.NoError(t, err)
	defer rows.Close()
	var steps []string
	for rows.Next() {
		var step string
		var other [7]any
		require.NoError(t, rows.Scan(&other[0], &step, &other[1], &other[2], &other[3], &other[4], &other[5], &other[6]))
		steps = append(steps, step)
	}
	require.NoError(t, rows.Err())
	require.NotEmpty(t, steps)
	return steps
}
