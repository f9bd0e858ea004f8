package match

import (
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestEncode(t *testing.T) {
	t.Parallel()
	x, records, _ := trained(t, 60)
	t.Run("what was stored is compared as what was prepared", func(t *testing.T) {
		t.Parallel()
		for i, r := range records {
			p := x.Prepare(r)
			b := x.Encode(p)
			back, err := x.Decode(b)
			require.NoError(t, err)
			require.Equal(t, b, x.Encode(back))
			require.Equal(t, x.Keys(p), x.Keys(back))
			other := x.Prepare(records[(i*7+1)%len(records)])
			require.Equal(t, x.Score(p, other), x.Score(back, other))
		}
	})
	t.Run("what is not a record is refused", func(t *testing.T) {
		t.Parallel()
		b := x.Encode(x.Prepare(records[0]))
		for n := range len(b) {
			_, err := x.Decode(b[:n])
			require.ErrorIs(t, err, errEncoded, "%d of %d bytes", n, len(b))
		}
		_, err := x.Decode(append(slices.Clone(b), 0))
		require.ErrorIs(t, err, errEncoded)
		huge := slices.Clone(b)
		huge[2], huge[3] = 0xff, 0xff // a length beyond the end
		_, err = x.Decode(huge)
		require.ErrorIs(t, err, errEncoded)
	})
	t.Run("a model is known by its content", func(t *testing.T) {
		t.Parallel()
		m := x.Model()
		first, err := m.Digest()
		require.NoError(t, err)
		again, err := m.Digest()
		require.NoError(t, err)
		require.Equal(t, first, again)
		m.Bands.Auto = 0.9991
		other, err := m.Digest()
		require.NoError(t, err)
		require.NotEqual(t, first, other)
	})
}

func TestCluster_WordsOutrankScores(t *testing.T) {
	t.Parallel()
	veto := func(pairs ...[2]int32) func(a, b int32) Score {
		return func(a, b int32) Score {
			if slices.Contains(pairs, [2]int32{min(a, b), max(a, b)}) {
				return Score{Veto: VetoIDs}
			}
			return Score{}
		}
	}
	held := func(a, b int32) Score { return Score{Bits: 1, Held: a+b == 1} }
	less := func(a, b int32) int { return int(a - b) }
	word := math.Inf(1)
	for name, c := range map[string]struct {
		edges   []Edge
		joining Joining
		want    [][]int32
	}{
		"a word joins what a veto forbids": {
			[]Edge{{0, 1, word}}, Joining{Pair: veto([2]int32{0, 1})}, [][]int32{{0, 1}},
		},
		"and what is joined by it has its vetoes": {
			[]Edge{{0, 1, word}, {1, 2, 20}}, Joining{Pair: veto([2]int32{0, 2})}, [][]int32{{0, 1}},
		},
		"what is not allowed is not joined by a word": {
			[]Edge{{0, 1, word}, {1, 2, 9}},
			Joining{Pair: veto(), Allowed: func(a, b []int32) bool { return !slices.Contains(append(slices.Clone(a), b...), 0) }},
			[][]int32{{1, 2}},
		},
		"what does not fit is joined by a word alone": {
			[]Edge{{0, 1, 20}, {1, 2, word}}, Joining{Pair: veto(), Fits: func(_, _ []int32) bool { return false }}, [][]int32{{1, 2}},
		},
		"what is left to a person is not joined through a third record": {
			[]Edge{{0, 2, 17}, {1, 2, 16}, {0, 1, 1}}, Joining{Limit: 4, Pair: held}, [][]int32{{0, 2}},
		},
		"nor when the two were never looked at": {
			[]Edge{{0, 2, 17}, {1, 2, 16}}, Joining{Limit: 4, Pair: held}, [][]int32{{0, 2}},
		},
		"nor by a score that would be enough": {
			[]Edge{{0, 1, 5}}, Joining{Limit: 1, Pair: held}, nil,
		},
		"but by a word": {
			[]Edge{{0, 2, 17}, {1, 2, word}, {0, 1, 1}}, Joining{Limit: 4, Pair: held}, [][]int32{{1, 2}},
		},
		"of the person about these": {
			[]Edge{{0, 2, 17}, {1, 2, 16}, {0, 1, word}}, Joining{Limit: 4, Pair: held}, [][]int32{{0, 1, 2}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.joining.Less = less
			require.Equal(t, c.want, Cluster(3, c.edges, c.joining))
			slices.Reverse(c.edges)
			require.Equal(t, c.want, Cluster(3, c.edges, c.joining))
		})
	}
}
