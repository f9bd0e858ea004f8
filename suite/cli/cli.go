// Package cli is the command line of Selfsame: it starts the demo, and looks at and repairs a running suite.
//
// Invariant: it does nothing that its user could not do over the APIs. It prints for people, or with -o json exactly what
// the API said; personal data is printed only by commands that were asked for it by name.
//
// Flags are the standard library's: a command has at most a handful, so no framework would earn its place.
package cli

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	grpcstatus "google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/selfsame-io/selfsame/pkg/conf"
	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/serve"
	customerv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/customer/v1"
	"github.com/selfsame-io/selfsame/suite/remote"
)

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1 // the command could not do its work, or what it checked is not so
	exitUsage  = 2 // the command line makes no sense
)

// App is what the command line runs in.
type App struct {
	Out, Err io.Writer
	// Version is what "selfsame version" prints.
	Version string
	// Program is how the user started this program, for the commands it suggests.
	Program string
}

// command is one verb.
type command struct {
	name, args, short string
	hidden            bool
	run               func(ctx context.Context, a *App, args []string) error
}

func commands() []command {
	return []command{
		{name: "demo", args: "[flags]", short: "start everything on this machine, load data, sync, and say READY", run: demo},
		{name: "status", short: "feeds, targets, counts, and where everything listens", run: status},
		{name: "explain", args: "customer/ID|contact/ID [field]", short: "why each field has its value", run: explain},
		{name: "rules", args: "[show|check FILE|schema|default|try --rules FILE|confirm]", short: "the survivorship rules: in force, checked, tried, confirmed", run: rulesCommand},
		{name: "pin", args: "customer/ID|contact/ID FIELD VALUE [--always]", short: "set a value over the rules", run: pin},
		{name: "unpin", args: "customer/ID|contact/ID FIELD", short: "have the rules decide again", run: unpin},
		{name: "merge", args: "customer/INTO customer/FROM", short: "make one customer of two, with all their records", run: mergeCommand},
		{name: "unmerge", args: "customer/ID", short: "take a merge back", run: unmergeCommand},
		{name: "questions", args: "[list|accept|reject]", short: "edits that a rule overruled and asks about", run: questionsCommand},
		{name: "events", args: "ID", short: "what happened to one customer or contact", run: events},
		{name: "ledger", short: "what became of every change that came in", run: ledger},
		{name: "doctor", args: "[--config FILE]", short: "whether the Salesforce org is set up: access, fields, change events, limits", run: doctor},
		{name: "budget", short: "how much of Salesforce's API allowance is left, and what waits for it", run: budget},
		{name: "audit", args: "show [ID]|verify", short: "who did what to which record, and whether the trail is as it was written", run: auditCommand},
		{name: "dead-letters", args: "[list|preview|redrive|retry|discard]", short: "what could not be taken in or delivered, and trying it again", run: deadLetters},
		{name: "deletions", args: "[list [SYSTEM]|confirm SYSTEM]", short: "deletions that wait for a person because they are too many", run: deletionsCommand},
		{name: "keys", args: "[list|show|release|expire|erase|log|stats]", short: "idempotency keys: what is open or uncertain, and settling it", run: keysCommand},
		{name: "match", args: "[train|evaluate|explain|quality|review|drift|leads]", short: "who is the same customer: review questions, check leads, or learn and measure on CSV files", run: matchCommand},
		{name: "orders", args: "[list|cancel OPERATION]", short: "orders that wait for the ERP, and calling them off", run: ordersCommand},
		{name: "pause", args: "SYSTEM", short: "stop reading a system, writing to it, or both; survives a restart", run: pauseCommand},
		{name: "resume", args: "SYSTEM", short: "go on", run: resumeCommand},
		{name: "throttle", args: "SYSTEM", short: "bound the records written to a system per minute", run: throttleCommand},
		{name: "erase", args: "customer/ID|contact/ID|list|show|receipt|verify", short: "forget a person, here and in every system, with a receipt", run: eraseCommand},
		{name: "shadow", args: "start|report|list|stop SYSTEM", short: "note what would be written to a system instead of writing it, and compare", run: shadowCommand},
		{name: "reconcile", args: "[SYSTEM …]|show|ignore|rules", short: "compare the systems with what is known of them, cheaply, and repair", run: reconcileCommand},
		{name: "resync", args: "SYSTEM", short: "look at everything of one system again", run: resync},
		{name: "verify", short: "read both systems themselves and say whether they agree", run: verifyCommand},
		{name: "scenario", args: "list|run NAME", short: "make failures happen and show what becomes of them", run: scenarioCommand},
		{name: "token", short: "a bearer token for the mobile API", run: token},
		{name: "version", short: "the version of this program", run: func(_ context.Context, a *App, _ []string) error {
			return a.printf("selfsame %s\n", a.Version)
		}},
		{name: "load", short: "measure speed and memory of the suite, and write the results", run: loadCommand},
		{name: "service", hidden: true, run: service},
	}
}

// usageError is a command line that makes no sense.
type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }

func usagef(format string, args ...any) error { return &usageError{fmt.Sprintf(format, args...)} }

// errSilent is a failure about which everything has been printed.
var errSilent = errors.New("failed")

