// Package stories tells what Selfsame does, in scripts that a newcomer can read and that are run as tests.
//
// Each *.txtar file is one story about the whole suite on real sockets: the Salesforce sandbox, the ERP, the four services.
// The verbs are in README.md. Nothing in them waits for a fixed time.
package stories

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/goleak"

	"github.com/selfsame-io/selfsame/suite"
	"github.com/selfsame-io/selfsame/suite/cli"
	"github.com/selfsame-io/selfsame/suite/data"
	"github.com/selfsame-io/selfsame/suite/faultproxy"
	"github.com/selfsame-io/selfsame/suite/remote"
)

// patience bounds every wait of a story. A story that meets it has failed.
const patience = 5 * time.Minute

func TestMain(m *testing.M) {
	// With a process per service the suite starts this program again as "… service NAME --config FILE".
	if len(os.Args) > 1 && os.Args[1] == "service" {
		app := &cli.App{Out: os.Stdout, Err: os.Stderr}
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		code := app.Main(ctx, os.Args[1:])
		stop()
		os.Exit(code)
	}
	goleak.VerifyTestMain(m)
}

func TestStories(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir:                 ".",
		RequireExplicitExec: true,
		Condition:           condition,
		Setup: func(env *testscript.Env) error {
			s := &story{t: t}
			env.Values[storyKey{}] = s
			env.Defer(func() {
				if err := s.stop(); err != nil {
					env.T().Log("stop:", err)
				}
			})
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"demo": verb(demoVerb), "settle": verb(settleVerb), "verify": verb(verifyVerb), "await": verb(awaitVerb),
			"sf": verb(sfVerb), "erp": verb(erpVerb), "mobile": verb(mobileVerb), "key": verb(keyVerb), "selection": verb(selectionVerb),
			"fault": verb(faultVerb), "crash": verb(crashVerb), "shutdown": verb(shutdownVerb), "start": verb(startVerb),
			"org": verb(orgVerb), "sap": verb(sapVerb), "compare": verb(compareVerb),
			"selfsame": selfsameVerb, "until": untilVerb,
		},
	})
}

type storyKey struct{}

// story is the demo of one script.
type story struct {
	t     testing.TB // of all stories: what it cleans up outlives each
	suite *suite.Suite
	demo  *remote.Demo
	state string
}

func (s *story) stop() error {
	var errs []error
	if s.demo != nil {
		errs = append(errs, s.demo.Close())
		s.demo = nil
	}
	if s.suite != nil {
		errs = append(errs, s.suite.Stop())
		s.suite = nil
	}
	return errors.Join(errs...)
}

// call is one verb being done.
type call struct {
	*story
	ts  *testscript.TestScript
	ctx context.Context //nolint:containedctx // the verb's own, for as long as it is done
	out io.Writer       // nil: the script's output
}

func (c *call) printf(format string, args ...any) {
	if c.out == nil {
		c.out = c.ts.Stdout()
	}
	fmt.Fprintf(c.out, format, args...)
}

// verb makes a command of a function; a story that says "! verb" wants it to fail.
func verb(do func(c *call, args []string) error) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		s, ok := ts.Value(storyKey{}).(*story)
		if !ok {
			ts.Fatalf("the story was not set up")
		}
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		err := do(&call{story: s, ts: ts, ctx: ctx}, args)
		switch {
		case neg && err == nil:
			ts.Fatalf("should have failed")
		case neg:
			fmt.Fprintln(ts.Stderr(), err)
		case err != nil:
			ts.Fatalf("%v", err)
		}
	}
}

