package match

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// TestInvariants are the laws of matching; those of mastering are in packages survive and fold.
// docs/design/0013-invariants.md lists all.
func TestInvariants(t *testing.T) {
	t.Parallel()

	t.Run("I20 the clusters are a function of the edges, in whatever order they come", func(t *testing.T) {
		t.Parallel()
		rapid.Check(t, func(t *rapid.T) {
			const n = 8
			score := map[[2]int32]Score{}
			var edges []Edge
			for a := range int32(n) {
				for b := a + 1; b < n; b++ {
					s := Score{Bits: float64(rapid.IntRange(-5, 5).Draw(t, "bits"))}
					if s.Bits > 0 {
						edges = append(edges, Edge{a, b, s.Bits})
					}
					score[[2]int32{a, b}] = s
				}
			}
			j := Joining{
				Pair:   func(a, b int32) Score { return score[pairKey(a, b)] },
				Source: func(int32) int { return 0 }, Less: func(a, b int32) int { return int(a - b) },
			}
			require.Equal(t, Cluster(n, edges, j), Cluster(n, rapid.Permutation(edges).Draw(t, "order"), j))
		})
	})
	t.Run("I21 a score does not depend on which record is named first, nor on third records", func(t *testing.T) {
		t.Parallel()
		x, records, _ := trained(t, 100)
		rapid.Check(t, func(t *rapid.T) {
			a, b, c := draw(t, records, "a"), draw(t, records, "b"), draw(t, records, "c")
			pa, pb := x.Prepare(a), x.Prepare(b)
			want := x.Score(pa, pb)
			require.Equal(t, want, x.Score(pb, pa))
			x.Score(pa, x.Prepare(c))
			require.Equal(t, want, x.Score(x.Prepare(a), x.Prepare(b)))
		})
	})
	t.Run("I22 what is missing is no evidence", func(t *testing.T) {
		t.Parallel()
		x, records, _ := trained(t, 100)
		empty := x.Prepare(Record{Source: "crm", ID: "x", Values: make([]string, len(records[0].Values))})
		rapid.Check(t, func(t *rapid.T) {
			require.InDelta(t, x.prior, x.Score(empty, x.Prepare(draw(t, records, "record"))).Bits, 0)
		})
	})
	t.Run("I23 a higher threshold keeps a part of the edges and adds none", func(t *testing.T) {
		t.Parallel()
		x, records, _ := trained(t, 100)
		rapid.Check(t, func(t *rapid.T) {
			low := rapid.Float64Range(-20, 20).Draw(t, "low")
			high := low + rapid.Float64Range(0, 20).Draw(t, "more")
			var few, many []string
			for i := range 6 {
				a, b := draw(t, records, fmt.Sprint("a", i)), draw(t, records, fmt.Sprint("b", i))
				s, pair := x.Score(x.Prepare(a), x.Prepare(b)), a.ID+" "+b.ID
				if s.Veto == "" && s.Bits >= high {
					few = append(few, pair)
				}
				if s.Veto == "" && s.Bits >= low {
					many = append(many, pair)
				}
			}
			require.Subset(t, many, few)
		})
	})
}

// draw returns a record, sometimes with a value of another one in it.
func draw(t *rapid.T, records []Record, label string) Record {
	r := rapid.SampledFrom(records).Draw(t, label)
	r.Values = slices.Clone(r.Values)
	if rapid.Bool().Draw(t, label+" mixed") {
		i := rapid.IntRange(0, len(r.Values)-1).Draw(t, label+" field")
		r.Values[i] = rapid.SampledFrom(records).Draw(t, label+" other").Values[i]
	}
	return r
}
