// Package scenario makes failures happen in a running demo and shows, beside each other, what Selfsame and a flow without
// protection make of them.
//
// Invariant: nothing is staged. Faults are set where they happen in life: between the process service and the ERP, and in
// Salesforce's event bus. The flow without protection is really run, on the same events and with the same faults, against an
// ERP of its own that is thrown away. Every number printed is counted in the systems afterwards, and a scenario that does
// not end as it should says so and fails.
//
// It leaves the customers it made in the demo, and no faults.
package scenario

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/selfsame-io/selfsame/suite/remote"
)

// Scenario is one story of a failure.
type Scenario struct {
	// Name is what the CLI knows it by.
	Name string
	// Title says what happens in one sentence.
	Title string

	run func(ctx context.Context, r *run) error
}

// All returns the scenarios in the order of their names.
func All() []Scenario {
	return []Scenario{
		{"erp-down", "the ERP is down while Salesforce and the phone go on working", erpDown},
		{"lost-ack", "the ERP commits, its answer is lost, Salesforce delivers events three times, the phone retries", lostAck},
		{"out-of-order", "an update fails, a newer one passes it, the old one is tried again; events arrive swapped", outOfOrder},
	}
}

// ErrUnknown means that there is no scenario of a name.
var ErrUnknown = errors.New("no such scenario")

// settleTimeout bounds each wait for the systems to agree.
const settleTimeout = 90 * time.Second

// Step is one line of the timeline.
type Step struct {
	// At is the time since the scenario began.
	At time.Duration `json:"at_ns"`
	// Who acted or was acted upon.
	Who string `json:"who"`
	// What happened.
	What string `json:"what"`
}

// Row is one line of the comparison.
type Row struct {
	What      string `json:"what"`
	Protected int    `json:"protected"`
	Naive     int    `json:"naive"`
}

// Check is one thing that must be so.
type Check struct {
	What   string `json:"what"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail,omitempty"`
}

// Result is how a scenario went.
type Result struct {
	Name   string  `json:"name"`
	Title  string  `json:"title"`
	Steps  []Step  `json:"steps"`
	Table  []Row   `json:"table"`
	Checks []Check `json:"checks"`
	Passed bool    `json:"passed"`
}

// run is a scenario under way.
type run struct {
	demo  *remote.Demo
	naive *naive
	began time.Time
	// mark is in the names of everything this run makes.
	mark string

	mu     sync.Mutex
	steps  []Step
	table  []Row
	checks []Check
}

// Run runs a scenario against a demo. The result is there even when a check failed; an error means that the scenario could
// not be run to its end. scratch is a directory for the thrown-away ERP.
func Run(ctx context.Context, d *remote.Demo, name, scratch string) (res *Result, err error) {
	i := slices.IndexFunc(All(), func(s Scenario) bool { return s.Name == name })
	if i < 0 {
		var names []string
		for _, s := range All() {
			names = append(names, s.Name)
		}
		return nil, fmt.Errorf("%w: %q; there are %s", ErrUnknown, name, strings.Join(names, ", "))
	}
	sc := All()[i]
	p, err := d.Progress(ctx)
	if err != nil {
		return nil, err
	}
	if !p.Live || p.Pending > 0 {
		return nil, fmt.Errorf("the demo is still busy (%d records pending): a scenario needs a quiet one", p.Pending)
	}
	b := make([]byte, 3)
	_, _ = rand.Read(b) // never fails
	r := &run{demo: d, mark: hex.EncodeToString(b)}
	if r.naive, err = startNaive(ctx, d, r.mark, scratch, r.step); err != nil {
		return nil, err
	}
	r.began = time.Now()
	defer func() {
		err = errors.Join(err, d.ClearFaults(context.WithoutCancel(ctx)), r.naive.stop())
	}()
	if err := sc.run(ctx, r); err != nil {
		return nil, fmt.Errorf("scenario %s: %w", name, err)
	}
	slices.SortStableFunc(r.steps, func(a, b Step) int { return cmp.Compare(a.At, b.At) })
	res = &Result{Name: sc.Name, Title: sc.Title, Steps: r.steps, Table: r.table, Checks: r.checks}
	res.Passed = len(r.checks) > 0 && !slices.ContainsFunc(r.checks, func(c Check) bool { return !c.OK })
	return res, nil
}

// step notes that something happened now.
func (r *run) step(who, format string, args ...any) { r.stepAt(time.Now(), who, format, args...) }

func (r *run) stepAt(at time.Time, who, format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.steps = append(r.steps, Step{At: at.Sub(r.began), Who: who, What: fmt.Sprintf(format, args...)})
}

func (r *run) row(what string, protected, naive int) {
	r.table = append(r.table, Row{what, protected, naive})
}

// want checks a number.
func (r *run) want(what string, got, want int) {
	c := Check{What: what, OK: got == want}
	if !c.OK {
		c.Detail = fmt.Sprintf("expected %d, got %d", want, got)
	}
	r.checks = append(r.checks, c)
}

// that checks a condition.
func (r *run) that(what string, ok bool, detail string) {
	c := Check{What: what, OK: ok}
	if !ok {
		c.Detail = detail
	}
	r.checks = append(r.checks, c)
}

// settle waits for agreement and notes it.
func (r *run) settle(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	report, err := r.demo.Settle(ctx, nil)
	if err != nil {
		return err
	}
	r.step("verify", "both systems read again: %d differences", len(report.Differences))
	return nil
}

// until asks again and again, without a fixed sleep, until ok.
func until(ctx context.Context, what string, ok func(context.Context) (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	var last error
	for {
		done, err := ok(ctx)
		if done && err == nil {
			return nil
		}
		if ctx.Err() == nil {
			last = err
		}
		select {
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("waited %v until %s", settleTimeout, what), last)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Print writes the result for people.
func (res *Result) Print(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "scenario %s: %s\n\n", res.Name, res.Title)
	for _, s := range res.Steps {
		fmt.Fprintf(&b, "  %6.2f  %-16s %s\n", s.At.Seconds(), s.Who, s.What)
	}
	b.WriteString("\n")
	t := tabwriter.NewWriter(&b, 0, 0, 3, ' ', 0)
	fmt.Fprintf(t, "  \twith protection\tnaive\n")
	for _, row := range res.Table {
		fmt.Fprintf(t, "  %s\t%d\t%d\n", row.What, row.Protected, row.Naive)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	b.WriteString("\n")
	for _, c := range res.Checks {
		mark := "ok    "
		if !c.OK {
			mark = "FAILED"
		}
		fmt.Fprintf(&b, "  %s  %s", mark, c.What)
		if c.Detail != "" {
			fmt.Fprintf(&b, ": %s", c.Detail)
		}
		b.WriteString("\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}
