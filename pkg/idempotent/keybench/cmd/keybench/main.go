// Command keybench measures what idempotency keys cost and writes the page that says so; see make bench-idempotency.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
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
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *only != "" {
		o.Only = strings.Split(*only, ",")
	}
	results, err := keybench.Load(*out)
	if err != nil {
		return err
	}
	o.Done = func(string) error { return results.Save(*out) }
	return keybench.Run(ctx, o, results)
}
