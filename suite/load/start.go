package load

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/selfsame-io/selfsame/suite"
)

// StartOptions says how [Start] measures.
type StartOptions struct {
	// Times is how often each service is started.
	Times int
	// Idle is how long a service is left alone before its memory is read.
	Idle time.Duration
	// Accounts is what the systems hold, see [Generate].
	Accounts int
	// Binaries is the directory with each service's own binary; empty uses Options.Service, whose program holds all of
	// them and is therefore larger.
	Binaries string
}

// ServiceStart is what one service needs to get up.
type ServiceStart struct {
	Service string `json:"service"`
	// Millis are the times from the start of the process to the first 200 of /readyz.
	Millis []float64 `json:"millis"`
	Median float64   `json:"median"`
	// Idle is its memory after it had nothing to do for a while: that of the last start.
	Idle Memory `json:"idle"`
}

// StartResult is what each service needs to get up.
type StartResult struct {
	Circumstances

	// OwnBinaries is true when each service was started from a binary of its own.
	OwnBinaries bool           `json:"own_binaries"`
	Accounts    int            `json:"accounts"`
	IdleSeconds float64        `json:"idle_seconds"`
	Services    []ServiceStart `json:"services"`
}

// Start starts each service again and again, while the others run, over databases that hold a finished sync.
func Start(ctx context.Context, o Options, so StartOptions) (_ *StartResult, err error) {
	out := &StartResult{Circumstances: begin(), OwnBinaries: so.Binaries != "", Accounts: so.Accounts, IdleSeconds: so.Idle.Seconds()}
	run, err := o.start(ctx, "start", Generate(so.Accounts), nil)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, run.stop()) }()
	o.progress("  waiting for the initial sync")
	if _, err := run.settled(ctx, o.quiet(), nil); err != nil {
		return nil, err
	}
	st := run.demo.State
	for _, name := range []string{suite.SystemSalesforce, suite.SystemERP, suite.ProcessCustomer, suite.ExperienceMobile} {
		if err := run.suite.StopService(name); err != nil {
			return nil, err
		}
		args := []string{"--config", filepath.Join(st.Dir, name+".yaml")}
		command := append(append(slices.Clone(o.Service), name), args...)
		if so.Binaries != "" {
			command = append([]string{filepath.Join(so.Binaries, name)}, args...)
		}
		s, err := so.service(ctx, name, command, st.Ops[name])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		o.progress("  %s: ready after %.0f ms, %.1f MB", name, s.Median, float64(s.Idle.Resident)/1e6)
		out.Services = append(out.Services, s)
		if err := run.suite.StartService(ctx, name); err != nil {
			return nil, err
		}
	}
	if err := run.agree(ctx); err != nil {
		return nil, err
	}
	out.end()
	return out, nil
}

func (so StartOptions) service(ctx context.Context, name string, command []string, ops string) (ServiceStart, error) {
	out := ServiceStart{Service: name}
	for i := range so.Times {
		idle := time.Duration(0)
		if i == so.Times-1 {
			idle = so.Idle
		}
		took, m, err := once(ctx, command, ops, idle)
		if err != nil {
			return out, err
		}
		out.Millis, out.Idle = append(out.Millis, float64(took.Microseconds())/1000), m
	}
	out.Median = median(out.Millis)
	return out, nil
}

// process is a service that was started.
type process struct {
	cmd   *exec.Cmd
	ended chan struct{}
	err   error // once ended is closed
	took  time.Duration
}

// launchService starts a service and waits until it is ready.
func launchService(ctx context.Context, command []string, ops string) (*process, error) {
	p := &process{cmd: exec.Command(command[0], command[1:]...), ended: make(chan struct{})} //nolint:noctx // it is stopped in order, by the signal that an operator sends
	p.cmd.Stderr = os.Stderr
	began := time.Now()
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start: %w", err)
	}
	go func() { defer close(p.ended); p.err = p.cmd.Wait() }()
	var err error
	if p.took, err = ready(ctx, ops, began, p.ended); err != nil {
		return nil, errors.Join(err, p.stop())
	}
	return p, nil
}

// stop ends the service in order and waits.
func (p *process) stop() error {
	var err error
	if signalErr := p.cmd.Process.Signal(syscall.SIGTERM); signalErr != nil && !errors.Is(signalErr, os.ErrProcessDone) {
		err = errors.Join(signalErr, p.cmd.Process.Kill())
	}
	<-p.ended
	return errors.Join(err, p.err)
}

// once starts a service, leaves it alone, and stops it.
func once(ctx context.Context, command []string, ops string, idle time.Duration) (took time.Duration, m Memory, err error) {
	p, err := launchService(ctx, command, ops)
	if err != nil {
		return 0, m, err
	}
	defer func() { err = errors.Join(err, p.stop()) }()
	if !sleepUntil(ctx, time.Now().Add(idle)) {
		return 0, m, ctx.Err()
	}
	m, err = memory(p.cmd.Process.Pid)
	return p.took, m, err
}

const (
	readyEvery = time.Millisecond
	readyLimit = 30 * time.Second
)

// ready asks /readyz every millisecond until it answers 200.
func ready(ctx context.Context, ops string, began time.Time, ended <-chan struct{}) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, readyLimit)
	defer cancel()
	client := &http.Client{Transport: &http.Transport{
		DialContext: (&net.Dialer{Timeout: time.Second}).DialContext, MaxIdleConnsPerHost: 1,
	}}
	defer client.CloseIdleConnections()
	tick := time.NewTicker(readyEvery)
	defer tick.Stop()
	for {
		err := getJSON(ctx, client, "http://"+ops+"/readyz", nil)
		if err == nil {
			return time.Since(began), nil
		}
		select {
		case <-tick.C:
		case <-ended:
			return 0, errors.New("it ended while starting")
		case <-ctx.Done():
			return 0, fmt.Errorf("it is not ready: %w", err)
		}
	}
}

// getJSON asks for a page and decodes it, unless out is nil.
func getJSON(ctx context.Context, client *http.Client, url string, out any) error {
	b, err := get(ctx, client, url, nil)
	if err != nil || out == nil {
		return err
	}
	if err := json.Unmarshal(b, out); err != nil {
		return fmt.Errorf("decode answer: %w", err)
	}
	return nil
}