// Main runs one command line, without the program's name, and returns the exit code.
func (a *App) Main(ctx context.Context, args []string) int {
	if len(args) == 0 || slices.Contains([]string{"help", "-h", "--help"}, args[0]) {
		a.help()
		return exitOK
	}
	all := commands()
	i := slices.IndexFunc(all, func(c command) bool { return c.name == args[0] })
	if i < 0 {
		fmt.Fprintf(a.Err, "selfsame: there is no command %q\n\n", args[0])
		a.help()
		return exitUsage
	}
	err := all[i].run(ctx, a, args[1:])
	var usage *usageError
	switch {
	case err == nil, errors.Is(err, conf.ErrHandled), errors.Is(err, flag.ErrHelp):
		return exitOK
	case errors.Is(err, errSilent):
		return exitFailed
	case errors.As(err, &usage):
		fmt.Fprintf(a.Err, "selfsame %s: %s\n", args[0], usage.text)
		return exitUsage
	}
	fmt.Fprintf(a.Err, "selfsame %s: %s\n", args[0], describe(err))
	return exitFailed
}

// describe puts the reason that a service gave before its message.
func describe(err error) string {
	var answered *fault.Error
	if _, ok := errors.AsType[interface {
		error
		GRPCStatus() *grpcstatus.Status
	}](err); ok {
		answered, _ = fault.As(err)
	}
	if answered == nil || answered.Reason == "" {
		return err.Error()
	}
	return answered.Reason + ": " + answered.Message
}

func (a *App) help() {
	fmt.Fprintf(a.Err, "selfsame keeps Salesforce and an ERP agreeing on customers.\n\n")
	t := tabwriter.NewWriter(a.Err, 0, 0, 2, ' ', 0)
	for _, c := range commands() {
		if !c.hidden {
			fmt.Fprintf(t, "  selfsame %s %s\t%s\n", c.name, c.args, c.short)
		}
	}
	_ = t.Flush() // like every write to the terminal
	fmt.Fprintf(a.Err, "\nEach command explains its flags with -h. They speak to the demo of %s, or to --addr.\n", remote.DefaultFile)
}

func (a *App) printf(format string, args ...any) error {
	_, err := fmt.Fprintf(a.Out, format, args...)
	return err
}

// common are the flags of every command that speaks to a running suite.
type common struct {
	*flag.FlagSet
	state, addr, output string
	tls                 serve.TLS
}

func (a *App) flags(name string) *common {
	c := &common{FlagSet: flag.NewFlagSet("selfsame "+name, flag.ContinueOnError)}
	c.SetOutput(a.Err)
	c.StringVar(&c.state, "state", remote.DefaultFile, "`file` that a running demo wrote")
	c.StringVar(&c.output, "o", "text", "output `format`: text or json")
	return c
}

// withAddr adds the flags that name a process-customer without a demo, and show it who asks.
func (c *common) withAddr() *common {
	c.StringVar(&c.addr, "addr", "", "`host:port` of process-customer; instead of a demo")
	c.StringVar(&c.tls.CertFile, "tls-cert", "", "with --addr: your certificate (PEM); the service knows operators by its name")
	c.StringVar(&c.tls.KeyFile, "tls-key", "", "with --addr: the key of your certificate (PEM)")
	c.StringVar(&c.tls.ClientCAFile, "tls-ca", "", "with --addr: CAs that the service's certificate comes from (PEM)")
	c.StringVar(&c.tls.ServerName, "tls-name", "", "with --addr: name in the service's certificate, if it is not the host")
	return c
}

// dial connects to a service that is no demo.
func (c *common) dial(addr string) (*grpc.ClientConn, error) {
	var conn *grpc.ClientConn
	err := c.tls.Validate()
	switch {
	case err != nil:
	case c.tls.Enabled():
		conn, err = serve.Dial(addr, serve.ClientOptions{TLS: c.tls, CallerName: "selfsame"})
	default: // says at once that nobody is there
		conn, err = grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	}
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", addr, err)
	}
	return conn, nil
}

// parse reads flags and arguments in any order and returns the arguments.
func (c *common) parse(args []string) ([]string, error) {
	var rest []string
	for {
		if err := c.Parse(args); err != nil {
			if errors.Is(err, flag.ErrHelp) {
				return nil, err
			}
			return nil, usagef("%v", err)
		}
		if c.NArg() == 0 {
			break
		}
		rest = append(rest, c.Arg(0))
		args = c.Args()[1:]
	}
	if c.output != "text" && c.output != "json" {
		return nil, usagef("-o is text or json, not %q", c.output)
	}
	return rest, nil
}

// open connects to the demo.
func (c *common) open(ctx context.Context) (*remote.Demo, error) {
	s, err := remote.Load(c.state)
	if err != nil {
		return nil, err
	}
	return remote.Open(ctx, s)
}

// operations calls process-customer's OperationsService at --addr or in the demo.
func (c *common) operations(ctx context.Context, do func(customerv1.OperationsServiceClient) error) (err error) {
	addr := c.addr
	if addr == "" {
		d, err := c.open(ctx)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, d.Close()) }()
		return do(d.Operations)
	}
	conn, err := c.dial(addr)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	return do(customerv1.NewOperationsServiceClient(conn))
}

// json prints a message as the API has it.
func (a *App) json(m any) error {
	var b []byte
	var err error
	if p, ok := m.(proto.Message); ok {
		b, err = protojson.MarshalOptions{Multiline: true, UseProtoNames: true, EmitUnpopulated: true}.Marshal(p)
	} else {
		b, err = json.MarshalIndent(m, "", "  ")
	}
	if err != nil {
		return fmt.Errorf("encode output: %w", err)
	}
	return a.printf("%s\n", b)
}

// table prints rows in columns; the first row is the head.
func (a *App) table(rows [][]string) error {
	t := tabwriter.NewWriter(a.Out, 0, 0, 3, ' ', 0)
	for _, r := range rows {
		if _, err := fmt.Fprintln(t, strings.Join(r, "\t")); err != nil {
			return err
		}
	}
	return t.Flush()
}
