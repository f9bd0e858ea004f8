package replay

import (
	"encoding/hex"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/selfsame-io/selfsame/pkg/db/dbtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func slot(parts ...string) Slot {
	var raw [][]byte
	for _, p := range parts {
		raw = append(raw, []byte(p))
	}
	return NewSlot(raw...)
}

func TestSlots(t *testing.T) {
	t.Parallel()
	same := slot("a", "b")
	require.Equal(t, same, slot("a", "b"))
	for _, other := range []Slot{slot("ab"), slot("a", "b", ""), slot("", "a", "b"), slot("b", "a"), slot("a", "c")} {
		require.NotEqual(t, slot("a", "b").Name, other.Name)
	}
	sealed, err := slot("a").close([]byte("secret answer"))
	require.NoError(t, err)
	require.NotContains(t, string(sealed), "secret")
	value, err := slot("a").open(sealed)
	require.NoError(t, err)
	require.Equal(t, "secret answer", string(value))
	_, err = slot("b").open(sealed)
	require.ErrorIs(t, err, errSealed)
	sealed[len(sealed)-1]++
	_, err = slot("a").open(sealed)
	require.ErrorIs(t, err, errSealed)
	_, err = slot("a").open([]byte("x"))
	require.ErrorIs(t, err, errSealed)
}

// Replicas of two releases share one Redis, so neither the name nor the seal may change by themselves.
func TestSlots_AreThoseOfTheReleaseBefore(t *testing.T) {
	t.Parallel()
	s := slot("a", "b")
	require.Equal(t, "ec243ad860ad0b7021942713859306c6a07668404a3024ac718d79258b67199a", hex.EncodeToString(s.Name[:]))
	const nonce, sealed = "000000000000000000000000", "c6d10ee8580e45efd6fba82f9fc7def28b5795c1a7ba"
	kept, err := hex.DecodeString(nonce + sealed)
	require.NoError(t, err)
	value, err := s.open(kept)
	require.NoError(t, err)
	require.Equal(t, "answer", string(value))
}

func TestMemory(t *testing.T) {
	t.Parallel()
	now := time.Unix(1000, 0)
	m := NewMemory(1000, func() time.Time { return now })
	store(t, m)
	require.NoError(t, m.Put(t.Context(), slot("short"), []byte("x"), time.Minute))
	now = now.Add(time.Minute)
	_, ok, err := m.Get(t.Context(), slot("short"))
	require.NoError(t, err)
	require.False(t, ok, "it is not kept longer than asked")
	for i := range 1000 {
		require.NoError(t, m.Put(t.Context(), slot(strconv.Itoa(i)), make([]byte, 100), time.Hour))
		held := 0
		for _, e := range m.young {
			held += len(e.value)
		}
		for _, e := range m.old {
			held += len(e.value)
		}
		require.LessOrEqual(t, held, 1000)
	}
	require.NoError(t, m.Put(t.Context(), slot("large"), make([]byte, 600), time.Hour))
	_, ok, err = m.Get(t.Context(), slot("large"))
	require.NoError(t, err)
	require.False(t, ok)
}

func TestRedis(t *testing.T) {
	t.Parallel()
	url := dbtest.Redis(t)
	r, err := OpenRedis(url)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, r.Close()) })
	store(t, r)
	another, err := OpenRedis(url)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, another.Close()) })
	mine := slot("replicas", t.Name(), strconv.FormatInt(time.Now().UnixNano(), 10))
	put(t, r, mine, "seen by all")
	value, ok, err := another.Get(t.Context(), mine)
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, "seen by all", string(value))
	raw, err := r.client.Get(t.Context(), redisKey(mine)).Bytes()
	require.NoError(t, err)
	require.NotContains(t, string(raw), "seen", "who reads Redis reads no answer")
	require.NoError(t, r.client.Set(t.Context(), redisKey(mine), "tampered with, at length", time.Minute).Err())
	_, ok, err = r.Get(t.Context(), mine)
	require.ErrorIs(t, err, errSealed)
	require.False(t, ok)
}

// put tries until the server has answered in time once: it may be busy with other tests.
func put(t *testing.T, s Store, at Slot, value string) {
	t.Helper()
	require.Eventually(t, func() bool { return s.Put(t.Context(), at, []byte(value), time.Minute) == nil }, 30*time.Second, time.Millisecond)
}

func store(t *testing.T, s Store) {
	t.Helper()
	unique := strconv.FormatInt(time.Now().UnixNano(), 10)
	var got []byte
	var ok bool
	read := func(at Slot) {
		require.Eventually(t, func() (done bool) {
			var err error
			got, ok, err = s.Get(t.Context(), at)
			return err == nil
		}, 30*time.Second, time.Millisecond)
	}
	read(slot(unique))
	require.False(t, ok)
	put(t, s, slot(unique), "answer")
	read(slot(unique))
	require.True(t, ok)
	require.Equal(t, "answer", string(got))
	put(t, s, slot(unique), "later answer")
	read(slot(unique))
	require.Equal(t, "later answer", string(got))
	read(slot(unique, ""))
	require.False(t, ok)
}

func TestRedisIsDown(t *testing.T) {
	t.Parallel()
	_, err := OpenRedis("http://user:secret@host")
	require.Error(t, err)
	require.NotContains(t, err.Error(), "secret")
	r, err := OpenRedis("redis://127.0.0.1:1/0")
	require.NoError(t, err, "a server that is down costs hits, not the start")
	t.Cleanup(func() { require.NoError(t, r.Close()) })
	_, ok, err := r.Get(t.Context(), slot("x"))
	require.Error(t, err)
	require.False(t, ok)
	require.NotErrorIs(t, err, redis.Nil)
	require.Error(t, r.Put(t.Context(), slot("x"), nil, time.Minute))
}
