// Command benchmark measures system-salesforce against other clients of Salesforce and writes the results.
//
// It must be started in the folder of this module, on Linux, with Node and the packages of node/ installed. It exits with 1 when
// something could not be measured; a target that is not met is a result.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/selfsame-io/selfsame/services/system-salesforce/certification/internal/compare"
	"github.com/selfsame-io/selfsame/services/system-salesforce/certification/internal/server"
)

type options struct {
	out, only, worker       string
	sandbox, adapter        string
	accounts, rounds, leads int
	latencies, against      string
}

func main() {
	var o options
	flag.StringVar(&o.out, "out", "../../../docs/benchmarks/salesforce", "results, without .md and .json")
	flag.StringVar(&o.only, "only", "", "measure only: upserts, leads, prepare or feed (default: all); \"page\" measures nothing and writes the page again")
	flag.IntVar(&o.accounts, "accounts", 10_000, "accounts of the comparison")
	flag.IntVar(&o.rounds, "rounds", 5, "rounds of the comparison")
	flag.StringVar(&o.latencies, "latencies", "0s,5ms,50ms", "latencies of the comparison")
	flag.StringVar(&o.against, "against", "", "compare only with clients whose name begins so, such as jsforce; \"none\" with none (default: all)")
	flag.IntVar(&o.leads, "leads", 1_000_000, "leads of the large load")
	flag.StringVar(&o.sandbox, "sandbox", "", "binary of the sandbox (default: build it)")
	flag.StringVar(&o.adapter, "adapter", "", "binary of system-salesforce (default: build it)")
	flag.StringVar(&o.worker, "worker", "", "be the process of one client; used by the program itself")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "benchmark:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) (err error) {
	if o.worker != "" {
		return compare.Work(ctx, o.worker, o.accounts, os.Stdout)
	}
	if !slices.Contains([]string{"", "upserts", "leads", "prepare", "feed", "page"}, o.only) {
		return errors.New("-only is upserts, leads, prepare, feed or page")
	}
	if o.only == "page" {
		results, err := compare.ReadResults(o.out + ".json")
		if err != nil {
			return err
		}
		return results.Write(o.out)
	}
	dir, err := os.MkdirTemp("", "benchmark")
	if err != nil {
		return fmt.Errorf("make a folder: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	b := &compare.Bench{Sandbox: o.sandbox, Adapter: o.adapter, Module: "..", Dir: dir, Log: func(format string, args ...any) { fmt.Printf(format+"\n", args...) }}
	if b.Sandbox == "" {
		if b.Sandbox, err = server.Build(ctx, "..", dir); err != nil {
			return err
		}
	}
	if b.Adapter == "" {
		if b.Adapter, err = compare.BuildAdapter(ctx, "..", dir); err != nil {
			return err
		}
	}
	results, err := compare.ReadResults(o.out + ".json")
	if err != nil {
		return err
	}
	steps := []struct {
		name string
		run  func() error
	}{
		{"prepare", func() (err error) { results.Prepare, err = b.Prepare(ctx); return err }},
		{"feed", func() (err error) { results.Feed, err = b.Feed(ctx); return err }},
		{"upserts", func() error { return upserts(ctx, o, b, &results) }},
		{"leads", func() error {
			m, err := b.Leads(ctx, o.leads)
			if err == nil {
				results.Million = &m
				b.Log("%d leads in %.0f s, peak %d MiB", m.Leads, m.Pass.Seconds, m.Memory.Peak>>20)
			}
			return err
		}},
	}
	for _, s := range steps {
		if o.only != "" && o.only != s.name {
			continue
		}
		b.Log("%s", s.name)
		if err := s.run(); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		// What was measured is kept even if the next measurement fails.
		if err := results.Write(o.out); err != nil {
			return err
		}
	}
	return nil
}

func upserts(ctx context.Context, o options, b *compare.Bench, results *compare.Results) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find the program: %w", err)
	}
	others, err := compare.Others(self, "node")
	if err != nil {
		return err
	}
	others = slices.DeleteFunc(others, func(c compare.Other) bool { return !strings.HasPrefix(c.Name, o.against) })
	for text := range strings.SplitSeq(o.latencies, ",") {
		latency, err := time.ParseDuration(text)
		if err != nil {
			return fmt.Errorf("-latencies: %w", err)
		}
		c, err := b.Upserts(ctx, o.accounts, o.rounds, latency, others)
		if err != nil {
			return err
		}
		results.Add(c)
	}
	return nil
}
