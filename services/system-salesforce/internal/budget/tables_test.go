package budget_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/pkg/db/dbtest"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/budget"
)

// TestTables has the documentation say what bounds each table.
func TestTables(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		_, err := budget.OpenStore(t.Context(), d, "org", budget.Config{})
		require.NoError(t, err)
		dbtest.Bounded(t, d, "../../../../docs/reference/tables.md", "system-salesforce: the API allowance")
	})
}
