package cli

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/selfsame-io/selfsame/pkg/heap"
	loadtest "github.com/selfsame-io/selfsame/suite/load"
)

// loadFlags are the flags of the command load.
type loadFlags struct {
	dir, out, bin, only, accounts, rates, profile string
	age                                           time.Duration
	read                                          loadtest.ReadOptions
	start                                         loadtest.StartOptions
	edge                                          loadtest.EdgeOptions
	replay                                        loadtest.ReplayOptions
	overload                                      loadtest.OverloadOptions
	fanout                                        loadtest.FanoutOptions
}

func loadCommand(ctx context.Context, a *App, args []string) error {
	if len(args) > 0 {
		switch args[0] {
		case "bare":
			unsampled()
			return loadtest.RunBare(ctx, args[1:], os.Stdin, a.Out)
		case "profiled":
			if len(args) < 3 {
				return usagef("give profiled DIR SERVICE")
			}
			return loadtest.RunProfiled(ctx, args[1], args[2], args[3:])
		}
	}
	var f loadFlags
	c := a.flags("load")
	c.StringVar(&f.dir, "dir", ".selfsame/load", "`directory` for databases, keys and logs; emptied at the start")
	c.StringVar(&f.out, "out", "docs/benchmarks", "`directory` of the results")
	c.StringVar(&f.bin, "bin", "", "`directory` with the services' own binaries (make build), for the start measurement")
	c.StringVar(&f.only, "only", "read,edge,replay,overload,fanout,sync,start", "what to measure; the other results stay as they are. Empty: only write the page anew")
	c.StringVar(&f.accounts, "accounts", "10000,100000", "`sizes` of the initial sync")
	c.DurationVar(&f.age, "age", 6*time.Minute, "how `long` the records of the initial sync are left alone after loading; the change feed looks back five minutes")
	c.StringVar(&f.profile, "profile", "", "`directory` for processor profiles of the services; what is then measured is not written")
	c.IntVar(&f.read.Accounts, "read-accounts", 1000, "`number` of customers in the store that is read")
	c.IntVar(&f.read.Customers, "read-customers", 200, "`number` of customers that are read in turn")
	c.IntVar(&f.read.Requests, "requests", 4000, "`number` of reads per round and side")
	c.IntVar(&f.read.Rounds, "rounds", 7, "`number` of rounds")
	c.StringVar(&f.rates, "rates", "500,1500,0", "reads per `second`; 0 for as fast as answers come back")
	c.IntVar(&f.read.Connections, "connections", 16, "`number` of connections that are kept open")
	c.IntVar(&f.start.Times, "starts", 10, "`number` of starts of each service")
	c.DurationVar(&f.start.Idle, "idle", 10*time.Second, "how `long` a service is left alone before its memory is read")
	c.IntVar(&f.start.Accounts, "start-accounts", 1000, "`number` of customers in the store of a service that is started")
	c.IntVar(&f.edge.Requests, "edge-requests", 6000, "`number` of requests per round and side of the edge's measurements")
	c.IntVar(&f.edge.Rounds, "edge-rounds", 5, "`number` of rounds of the edge's measurements")
	c.Float64Var(&f.edge.Ratio, "edge-traces", 0.1, "`share` of the traces that the edge records and exports")
	rest, err := c.parse(args)
	if err != nil {
		return err
	}
	if len(rest) > 0 {
		return usagef("unexpected %q", rest[0])
	}
	f.ofTheEdge()
	return a.load(ctx, f)
}

