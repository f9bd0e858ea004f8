package suite

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// Bounds of starting and stopping a service.
const (
	startTimeout = 60 * time.Second
	stopTimeout  = 30 * time.Second
)

// runFunc runs a service until ctx ends.
type runFunc func(ctx context.Context) error

// unit is one service of the suite, which can be stopped and started again. Its methods may be called at once.
type unit struct {
	name string
	// addrs are what must answer before the service counts as started: host:port.
	addrs []string
	// launch starts it. done is closed when it has ended, and err is then its outcome.
	launch func() (running, error)
	// failed is told when it ends without having been asked to.
	failed func(error)

	mu      sync.Mutex
	current running
	watched sync.WaitGroup
}

// running is a started service.
type running interface {
	// stop asks it to end, and waits.
	stop() error
	// kill ends it at once, as a power failure would, and waits.
	kill() error
	// done is closed when it has ended.
	done() <-chan struct{}
	// err is why it ended; only after done.
	err() error
	// pid is its process id; zero when it has none of its own.
	pid() int
}

// start starts the service and waits until it accepts connections.
func (u *unit) start(ctx context.Context) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.current != nil {
		return fmt.Errorf("%s is running", u.name)
	}
	r, err := u.launch()
	if err != nil {
		return fmt.Errorf("start %s: %w", u.name, err)
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for _, addr := range u.addrs {
		if err := answers(ctx, addr, r.done()); err != nil {
			err = fmt.Errorf("start %s: %w", u.name, err)
			select {
			case <-r.done():
				return errors.Join(err, r.err())
			default:
				return errors.Join(err, r.stop())
			}
		}
	}
	u.current = r
	u.watched.Go(func() {
		<-r.done()
		u.mu.Lock()
		unasked := u.current == r
		if unasked {
			u.current = nil
		}
		u.mu.Unlock()
		if unasked {
			u.failed(fmt.Errorf("%s ended by itself: %w", u.name, cmpErr(r.err())))
		}
	})
	return nil
}

var errEnded = errors.New("without an error")

func cmpErr(err error) error {
	if err == nil {
		return errEnded
	}
	return err
}

// end stops or kills the service; nothing happens when it is not running.
func (u *unit) end(how func(running) error) error {
	u.mu.Lock()
	r := u.current
	u.current = nil
	u.mu.Unlock()
	if r == nil {
		return nil
	}
	err := how(r)
	if errors.Is(err, errPower) {
		u.mu.Lock()
		u.current = r // it runs on
		u.mu.Unlock()
	}
	if err != nil {
		return fmt.Errorf("%s: %w", u.name, err)
	}
	return nil
}

func (u *unit) stop() error { return u.end(running.stop) }
func (u *unit) kill() error { return u.end(running.kill) }

func (u *unit) pid() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.current == nil {
		return 0
	}
	return u.current.pid()
}

// answers waits until addr accepts a connection.
func answers(ctx context.Context, addr string, ended <-chan struct{}) error {
	var d net.Dialer
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		conn, err := d.DialContext(ctx, "tcp", addr)
		if err == nil {
			conn.Close()
		}
		select {
		case <-ended: // whoever answers there is somebody else
			return errors.New("it ended while starting")
		default:
		}
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("it does not answer on %s: %w", addr, ctx.Err())
		case <-tick.C:
		}
	}
}

// errPower is the answer to killing a service that has no process of its own.
var errPower = errors.New("only a service with a process of its own can be killed: start the demo with --processes")

// task is a service that runs in this process.
type task struct {
	cancel context.CancelFunc
	ended  chan struct{}
	result error
}

// runTask runs a service in this process. It outlives the caller's context, because stopping has an order.
func runTask(ctx context.Context, run runFunc) *task {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	t := &task{cancel: cancel, ended: make(chan struct{})}
	go func() {
		defer close(t.ended)
		t.result = run(ctx)
	}()
	return t
}

func (t *task) done() <-chan struct{} { return t.ended }
func (t *task) err() error            { return t.result }
func (t *task) pid() int              { return 0 }
func (t *task) kill() error           { return errPower }

func (t *task) stop() error {
	t.cancel()
	<-t.ended
	return t.result
}

// process is a service that is an operating system process.
type process struct {
	cmd    *exec.Cmd
	log    *os.File
	ended  chan struct{}
	result error
}

// runProcess starts a command whose output goes to the end of a log file.
func runProcess(command []string, logFile string) (*process, error) {
	if err := os.MkdirAll(filepath.Dir(logFile), 0o755); err != nil {
		return nil, err
	}
	log, err := os.OpenFile(logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	// Not CommandContext: the process outlives the context of whoever starts it, and is stopped in order.
	cmd := exec.Command(command[0], command[1:]...) //nolint:noctx // see above
	cmd.Stdout, cmd.Stderr = log, log
	// A process group of its own keeps the terminal's Ctrl-C from it: the demo stops its services in order.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(err, log.Close())
	}
	p := &process{cmd: cmd, log: log, ended: make(chan struct{})}
	go func() {
		defer close(p.ended)
		err := cmd.Wait()
		if err != nil {
			err = fmt.Errorf("%w (its log is %s)", err, logFile)
		}
		p.result = errors.Join(err, log.Close())
	}()
	return p, nil
}

func (p *process) done() <-chan struct{} { return p.ended }
func (p *process) err() error            { return p.result }
func (p *process) pid() int              { return p.cmd.Process.Pid }

func (p *process) kill() error {
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill: %w", err)
	}
	<-p.ended
	return nil
}

func (p *process) stop() error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop: %w", err)
	}
	select {
	case <-p.ended:
		return p.result
	case <-time.After(stopTimeout):
		return errors.Join(fmt.Errorf("did not stop within %v", stopTimeout), p.kill())
	}
}
