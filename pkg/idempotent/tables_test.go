package idempotent_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/pkg/db/dbtest"
	"github.com/selfsame-io/selfsame/pkg/idempotent"
)

// TestTables has the documentation say what bounds each table.
func TestTables(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		_, err := idempotent.NewSQLStore(d, make([]byte, 16), nil)
		require.NoError(t, err)
		dbtest.Bounded(t, d, "../../docs/reference/tables.md", "Idempotency keys")
	})
}