// ofTheEdge sets what of the edge's measurements is no flag.
func (f *loadFlags) ofTheEdge() {
	f.edge.Connections, f.edge.Warmup, f.edge.Profile = 16, max(1, f.edge.Requests/2), f.profile
	f.replay = loadtest.ReplayOptions{Accounts: 100, Orders: max(1, f.edge.Requests/6), Replays: f.edge.Requests, Rounds: f.edge.Rounds, Connections: 16}
	f.overload = loadtest.OverloadOptions{Takes: 20 * time.Millisecond, Places: 16, Seconds: 8, Connections: 1000}
	f.fanout = loadtest.FanoutOptions{
		Accounts: 100, Takes: 5 * time.Millisecond, Users: 200, Requests: f.edge.Requests, Rounds: f.edge.Rounds, HungRate: 200, HungRequests: max(20, f.edge.Requests/3),
	}
}

// busyHeap is how far the heap of what sends the load may grow instead of being collected.
const busyHeap = 128 << 20

// load measures what was asked for and writes each result as soon as there is one.
func (a *App) load(ctx context.Context, f loadFlags) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	o := loadtest.Options{
		Dir: f.dir, Service: []string{self, "service"}, Bare: []string{self, "load", "bare"},
		Progress: func(format string, args ...any) { _ = a.printf(format+"\n", args...) },
	}
	if f.profile != "" {
		if f.profile, err = filepath.Abs(f.profile); err != nil {
			return err
		}
		o.Service = []string{self, "load", "profiled", f.profile}
		if err := os.MkdirAll(f.profile, 0o755); err != nil {
			return err
		}
	}
	defer heap.Lend(busyHeap)() // what asks is not to be what is measured
	f.start.Binaries, f.read.Warmup = f.bin, max(1, f.read.Requests/4)
	results, err := loadtest.Load(f.out)
	if err != nil {
		return err
	}
	save := func() error {
		if f.profile != "" {
			return nil
		}
		return results.Save(f.out)
	}
	var errs []error
	for _, what := range strings.Split(f.only, ",") {
		errs = append(errs, f.measure(ctx, o, results, what, save))
	}
	return errors.Join(errs...)
}

// measure measures one thing, which may have several results, and saves after each.
func (f loadFlags) measure(ctx context.Context, o loadtest.Options, into *loadtest.Results, what string, save func() error) error {
	o.Progress("measuring: %s", what)
	switch what {
	case "":
		return save()
	case "read":
		for _, rate := range strings.Split(f.rates, ",") {
			var err error
			if f.read.Rate, err = strconv.ParseFloat(rate, 64); err != nil || f.read.Rate < 0 {
				return usagef("--rates %q is not a number of requests per second", rate)
			}
			r, err := loadtest.Read(ctx, o, f.read)
			if err != nil {
				return err
			}
			into.AddRead(r)
			if err := save(); err != nil {
				return err
			}
		}
	case "edge":
		return measured(&into.Edge, save)(loadtest.Edge(ctx, o, f.edge))
	case "replay":
		return measured(&into.Replay, save)(loadtest.Replay(ctx, o, f.replay))
	case "overload":
		return measured(&into.Overload, save)(loadtest.Overload(ctx, o, f.overload))
	case "fanout":
		return measured(&into.Fanout, save)(loadtest.Fanout(ctx, o, f.fanout))
	case "start":
		r, err := loadtest.Start(ctx, o, f.start)
		if err != nil {
			return err
		}
		into.Start = r
		return save()
	case "sync":
		for _, size := range strings.Split(f.accounts, ",") {
			n, err := strconv.Atoi(size)
			if err != nil || n < 4 {
				return usagef("--accounts %q is not a number of accounts", size)
			}
			r, err := loadtest.Sync(ctx, o, loadtest.SyncOptions{Accounts: n, Age: f.age})
			if err != nil {
				return err
			}
			into.AddSync(r)
			if err := save(); err != nil {
				return err
			}
		}
	default:
		return usagef("--only knows read, edge, replay, overload, fanout, sync and start, not %q", what)
	}
	return nil
}

// measured puts a result into its place and saves it.
func measured[T any](place **T, save func() error) func(*T, error) error {
	return func(r *T, err error) error {
		if err != nil {
			return err
		}
		*place = r
		return save()
	}
}
