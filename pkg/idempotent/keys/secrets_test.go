package keys_test

import (
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/selfsame-io/selfsame/pkg/idempotent"
	"github.com/selfsame-io/selfsame/pkg/idempotent/keys"
)

func TestParseRing(t *testing.T) {
	t.Parallel()
	good := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("k", 32)))
	ring, err := keys.ParseRing("new:" + good + ", old:" + good)
	require.NoError(t, err)
	require.NotNil(t, ring)
	ring, err = keys.ParseRing("")
	require.NoError(t, err)
	require.Nil(t, ring)
	for _, bad := range []string{good, "id:", ":" + good, "id:c2hvcnQ=", "id:" + good + ",", "id:" + good + ",id:" + good, "id:not base64 at all"} {
		_, err := keys.ParseRing(bad)
		require.Error(t, err, bad)
		require.NotContains(t, err.Error(), good, "a secret is not repeated")
	}
}

func TestParseSecrets(t *testing.T) {
	t.Parallel()
	got, err := keys.ParseSecrets("0123456789abcdef,fedcba9876543210")
	require.NoError(t, err)
	require.Len(t, got, 2)
	_, err = keys.ParseSecrets("short")
	require.Error(t, err)
	got, err = keys.ParseSecrets("")
	require.NoError(t, err)
	require.Empty(t, got)
}

func TestCheck(t *testing.T) {
	t.Parallel()
	store := idempotent.NewMemoryStore(time.Now)
	require.NoError(t, keys.Check(store, func(r grpc.ServiceRegistrar) {
		grpc_health_v1.RegisterHealthServer(r, grpc_health_v1.UnimplementedHealthServer{})
	}), "gRPC's own services have no policies")
	require.NoError(t, keys.Check(store, setup(t, "sqlite").Register), "its own service has")
}
