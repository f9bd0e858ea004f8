// Package load measures what the suite costs: processor time per read against a bare baseline, calls and memory of the
// initial sync, and the time and memory that a service needs to get up.
//
// Invariant: a number that is compared is a ratio of two numbers of the same run on the same machine, or a count. Absolute
// times and sizes are reported with the circumstances they were measured in and never asserted by a test. What is measured
// are the services as processes of their own, in their own configuration; a measurement whose answers are wrong, or after
// which the systems do not agree, is an error and not a result.
//
// Processor time and memory are read from /proc, so it works on Linux only.
package load

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/selfsame-io/selfsame/suite"
	"github.com/selfsame-io/selfsame/suite/data"
	"github.com/selfsame-io/selfsame/suite/remote"
)

// Options is what every measurement needs.
type Options struct {
	// Dir is for databases, keys and logs; it is emptied at the start.
	Dir string
	// Service starts a service when its name and flags are appended.
	Service []string
	// Bare starts a process of the baseline when its arguments are appended, see [RunBare].
	Bare []string
	// Quiet is how long nothing may happen before the initial sync counts as over; zero means 5 s.
	Quiet time.Duration
	// Progress is told what is being done; may be nil.
	Progress func(format string, args ...any)
}

func (o Options) progress(format string, args ...any) {
	if o.Progress != nil {
		o.Progress(format, args...)
	}
}

// Circumstances is where and when something was measured. It names no machine.
type Circumstances struct {
	Date  time.Time `json:"date"`
	Go    string    `json:"go"`
	OS    string    `json:"os"`
	Arch  string    `json:"arch"`
	Cores int       `json:"cores"`
	// LoadBefore and LoadAfter are the load averages of one minute; -1 where there is none. What is above zero before is
	// the work of others.
	LoadBefore float64 `json:"load_before"`
	LoadAfter  float64 `json:"load_after"`
}

func begin() Circumstances {
	return Circumstances{
		Date: time.Now().UTC().Truncate(time.Second), Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH, Cores: runtime.NumCPU(),
		LoadBefore: loadAverage(), LoadAfter: -1,
	}
}

func (c *Circumstances) end() { c.LoadAfter = loadAverage() }

func loadAverage() float64 {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return -1
	}
	first, _, _ := strings.Cut(string(b), " ")
	v, err := strconv.ParseFloat(first, 64)
	if err != nil {
		return -1
	}
	return v
}

// running is a suite with a process per service, and a connection to it.
type running struct {
	suite *suite.Suite
	demo  *remote.Demo
}

// start starts the suite on free ports. step is told what was done.
func (o Options) start(ctx context.Context, name string, set *data.Set, change func(*suite.Options)) (*running, error) {
	so := suite.Options{
		Dir: filepath.Join(o.Dir, name), Data: set, Processes: true, Command: o.Service, LogLevel: "error",
		Step: func(step, detail string, took time.Duration) {
			o.progress("  %s: %s (%d ms)", step, detail, took.Milliseconds())
		},
	}
	if change != nil {
		change(&so)
	}
	s, err := suite.Start(ctx, so)
	if err != nil {
		return nil, err
	}
	d, err := remote.Open(ctx, s.State())
	if err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	return &running{suite: s, demo: d}, nil
}

func (r *running) stop() error { return errors.Join(r.demo.Close(), r.suite.Stop()) }

func (o Options) quiet() time.Duration {
	if o.Quiet > 0 {
		return o.Quiet
	}
	return 5 * time.Second
}

// settled waits until the initial sync is over: both feeds are live, nothing is pending or retrying, and nothing has come
// in for quiet. It asks process-customer only, so that waiting costs the systems no calls. It returns when the last thing
// happened, not when the quiet ended.
func (r *running) settled(ctx context.Context, quiet time.Duration, each func(remote.Progress)) (time.Time, error) {
	var before int64 = -1
	last := time.Now()
	for {
		asked := time.Now()
		p, err := r.demo.Progress(ctx)
		if err == nil {
			if each != nil {
				each(p)
			}
			received, retrying, ledgerErr := r.ledger(ctx)
			if err = ledgerErr; err == nil && (received != before || retrying > 0 || !p.Live || p.Pending > 0) {
				before, last = received, time.Now()
			}
		}
		if err == nil && time.Since(last) >= quiet {
			return last, nil
		}
		select {
		case <-ctx.Done():
			return last, errors.Join(fmt.Errorf("wait for the initial sync: %w", ctx.Err()), err)
		case err := <-r.suite.Failed():
			return last, err
		case <-time.After(max(pollEvery, pollShare*time.Since(asked))):
		}
	}
}

const (
	pollEvery = 250 * time.Millisecond
	// pollShare keeps the asking, which counts records, below a twentieth of what is measured.
	pollShare = 20
)

// agree fails unless the two systems themselves agree.
func (r *running) agree(ctx context.Context) error {
	report, err := r.demo.Verify(ctx, false)
	if err != nil {
		return fmt.Errorf("compare the systems: %w", err)
	}
	if !report.Agree() {
		return fmt.Errorf("the systems differ in %d ways after the sync: what was measured is not a sync", len(report.Differences))
	}
	return nil
}
