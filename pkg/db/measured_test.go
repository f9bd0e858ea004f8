package db_test

import (
	"context"
	"database/sql"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/pkg/db/dbtest"
	"github.com/selfsame-io/selfsame/pkg/telemetry"
)

func TestTx_StatementsAreMeasuredWithAndWithoutSpans(t *testing.T) {
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
			migrate(t, d)
			count := func(method string) int {
				all, failed := counted(t, tel, method)
				return all - failed
			}
			// The first one asks for more than the others.
			require.NoError(t, d.Tx(t.Context(), func(ctx context.Context, tx *sql.Tx) error { return insert(ctx, tx, 0) }))
			execs, queries, commits := count("sql.conn.exec"), count("sql.conn.query"), count("sql.tx.commit")
			require.NoError(t, d.Tx(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
				if err := insert(ctx, tx, 1); err != nil {
					return err
				}
				var n int
				if err := tx.QueryRowContext(ctx, "SELECT count(*) FROM item").Scan(&n); err != nil {
					return err
				}
				return d.Last(ctx, tx, nil, "DELETE FROM item WHERE id = $1", "nobody")
			}))
			require.Equal(t, execs+2, count("sql.conn.exec"))
			require.Equal(t, queries+1, count("sql.conn.query"))
			require.Equal(t, commits+1, count("sql.tx.commit"))
			require.Error(t, d.Tx(t.Context(), func(ctx context.Context, tx *sql.Tx) error { return insert(ctx, tx, 1) }))
			require.Equal(t, execs+2, count("sql.conn.exec"))
			require.Contains(t, scrape(t, tel), `db_client_operation_duration_seconds_count{db_operation_name="sql.conn.exec",db_system_name="sqlite",error_type="`)
		})
	}
}

func TestTx_AsksOnceHowDurableItIs(t *testing.T) {
	t.Parallel()
	for name, dsn := range map[string]string{"file": dbtest.DSN(t, "sqlite"), "private": "sqlite::memory:"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tel, err := telemetry.Start(t.Context(), "test", telemetry.Config{LogLevel: "error"})
			require.NoError(t, err)
			defer func() { require.NoError(t, tel.Shutdown(t.Context())) }()
			d, err := db.Open(t.Context(), dsn, tel)
			require.NoError(t, err)
			defer func() { require.NoError(t, d.Close()) }()
			migrate(t, d)
			asked := func() int {
				require.NoError(t, d.Tx(t.Context(), func(context.Context, *sql.Tx) error { return nil }))
				n, _ := counted(t, tel, "sql.conn.query")
				return n
			}
			first := asked()
			require.Equal(t, first, asked())
		})
	}
}
