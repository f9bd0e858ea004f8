package sqlstore

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/store"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t testing.TB, d *db.DB, o Options) *Store {
	t.Helper()
	s, err := Open(t.Context(), d, o)
	require.NoError(t, err)
	return s
}

func TestContract(t *testing.T) {
	t.Parallel()
	for _, engine := range []string{"sqlite", "postgres"} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			storetest.Run(t, func(t *testing.T) store.Store { return open(t, template.Open(t, engine), Options{}) })
		})
	}
}
