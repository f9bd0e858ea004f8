// Package compare measures clients of Salesforce against each other: the same work, in the same run, each client in a process of
// its own against a sandbox of its own.
//
// The problem: numbers of different runs, machines and definitions of "done" compare nothing. So every subject gets the same
// records, a fresh sandbox counts its calls, and the records are counted afterwards by somebody else. What is compared is a ratio
// within one round.
//
// Like the rest of this module it shares nothing with the sandbox or the adapter but bytes: both are binaries.
package compare

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Memory is the resident memory of a process, in bytes, from /proc.
type Memory struct {
	// Resident is what it holds now, program text included; Peak is the most it ever held.
	Resident int64 `json:"resident"`
	Peak     int64 `json:"peak"`
}

// memory reads /proc/<pid>/status.
func memory(pid int) (Memory, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return Memory{}, fmt.Errorf("memory: %w", err)
	}
	var m Memory
	for line := range strings.Lines(string(b)) {
		name, value, _ := strings.Cut(line, ":")
		to := &m.Resident
		switch name {
		case "VmRSS":
		case "VmHWM":
			to = &m.Peak
		default:
			continue
		}
		kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		if err != nil {
			return Memory{}, fmt.Errorf("memory: %s: %w", name, err)
		}
		*to = kib << 10
	}
	if m.Resident == 0 || m.Peak == 0 {
		return Memory{}, fmt.Errorf("memory of %d is not known", pid)
	}
	return m, nil
}

// ticks is the unit of processor time in /proc: a hundredth of a second, on every Linux system.
const ticks = 100

// processor is the processor time that a process has used so far, in seconds, from /proc.
func processor(pid int) (float64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, fmt.Errorf("processor time: %w", err)
	}
	// The name of the program, in brackets, may hold blanks.
	_, text, ok := strings.Cut(string(b[max(0, bytes.LastIndexByte(b, ')')):]), ") ")
	fields := strings.Fields(text)
	if !ok || len(fields) < 13 {
		return 0, errors.New("processor time: not known")
	}
	user, err1 := strconv.ParseFloat(fields[11], 64)
	system, err2 := strconv.ParseFloat(fields[12], 64)
	if err := errors.Join(err1, err2); err != nil {
		return 0, fmt.Errorf("processor time: %w", err)
	}
	return (user + system) / ticks, nil
}

// processors adds up what several processes have used.
func processors(pids ...int) (sum float64, err error) {
	for _, pid := range pids {
		used, err := processor(pid)
		if err != nil {
			return 0, err
		}
		sum += used
	}
	return sum, nil
}

// LoadAverage is that of the last minute.
func LoadAverage() string {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	first, _, _ := strings.Cut(string(b), " ")
	return first
}

// Adapter is a running system-salesforce. Stop must be called.
type Adapter struct {
	cmd    *exec.Cmd
	text   bytes.Buffer
	exited chan struct{}
	// Addr is where it serves gRPC.
	Addr string
}

// BuildAdapter compiles the service of the module in dir into folder out and returns the path of the binary.
func BuildAdapter(ctx context.Context, dir, out string) (string, error) {
	bin := filepath.Join(out, "system-salesforce")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", bin, "./cmd/system-salesforce")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOWORK=off")
	if text, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the adapter: %w\n%s", err, text)
	}
	return bin, nil
}

const (
	startup  = 30 * time.Second
	stopTime = 15 * time.Second
)

// StartAdapter runs the service against the sandbox that env names, in its default configuration but for settings, and returns once
// it is ready. dir is a folder for what it keeps.
func StartAdapter(ctx context.Context, bin, dir string, env map[string]string, settings ...string) (*Adapter, error) {
	addr, err := free()
	if err != nil {
		return nil, err
	}
	ops, err := free()
	if err != nil {
		return nil, err
	}
	a := &Adapter{Addr: addr, exited: make(chan struct{})}
	a.cmd = exec.Command(bin, append(settings,
		"--serve.listen="+addr, "--serve.ops="+ops, "--telemetry.log_level=error",
		"--salesforce.login_url="+env["CERTIFY_URL"], "--salesforce.client_id="+env["CERTIFY_CLIENT_ID"], "--salesforce.username="+env["CERTIFY_USERNAME"],
		"--salesforce.private_key_file="+env["CERTIFY_KEY"], "--salesforce.pubsub_endpoint="+env["CERTIFY_PUBSUB"], "--salesforce.pubsub_plaintext=true")...)
	a.cmd.Dir = dir
	a.cmd.Env = append(os.Environ(), "TMPDIR="+dir)
	a.cmd.Stdout, a.cmd.Stderr = &a.text, &a.text
	if err := a.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the adapter: %w", err)
	}
	go func() {
		defer close(a.exited)
		_ = a.cmd.Wait() // Stop looks at the state
	}()
	ctx, cancel := context.WithTimeout(ctx, startup)
	defer cancel()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+ops+"/readyz", nil)
		if err != nil {
			return nil, errors.Join(err, a.Stop())
		}
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return a, nil
			}
		}
		select {
		case <-a.exited:
			return nil, fmt.Errorf("the adapter ended at once: %s", a.text.String())
		case <-ctx.Done():
			return nil, errors.Join(errors.New("the adapter was not ready in time"), a.Stop())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Memory returns what the process holds.
func (a *Adapter) Memory() (Memory, error) { return memory(a.cmd.Process.Pid) }

// ForgetPeak makes the kernel count the peak from now on.
func (a *Adapter) ForgetPeak() error {
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", a.cmd.Process.Pid), []byte("5"), 0); err != nil {
		return fmt.Errorf("reset the peak: %w", err)
	}
	return nil
}

// Stop ends the process and waits for it. It is an error if the process ended before, or with an error.
func (a *Adapter) Stop() error {
	select {
	case <-a.exited:
		return fmt.Errorf("the adapter ended by itself: %s", a.text.String())
	default:
	}
	if err := a.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("stop the adapter: %w", err)
	}
	select {
	case <-a.exited:
	case <-time.After(stopTime):
		err := a.cmd.Process.Kill()
		<-a.exited
		return errors.Join(errors.New("the adapter did not stop and was killed"), err)
	}
	if !a.cmd.ProcessState.Success() {
		return fmt.Errorf("the adapter stopped with an error: %s", a.text.String())
	}
	return nil
}

// ProcessorTime is what the process has used; call it after Stop.
func (a *Adapter) ProcessorTime() time.Duration {
	return a.cmd.ProcessState.UserTime() + a.cmd.ProcessState.SystemTime()
}

// free returns an address that nobody listens on.
func free() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	addr := l.Addr().String()
	if err := l.Close(); err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	return addr, nil
}
