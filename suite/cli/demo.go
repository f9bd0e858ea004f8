package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/selfsame-io/selfsame/suite"
	"github.com/selfsame-io/selfsame/suite/data"
	"github.com/selfsame-io/selfsame/suite/remote"
	"github.com/selfsame-io/selfsame/suite/verify"
)

// progressEvery is how often the progress of the initial sync is printed.
const progressEvery = time.Second

func demo(ctx context.Context, a *App, args []string) error {
	c := a.flags("demo")
	dir := c.String("dir", ".selfsame/demo", "`directory` for databases, keys and logs; emptied at the start")
	from := c.String("data", "", "`directory` with accounts.csv and contacts.csv to load; the sample that comes with it when empty")
	base := c.Int("port-base", suite.DefaultPortBase, "first `port`; 0 takes free ones")
	processes := c.Bool("processes", false, "run each service as a process of its own")
	exit := c.Bool("exit-after-sync", false, "stop after the initial sync; the exit status says whether the systems agree")
	keep := c.Bool("keep", false, "go on with the databases of the last start; the sandbox starts anew, so what Selfsame had made there counts as deleted")
	sap := c.Bool("sap", false, "put a sandbox of SAP S/4HANA behind the ERP, in the place of its own database")
	level := c.String("log-level", "warn", "log `level` of the services")
	timeout := c.Duration("sync-timeout", 30*time.Minute, "how `long` the initial sync may take")
	rest, err := c.parse(args)
	if err != nil {
		return err
	}
	if len(rest) > 0 {
		return usagef("unexpected %q", rest[0])
	}
	set, err := load(*from)
	if err != nil {
		return err
	}
	began := time.Now()
	if err := a.printf("selfsame %s\n", a.Version); err != nil {
		return err
	}
	s, err := suite.Start(ctx, suite.Options{
		Dir: *dir, StateFile: c.state, Data: set, PortBase: *base, Processes: *processes, Keep: *keep, LogLevel: *level, SAP: *sap,
		Step: func(name, detail string, took time.Duration) {
			_ = a.printf("  %-36s %-48s %6d ms\n", name, detail, took.Milliseconds())
		},
	})
	if err != nil {
		return err
	}
	err = a.serve(ctx, s, *exit, *timeout, began)
	if stopErr := s.Stop(); stopErr != nil {
		err = errors.Join(err, fmt.Errorf("stop: %w", stopErr))
	}
	if err == nil {
		err = a.printf("stopped; databases and logs are in %s\n", *dir)
	}
	return err
}

func load(dir string) (*data.Set, error) {
	if dir == "" {
		return data.Sample()
	}
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return nil, fmt.Errorf("--data %s is not a directory", dir)
	}
	return data.Read(os.DirFS(dir))
}

// serve waits for the initial sync, says READY, and waits for the end.
func (a *App) serve(ctx context.Context, s *suite.Suite, exit bool, timeout time.Duration, began time.Time) error {
	d, err := remote.Open(ctx, s.State())
	if err != nil {
		return err
	}
	defer d.Close()
	report, err := a.sync(ctx, s, d, timeout)
	if errors.Is(err, context.Canceled) {
		return nil
	}
	var unsettled *remote.Unsettled
	if err != nil && !errors.As(err, &unsettled) {
		return err
	}
	if exit {
		return a.verdict(ctx, d, report, err)
	}
	if err != nil {
		_ = a.printf("\nThe initial sync has not ended within %v: %v. It goes on.\n", timeout, err)
	}
	if err := a.printf("\n%s%s\nREADY in %.1f s  (Ctrl-C to stop)\n", block(s.State()), a.try(s.State()), time.Since(began).Seconds()); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return a.printf("\nstopping\n")
	case err := <-s.Failed():
		return err
	}
}

