package redisstore_test

import (
	"crypto/rand"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/selfsame-io/selfsame/pkg/db/dbtest"
	"github.com/selfsame-io/selfsame/pkg/idempotent"
	"github.com/selfsame-io/selfsame/pkg/idempotent/idempotenttest"
	"github.com/selfsame-io/selfsame/pkg/idempotent/redisstore"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var secret = []byte("0123456789abcdef")

func client(t testing.TB) *redis.Client {
	t.Helper()
	o, err := redis.ParseURL(dbtest.Redis(t))
	require.NoError(t, err)
	o.ContextTimeoutEnabled = true
	c := redis.NewClient(o)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	return c
}

func open(t testing.TB, o redisstore.Options) *redisstore.Store {
	t.Helper()
	if o.Prefix == "" {
		o.Prefix = strings.ToLower("test-"+rand.Text()) + ":"
	}
	s, closeStore, err := redisstore.Open(t.Context(), dbtest.Redis(t), secret, o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, closeStore()) })
	return s
}

func TestContract(t *testing.T) {
	t.Parallel()
	dbtest.Redis(t)
	idempotenttest.Run(t, func(t *testing.T, now func() time.Time) idempotent.Store {
		return open(t, redisstore.Options{Now: now})
	})
}
