package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/timestamppb"

	salesforcev1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/salesforce/v1"
	"github.com/selfsame-io/selfsame/suite"
	"github.com/selfsame-io/selfsame/suite/remote"
)

// salesforce calls the OperationsService of system-salesforce at --addr or in the demo. It answers also while the service is not
// ready for anything else.
func (c *common) salesforce(do func(salesforcev1.OperationsServiceClient) error) (err error) {
	addr := c.addr
	if addr == "" {
		s, err := remote.Load(c.state)
		if err != nil {
			return err
		}
		addr = s.GRPC[suite.SystemSalesforce]
	}
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return fmt.Errorf("connect to %s: %w", addr, err)
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	return do(salesforcev1.NewOperationsServiceClient(conn))
}

// doctor prints what is wrong with an org, and fails when anything is.
func doctor(ctx context.Context, a *App, args []string) error {
	c := a.flags("doctor")
	c.StringVar(&c.addr, "addr", "", "`host:port` of system-salesforce; instead of a demo")
	config := c.String("config", "", "`file` with the configuration of a system-salesforce that does not run yet")
	rest, err := c.parse(args)
	if err != nil {
		return err
	}
	if len(rest) > 0 || *config != "" && c.addr != "" {
		return usagef("give --config, or --addr, or neither for the demo")
	}
	var d *salesforcev1.DiagnoseResponse
	if *config != "" {
		d, err = suite.Diagnose(ctx, []string{"--config", *config})
	} else {
		err = c.salesforce(func(o salesforcev1.OperationsServiceClient) (err error) {
			d, err = o.Diagnose(ctx, &salesforcev1.DiagnoseRequest{})
			return err
		})
	}
	if err != nil {
		return err
	}
	if c.output == "json" {
		err = a.json(d)
	} else {
		err = a.diagnosis(d)
	}
	if err == nil && !d.GetPassed() {
		return errSilent
	}
	return err
}

// diagnosis prints findings for people.
func (a *App) diagnosis(d *salesforcev1.DiagnoseResponse) error {
	rows := [][]string{{"", "CHECK", "SUBJECT", "FOUND"}}
	count := map[salesforcev1.Severity]int{}
	for _, f := range d.GetFindings() {
		count[f.GetSeverity()]++
		rows = append(rows, []string{severity(f.GetSeverity()), f.GetCheck(), or(f.GetSubject(), "-"), f.GetMessage()})
		if f.GetAdvice() != "" {
			rows = append(rows, []string{"", "", "", "  → " + f.GetAdvice()})
		}
	}
	if err := a.table(rows); err != nil {
		return err
	}
	verdict := "The org is set up for Selfsame."
	if !d.GetPassed() {
		verdict = "The org is NOT set up for Selfsame."
	}
	return a.printf("\n%s %d failed, %d warnings, %d could not be checked.\n", verdict, count[salesforcev1.Severity_SEVERITY_FAILED],
		count[salesforcev1.Severity_SEVERITY_WARNING], count[salesforcev1.Severity_SEVERITY_SKIPPED])
}

func severity(s salesforcev1.Severity) string {
	switch s {
	case salesforcev1.Severity_SEVERITY_OK:
		return "ok"
	case salesforcev1.Severity_SEVERITY_WARNING:
		return "WARNING"
	case salesforcev1.Severity_SEVERITY_FAILED:
		return "FAILED"
	case salesforcev1.Severity_SEVERITY_SKIPPED, salesforcev1.Severity_SEVERITY_UNSPECIFIED:
	}
	return "skipped"
}

// budget prints what is left of Salesforce's allowance.
func budget(ctx context.Context, a *App, args []string) error {
	c := a.flags("budget")
	c.StringVar(&c.addr, "addr", "", "`host:port` of system-salesforce; instead of a demo")
	if _, err := c.parse(args); err != nil {
		return err
	}
	return c.salesforce(func(o salesforcev1.OperationsServiceClient) error {
		b, err := o.GetBudget(ctx, &salesforcev1.GetBudgetRequest{})
		if err != nil {
			return err
		}
		if c.output == "json" {
			return a.json(b)
		}
		if b.GetLimit() == 0 {
			return a.printf("Salesforce has not said yet how many calls there are.\n")
		}
		if err := a.printf("%d of %d calls used in the last 24 hours by every program of the org (%s), %d of them by Selfsame; %d in the last hour\n\n",
			b.GetUsed(), b.GetLimit(), ago(b.GetObserveTime()), b.GetOwnCallsLastDay(), b.GetCallsLastHour()); err != nil {
			return err
		}
		rows := [][]string{{"PRIORITY", "CALLS LEFT", "WAITS UNTIL", "CALLS IN 24 H", "WAITING FOR A SLOT"}}
		for _, p := range b.GetPriorities() {
			rows = append(rows, []string{
				p.GetPriority(), number(p.GetRemaining()), clock(p.GetResumeTime()), number(p.GetOwnCallsLastDay()), number(int64(p.GetWaiting())),
			})
		}
		if err := a.table(rows); err != nil {
			return err
		}
		if b.GetExhaustionTime() != nil {
			if err := a.printf("\nAt the rate of the last hour everything is used up about %s.\n", clock(b.GetExhaustionTime())); err != nil {
				return err
			}
		}
		rows = [][]string{{""}, {"OTHER ALLOWANCE", "LEFT", "OF"}}
		for _, l := range b.GetAllowances() {
			if strings.Contains(l.GetName(), "Bulk") || strings.Contains(l.GetName(), "Event") {
				rows = append(rows, []string{l.GetName(), number(l.GetRemaining()), number(l.GetLimit())})
			}
		}
		if len(rows) == 2 {
			return nil
		}
		return a.table(rows)
	})
}

// clock tells when something will be.
func clock(t *timestamppb.Timestamp) string {
	if t == nil {
		return "-"
	}
	return t.AsTime().Local().Format(time.RFC3339)
}
