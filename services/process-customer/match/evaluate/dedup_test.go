package evaluate

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/services/process-customer/match"
)

// crowd writes n records of people, about a third of them copies with typing errors, with the truth, and returns the mapping.
func crowd(tb testing.TB, path string, n int) Mapping {
	tb.Helper()
	f, err := os.Create(path) //nolint:gosec // a test's own file
	require.NoError(tb, err)
	w := csv.NewWriter(f)
	require.NoError(tb, w.Write([]string{"id", "truth", "first", "last", "street", "city", "postcode", "born", "mail", "phone"}))
	rng := rand.New(rand.NewPCG(11, 12))
	syllables := strings.Fields("al ber bran do eb fal gru haa iver jun krau lo mo na ot pe rich sau thi vo wei zim ka ler ren sten")
	word := func(i int) string {
		s := ""
		for range 3 {
			s += syllables[i%len(syllables)]
			i /= len(syllables)
		}
		return s
	}
	zipf := func(n uint64) *rand.Zipf { return rand.NewZipf(rng, 1.1, 20, n-1) }
	firsts, lasts, streets, towns := zipf(2000), zipf(15000), zipf(4000), zipf(5000)
	draw := func(z *rand.Zipf) int { return int(z.Uint64()) } //nolint:gosec // small
	typo := func(s string) string {
		if len(s) < 4 {
			return s
		}
		at := 1 + rng.IntN(len(s)-2)
		return s[:at] + s[at+1:]
	}
	var row []string
	for i := range n {
		if i == 0 || rng.IntN(3) > 0 {
			first, last, town := word(draw(firsts)), word(draw(lasts)+3), draw(towns)
			row = []string{
				"", fmt.Sprint("t", i), first, last, fmt.Sprintf("%sstr. %d", word(draw(streets)), 1+rng.IntN(150)), word(town),
				fmt.Sprintf("%05d", 10000+town*17), fmt.Sprintf("%d-%02d-%02d", 1940+rng.IntN(60), 1+rng.IntN(12), 1+rng.IntN(28)),
				fmt.Sprintf("%s.%s%d@example.org", first, last, rng.IntN(1000)), fmt.Sprintf("+49 30 %07d", rng.IntN(10000000)),
			}
		}
		copied := slices.Clone(row)
		copied[0] = fmt.Sprintf("r%07d", i)
		if copied[1] != fmt.Sprint("t", i) {
			for range 2 {
				at := 2 + rng.IntN(len(copied)-2)
				copied[at] = typo(copied[at])
			}
			copied[2+rng.IntN(len(copied)-2)] = ""
		}
		require.NoError(tb, w.Write(copied))
	}
	w.Flush()
	require.NoError(tb, w.Error())
	require.NoError(tb, f.Close())
	m, err := parseMapping("crowd", []byte(`
entity: person
cluster: truth
fields:
  - {column: first, kind: given_name}
  - {column: last, kind: family_name}
  - {column: street, kind: street}
  - {column: city, kind: city}
  - {column: postcode, kind: postcode}
  - {column: born, kind: date}
  - {column: mail, kind: email}
  - {column: phone, kind: phone}
`))
	require.NoError(tb, err)
	return m
}

// learn trains on a file.
func learn(tb testing.TB, m Mapping, path string) (*match.Matcher, Records) {
	tb.Helper()
	rs, err := ReadRecords(m, path)
	require.NoError(tb, err)
	model, err := Train(m, rs)
	require.NoError(tb, err)
	x, err := match.NewMatcher(model)
	require.NoError(tb, err)
	return x, rs
}

func TestDedup_FindsWhatTheEvaluationFinds(t *testing.T) {
	t.Parallel()
	n := 1500
	if testing.Short() {
		n = 60
	}
	path := filepath.Join(t.TempDir(), "crowd.csv")
	m := crowd(t, path, n)
	x, rs := learn(t, m, path)
	gold, err := ReadGold(m, rs, "")
	require.NoError(t, err)
	want := Evaluate(x, rs, gold, Options{}).Bands.AutoMerged
	var first []byte
	for _, o := range []DedupOptions{{Workers: 1}, {Workers: 3, run: 500}} {
		o.Dir = t.TempDir()
		var out bytes.Buffer
		r, err := Dedup(t.Context(), x, m, []string{path}, &out, o)
		require.NoError(t, err)
		require.Equal(t, n, r.Records)
		require.Equal(t, want.Missed+want.Right, r.Quality.Missed+r.Quality.Right, "the pairs that belong together")
		require.InDelta(t, want.F1, r.Quality.F1, 0.002)
		require.Positive(t, r.Clusters)
		require.Equal(t, n+1, bytes.Count(out.Bytes(), []byte("\n")), "a row for each record, and the header")
		if first == nil {
			first = out.Bytes()
		}
		require.Equal(t, string(first), out.String(), "however much is sorted at once, and by however many")
		left, err := os.ReadDir(o.Dir)
		require.NoError(t, err)
		require.Empty(t, left, "no temporary file is left")
	}
}

func TestDedup_RefusesAnIDThatIsThereTwice(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "crowd.csv")
	m := crowd(t, path, 60)
	x, _ := learn(t, m, path)
	text, err := os.ReadFile(path) //nolint:gosec // a test's own file
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, append(text, text[bytes.IndexByte(text, '\n')+1:]...), 0o600))
	_, err = Dedup(t.Context(), x, m, []string{path}, &bytes.Buffer{}, DedupOptions{Dir: t.TempDir()})
	require.ErrorContains(t, err, "there twice")
}

// BenchmarkDedup finds the people of a file of n records, a third of them copies: go test -run '^$' -bench Dedup -benchtime 1x
// -timeout 60m ./match/evaluate. MiB is all memory that the process has taken; a million takes minutes, and 1 GB of disk.
func BenchmarkDedup(b *testing.B) {
	for _, n := range []int{100_000, 1_000_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			dir := b.TempDir()
			small := filepath.Join(dir, "small.csv")
			m := crowd(b, small, 20_000)
			x, _ := learn(b, m, small)
			path := filepath.Join(dir, "crowd.csv")
			crowd(b, path, n)
			for b.Loop() {
				out, err := os.Create(filepath.Join(dir, "clusters.csv")) //nolint:gosec // a benchmark's own file
				require.NoError(b, err)
				r, err := Dedup(b.Context(), x, m, []string{path}, out, DedupOptions{Dir: dir})
				require.NoError(b, err)
				require.NoError(b, out.Close())
				b.ReportMetric(r.MemoryMiB, "MiB")
				b.ReportMetric(float64(r.Candidates)/float64(n), "candidates/record")
				b.ReportMetric(r.Quality.F1, "F1")
				b.ReportMetric(float64(n)/r.Seconds, "records/s")
			}
		})
	}
}
