package load_test

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/selfsame-io/selfsame/suite"
	"github.com/selfsame-io/selfsame/suite/data"
	"github.com/selfsame-io/selfsame/suite/load"
)

// TestMain is also the program of the processes that are measured: the test binary starts itself.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "service", "profiled", "bare":
			os.Exit(process(os.Args[1], os.Args[2:]))
		}
	}
	// The race detector has each process sleep for a second when it ends; the processes started here inherit this.
	if err := os.Setenv("GORACE", "atexit_sleep_ms=10"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

func process(what string, args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	switch what {
	case "service":
		err = suite.RunService(ctx, args[0], args[1:])
	case "profiled":
		err = load.RunProfiled(ctx, args[0], args[1], args[2:])
	default:
		err = load.RunBare(ctx, args, os.Stdin, os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func options(tb testing.TB) load.Options {
	tb.Helper()
	self, err := os.Executable()
	require.NoError(tb, err)
	return load.Options{
		Dir: tb.TempDir(), Service: []string{self, "service"}, Bare: []string{self, "bare"},
		Quiet: 300 * time.Millisecond, Progress: tb.Logf,
	}
}

func onLinux(tb testing.TB) {
	tb.Helper()
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		tb.Skip("processor time and memory are read from /proc")
	}
}

// TestMeasurements runs every measurement at a size at which its numbers mean nothing: what is tested is that they are
// there, that they fit together, and that the page can be written.
func TestMeasurements(t *testing.T) {
	t.Parallel()
	onLinux(t)
	results := &load.Results{}
	requests := 60
	if testing.Short() {
		requests = 20
	}
	t.Run("read", func(t *testing.T) {
		r, err := load.Read(t.Context(), options(t), load.ReadOptions{
			Accounts: 8, Customers: 4, Requests: requests, Warmup: 20, Rounds: 3, Rate: 200, Connections: 4,
		})
		require.NoError(t, err)
		require.Len(t, r.Ratios, 3)
		require.Len(t, r.Bare.Shares, 2)
		require.Len(t, r.Selfsame.Shares, 2)
		require.Positive(t, r.Bare.P50)
		require.GreaterOrEqual(t, r.Selfsame.P99, r.Selfsame.P50)
		require.InEpsilon(t, r.Bare.Bytes, r.Selfsame.Bytes, 0.2, "both sides send the same customers")
		// The clock of processor time is coarse: a baseline of no ticks at all makes a ratio without a meaning.
		r.Ratio, r.Ratios = 1.5, []float64{1.25, 1.5, 1.75}
		results.AddRead(r)
		results.AddRead(r)
		require.Len(t, results.Read, 1, "a rate is there once")
		fast := *r
		fast.Options.Rate = 0
		results.AddRead(&fast)
	})
	if testing.Short() {
		return // the fast tests start the suite once here, `make check` measures everything
	}
	t.Run("sync", func(t *testing.T) {
		for _, n := range []int{8, 24} {
			r, err := load.Sync(t.Context(), options(t), load.SyncOptions{Accounts: n})
			require.NoError(t, err)
			require.Positive(t, r.Seconds)
			require.Len(t, r.Systems, 2)
			for _, s := range r.Systems {
				require.Equal(t, n+n/2, s.Records, "every customer and contact stands in %s afterwards", s.System)
				require.Positive(t, s.Total)
			}
			require.Len(t, r.Peak, 4)
			for name, m := range r.Peak {
				require.Positive(t, m.Peak, name)
				require.Positive(t, m.Anonymous, name)
				require.Less(t, m.Anonymous, m.Peak, name)
			}
			results.AddSync(r)
		}
		results.AddSync(results.Sync[1])
		require.Len(t, results.Sync, 2, "a size is there once")
	})
	t.Run("start", func(t *testing.T) {
		r, err := load.Start(t.Context(), options(t), load.StartOptions{Times: 2, Idle: 10 * time.Millisecond, Accounts: 8})
		require.NoError(t, err)
		require.Len(t, r.Services, 4)
		for _, s := range r.Services {
			require.Len(t, s.Millis, 2)
			require.Positive(t, s.Median)
			require.Positive(t, s.Idle.Resident)
		}
		results.Start = r
	})
	t.Run("edge", func(t *testing.T) {
		r, err := load.Edge(t.Context(), options(t), load.EdgeOptions{Requests: 60, Warmup: 40, Rounds: 2, Connections: 4, Ratio: 0.5, Profile: t.TempDir()})
		require.NoError(t, err)
		require.Positive(t, r.Saturation)
		require.Len(t, r.Loads, 2)
		for _, l := range r.Loads {
			require.Len(t, l.OverPlains, 2)
			require.Positive(t, l.Edge.P50)
			require.InEpsilon(t, l.Plain.Bytes, l.Stock.Bytes, 0.5, "all sides send the same customers")
			require.InEpsilon(t, l.Plain.Bytes, l.Edge.Bytes, 0.5, "all sides send the same customers")
		}
		for i := range r.Loads { // see above: ticks are coarse
			r.Loads[i].OverPlain, r.Loads[i].OverPlains = 1.25, []float64{1, 1.25}
			r.Loads[i].StockOver, r.Loads[i].StockOvers = 2, []float64{2, 3}
		}
		results.Edge = r
	})
	t.Run("replay", func(t *testing.T) {
		r, err := load.Replay(t.Context(), options(t), load.ReplayOptions{Accounts: 8, Orders: 20, Replays: 40, Rounds: 1, Connections: 4})
		require.NoError(t, err)
		require.Len(t, r.Executed.Shares, 4)
		require.InEpsilon(t, r.Replayed.Bytes, r.Memory.Bytes, 0.1, "both send as many bytes")
		r.Ratio, r.Ratios = 20, []float64{20}
		results.Replay = r
	})
	t.Run("overload", func(t *testing.T) {
		r, err := load.Overload(t.Context(), options(t), load.OverloadOptions{Takes: 10 * time.Millisecond, Places: 1, Seconds: 0.2, Connections: 40})
		require.NoError(t, err)
		require.Len(t, r.Steps, 6)
		require.Positive(t, r.Twice.Goodput)
		results.Overload = r
	})
	t.Run("fanout", func(t *testing.T) {
		r, err := load.Fanout(t.Context(), options(t), load.FanoutOptions{
			Accounts: 8, Takes: time.Millisecond, Users: 4, Requests: 40, Rounds: 1, HungRate: 100, HungRequests: 30,
		})
		require.NoError(t, err)
		require.Positive(t, r.Selfsame)
		require.Positive(t, r.Bare)
		require.Positive(t, r.ViewRatio)
		require.GreaterOrEqual(t, r.HungP99, r.HungP50)
		results.Fanout = r
	})
	if t.Failed() {
		return
	}
	dir := filepath.Join(t.TempDir(), "results")
	require.NoError(t, results.Save(dir))
	again, err := load.Load(dir)
	require.NoError(t, err)
	require.Equal(t, results.Page(), again.Page())
	page, err := os.ReadFile(filepath.Join(dir, "results.md"))
	require.NoError(t, err)
	for _, want := range []string{
		"### 200 requests per second", "### As many requests as 4 connections get answered", "Ratio of processor time: 1.50", "### 8 accounts", "### 24 accounts", "Memory from 8 to 24", "| process-customer |", "Edge over hand-written handler: 1.25",
		"Executing over repeating: 20.0", "Goodput there over its peak", "While one section never answers",
	} {
		require.Contains(t, string(page), want)
	}
	host, err := os.Hostname()
	require.NoError(t, err)
	require.NotContains(t, string(page), os.TempDir(), "results name no path of a machine")
	require.NotContains(t, string(page), host, "results name no machine")
}

func TestLoad_NothingYet(t *testing.T) {
	t.Parallel()
	r, err := load.Load(t.TempDir())
	require.NoError(t, err)
	require.Equal(t, &load.Results{}, r)
}

func TestProfiled(t *testing.T) {
	t.Parallel()
	onLinux(t)
	if testing.Short() {
		t.Skip("starts the suite another time")
	}
	self, err := os.Executable()
	require.NoError(t, err)
	o, dir := options(t), t.TempDir()
	o.Service = []string{self, "profiled", dir}
	_, err = load.Sync(t.Context(), o, load.SyncOptions{Accounts: 8, Age: 50 * time.Millisecond})
	require.NoError(t, err)
	for _, name := range []string{"process-customer-*.cpu.pprof", "process-customer-*.heap.pprof", "system-erp-*.cpu.pprof"} {
		files, err := filepath.Glob(filepath.Join(dir, name))
		require.NoError(t, err)
		require.Len(t, files, 1, name)
		info, err := os.Stat(files[0])
		require.NoError(t, err)
		require.Positive(t, info.Size(), name)
	}
}

func TestGenerate(t *testing.T) {
	t.Parallel()
	const n = 4000
	set := load.Generate(n)
	require.Equal(t, set, load.Generate(n), "the same every time")
	in := map[string]map[string]bool{data.Salesforce: {}, data.ERP: {}}
	taxes := map[string]string{}
	for _, a := range set.Accounts {
		require.False(t, in[a.Source][a.TruthID], "a customer stands once in a system")
		in[a.Source][a.TruthID] = true
		if have := taxes[a.VATID]; have != "" {
			require.Equal(t, have, a.TruthID, "no two customers share a tax number")
		}
		taxes[a.VATID] = a.TruthID
	}
	both := 0
	for id := range in[data.Salesforce] {
		if in[data.ERP][id] {
			both++
		}
	}
	require.Len(t, taxes, n)
	require.Equal(t, n/2, both, "half overlap")
	require.Len(t, in[data.Salesforce], 3*n/4)
	require.Len(t, in[data.ERP], 3*n/4)
}

// BenchmarkRead measures a read through the suite and through the baseline; both with processes of their own, so what
// counts is what is reported as µs-cpu/op and not what this process does.
func BenchmarkRead(b *testing.B) {
	onLinux(b)
	r, err := load.Read(b.Context(), options(b), load.ReadOptions{
		Accounts: 40, Customers: 20, Requests: 1000, Warmup: 200, Rounds: 3, Rate: 400, Connections: 8,
	})
	require.NoError(b, err)
	for b.Loop() {
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(r.Bare.Micros, "µs-cpu-bare/op")
	b.ReportMetric(r.Selfsame.Micros, "µs-cpu/op")
	b.ReportMetric(r.Ratio, "ratio")
}

// BenchmarkSync measures an initial sync of a few hundred accounts.
func BenchmarkSync(b *testing.B) {
	onLinux(b)
	for b.Loop() {
		r, err := load.Sync(b.Context(), options(b), load.SyncOptions{Accounts: 400})
		require.NoError(b, err)
		b.ReportMetric(r.Seconds, "s-sync/op")
		for _, s := range r.Systems {
			b.ReportMetric(s.Per100Records, "calls-"+s.System+"/100records")
		}
	}
}

// TestRead_Refusals: a measurement whose answers are wrong is no measurement.
func TestRead_Refusals(t *testing.T) {
	t.Parallel()
	onLinux(t)
	if testing.Short() {
		t.Skip("starts the suite another time")
	}
	_, err := load.Read(t.Context(), options(t), load.ReadOptions{Accounts: 4, Customers: 9, Requests: 1, Warmup: 1, Rounds: 1, Connections: 1})
	require.ErrorContains(t, err, "there are 4 customers where 9 were to be read")
	o := options(t)
	o.Bare = []string{filepath.Join(t.TempDir(), "nothing")}
	_, err = load.Read(t.Context(), o, load.ReadOptions{Accounts: 4, Customers: 2, Requests: 1, Warmup: 1, Rounds: 1, Connections: 1})
	require.ErrorContains(t, err, "baseline")
}
