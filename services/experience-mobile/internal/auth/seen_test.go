package auth

import (
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestSeen(t *testing.T) {
	t.Parallel()
	setup := func() (*seen, *time.Time) {
		now := time.Unix(1000, 0)
		return newSeen(func() time.Time { return now }), &now
	}
	who := Principal{Subject: "user-1", Scopes: []string{ScopeRead}}
	t.Run("an accepted token is known for a minute", func(t *testing.T) {
		t.Parallel()
		s, now := setup()
		s.add("token", who, now.Add(time.Hour))
		got, ok := s.find("token")
		require.True(t, ok)
		require.Equal(t, who, got)
		_, ok = s.find("token2")
		require.False(t, ok)
		*now = now.Add(seenFor)
		_, ok = s.find("token")
		require.True(t, ok)
		*now = now.Add(time.Second)
		_, ok = s.find("token")
		require.False(t, ok)
	})
	t.Run("no token is known after it expires", func(t *testing.T) {
		t.Parallel()
		s, now := setup()
		s.add("token", who, now.Add(10*time.Second))
		*now = now.Add(11 * time.Second)
		_, ok := s.find("token")
		require.False(t, ok)
	})
	t.Run("it does not grow without limit", func(t *testing.T) {
		t.Parallel()
		s, now := setup()
		for i := range 3 * seenMost {
			s.add(strconv.Itoa(i), who, now.Add(time.Hour))
			require.LessOrEqual(t, len(s.young)+len(s.old), seenMost)
		}
		_, ok := s.find("0")
		require.False(t, ok)
		_, ok = s.find(strconv.Itoa(3*seenMost - 1))
		require.True(t, ok)
	})
}
