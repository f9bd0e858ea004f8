package identify

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime"
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

// fill puts companies into the index as matching does, but in the order of the keys, which is many times as fast, and returns
// some of them.
func fill(b *testing.B, d *Decider, s *store.Store, n int) []golden.Values {
	b.Helper()
	require.NoError(b, d.Open(b.Context(), s))
	all := firms(n)
	var some []golden.Values
	var blocks []store.MatchBlock
	number := int64(0)
	for chunk := range slices.Chunk(all, 10_000) {
		units := make([]store.MatchUnit, 0, len(chunk))
		for i, v := range chunk {
			number++
			name := strconv.FormatInt(number, 10)
			p := d.matcher.Prepare(d.record("erp", name, v))
			id, err := golden.DeriveID(golden.Customer, name)
			require.NoError(b, err)
			m := store.MatchUnit{Number: number, GoldenID: id, Live: true, Systems: "erp=1", Record: d.matcher.Encode(p), Keys: d.keys(p)}
			units = append(units, m)
			for _, k := range m.Keys {
				blocks = append(blocks, store.MatchBlock{Key: k, Unit: number})
			}
			if int(number)%max(1, n/samples) == 0 {
				some = append(some, v)
			}
			chunk[i] = nil
		}
		require.NoError(b, s.Tx(b.Context(), func(ctx context.Context, tx *store.Tx) error { return tx.PutMatchUnits(ctx, units) }))
	}
	slices.SortFunc(blocks, func(x, y store.MatchBlock) int { return cmp.Or(cmp.Compare(x.Key, y.Key), cmp.Compare(x.Unit, y.Unit)) })
	kept := blocks[:0]
	for len(blocks) > 0 {
		end := slices.IndexFunc(blocks, func(x store.MatchBlock) bool { return x.Key != blocks[0].Key })
		if end < 0 {
			end = len(blocks)
		}
		if end <= match.KeyCap {
			kept = append(kept, blocks[:end]...)
		}
		blocks = blocks[end:]
	}
	for chunk := range slices.Chunk(kept, 100_000) {
		require.NoError(b, s.Tx(b.Context(), func(ctx context.Context, tx *store.Tx) error { return tx.AddMatchBlocks(ctx, chunk) }))
	}
	b.Logf("%d companies, by %.1f keys each", n, float64(len(kept))/float64(n))
	return some
}

// samples is how many companies are looked up, one after the other and again.
const samples = 5000

// BenchmarkFind measures the decision about one new customer among n: normalise, look up, score all candidates, decide.
// The records have misspelt twins in the index. The metric p99-ns is of single decisions; the first 500 are not counted, and
// what was needed to fill the index is thrown away before, as a service would not have it. A million takes minutes to build:
// go test -run '^$' -bench 'Find/(sqlite|postgres)/(100000|1000000)$' -benchtime 1500x -timeout 60m ./internal/identify
func BenchmarkFind(b *testing.B) {
	for _, engine := range []string{"sqlite", "postgres"} {
		for _, n := range []int{10_000, 100_000, 1_000_000} {
			b.Run(fmt.Sprintf("%s/%d", engine, n), func(b *testing.B) {
				d, err := New(Deps{Config: Config{Mode: Join}, Now: time.Now, Log: slog.New(slog.DiscardHandler)})
				require.NoError(b, err)
				s, err := store.Open(b.Context(), storetest.Schema.Open(b, engine))
				require.NoError(b, err)
				some := fill(b, d, s, n)
				runtime.GC()
				for i := range 500 {
					_, err := d.lookup(b.Context(), s.Brief(), d.matcher.Prepare(d.record("", "", some[(i*37+11)%len(some)])))
					require.NoError(b, err)
				}
				var times []time.Duration
				found, candidates, i := 0, 0, 0
				b.ReportAllocs()
				for b.Loop() {
					v := some[i*7919%len(some)].Clone()
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
