package keystore

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/pkg/db/dbtest"
)

// TestTables has the documentation say what bounds each table.
func TestTables(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		_, err := Open(t.Context(), d, nil)
		require.NoError(t, err)
		dbtest.Bounded(t, d, "../../../../docs/reference/tables.md", "Idempotency keys", "system-salesforce: the key secret")
	})
}
