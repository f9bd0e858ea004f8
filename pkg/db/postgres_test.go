package db_test

import (
	"context"
	"database/sql"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/db/dbtest"
)

func TestLock_PlansAnew(t *testing.T) {
	t.Parallel()
	d := dbtest.Open(t, "postgres")
	mode := func(tx *sql.Tx) (out string) {
		require.NoError(t, tx.QueryRowContext(t.Context(), "SHOW plan_cache_mode").Scan(&out))
		return out
	}
	for range 2 { // the second transaction has the connection of the first
		require.NoError(t, d.Tx(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
			require.Equal(t, "auto", mode(tx))
			require.NoError(t, d.Lock(ctx, tx, "x"))
			require.Equal(t, "force_custom_plan", mode(tx))
			return nil
		}))
	}
}
