package cli

import (
	"context"
	"errors"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/selfsame-io/selfsame/suite"
	"github.com/selfsame-io/selfsame/suite/remote"
	"github.com/selfsame-io/selfsame/suite/scenario"
	"github.com/selfsame-io/selfsame/suite/verify"
)

// shownDifferences is how many differences are printed for people; -o json has all.
const shownDifferences = 50

// withDemo opens the demo and closes it again.
func (c *common) withDemo(ctx context.Context, do func(*remote.Demo) error) (err error) {
	d, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	return do(d)
}

func verifyCommand(ctx context.Context, a *App, args []string) error {
	c := a.flags("verify")
	values := c.Bool("show-values", false, "print the values that differ; they are personal data")
	wait := c.Duration("wait", 0, "how `long` to wait for the systems to settle first")
	if _, err := c.parse(args); err != nil {
		return err
	}
	return c.withDemo(ctx, func(d *remote.Demo) error {
		if *wait > 0 {
			waiting, cancel := context.WithTimeout(ctx, *wait)
			defer cancel()
			// What it ends with is looked at below in any case.
			_, _ = d.Settle(waiting, nil)
		}
		report, err := d.Verify(ctx, *values)
		if err != nil {
			return err
		}
		if c.output == "json" {
			err = a.json(report)
		} else {
			err = a.report(report)
		}
		if err == nil && !report.Agree() {
			return errSilent
		}
		return err
	})
}

// report prints a comparison for people.
func (a *App) report(r *verify.Report) error {
	rows := [][]string{{"", "SALESFORCE", "ERP", "GOLDEN", "MADE IN SALESFORCE", "MADE IN ERP"}}
	for name, n := range map[string]verify.Count{"customers": r.Customers, "contacts": r.Contacts} {
		rows = append(rows, []string{
			name, number(int64(n.Salesforce)), number(int64(n.ERP)), number(int64(n.Golden)), number(int64(n.MadeSalesforce)), number(int64(n.MadeERP)),
		})
	}
	if rows[1][0] == "contacts" {
		rows[1], rows[2] = rows[2], rows[1]
	}
	if err := a.table(rows); err != nil {
		return err
	}
	for i, d := range r.Differences {
		if i == shownDifferences {
			if err := a.printf("  … and %d more; -o json has all\n", len(r.Differences)-i); err != nil {
				return err
			}
			break
		}
		what := []string{"  " + string(d.Kind), d.Object, d.GoldenID, d.System, d.Field, strings.Join(d.Records, " ")}
		if len(d.Values) > 0 {
			what = append(what, "["+strings.Join(d.Values, " | ")+"]")
		}
		if err := a.printf("%s\n", strings.Join(strings.Fields(strings.Join(what, " ")), " ")); err != nil {
			return err
		}
	}
	if r.Agree() {
		return a.printf("\nThe systems agree.\n")
	}
	return a.printf("\nThe systems do NOT agree: %d differences.\n", len(r.Differences))
}

func scenarioCommand(ctx context.Context, a *App, args []string) error {
	c := a.flags("scenario")
	rest, err := c.parse(args)
	if err != nil {
		return err
	}
	if len(rest) == 1 && rest[0] == "list" {
		rows := [][]string{}
		for _, s := range scenario.All() {
			rows = append(rows, []string{s.Name, s.Title})
		}
		return a.table(rows)
	}
	if len(rest) != 2 || rest[0] != "run" {
		return usagef("say list, or run and a name")
	}
	return c.withDemo(ctx, func(d *remote.Demo) error {
		res, err := scenario.Run(ctx, d, rest[1], os.TempDir())
		if err != nil {
			return err
		}
		if c.output == "json" {
			err = a.json(res)
		} else {
			err = res.Print(a.Out)
		}
		if err == nil && !res.Passed {
			return errSilent
		}
		return err
	})
}

func token(ctx context.Context, a *App, args []string) error {
	c := a.flags("token")
	user := c.String("user", "demo", "subject of the token")
	scope := c.String("scope", "customers.read customers.write", "scopes, separated by blanks")
	ttl := c.Duration("ttl", time.Hour, "how long the token is good, at most 24h")
	if _, err := c.parse(args); err != nil {
		return err
	}
	return c.withDemo(ctx, func(d *remote.Demo) error {
		t, err := d.Token(ctx, *user, *scope, *ttl)
		if err != nil {
			return err
		}
		return a.printf("%s\n", t)
	})
}

// service runs one service; the demo starts itself so with --processes.
func service(ctx context.Context, _ *App, args []string) error {
	if len(args) == 0 {
		return usagef("give the name of a service")
	}
	unsampled()
	return suite.RunService(ctx, args[0], args[1:])
}

// unsampled ends the sampling of this process's memory. The linker leaves it out of the services' own programs, which cannot write such a
// profile; here they, and what they are compared with, would pay for what other commands can do.
func unsampled() { runtime.MemProfileRate = 0 }
