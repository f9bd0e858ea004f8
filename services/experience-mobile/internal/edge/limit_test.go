package edge

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestQuota(t *testing.T) {
	t.Parallel()
	now := time.Unix(1000, 0)
	q := newQuota(5, 10, func() time.Time { return now })
	took := func(caller string, n int) int {
		allowed := 0
		for range n {
			if q.take(caller) == 0 {
				allowed++
			}
		}
		return allowed
	}
	require.Equal(t, 10, took("a", 100), "twice the rate at once")
	require.Equal(t, 10, took("b", 100), "another caller is not affected")
	now = now.Add(time.Second)
	require.Equal(t, 5, took("a", 100))
	now = now.Add(time.Hour)
	require.Equal(t, 10, took("a", 100))
	for i := range maxBuckets {
		require.Zero(t, q.take(fmt.Sprint(i)))
		now = now.Add(time.Second)
	}
	require.LessOrEqual(t, len(q.buckets), maxBuckets, "callers that come once are forgotten")
	require.Equal(t, 50, func() int { q = newQuota(0, 0, nil); return took("a", 50) }(), "no limit")
}

func TestPublishedKeyFormat(t *testing.T) {
	t.Parallel()
	for _, bare := range []string{"0123456789abcdef", "urn:uuid:8e03978e-40d5-43e8-bc93-6894a57f9324", "A.b_c~d:e+f/g=h-ijkl"} {
		require.True(t, published(bare, []string{bare}), bare)
	}
	for _, bare := range []string{"", "0123456789abcde", "{tag}0123456789abcdef", "0123456789abcdef!", "?1"} {
		require.False(t, published(bare, []string{bare}), bare)
		if len(bare) >= minKey {
			require.True(t, published(bare, []string{` "` + bare + `"`}), "quoted, anything visible goes")
		}
	}
}
