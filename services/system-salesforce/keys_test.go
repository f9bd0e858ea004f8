package systemsalesforce_test

import (
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/serve"
	idempotencyv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/idempotency/v1"
)

// reachable is a listener that claims to be reachable from other machines, as 0.0.0.0 is.
type reachable struct{ net.Listener }

func (reachable) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4zero, Port: 9} }

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

	t.Run("nobody else does", func(t *testing.T) {
		t.Parallel()
		ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
		require.NoError(t, err)
		cfg := config(t, box)
		cfg.Listener = reachable{ln}
		startService(t, cfg)
		conn, err := serve.Dial(ln.Addr().String(), serve.ClientOptions{CallerName: "ops"})
		require.NoError(t, err)
		defer func() { require.NoError(t, conn.Close()) }()
		_, err = idempotencyv1.NewKeysServiceClient(conn).ListKeys(t.Context(), &idempotencyv1.ListKeysRequest{})
		require.Equal(t, serve.ReasonOperatorRequired, fault.ReasonOf(err))
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
