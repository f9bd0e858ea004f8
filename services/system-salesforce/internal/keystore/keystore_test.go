package keystore

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/pkg/db/dbtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestSecret(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		first, err := ownSecret(t.Context(), d)
		require.NoError(t, err)
		require.Len(t, first, 32)
		again, err := ownSecret(t.Context(), d)
		require.NoError(t, err)
		require.Equal(t, first, again, "replicas and later processes find the same one")
		store, err := Open(t.Context(), d, nil)
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		require.NoError(t, Forget(ctx, store, slog.New(slog.DiscardHandler)), "it ends with its context")
		_, err = Open(t.Context(), d, []byte("short"))
		require.Error(t, err)
	})
}
