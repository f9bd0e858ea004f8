package match

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// many makes n people of a country: names as common as they are, towns and streets of many sizes.
func many(n int) []Record {
	rng := rand.New(rand.NewPCG(7, 8))
	syllable := strings.Fields("al ber bran do eb fal gru haa iver jun krau lo mo na ot pe rich sau thi vo wei zim ka ler ren sten")
	// zipf draws the common ones often.
	zipf := func(n uint64) int { return int(rand.NewZipf(rng, 1.1, 20, n-1).Uint64()) }
	word := func(i int) string {
		var b strings.Builder
		for k := 0; k < 3; k++ {
			b.WriteString(syllable[i%len(syllable)])
			i /= len(syllable)
		}
		return b.String()
	}
	records := make([]Record, 0, n)
	for i := range n {
		first, last := word(zipf(2000)), word(zipf(15000)+3)
		town := zipf(5000)
		records = append(records, Record{Source: "crm", ID: fmt.Sprintf("r%07d", i), Values: []string{
			first, last,
			fmt.Sprintf("%sstr. %d", word(zipf(4000)), 1+rng.IntN(150)), word(town), fmt.Sprintf("%05d", 10000+town*17),
			fmt.Sprintf("%d-%02d-%02d", 1940+rng.IntN(60), 1+rng.IntN(12), 1+rng.IntN(28)),
			fmt.Sprintf("%s.%s%d@example.org", first, last, rng.IntN(1000)), fmt.Sprintf("+49 30 %07d", rng.IntN(10000000)),
		}})
	}
	return records
}

func TestScore_DoesNotAllocate(t *testing.T) {
	x, records, _ := trained(t, 100)
	a, b := x.Prepare(records[0]), x.Prepare(records[1])
	require.Zero(t, testing.AllocsPerRun(100, func() { x.Score(a, b) }))
}

// BenchmarkLookup measures one lookup with scores of all candidates, the record prepared from its values, among n
// records in memory. The metric p99-ns is of single lookups.
func BenchmarkLookup(b *testing.B) {
	x, _, _ := trained(b, 300)
	for _, n := range []int{100_000, 1_000_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			records := many(n)
			ix := NewIndex()
			prepared := make([]*Prepared, n)
			for i, r := range records {
				prepared[i] = x.Prepare(r)
				ix.Add(prepared[i], x.Keys(prepared[i]))
			}
			var times []time.Duration
			found := 0
			i := 0
			b.ReportAllocs()
			for b.Loop() {
				r := records[i*7919%n]
				i++
				start := time.Now()
				p := x.Prepare(r)
				candidates := ix.Lookup(x.Keys(p))
				for _, c := range candidates {
					x.Score(p, prepared[c])
				}
				times = append(times, time.Since(start))
				found += len(candidates)
			}
			slices.Sort(times)
			b.ReportMetric(float64(times[len(times)*99/100]), "p99-ns")
			b.ReportMetric(float64(found)/float64(i), "candidates/op")
		})
	}
}
