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

func TestTx_PostgresIsMeasuredWithAndWithoutSpans(t *testing.T) {
	t.Parallel()
	for name, options := range map[string][]telemetry.Option{"without spans": nil, "with spans": {telemetry.WithSpanExporter(tracetest.NewInMemoryExporter())}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dsn := dbtest.DSN(t, "postgres")
			tel, err := telemetry.Start(t.Context(), "test", telemetry.Config{LogLevel: "error"}, options...)
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, tel.Shutdown(context.WithoutCancel(t.Context()))) })
			d, err := db.Open(t.Context(), dsn, tel)
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, d.Close()) })
			migrate(t, d)
			execs, badExecs := counted(t, tel, "sql.conn.exec")
			queries, _ := counted(t, tel, "sql.conn.query")
			commits, _ := counted(t, tel, "sql.tx.commit")
			insertRead := func(ctx context.Context, tx *sql.Tx) error {
				if err := insert(ctx, tx, 1); err != nil {
					return err
				}
				var n int
				return tx.QueryRowContext(ctx, "SELECT count(*) FROM item WHERE id = $1", 1).Scan(&n)
			}
			require.NoError(t, d.Tx(t.Context(), insertRead))
			require.Error(t, d.Tx(t.Context(), insertRead))
			gotExecs, gotBad := counted(t, tel, "sql.conn.exec")
			gotQueries, _ := counted(t, tel, "sql.conn.query")
			gotCommits, _ := counted(t, tel, "sql.tx.commit")
			require.Equal(t, execs+2, gotExecs)
			require.Equal(t, badExecs+1, gotBad)
			require.Equal(t, queries+1, gotQueries)
			require.Equal(t, commits+1, gotCommits)
		})
	}
}
