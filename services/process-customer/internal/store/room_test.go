package store_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store/storetest"
)

func TestLeaveRoom(t *testing.T) {
	t.Parallel()
	d := storetest.Schema.Open(t, "postgres")
	_, err := store.Open(t.Context(), d)
	require.NoError(t, err)
	options := func(table string) (out string) {
		require.NoError(t, d.Read().QueryRowContext(t.Context(), "SELECT CAST(reloptions AS TEXT) FROM pg_class WHERE relname = $1 AND relnamespace = CAST(current_schema() AS regnamespace)", table).Scan(&out))
		return out
	}
	require.Equal(t, "{fillfactor=80}", options("golden"))
	_, err = d.Exec(t.Context(), "ALTER TABLE golden SET (fillfactor = 60)")
	require.NoError(t, err)
	_, err = store.Open(t.Context(), d)
	require.NoError(t, err)
	require.Equal(t, "{fillfactor=60}", options("golden"), "somebody has chosen so")
	require.Equal(t, "{fillfactor=80}", options("pending"))
}
