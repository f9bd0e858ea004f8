package identify

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store/storetest"
	"github.com/selfsame-io/selfsame/services/process-customer/match"
)

// firms makes n companies of a country: words as common as they are, towns and streets of many sizes.
func firms(n int) []golden.Values {
	rng := rand.New(rand.NewPCG(7, 8))
	// zipf draws the common ones often.
	zipf := func(n uint64) *rand.Zipf { return rand.NewZipf(rng, 1.1, 20, n-1) }
	words, towns, streets := zipf(30000), zipf(5000), zipf(4000)
	forms := strings.Fields("GmbH AG KG Ltd SARL")
	out := make([]golden.Values, n)
	for i := range out {
		town := int(towns.Uint64()) //nolint:gosec // small
		w1, w2 := int(words.Uint64()), int(words.Uint64())
		out[i] = golden.Values{
			golden.Name:   word(w1) + " " + word(w2+7) + " " + forms[i%len(forms)],
			golden.Street: fmt.Sprintf("%sstr. %d", word(50_000+int(streets.Uint64())), 1+rng.IntN(150)),
			golden.City:   word(70_000 + town), golden.PostalCode: fmt.Sprintf("%05d", 10000+town*17), golden.Country: "DE",
			golden.Phone: fmt.Sprintf("+49 30 %07d", rng.IntN(10000000)), golden.Website: fmt.Sprintf("https://%s-%d.example", strings.ToLower(word(w1)), rng.IntN(40)),
			golden.TaxID: "DE" + strconv.Itoa(100000000+rng.IntN(900000000)),
		}
	}
	return out
}

// fill puts companies into the index as matching does, but in the order of the keys, which is many times as fast.
func fill(b *testing.B, d *Decider, s *store.Store, all []golden.Values) {
	b.Helper()
	require.NoError(b, d.Open(b.Context(), s))
	units := make([]store.MatchUnit, len(all))
	var blocks []store.MatchBlock
	count := map[int64]int{}
	for i, v := range all {
		p := d.matcher.Prepare(d.record("erp", strconv.Itoa(i), v))
		id, err := golden.DeriveID(golden.Customer, strconv.Itoa(i))
		require.NoError(b, err)
		units[i] = store.MatchUnit{Number: int64(i + 1), GoldenID: id, Live: true, Systems: "erp=1", Record: d.matcher.Encode(p), Keys: d.keys(p)}
		for _, k := range units[i].Keys {
			count[k]++
			blocks = append(blocks, store.MatchBlock{Key: k, Unit: int64(i + 1)})
		}
	}
	blocks = slices.DeleteFunc(blocks, func(x store.MatchBlock) bool { return count[x.Key] > match.KeyCap })
	slices.SortFunc(blocks, func(x, y store.MatchBlock) int { return cmp.Or(cmp.Compare(x.Key, y.Key), cmp.Compare(x.Unit, y.Unit)) })
	for chunk := range slices.Chunk(units, 5000) {
		require.NoError(b, s.Tx(b.Context(), func(ctx context.Context, tx *store.Tx) error { return tx.PutMatchUnits(ctx, chunk) }))
	}
	for chunk := range slices.Chunk(blocks, 50_000) {
		require.NoError(b, s.Tx(b.Context(), func(ctx context.Context, tx *store.Tx) error { return tx.AddMatchBlocks(ctx, chunk) }))
	}
	b.Logf("%d companies, %.1f keys each of which %.1f find somebody", len(all), float64(len(count))/float64(len(all)), float64(len(blocks))/float64(len(all)))
}

// BenchmarkFind measures the decision about one new customer among n: normalise, look up, score all candidates, decide.
// The records have misspelt twins in the index. The metric p99-ns is of single decisions. A million takes minutes to
// build: go test -run '^$' -bench 'Find/sqlite/(100000|1000000)$' ./internal/identify
func BenchmarkFind(b *testing.B) {
	for _, engine := range []string{"sqlite", "postgres"} {
		for _, n := range []int{10_000, 100_000, 1_000_000} {
			b.Run(fmt.Sprintf("%s/%d", engine, n), func(b *testing.B) {
				d, err := New(Deps{Config: Config{Mode: Join}, Now: time.Now, Log: slog.New(slog.DiscardHandler)})
				require.NoError(b, err)
				s, err := store.Open(b.Context(), storetest.Schema.Open(b, engine))
				require.NoError(b, err)
				all := firms(n)
				fill(b, d, s, all)
				var times []time.Duration
				found, candidates, i := 0, 0, 0
				b.ReportAllocs()
				for b.Loop() {
					v := all[i*7919%n].Clone()
					i++
					v[golden.Name] = strings.Replace(v[golden.Name], "a", "", 1)
					delete(v, golden.TaxID)
					start := time.Now()
					p := d.matcher.Prepare(d.record("", "", v))
					got, err := d.lookup(b.Context(), s.Brief(), p)
					times = append(times, time.Since(start))
					if err != nil {
						b.Fatal(err)
					}
					candidates += len(got)
					if len(got) > 0 && got[0].bits >= d.join {
						found++
					}
				}
				slices.Sort(times)
				b.ReportMetric(float64(times[len(times)/2]), "p50-ns")
				b.ReportMetric(float64(times[len(times)*99/100]), "p99-ns")
				b.ReportMetric(float64(found)/float64(i), "found/op")
				b.ReportMetric(float64(candidates)/float64(i), "likely/op")
			})
		}
	}
}
