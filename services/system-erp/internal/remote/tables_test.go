package remote_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/pkg/db/dbtest"
	adapter "github.com/selfsame-io/selfsame/services/system-erp/internal/remote"
)

// TestTables has the documentation say what bounds each table.
func TestTables(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		_, err := adapter.Open(t.Context(), d, newLedger(), adapter.Options{})
		require.NoError(t, err)
		dbtest.Bounded(t, d, "../../../../docs/reference/tables.md", "system-erp: the embedded back end", "system-erp: a foreign ERP")
	})
}
