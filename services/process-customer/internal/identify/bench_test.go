package identify

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/pkg/db/dbtest"
	"github.com/selfsame-io/selfsame/pkg/heap"
	"github.com/selfsame-io/selfsame/pkg/serve"
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

var keep = flag.String("keep", "", "directory in which databases with companies are kept, to be used again; on PostgreSQL their schemas are not dropped")

// database returns a database for n companies.
func database(b *testing.B, engine string, n int) *db.DB {
	b.Helper()
	if *keep == "" {
		return storetest.Schema.Open(b, engine)
	}
	name := fmt.Sprintf("find_%d", n)
	dsn := "sqlite:" + filepath.Join(*keep, name+".db")
	if engine == "postgres" {
		u, err := url.Parse(os.Getenv(dbtest.PostgresEnv))
		require.NoError(b, err)
		admin, err := db.Open(b.Context(), u.String(), nil)
		require.NoError(b, err)
		_, err = admin.Exec(b.Context(), "CREATE SCHEMA IF NOT EXISTS "+name)
		require.NoError(b, err)
		require.NoError(b, admin.Close())
		q := u.Query()
		q.Set("search_path", name)
		u.RawQuery = q.Encode()
		dsn = u.String()
	}
	d, err := db.Open(b.Context(), dsn, nil)
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, d.Close()) })
	return d
}

// filled is the mode that a kept database is in once it is complete.
const filled = "filled"

// fill puts companies into the index as matching does, but in the order of the keys, which is many times as fast, and returns
// some of them.
func fill(b *testing.B, d *Decider, s *store.Store, n int) []golden.Values {
	b.Helper()
	all := firms(n)
	var some []golden.Values
	for i := range all {
		if (i+1)%max(1, n/samples) == 0 {
			v := golden.Values{}
			for name, text := range all[i] { // or each holds the memory around it
				v[name] = strings.Clone(text)
			}
			some = append(some, v)
		}
	}
	if model, mode, err := s.Read().MatchModel(b.Context(), golden.Customer); err != nil || (model == d.digest && mode == filled) {
		require.NoError(b, err)
		return some
	}
	require.NoError(b, d.Open(b.Context(), s))
	var blocks []store.MatchBlock
	number := int64(0)
	for chunk := range slices.Chunk(all, 10_000) {
		units := make([]store.MatchUnit, 0, len(chunk))
		goldens := make([]*store.Golden, 0, len(chunk))
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
			goldens = append(goldens, &store.Golden{Record: golden.Record{ID: id, Object: golden.Customer, Values: v, Version: 1}})
			chunk[i] = nil
		}
		require.NoError(b, s.Tx(b.Context(), func(ctx context.Context, tx *store.Tx) error {
			return errors.Join(tx.PutMatchUnits(ctx, units), tx.PutGoldens(ctx, goldens))
		}))
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
	require.NoError(b, s.Tx(b.Context(), func(ctx context.Context, tx *store.Tx) error {
		return tx.NoteMatching(ctx, golden.Customer, d.digest, filled)
	}))
	return some
}

// samples is how many companies are looked up, one after the other and again.
const samples = 5000

// place is a database with companies, some of which are looked up.
type place struct {
	n     int
	d     *Decider
	s     *store.Store
	some  []golden.Values
	times []time.Duration
	found int
}

func newPlace(b *testing.B, engine string, n int) *place {
	b.Helper()
	d, err := New(Deps{Config: Config{Mode: Join}, Now: time.Now, Log: slog.New(slog.DiscardHandler)})
	require.NoError(b, err)
	database := database(b, engine, n)
	s, err := store.Open(b.Context(), database)
	require.NoError(b, err)
	at := &place{n: n, d: d, s: s, some: fill(b, d, s, n)}
	if engine == "postgres" { // as the server does by itself, but in the middle of the measurement
		_, err := database.Exec(b.Context(), "VACUUM ANALYZE match_unit, match_block, golden")
		require.NoError(b, err)
	}
	return at
}

// decide decides about the twin of one of the companies, misspelt and without a tax number.
func (at *place) decide(b *testing.B, i int) {
	b.Helper()
	v := at.some[i*7919%len(at.some)].Clone()
	v[golden.Name] = strings.Replace(v[golden.Name], "a", "", 1)
	delete(v, golden.TaxID)
	begun := time.Now()
	id, err := at.d.Find(b.Context(), at.s.Brief(), golden.Customer, v)
	at.times = append(at.times, time.Since(begun))
	if err != nil {
		b.Fatal(err)
	}
	if id != "" {
		at.found++
	}
}

var customers = flag.String("customers", "100000,1000000", "among how many companies is searched; as long as they are compared in one run")

// BenchmarkFind measures the decision about a new customer among n: normalise, look up, score all candidates, decide which golden
// record is meant. The records have misspelt twins in the index. Hundreds of decisions among few and among many take turns, so
// that a machine that is faster now and slower then says the same of both; of each hundreds the first are not counted, because
// the database then still has the pages of the others in memory. The ratio is that of the medians. What was needed to fill the
// index is thrown away before, as a service would not have it, and memory is lent as to the service. A million takes minutes to build, with -keep DIR only once:
// go test -run '^$' -bench Find -benchtime 8x -timeout 60m ./internal/identify
func BenchmarkFind(b *testing.B) {
	const uncounted, counted = 200, 400
	for _, engine := range []string{"sqlite", "postgres"} {
		b.Run(engine, func(b *testing.B) {
			var places []*place
			for text := range strings.SplitSeq(*customers, ",") {
				n, err := strconv.Atoi(text)
				require.NoError(b, err)
				places = append(places, newPlace(b, engine, n))
			}
			debug.FreeOSMemory()
			defer heap.Lend(serve.DefaultConfig().BusyHeap)()
			i := 0
			for b.Loop() {
				for _, at := range places {
					have, found := len(at.times), at.found
					for k := range uncounted + counted {
						if k == uncounted {
							at.times, at.found = at.times[:have], found
						}
						at.decide(b, i+k)
					}
				}
				i += uncounted + counted
			}
			b.ReportMetric(0, "ns/op") // of all together
			for _, at := range places {
				slices.Sort(at.times)
				b.ReportMetric(float64(at.times[len(at.times)/2]), fmt.Sprintf("p50-ns/%d", at.n))
				b.ReportMetric(float64(at.times[len(at.times)*99/100]), fmt.Sprintf("p99-ns/%d", at.n))
				b.ReportMetric(float64(at.found)/float64(len(at.times)), fmt.Sprintf("found/%d", at.n))
			}
			first, last := places[0].times, places[len(places)-1].times
			b.ReportMetric(float64(last[len(last)/2])/float64(first[len(first)/2]), "times-as-long")
		})
	}
}
