// Command certify runs unmodified Salesforce clients against the sandbox binary,
// writes the table of what passes, and ends with "N passed, N failed".
//
// It must be started in the folder of this module, with Node and the packages of
// node/ installed. It exits with 1 when a case failed or a process was left over.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/selfsame-io/selfsame/services/system-salesforce/certification/internal/matrix"
	"github.com/selfsame-io/selfsame/services/system-salesforce/certification/internal/report"
	"github.com/selfsame-io/selfsame/services/system-salesforce/certification/internal/server"
)

func main() {
	table := flag.String("table", "../../../docs/reference/salesforce-clients.md", "file for the table")
	binary := flag.String("sandbox", "", "binary of the sandbox (default: build it)")
	only := flag.String("only", "", "run only this client and write no table")
	verbose := flag.Bool("v", false, "show what the clients print")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	failed, err := run(ctx, *table, *binary, *only, *verbose)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "certify:", err)
	}
	if err != nil || failed > 0 {
		os.Exit(1)
	}
}

func run(ctx context.Context, table, bin, only string, verbose bool) (failed int, err error) {
	clients, err := subjects()
	if err != nil {
		return 0, err
	}
	dir, err := os.MkdirTemp("", "certify")
	if err != nil {
		return 0, fmt.Errorf("make a folder: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if bin == "" {
		if bin, err = server.Build(ctx, "..", dir); err != nil {
			return 0, err
		}
	}
	var rows []matrix.Row
	for _, s := range clients {
		if only != "" && s.client.Name != only {
			continue
		}
		row, err := certify(ctx, s, bin, dir, verbose)
		if err != nil {
			return 0, err
		}
		show(row)
		rows = append(rows, row)
	}
	passed, failed := matrix.Count(rows)
	if only == "" {
		if err := os.WriteFile(table, []byte(matrix.Markdown(rows)), 0o644); err != nil {
			return failed, fmt.Errorf("write the table: %w", err)
		}
	}
	fmt.Printf("%d passed, %d failed\n", passed, failed)
	return failed, nil
}

// perClient is how long all cases of one client may take together.
const perClient = 3 * time.Minute

// certify runs the cases of one client against a sandbox of its own.
func certify(ctx context.Context, s subject, bin, dir string, verbose bool) (matrix.Row, error) {
	ctx, cancel := context.WithTimeout(ctx, perClient)
	defer cancel()
	home := filepath.Join(dir, filepath.Base(s.client.Name))
	if err := os.Mkdir(home, 0o700); err != nil {
		return matrix.Row{}, fmt.Errorf("make a folder: %w", err)
	}
	if err := s.prepare(ctx, home); err != nil {
		return matrix.Row{}, err
	}
	sandbox, err := server.Start(ctx, bin, home)
	if err != nil {
		return matrix.Row{}, err
	}
	text, stopped, err := execute(ctx, s, append(os.Environ(), sandbox.Env()...), verbose)
	if err := errors.Join(err, sandbox.Stop()); err != nil {
		return matrix.Row{}, fmt.Errorf("after %s: %w", s.client.Name, err)
	}
	results, err := s.read(bytes.NewReader(text))
	if err != nil {
		stopped = errors.Join(stopped, err)
	}
	return matrix.Judge(s.client, results, stopped)
}

// execute runs the process of the cases and everything it starts as one group,
// which is ended with ctx. stopped says that the process gave up, as it does when
// a case failed; err says that it did not end, or left another process behind.
func execute(ctx context.Context, s subject, env []string, verbose bool) (text []byte, stopped, err error) {
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(ctx, s.command[0], s.command[1:]...)
	cmd.Dir, cmd.Env = s.dir, slices.Concat(env, []string{"GOWORK=off"})
	cmd.Stdout, cmd.Stderr = &out, &errs
	if verbose {
		cmd.Stdout, cmd.Stderr = io.MultiWriter(&out, os.Stderr), io.MultiWriter(&errs, os.Stderr)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	err = cmd.Run()
	if cmd.Process != nil && syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) == nil {
		return nil, nil, errors.New("the cases left a process behind")
	}
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return nil, nil, fmt.Errorf("the cases did not end in time: %w", ctx.Err())
	case errors.As(err, &exit):
		return out.Bytes(), fmt.Errorf("it ended with %d: %s", exit.ExitCode(), report.Reason(errs.String())), nil
	case err != nil:
		return nil, nil, fmt.Errorf("run the cases: %w", err)
	}
	return out.Bytes(), nil, nil
}

func show(row matrix.Row) {
	passed, failed := matrix.Count([]matrix.Row{row})
	fmt.Printf("%s %s: %d passed, %d failed\n", row.Client.Name, row.Client.Version, passed, failed)
	for _, k := range matrix.Capabilities() {
		if o := row.Outcomes[k.ID]; !o.Passed && !o.Absent {
			fmt.Printf("  %s: %s\n", strings.ToLower(k.Title[:1])+k.Title[1:], o.Reason)
		}
	}
}
