package db_test

import (
	"context"
	"database/sql"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/pkg/db/dbtest"
	"github.com/selfsame-io/selfsame/pkg/telemetry"
)

func scrape(t *testing.T, tel *telemetry.Telemetry) string {
	t.Helper()
	rec := httptest.NewRecorder()
	tel.Metrics.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	require.Equal(t, http.StatusOK, rec.Code)
	return rec.Body.String()
}

// counted returns how many operations were measured, and how many of those failed.
func counted(t *testing.T, tel *telemetry.Telemetry, operation string) (all, failed int) {
	t.Helper()
	for line := range strings.Lines(scrape(t, tel)) {
		if !strings.HasPrefix(line, "db_client_operation_duration_seconds_count{") || !strings.Contains(line, `db_operation_name="`+operation+`"`) {
			continue
		}
		var n int
		_, err := fmt.Sscan(line[strings.LastIndexByte(strings.TrimSpace(line), ' '):], &n)
		require.NoError(t, err)
		all += n
		if strings.Contains(line, "error_type=") {
			failed += n
		}
	}
	return all, failed
}

// BenchmarkSQLite compares the group commit with one transaction per caller, 64 callers each, synchronous=FULL.
func BenchmarkSQLite(b *testing.B) {
	var id atomic.Int64
	b.Run("group", func(b *testing.B) {
		d := dbtest.Open(b, "sqlite")
		migrate(b, d)
		b.SetParallelism(32)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if err := d.Tx(b.Context(), func(ctx context.Context, tx *sql.Tx) error { return insert(ctx, tx, int(id.Add(1))) }); err != nil {
					b.Error(err)
				}
			}
		})
	})
	b.Run("naive", func(b *testing.B) {
		dsn := dbtest.DSN(b, "sqlite")
		d, err := db.Open(b.Context(), dsn, nil)
		require.NoError(b, err)
		migrate(b, d)
		require.NoError(b, d.Close())
		naive, err := sql.Open("sqlite", "file:"+dsn[len("sqlite:"):]+
			"?_txlock=immediate&_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)")
		require.NoError(b, err)
		defer naive.Close()
		naive.SetMaxOpenConns(8)
		b.SetParallelism(32)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				tx, err := naive.BeginTx(b.Context(), nil)
				if err == nil {
					err = insert(b.Context(), tx, int(id.Add(1)))
				}
				if err == nil {
					err = tx.Commit()
				}
				if err != nil {
					b.Error(err)
				}
			}
		})
	})
}

func ExampleDB_Tx() {
	ctx := context.Background()
	d, err := db.Open(ctx, "sqlite::memory:", telemetry.Discard())
	if err != nil {
		panic(err)
	}
	defer d.Close()
	if err := d.Migrate(ctx, schema, "item_migrations"); err != nil {
		panic(err)
	}
	err = d.Tx(ctx, func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "INSERT INTO item (id, name, n) VALUES ($1, $2, $3)", 1, "first", 0)
		return err
	})
	var name string
	fmt.Println(err, d.Read().QueryRowContext(ctx, "SELECT name FROM item WHERE id = $1", 1).Scan(&name), name)
	// Output: <nil> <nil> first
}