// demoVerb: demo start [sample|DIR] [processes] [now] [erp-down] [salesforce-down], demo stop.
func demoVerb(c *call, args []string) error {
	if len(args) == 0 {
		return errors.New("say start or stop")
	}
	if args[0] == "stop" {
		return c.stop()
	}
	o := suite.Options{Dir: c.ts.MkAbs("demo"), StateFile: c.ts.MkAbs("demo.json"), LogLevel: "error"}
	wait := true
	for _, a := range args[1:] {
		switch a {
		case "processes":
			o.Processes = true
		case "now":
			wait = false
		case "sap":
			o.SAP = true
		case "erp-down":
			o.ERPFaults, wait = []faultproxy.Fault{{Kind: faultproxy.Down}}, false
		case "salesforce-down":
			o.SalesforceDown, wait = true, false
		default:
			if rulesOption(c, &o, a) || matchOption(&o, a) {
				continue
			}
			if ours, err := brakeOption(&o, a); ours || err != nil {
				if err != nil {
					return err
				}
				continue
			}
			if ours, err := replicasOption(c, &o, a); ours || err != nil {
				if err != nil {
					return err
				}
				continue
			}
			if ours, err := orgOption(&o, a); ours || err != nil {
				if err != nil {
					return err
				}
				continue
			}
			set, err := dataSet(c, a)
			if err != nil {
				return err
			}
			o.Data = set
		}
	}
	var err error
	if c.suite, err = suite.Start(c.ctx, o); err != nil {
		return err
	}
	c.state = o.StateFile
	if c.demo, err = remote.Open(c.ctx, c.suite.State()); err != nil || !wait {
		return err
	}
	return poll(c.ctx, func() (bool, error) {
		p, err := c.demo.Progress(c.ctx)
		return p.Live && p.Pending == 0, err
	})
}

func dataSet(c *call, name string) (*data.Set, error) {
	if name == "sample" {
		return data.Sample()
	}
	return data.Read(os.DirFS(c.ts.MkAbs(name)))
}

// poll asks until ok; the last error is told when the story's patience ends.
func poll(ctx context.Context, ok func() (bool, error)) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		done, err := ok()
		if done && err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(errors.New("waited too long"), err)
		case <-tick.C:
		}
	}
}

func settleVerb(c *call, _ []string) error {
	_, err := c.demo.Settle(c.ctx, nil)
	return err
}

// verifyVerb reads both systems; the story fails with the differences.
func verifyVerb(c *call, _ []string) error {
	r, err := c.demo.Verify(c.ctx, true)
	if err != nil {
		return err
	}
	c.printf("customers: %+v\ncontacts: %+v\n", r.Customers, r.Contacts)
	for _, d := range r.Differences {
		c.printf("%+v\n", d)
	}
	if !r.Agree() {
		return fmt.Errorf("the systems differ: %+v", r.Differences[:min(5, len(r.Differences))])
	}
	return nil
}

// awaitVerb: await customers|pending N waits until there are at least N.
func awaitVerb(c *call, args []string) error {
	if len(args) != 2 {
		return errors.New("say what, and how many")
	}
	var n int64
	if _, err := fmt.Sscan(args[1], &n); err != nil {
		return err
	}
	return poll(c.ctx, func() (bool, error) {
		p, err := c.demo.Progress(c.ctx)
		switch args[0] {
		case "customers":
			return p.Customers >= n, err
		case "pending":
			return p.Pending >= n, err
		case "dead-letters":
			return p.Dead >= n, err
		}
		return false, fmt.Errorf("await knows customers, pending and dead-letters")
	})
}

func crashVerb(c *call, args []string) error    { return c.each(args, c.suite.Kill) }
func shutdownVerb(c *call, args []string) error { return c.each(args, c.suite.StopService) }
func startVerb(c *call, args []string) error {
	return c.each(args, func(n string) error { return c.suite.StartService(c.ctx, n) })
}

func (c *call) each(names []string, do func(string) error) error {
	for _, n := range names {
		if err := do(n); err != nil {
			return err
		}
	}
	return nil
}

// selfsameVerb runs the command line.
func selfsameVerb(ts *testscript.TestScript, neg bool, args []string) {
	s, ok := ts.Value(storyKey{}).(*story)
	if !ok {
		ts.Fatalf("the story was not set up")
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	app := &cli.App{Out: ts.Stdout(), Err: ts.Stderr(), Version: "story"}
	state := s.state
	if state == "" {
		state = filepath.Join(ts.Getenv("WORK"), "demo.json")
	}
	if code := app.Main(ctx, append(slices.Clone(args), "--state", state)); (code != 0) != neg {
		ts.Fatalf("exit code %d", code)
	}
}
