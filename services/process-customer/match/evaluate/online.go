package evaluate

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/selfsame-io/selfsame/services/process-customer/match"
)

// OneByOne is what came of records that arrive in random order, some of them twice, changed, or removed and back.
type OneByOne struct {
	Seed uint64 `json:"seed"`
	// Steps is the number of arrivals, changes and removals.
	Steps int `json:"steps"`
	// Clusters is the number of clusters at the end, Differing that of clusters only one of the two ways makes.
	Clusters  int `json:"clusters"`
	Differing int `json:"differing_from_all_at_once"`
	// P50 and P99 are the milliseconds of one step: preparing, looking up, scoring and clustering anew.
	P50 float64 `json:"p50_milliseconds"`
	P99 float64 `json:"p99_milliseconds"`
}

// oneByOne feeds the records in random order. One in ten comes with another record's values first and is corrected
// later, one in ten comes twice, and one in ten is removed and comes again.
func (e *evaluation) oneByOne(seed uint64) *OneByOne {
	limit := e.matcher.Model().Bands.Auto
	o := match.NewOnline(e.matcher, match.OnlineOptions{
		Limit: limit, MaxPerSource: e.options.MaxPerSource, CrossSourceOnly: e.records.Files > 1,
	})
	rng := rand.New(rand.NewPCG(seed, seed)) //nolint:gosec // an order that can be had again, no secret
	report := &OneByOne{Seed: seed}
	var times []time.Duration
	step := func(do func()) {
		start := time.Now()
		do()
		times = append(times, time.Since(start))
	}
	order := rng.Perm(len(e.records.All))
	var again []int
	for _, i := range order {
		r := e.records.All[i]
		switch rng.IntN(10) {
		case 0:
			other := r
			other.Values = e.records.All[rng.IntN(len(e.records.All))].Values
			step(func() { o.Put(other) })
			again = append(again, i)
			continue
		case 1:
			step(func() { o.Put(r) })
			again = append(again, i)
		case 2:
			step(func() { o.Put(r) })
			step(func() { o.Remove(match.Ref{Source: r.Source, ID: r.ID}) })
			again = append(again, i)
			continue
		}
		step(func() { o.Put(r) })
	}
	rng.Shuffle(len(again), func(i, j int) { again[i], again[j] = again[j], again[i] })
	for _, i := range again {
		step(func() { o.Put(e.records.All[i]) })
	}
	slices.Sort(times)
	report.Steps = len(times)
	if len(times) > 0 {
		report.P50, report.P99 = times[len(times)/2].Seconds()*1000, times[len(times)*99/100].Seconds()*1000
	}
	all := map[string]bool{}
	for _, m := range e.clusters(limit) {
		refs := make([]match.Ref, 0, len(m))
		for _, n := range m {
			refs = append(refs, match.Ref{Source: e.prepared[n].Source, ID: e.prepared[n].ID})
		}
		all[clusterName(refs)] = true
	}
	for _, c := range o.Clusters() {
		report.Clusters++
		if name := clusterName(c); !all[name] {
			report.Differing++
		} else {
			delete(all, name)
		}
	}
	report.Differing += len(all) // what was made at once only
	return report
}

// clusterName is the same for the same records.
func clusterName(refs []match.Ref) string {
	slices.SortFunc(refs, func(a, b match.Ref) int {
		return cmp.Or(cmp.Compare(a.Source, b.Source), cmp.Compare(a.ID, b.ID))
	})
	var b strings.Builder
	for _, r := range refs {
		b.WriteString(r.Source + "\x00" + r.ID + "\x01")
	}
	return b.String()
}
