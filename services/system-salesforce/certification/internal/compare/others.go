package compare

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"github.com/k-capehart/go-salesforce/v3"
)

// Other is a client of other people, measured in a process of its own.
type Other struct {
	// Name is how it is called, Version the one that is installed.
	Name    string
	Version string
	command func(n int) []string
}

// The ways of others.
const (
	goCollections = "go-salesforce-collections"
	goBulk        = "go-salesforce-bulk"
	jsCollections = "jsforce-collections"
	jsBulk        = "jsforce-bulk"
)

// Others returns the clients that are measured. self is the program that runs those written in Go when it is told so.
func Others(self, node string) ([]Other, error) {
	goVersion, err := output("go", "list", "-mod=readonly", "-m", "-f", "{{.Version}}", "github.com/k-capehart/go-salesforce/v3")
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(filepath.Join(node, "node_modules", "jsforce", "package.json"))
	if err != nil {
		return nil, fmt.Errorf("version of jsforce (is node/ installed? run npm ci there): %w", err)
	}
	var p struct{ Version string }
	if err := json.Unmarshal(text, &p); err != nil {
		return nil, fmt.Errorf("version of jsforce: %w", err)
	}
	golang := func(way string) func(int) []string {
		return func(n int) []string { return []string{self, "-worker", way, "-accounts", strconv.Itoa(n)} }
	}
	script := func(way string) func(int) []string {
		return func(n int) []string {
			return []string{"node", filepath.Join(node, "benchmark.mjs"), way, strconv.Itoa(n), strconv.Itoa(Passes)}
		}
	}
	return []Other{
		{"go-salesforce, collections", goVersion, golang(goCollections)},
		{"jsforce, collections", p.Version, script(jsCollections)},
		{"go-salesforce, bulk", goVersion, golang(goBulk)},
		{"jsforce, bulk", p.Version, script(jsBulk)},
	}, nil
}

func output(name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), "GOWORK=off")
	text, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("run %s: %w", name, err)
	}
	return string(bytes.TrimSpace(text)), nil
}

// Used is what a process took.
type Used struct {
	ProcessorSeconds float64
	PeakBytes        int64
	// sandbox is what the sandbox used meanwhile, passes what all processes used for the passes alone; 0 if not known.
	sandbox, passes float64
}

// perWorker is how long one process of a client may take.
const perWorker = 10 * time.Minute

// Upserts runs the client against the sandbox of env.
func (c Other) Upserts(ctx context.Context, env []string, n int) ([]Pass, Used, error) {
	ctx, cancel := context.WithTimeout(ctx, perWorker)
	defer cancel()
	args := c.command(n)
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env = append(os.Environ(), env...)
	var out, problems bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problems
	if err := cmd.Start(); err != nil {
		return nil, Used{}, fmt.Errorf("start %s: %w", c.Name, err)
	}
	peak := make(chan int64, 1)
	done := make(chan struct{})
	go func() { peak <- watch(cmd.Process.Pid, done) }()
	err := cmd.Wait()
	close(done)
	used := Used{ProcessorSeconds: (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds(), PeakBytes: <-peak}
	if err != nil {
		return nil, used, fmt.Errorf("%s: %w\n%s", c.Name, err, problems.String())
	}
	var passes []Pass
	if err := json.Unmarshal(out.Bytes(), &passes); err != nil {
		return nil, used, fmt.Errorf("%s: %w\n%s", c.Name, err, out.String())
	}
	return passes, used, nil
}

// watch returns the peak of a process, last seen before it ended.
func watch(pid int, done <-chan struct{}) int64 {
	var peak int64
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		// A process that has just ended has no memory any more.
		if m, err := memory(pid); err == nil {
			peak = max(peak, m.Peak)
		}
		select {
		case <-done:
			return peak
		case <-tick.C:
		}
	}
}

// Work is what the process of a client written in Go does: it writes its passes to out.
func Work(ctx context.Context, way string, n int, out io.Writer) error {
	o := NewOrg(os.Environ())
	key, err := os.ReadFile(o.env["CERTIFY_KEY"])
	if err != nil {
		return fmt.Errorf("read the key: %w", err)
	}
	sf, err := salesforce.Init(salesforce.Creds{
		Domain: o.env["CERTIFY_URL"], Username: o.env["CERTIFY_USERNAME"], ConsumerKey: o.env["CERTIFY_CLIENT_ID"], ConsumerRSAPem: string(key),
	})
	if err != nil {
		return fmt.Errorf("log in: %w", err)
	}
	write := collections
	switch way {
	case goCollections:
	case goBulk:
		write = jobs
	default:
		return errors.New("the way is unknown")
	}
	var passes []Pass
	for pass := range Passes {
		p, err := timed(ctx, o, func() (int64, error) { return write(sf, pass, n) })
		if err != nil {
			return err
		}
		passes = append(passes, p)
	}
	if err := json.NewEncoder(out).Encode(passes); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return nil
}

// collections is the way that go-salesforce documents for many records.
func collections(sf *salesforce.Salesforce, pass, n int) (int64, error) {
	type row struct {
		Selfsame_Id__c, Name, Phone, BillingCity string
	}
	rows := make([]row, n)
	for i := range rows {
		a := accountAt(pass, i)
		rows[i] = row{a.Key, a.Name, a.Phone, a.City}
	}
	got, err := sf.UpsertCollection("Account", "Selfsame_Id__c", rows, 200)
	if err != nil {
		return 0, fmt.Errorf("upsert: %w", err)
	}
	var succeeded int64
	for _, r := range got.Results {
		if r.Success {
			succeeded++
		}
	}
	return succeeded, nil
}

// jobs is its way by the Bulk API 2.0, waiting for the end and asking for the outcomes.
func jobs(sf *salesforce.Salesforce, pass, n int) (int64, error) {
	rows := make([]map[string]any, n)
	for i := range rows {
		a := accountAt(pass, i)
		rows[i] = map[string]any{"Selfsame_Id__c": a.Key, "Name": a.Name, "Phone": a.Phone, "BillingCity": a.City}
	}
	ids, err := sf.UpsertBulk("Account", "Selfsame_Id__c", rows, 10_000, true)
	if err != nil {
		return 0, fmt.Errorf("upsert: %w", err)
	}
	var succeeded int64
	for _, id := range ids {
		got, err := sf.GetJobResults(id)
		if err != nil {
			return 0, fmt.Errorf("results: %w", err)
		}
		succeeded += int64(len(got.SuccessfulRecords))
	}
	return succeeded, nil
}
