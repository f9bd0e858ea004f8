package store_test

import (
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
