package match

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// atOnce clusters records as Online should, all together.
func atOnce(x *Matcher, records []Record, o OnlineOptions, keyCap, most int) [][]Ref {
	ix := NewIndex()
	ix.keyCap, ix.most = keyCap, most
	var prepared []*Prepared
	for _, r := range records {
		p := x.Prepare(r)
		prepared = append(prepared, p)
		ix.Add(p, x.Keys(p))
	}
	limit := o.Limit
	if limit == 0 {
		limit = x.model.Bands.Auto
	}
	var edges []Edge
	sources := map[string]int{}
	for i, p := range prepared {
		if _, ok := sources[p.Source]; !ok {
			sources[p.Source] = len(sources)
		}
		for _, j := range ix.Candidates(i) {
			if o.CrossSourceOnly && p.Source == prepared[j].Source {
				continue
			}
			if s := x.Score(p, prepared[j]); s.Veto == "" && s.Bits >= bitsOf(limit) {
				edges = append(edges, Edge{int32(i), j, s.Bits})
			}
		}
	}
	ref := func(n int32) Ref { return Ref{prepared[n].Source, prepared[n].ID} }
	var out [][]Ref
	for _, g := range Cluster(len(prepared), edges, Joining{
		Limit: bitsOf(limit), MaxPerSource: o.MaxPerSource,
		Pair:   func(a, b int32) Score { return x.Score(prepared[a], prepared[b]) },
		Source: func(n int32) int { return sources[prepared[n].Source] },
		Less:   func(a, b int32) int { return compareRefs(ref(a), ref(b)) },
	}) {
		var refs []Ref
		for _, n := range g {
			refs = append(refs, ref(n))
		}
		slices.SortFunc(refs, compareRefs)
		out = append(out, refs)
	}
	slices.SortFunc(out, func(a, b []Ref) int { return compareRefs(a[0], b[0]) })
	return out
}

// crowd makes records of few people with few values, so that keys cross the cap and candidates the limit.
func crowd(t *rapid.T, s Schema, n int) []Record {
	var out []Record
	for i := range n {
		v := make([]string, len(s.Fields))
		for j, f := range s.Fields {
			pick := func(values ...string) string { return rapid.SampledFrom(values).Draw(t, f.Name) }
			switch f.Kind {
			case GivenName:
				v[j] = pick("Anna", "Bernd", "Carla", "Ana", "")
			case FamilyName:
				v[j] = pick("Brandtson", "Brandson", "Falkberg", "Falkenberg")
			case City:
				v[j] = pick("Berlin", "Bonn", "")
			case Postcode:
				v[j] = pick("10115", "53111", "53113")
			case Date:
				v[j] = pick("1970-01-02", "1970-02-01", "1981-05-06", "")
			case Email:
				v[j] = pick("anna@example.org", "b.falkberg@example.org", "", "", "")
			}
		}
		out = append(out, Record{Source: []string{"crm", "erp"}[i%2], ID: fmt.Sprintf("x%03d", i), Values: v})
	}
	return out
}

// I4, I20: the clusters are a function of the records, in whatever order they arrive, with repeated, changed and removed
// ones; also where keys become too common and less so again.
func TestOnline_EndsWithTheClustersOfAllRecordsAtOnce(t *testing.T) {
	t.Parallel()
	x, known, _ := trained(t, 150)
	rapid.Check(t, func(t *rapid.T) {
		keyCap, most := rapid.IntRange(2, 10).Draw(t, "key cap"), rapid.IntRange(3, 12).Draw(t, "candidate cap")
		records := append(crowd(t, x.model.Schema, rapid.IntRange(4, 24).Draw(t, "records")), known[:8]...)
		o := OnlineOptions{
			Limit: rapid.SampledFrom([]float64{0, 0.5, 0.99}).Draw(t, "limit"), MaxPerSource: rapid.IntRange(0, 2).Draw(t, "max"),
			CrossSourceOnly: rapid.Bool().Draw(t, "cross"),
		}
		on := NewOnline(x, o)
		on.index.keyCap, on.index.most = keyCap, most
		for _, r := range rapid.Permutation(records).Draw(t, "order") {
			switch rapid.IntRange(0, 6).Draw(t, "what") {
			case 0: // first with other values
				wrong := r
				wrong.Values = rapid.SampledFrom(records).Draw(t, "wrong").Values
				on.Put(wrong)
			case 1: // removed meanwhile
				on.Put(r)
				on.Remove(Ref{r.Source, r.ID})
			case 2: // twice
				on.Put(r)
			}
			on.Put(r)
			if other := rapid.SampledFrom(records).Draw(t, "other"); rapid.IntRange(0, 9).Draw(t, "drop") == 0 {
				on.Remove(Ref{other.Source, other.ID})
			}
		}
		for _, r := range rapid.Permutation(records).Draw(t, "again") {
			if _, ok := on.Cluster(Ref{r.Source, r.ID}); !ok {
				on.Put(r)
			}
		}
		require.Equal(t, len(records), on.Len())
		require.Equal(t, atOnce(x, records, o, keyCap, most), on.Clusters())
		for _, r := range rapid.Permutation(records).Draw(t, "leaving")[:len(records)/2] {
			on.Remove(Ref{r.Source, r.ID})
			records = slices.DeleteFunc(records, func(o Record) bool { return o.ID == r.ID && o.Source == r.Source })
		}
		require.Equal(t, atOnce(x, records, o, keyCap, most), on.Clusters())
	})
}

func TestOnline_ARecordThatComesAgainChangesNothing(t *testing.T) {
	t.Parallel()
	x, records, _ := trained(t, 60)
	on := NewOnline(x, OnlineOptions{})
	for _, r := range records {
		on.Put(r)
	}
	before := on.Clusters()
	for _, r := range records {
		require.Equal(t, Changes{}, on.Put(r))
	}
	require.Equal(t, Changes{}, on.Remove(Ref{"crm", "nobody"}))
	require.Equal(t, before, on.Clusters())
}

func TestOnline_ClusterIdsStayRedirectAndSplit(t *testing.T) {
	t.Parallel()
	x, records, _ := trained(t, 60)
	on := NewOnline(x, OnlineOptions{})
	a := records[0]
	b := Record{Source: "erp", ID: "b", Values: slices.Clone(a.Values)}
	other := Record{Source: "erp", ID: "b", Values: records[4].Values}
	on.Put(a)
	on.Put(other)
	idA, _ := on.Cluster(Ref{a.Source, a.ID})
	idB, _ := on.Cluster(Ref{"erp", "b"})
	require.NotEqual(t, idA, idB)

	require.Equal(t, Changes{Merged: []Move{{idB, idA}}}, on.Put(b), "one cluster now: the older id stays")
	id, _ := on.Cluster(Ref{"erp", "b"})
	require.Equal(t, idA, id)
	require.Equal(t, idA, on.Resolve(idB))

	changes := on.Put(other)
	require.Len(t, changes.Split, 1, "two again: what is split off has a new id")
	id, _ = on.Cluster(Ref{"erp", "b"})
	require.Equal(t, Move{idA, id}, changes.Split[0])
	require.NotContains(t, []ClusterID{idA, idB}, id)
	id, _ = on.Cluster(Ref{a.Source, a.ID})
	require.Equal(t, idA, id)
	require.Equal(t, idA, on.Resolve(idB), "an id that redirected does so for ever")

	on.Remove(Ref{a.Source, a.ID})
	_, ok := on.Cluster(Ref{a.Source, a.ID})
	require.False(t, ok)
}
