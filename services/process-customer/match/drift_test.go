package match

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// observed counts the pairs of records as the service does: those that may be one by their probability, and others at random.
func observed(x *Matcher, records []Record) map[string]Drift {
	o, ix := x.Observe(), NewIndex()
	var prepared []*Prepared
	for _, r := range records {
		p := x.Prepare(r)
		prepared = append(prepared, p)
		ix.Add(p, x.Keys(p))
		o.Record(p)
	}
	for i, p := range prepared {
		for _, j := range ix.Candidates(i) {
			if s := x.Score(p, prepared[j]); int(j) > i && s.Veto == "" && s.Probability() >= 0.5 {
				o.Same(p, prepared[j], s.Probability())
			}
		}
		for k := range 10 {
			o.Other(p, prepared[(i*31+k*17+1)%len(prepared)])
		}
	}
	out := map[string]Drift{}
	for _, d := range o.Drift() {
		out[d.Comparison] = d
	}
	return out
}

func TestObservation_TellsWhatHasChanged(t *testing.T) {
	t.Parallel()
	x, records, _ := trained(t, 200)
	t.Run("nothing, among the records that the model was learned from", func(t *testing.T) {
		t.Parallel()
		for name, d := range observed(x, records) {
			require.Less(t, d.Same, 0.1, name)
			require.Less(t, d.Others, 0.1, name)
			require.InDelta(t, d.FilledLearned, d.FilledSeen, 1e-9, name)
		}
	})
	t.Run("a system that writes other telephone numbers, and one that has no dates", func(t *testing.T) {
		t.Parallel()
		var other []Record
		for i, r := range records {
			r.Values = slices.Clone(r.Values)
			if r.Source == "erp" {
				r.Values[7] = fmt.Sprintf("+49 40 %07d", (i+1)*7654321%10_000_000)
			}
			r.Values[5] = ""
			other = append(other, r)
		}
		got := observed(x, other)
		require.Greater(t, got["phone"].Same, 0.25)
		require.Less(t, got["phone"].Others, 0.25)
		require.Less(t, got["given_name"].Same, 0.1, "the others are as they were")
		require.Zero(t, got["born"].FilledSeen)
		require.Greater(t, got["born"].FilledLearned, 0.9)
		require.Zero(t, got["born"].Same, "what is missing has no levels")
	})
	t.Run("everybody is in one town", func(t *testing.T) {
		t.Parallel()
		var other []Record
		for _, r := range records {
			r.Values = slices.Clone(r.Values)
			r.Values[3] = "Berlin"
			other = append(other, r)
		}
		require.Greater(t, observed(x, other)["city"].Others, 0.25)
	})
	t.Run("nothing, where nothing was seen", func(t *testing.T) {
		t.Parallel()
		for name, d := range observed(x, nil) {
			require.Zero(t, d.Same, name)
			require.Zero(t, d.Others, name)
		}
	})
}
