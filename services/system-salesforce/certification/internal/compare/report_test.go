package compare

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// passes are two passes of 100 records each that take the given seconds together.
func passes(seconds float64, calls int64) []Pass {
	return []Pass{{Seconds: seconds / 2, Succeeded: 100, Calls: calls}, {Seconds: seconds / 2, Succeeded: 100, Calls: calls - 1}}
}

func comparison() Comparison {
	return Comparison{Accounts: 100, Latency: "50ms", Subjects: []Subject{
		{Name: "system-salesforce", Rounds: [][]Pass{passes(1, 4), passes(2, 5), passes(4, 4)}},
		{Name: "go-salesforce, collections", Version: "v1", Rounds: [][]Pass{passes(4, 50), passes(4, 50), passes(8, 50)}},
		{Name: "jsforce, bulk", Version: "v2", Rounds: [][]Pass{passes(2, 9), passes(2, 9), passes(1, 9)}},
		{Name: "jsforce, collections", Version: "v2", Rounds: [][]Pass{passes(9, 9), passes(9, 9), passes(9, 9)}},
	}}
}

func TestComparison(t *testing.T) {
	t.Parallel()
	c := comparison()
	t.Run("rates and ratios are medians over the rounds", func(t *testing.T) {
		t.Parallel()
		require.InDelta(t, 100, c.Subjects[0].Rate(), 1e-9)
		mid, least, most := c.Subjects[0].Ratio(c.Subjects[1])
		require.InDeltaSlice(t, []float64{2, 2, 4}, []float64{mid, least, most}, 1e-9)
		require.Equal(t, int64(5), c.Subjects[0].Calls(), "calls are those of the worst pass")
	})
	t.Run("the page says which targets are met", func(t *testing.T) {
		t.Parallel()
		c := comparison()
		page := Results{Upserts: []Comparison{c}}.Markdown()
		require.Contains(t, page, "## Upsert of 100 accounts, 50ms of latency")
		const what = "| upsert of 100 accounts, 50ms of latency: "
		require.Contains(t, page, what+"at most one call for 150 records | one for 20 | **not met** |")
		require.Contains(t, page, what+"3 times as fast as go-salesforce's collections | 2.0 times (2.0 to 4.0), go-salesforce, collections | **not met** |")
		require.Contains(t, page, "jsforce, by the faster of its ways | 1.0 times (0.2 to 2.0), jsforce, bulk | **not met** |", "the faster way counts")
		require.NotContains(t, page, "By processor time alone", "over a network processor time is not what limits")
		c.Subjects[1].Rounds = [][]Pass{passes(8, 50), passes(8, 50), passes(16, 50)}
		require.Contains(t, Results{Upserts: []Comparison{c}}.Markdown(), "| 4.0 times (4.0 to 8.0), go-salesforce, collections | met |")
		m := Million{Leads: 10, Memory: Memory{Peak: 64 << 20}}
		require.Contains(t, Results{Million: &m}.Markdown(), "| load of 10 leads: at most 64 MiB resident | 64 MiB | met |")
		m.Memory.Peak++
		require.Contains(t, Results{Million: &m}.Markdown(), "| 64 MiB | **not met** |")
		g := []GoBench{{Name: "Prepare/a", Metrics: map[string]float64{"rows/cpu-s": 99_999}}, {Name: "Prepare/b", Metrics: map[string]float64{"rows/cpu-s": 200_000}}}
		require.Contains(t, Results{Prepare: g}.Markdown(), "| 99999, by the slowest way | **not met** |")
	})
	t.Run("without latency the page says what the processors allow", func(t *testing.T) {
		t.Parallel()
		c := comparison()
		c.Latency, c.Circumstances.Cores, c.Subjects[0].PassSeconds = "0s", 2, 4
		c.Subjects[1].ProcessorSeconds, c.Subjects[1].SandboxSeconds = 1, 3
		page := Results{Upserts: []Comparison{c}}.Markdown()
		require.Contains(t, page, "took 4.00 s of processor time for 200 records")
		require.Contains(t, page, "shared out evenly, 100 records/s.")
		require.Contains(t, page, "50 records/s. By processor time alone the ratio is 2.0")
		require.Contains(t, page, "| upsert of 100 accounts, no latency: at most one call for 150 records |")
		require.NotContains(t, page, "times as fast as", "a ratio is aimed at where the org is another machine")
	})
	t.Run("processor time is the least of all rounds that know it", func(t *testing.T) {
		t.Parallel()
		var s Subject
		for _, u := range []Used{{ProcessorSeconds: 3, sandbox: 2}, {ProcessorSeconds: 1, sandbox: 4, passes: 9}, {ProcessorSeconds: 2, sandbox: 1}} {
			s.add(nil, u)
		}
		require.Equal(t, []float64{1, 1, 9}, []float64{s.ProcessorSeconds, s.SandboxSeconds, s.PassSeconds})
	})
}

func TestResultsOfOtherMeasurementsStay(t *testing.T) {
	t.Parallel()
	base := filepath.Join(t.TempDir(), "results")
	none, err := ReadResults(base + ".json")
	require.NoError(t, err)
	require.Equal(t, Results{}, none)
	r := Results{Million: &Million{Leads: 7}}
	r.Add(comparison())
	require.NoError(t, r.Write(base))
	r, err = ReadResults(base + ".json")
	require.NoError(t, err)
	require.Equal(t, 7, r.Million.Leads)
	other, changed := comparison(), comparison()
	other.Latency, changed.Accounts = "0s", 5
	r.Add(other)
	r.Add(changed)
	require.Len(t, r.Upserts, 2)
	require.Equal(t, "0s", r.Upserts[0].Latency, "in order")
	require.Equal(t, 5, r.Upserts[1].Accounts, "the last of one latency counts")
	require.NoError(t, os.WriteFile(base+".json", []byte("{"), 0o600))
	_, err = ReadResults(base + ".json")
	require.Error(t, err)
}

func TestBenchmarkLinesAreRead(t *testing.T) {
	t.Parallel()
	const text = "goos: linux\nBenchmarkPrepare/values-2  \t 3\t 381582634 ns/op\t   1510464 rows/cpu-s\t 12776384 B/op\nPASS\n"
	list := parseBench([]byte(text), Circumstances{Cores: 2})
	require.Len(t, list, 1)
	require.Equal(t, "Prepare/values", list[0].Name)
	require.Equal(t, map[string]float64{"ns/op": 381582634, "rows/cpu-s": 1510464, "B/op": 12776384}, list[0].Metrics)
}

func TestMemoryOfThisProcess(t *testing.T) {
	t.Parallel()
	m, err := memory(os.Getpid())
	require.NoError(t, err)
	require.GreaterOrEqual(t, m.Peak, m.Resident)
	require.Greater(t, m.Resident, int64(1<<20))
	_, err = memory(-1)
	require.Error(t, err)
	before, err := processor(os.Getpid())
	require.NoError(t, err)
	for now := before; now == before; {
		now, err = processors(os.Getpid())
		require.NoError(t, err)
	}
	_, err = processors(os.Getpid(), -1)
	require.Error(t, err)
}
