package redisstore_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/idempotent"
	"github.com/selfsame-io/selfsame/pkg/idempotent/redisstore"
)

func TestStore_TheServersClockDecides(t *testing.T) {
	t.Parallel()
	s := open(t, redisstore.Options{})
	g := granted(t, s, claim("k"))
	c := claim("k")
	c.Owner = []byte("another")
	res, err := s.Begin(t.Context(), c)
	require.NoError(t, err)
	require.Equal(t, idempotent.InProgress, res.Outcome)
	require.InDelta(t, time.Minute, res.Remaining, float64(10*time.Second))
	require.WithinDuration(t, time.Now(), res.At, time.Minute)
	require.NoError(t, s.Heartbeat(t.Context(), g, 0))
	res, err = s.Begin(t.Context(), c)
	require.NoError(t, err)
	require.Equal(t, int64(2), res.Grant.Fence)
	require.True(t, res.Grant.Recovery)
	require.NoError(t, s.Complete(t.Context(), res.Grant, idempotent.Answer{OK: true, Body: []byte("x")}))
	stats, err := s.Stats(t.Context())
	require.NoError(t, err)
	require.Equal(t, int64(1), stats.Records)
}

func TestStore_TwoServicesShareAServer(t *testing.T) {
	t.Parallel()
	a, b := open(t, redisstore.Options{}), open(t, redisstore.Options{})
	granted(t, a, claim("k"))
	granted(t, b, claim("k"))
	page, err := a.List(t.Context(), idempotent.Filter{})
	require.NoError(t, err)
	require.Len(t, page.Entries, 1)
}
