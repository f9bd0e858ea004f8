package store_test

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/pkg/db/dbtest"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store/storetest"
)

// TestTables has the documentation say what bounds each table.
func TestTables(t *testing.T) {
	t.Parallel()
	storetest.Schema.Each(t, func(t *testing.T, d *db.DB) {
		_, err := store.Open(t.Context(), d)
		require.NoError(t, err)
		dbtest.Bounded(t, d, "../../../../docs/reference/tables.md", "process-customer")
	})
}

// TestResetLeases fails for a table with leases that a process which is started on SQLite would have to wait for.
func TestResetLeases(t *testing.T) {
	t.Parallel()
	d := storetest.Schema.Open(t, "sqlite")
	s, err := store.Open(t.Context(), d)
	require.NoError(t, err)
	var said strings.Builder
	listening := s.Through(func(_ context.Context, text string, args []any) (string, []any, error) {
		said.WriteString(text + "\n")
		return text, args, nil
	})
	require.NoError(t, listening.Tx(t.Context(), func(ctx context.Context, tx *store.Tx) error { return tx.ResetLeases(ctx) }))
	leased := 0
	for _, table := range dbtest.Tables(t, d) {
		var has bool
		require.NoError(t, d.Read().QueryRowContext(t.Context(), "SELECT count(*) > 0 FROM pragma_table_info($1) WHERE name = 'lease_until_us'", table).Scan(&has))
		if has {
			leased++
			require.Contains(t, said.String(), "UPDATE "+table+" SET lease_until_us = 0")
		}
	}
	require.Positive(t, leased)
}
