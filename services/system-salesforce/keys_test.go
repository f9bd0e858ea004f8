package systemsalesforce_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	idempotencyv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/idempotency/v1"
)

func TestKeys(t *testing.T) {
	t.Parallel()
	box := startSandbox(t)

	t.Run("operators see the keys", func(t *testing.T) {
		t.Parallel()
		s := startReady(t, config(t, box))
		got, err := idempotencyv1.NewKeysServiceClient(s.plain(t)).ListKeys(t.Context(), &idempotencyv1.ListKeysRequest{PageSize: 10})
		require.NoError(t, err)
		require.Empty(t, got.GetKeys())
	})

	t.Run("what cannot rotate or encrypt keys is refused", func(t *testing.T) {
		t.Parallel()
		cfg := config(t, box)
		require.NoError(t, cfg.Validate())
		cfg.Store.OldKeySecrets, cfg.Store.AnswerKeys, cfg.Store.KeyLease = "short", "no ring", time.Millisecond
		err := cfg.Validate()
		for _, name := range []string{"store.old_key_secrets", "store.answer_keys", "store.key_lease"} {
			require.ErrorContains(t, err, name)
		}
	})
}
