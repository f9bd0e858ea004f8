// Command keybench measures what idempotency keys cost and writes the page that says so; see make bench-idempotency.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"runtime/pprof"
	"strings"

	"github.com/selfsame-io/selfsame/pkg/idempotent/keybench"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "keybench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("keybench", flag.ContinueOnError)
	o := keybench.Options{Progress: func(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }}
	out := flags.String("out", "docs/benchmarks", "the `directory` of the results")
	only := flags.String("only", "", "the `groups` to measure, with commas: postgres, sqlite, memory, redis, purge")
	flags.StringVar(&o.Dir, "dir", ".selfsame/keybench", "the `directory` for SQLite files")
	flags.StringVar(&o.Postgres, "postgres", "", "the `URL` of PostgreSQL")
	flags.StringVar(&o.Redis, "redis", "", "the `URL` of Redis")
	flags.IntVar(&o.Rounds, "rounds", 9, "rounds of each comparison")
	flags.DurationVar(&o.Round, "round", 0, "how long each side has in a round (default 400ms)")
	flags.IntVar(&o.Expired, "expired", 1_000_000, "how many keys are purged")
	match := flags.String("match", "", "measure only the comparisons whose name this `expression` matches; for a look, not for the page")
	profile := flags.String("cpuprofile", "", "a `file` for a profile of the processor's time")
	if err := flags.Parse(args); err != nil {
		return err
	}
	stop, err := profiled(*profile)
	if err != nil {
		return err
	}
	defer stop()
	if *only != "" {
		o.Only = strings.Split(*only, ",")
	}
	results, err := keybench.Load(*out)
	if err != nil {
		return err
	}
	if *match != "" {
		if o.Match, err = regexp.Compile(*match); err != nil {
			return fmt.Errorf("-match: %w", err)
		}
		return keybench.Run(ctx, o, results)
	}
	o.Done = func(string) error { return results.Save(*out) }
	return keybench.Run(ctx, o, results)
}

// profiled writes a profile until the returned function is called.
func profiled(name string) (stop func(), err error) {
	if name == "" {
		return func() {}, nil
	}
	f, err := os.Create(name) //nolint:gosec // the user names the file
	if err == nil {
		err = pprof.StartCPUProfile(f)
	}
	if err != nil {
		return nil, fmt.Errorf("profile: %w", err)
	}
	return func() { pprof.StopCPUProfile(); _ = f.Close() }, nil
}
