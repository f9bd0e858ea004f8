package sqlstore

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var page = flag.String("page", "", "file that the measured speed is written to")

// result is one row of the page.
type result struct {
	engine, write    string
	callers, turns   int
	ratio, low, high float64
	ours, bare       float64 // writes each second
	oursCPU, bareCPU time.Duration
	target           float64
}

func target(write string) float64 {
	if write == "orders" {
		return 0.6
	}
	return 0.7
}

// TestSpeedPage measures writes against the bare statements they consist of. With -page it does so in full, on both engines, by 1, 8
// and 64 callers, and writes what it found; without, it measures a little of each kind and only looks at the rows it would
// write. No figure is a condition of the test.
func TestSpeedPage(t *testing.T) {
	engines, callers, rounds, perTurn, turns, changes := []string{"sqlite", "postgres"}, []int{1, 8, 64}, 3, perTurn, turns, 10_000
	if *page == "" {
		engines, callers, rounds, perTurn, turns, changes = engines[:1], []int{2}, 1, 4, 2, 400
	}
	load0 := loadAverage()
	var rows []result
	for _, engine := range engines {
		for _, w := range speedWrites() {
			for _, n := range callers {
				rows = append(rows, compare(t, engine, w, n, rounds, perTurn, turns))
			}
		}
	}
	var b strings.Builder
	b.WriteString(head)
	fmt.Fprintf(&b, "%s UTC, %s, %s/%s, %d cores, load average %s before and %s after.\n\n", time.Now().UTC().Format("2006-01-02 15:04"), runtime.Version(),
		runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), load0, loadAverage())
	b.WriteString("| engine | write | callers | ratio | least to most | ours | raw | target |\n|---|---|---|---|---|---|---|---|\n")
	for _, r := range rows {
		fmt.Fprintf(&b, "| %s | %s | %d | **%.2f** | %.2f to %.2f, %d turns | %.0f/s, %s | %.0f/s, %s | at least %.1f: %s |\n", r.engine, r.write, r.callers, r.ratio,
			r.low, r.high, r.turns, r.ours, r.oursCPU.Round(time.Microsecond), r.bare, r.bareCPU.Round(time.Microsecond), r.target, met(r.ratio >= r.target))
	}
	b.WriteString(feedHead)
	for _, engine := range engines {
		s := open(t, template.Open(t, engine), Options{})
		load(t, s, changes)
		before := held()
		most := before
		seen, calls := follow(t, s, func() { most = max(most, held()) })
		require.Equal(t, changes, seen)
		fmt.Fprintf(&b, "| %s | %d | **%d** | at most %d: %s | %.1f MiB |\n", engine, seen, calls, changes/100, met(calls <= changes/100), float64(most-before)/(1<<20))
	}
	require.Len(t, rows, len(engines)*len(speedWrites())*len(callers))
	for _, r := range rows {
		require.Positive(t, r.ratio)
		require.Positive(t, r.ours)
	}
	if *page != "" {
		require.NoError(t, os.WriteFile(*page, []byte(b.String()), 0o600))
	}
}

const head = `# Benchmarks of the embedded ERP

Written by ` + "`make bench-erp`" + `: how fast the embedded back end of system-erp writes, against the very statements its writes consist of. Absolute numbers
hold for the circumstances given and for nothing else; what is compared is a ratio of two numbers of one turn.

## What is measured

- The statements of each write are recorded on a database of their own. Then writes, and the recorded statements of as many writes, are sent turn by turn to
  two databases of the same schema by as many callers, through the same transactions (on SQLite with group commit for both); who begins alternates.
- *Ratio* is the rate of ours divided by that of the bare statements, the median of the turns of all rounds. What is missing to 1 is checking, planning, merging and
  mapping. The least and the most show how quiet the machine was.
- *Customers*: an upsert of a new customer by its key, with an address and a tax number. *Orders*: an order of two lines with a client reference.
- Beside the rate stands the processor time of this process per write; that of a PostgreSQL server is not in it.
- A load average well above zero before a measurement means that others were at work: such a result is to be repeated.

## Writes

`

const feedHead = `
## Reading the feed

Calls of the default page size until the end was reached. The last column is what was held at most after a page beyond what was held before, garbage collected.

| engine | changes | calls | target | held |
|---|---|---|---|---|
`

func met(yes bool) string {
	if yes {
		return "met"
	}
	return "**not met**"
}

func compare(t *testing.T, engine string, w write, callers, rounds, perTurn, turns int) result {
	t.Helper()
	before, list := record(t, engine, w, perTurn*turns)
	var ours, bare, ratio []float64
	r := result{engine: engine, write: w.name, callers: callers, target: target(w.name)}
	for range rounds {
		o, b := measure(t, engine, w, before, list, callers, perTurn, func(mine bool, cpu time.Duration) {
			if mine {
				r.oursCPU += cpu
			} else {
				r.bareCPU += cpu
			}
		})
		for i := range o {
			ours, bare, ratio = append(ours, float64(perTurn)/o[i].Seconds()), append(bare, float64(perTurn)/b[i].Seconds()), append(ratio, b[i].Seconds()/o[i].Seconds())
		}
	}
	r.turns, r.low, r.high = len(ratio), slices.Min(ratio), slices.Max(ratio)
	r.ours, r.bare, r.ratio = median(ours), median(bare), median(ratio)
	r.oursCPU /= time.Duration(len(ratio) * perTurn)
	r.bareCPU /= time.Duration(len(ratio) * perTurn)
	return r
}

// spent is the processor time of this process so far.
func spent() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// held is how much memory is in use, without what may be collected.
func held() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc) //nolint:gosec // far below the limit
}

func loadAverage() string {
	raw, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	return strings.Fields(string(raw))[0]
}
