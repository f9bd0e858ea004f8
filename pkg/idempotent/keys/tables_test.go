package keys_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/pkg/db/dbtest"
	"github.com/selfsame-io/selfsame/pkg/idempotent/keys"
)

// TestTables has the documentation say what bounds each table.
func TestTables(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		_, err := keys.OpenLog(t.Context(), d, time.Now)
		require.NoError(t, err)
		dbtest.Bounded(t, d, "../../../docs/reference/tables.md", "Interventions")
	})
}
