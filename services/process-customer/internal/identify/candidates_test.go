package identify

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCandidates(t *testing.T) {
	t.Parallel()
	// shared has n units share k keys that nobody else has.
	shared := func(buckets map[int64][]int64, keys *[]int64, first int64, n, k int) {
		for range k {
			key := int64(len(*keys) + 1)
			*keys = append(*keys, key)
			for i := range n {
				buckets[key] = append(buckets[key], first+int64(i))
			}
		}
	}
	t.Run("those with the rarest keys come first, and the unit itself not at all", func(t *testing.T) {
		t.Parallel()
		require.Equal(t, []int64{3, 2, 4}, candidates(1, []int64{10, 11, 12}, map[int64][]int64{10: {1, 2, 3, 4}, 11: {3, 1}, 12: {1}}))
		require.Equal(t, []int64{3, 2, 4}, candidates(1, []int64{12, 11, 10}, map[int64][]int64{10: {4, 3, 2, 1}, 11: {1, 3}, 12: {1}}), "in whatever order they come")
	})
	t.Run("who shares little is compared only among the first sixteen", func(t *testing.T) {
		t.Parallel()
		var keys []int64
		buckets := map[int64][]int64{}
		shared(buckets, &keys, 100, 10, 9) // ten that share much
		shared(buckets, &keys, 200, 10, 1) // ten that share a ninth of it
		require.Len(t, candidates(1, keys, buckets), fewCandidates)
		keys, buckets = nil, map[int64][]int64{}
		shared(buckets, &keys, 100, 10, 4)
		shared(buckets, &keys, 200, 10, 1) // a quarter is enough
		require.Len(t, candidates(1, keys, buckets), 20)
	})
	t.Run("and nobody beyond the last", func(t *testing.T) {
		t.Parallel()
		var keys []int64
		buckets := map[int64][]int64{}
		shared(buckets, &keys, 100, maxCandidates+9, 1)
		require.Len(t, candidates(1, keys, buckets), maxCandidates)
	})
	t.Run("but whom a unit is known to be like, as long as they share a key", func(t *testing.T) {
		t.Parallel()
		keys, buckets := []int64{10, 11}, map[int64][]int64{10: {1, 2}, 11: {1, 3}, 12: {4}}
		require.Equal(t, []int64{2, 3}, known([]int64{2}, []int64{2, 3, 4}, keys, buckets))
		require.Equal(t, []int64{2}, known([]int64{2}, nil, keys, buckets))
	})
}