// sync waits until the systems agree, with a line of progress every second.
func (a *App) sync(ctx context.Context, s *suite.Suite, d *remote.Demo, timeout time.Duration) (*verify.Report, error) {
	began, next := time.Now(), time.Now().Add(progressEvery)
	line := func(p remote.Progress) string {
		return fmt.Sprintf("%d records read, %d customers, %d contacts, %d pending, %d dead letters", p.Scanned, p.Customers, p.Contacts, p.Pending, p.Dead)
	}
	var last remote.Progress
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	failed := make(chan struct{})
	go func() {
		defer close(failed)
		select {
		case err := <-s.Failed():
			fail(err)
		case <-ctx.Done():
		}
	}()
	report, err := d.Settle(ctx, func(p remote.Progress) {
		if !p.Unanswered {
			last = p
		}
		if time.Now().After(next) {
			next = time.Now().Add(progressEvery)
			_ = a.printf("  initial sync …                       %s\n", line(last))
		}
	})
	cause := context.Cause(ctx)
	fail(nil)
	<-failed
	if err != nil && cause != nil && !errors.Is(cause, context.Canceled) && !errors.Is(cause, context.DeadlineExceeded) {
		return report, cause
	}
	if err == nil {
		_ = a.printf("  %-36s %s  %d ms\n", "initial sync", line(last), time.Since(began).Milliseconds())
	}
	return report, err
}

// verdict says after the sync whether the systems agree.
func (a *App) verdict(ctx context.Context, d *remote.Demo, report *verify.Report, err error) error {
	if report == nil {
		now, verifyErr := d.Verify(ctx, false)
		if verifyErr != nil {
			return errors.Join(err, verifyErr)
		}
		report = now
	}
	if err := a.report(report); err != nil {
		return err
	}
	if report.Agree() {
		return err
	}
	if err != nil {
		_ = a.printf("The sync had not ended: %v.\n", err)
	}
	if p, err := d.Progress(ctx); err == nil && p.Dead > 0 {
		_ = a.printf("Some of them are held back by these dead letters:\n")
		if err := a.listDeadLetters(ctx, d.Operations, "text", "", false); err != nil {
			return err
		}
	}
	return errSilent
}

// block is where everything listens.
func block(s remote.State) string {
	var b strings.Builder
	fmt.Fprintf(&b, "  REST API             %s        OpenAPI %s · page %s\n", s.REST, s.OpenAPI, s.Docs)
	fmt.Fprintf(&b, "  Tokens               %s        development issuer: gives a token to whoever asks\n", s.Issuer)
	fmt.Fprintf(&b, "  Salesforce sandbox   %s        events %s\n", s.Salesforce, s.PubSub)
	if s.S4 != "" {
		fmt.Fprintf(&b, "  S/4HANA sandbox      %s        faults at /__sandbox__/faults\n", s.S4)
	}
	fmt.Fprintf(&b, "  gRPC                 system-salesforce %s · system-erp %s · process-customer %s\n",
		s.GRPC[suite.SystemSalesforce], s.GRPC[suite.SystemERP], s.GRPC[suite.ProcessCustomer])
	fmt.Fprintf(&b, "  Health and metrics   ")
	for i, name := range []string{suite.SystemSalesforce, suite.SystemERP, suite.ProcessCustomer, suite.ExperienceMobile} {
		if i > 0 {
			b.WriteString(" · ")
		}
		fmt.Fprintf(&b, "%s %s", name, s.Ops[name])
	}
	fmt.Fprintf(&b, "\n  Faults               %s        in front of the ERP; %s/__sandbox__/faults in Salesforce\n", s.Control, s.Salesforce)
	fmt.Fprintf(&b, "  Files                %s\n", s.Dir)
	return b.String()
}

// try is a command that works as it is.
func (a *App) try(s remote.State) string {
	return fmt.Sprintf("\n  Try it:\n    curl -s -H 'Authorization: Bearer %s' '%s/v1/customers?pageSize=3'\n    %s scenario run lost-ack\n",
		s.Token, s.REST, or(a.Program, "selfsame"))
}
