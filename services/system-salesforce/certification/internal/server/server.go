// Package server builds the sandbox binary and runs it on free ports with fresh
// keys.
//
// The problem: certification means nothing unless the clients meet the program
// that others run, over the network, with nothing shared but bytes. So this
// package imports nothing of the sandbox: it starts a process and reads from its
// log where it listens.
package server

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	_ "embed"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sync"
	"syscall"
	"time"
)

// Build compiles the sandbox of the module in dir into folder out and returns
// the path of the binary.
func Build(ctx context.Context, dir, out string) (string, error) {
	bin := filepath.Join(out, "salesforce-sandbox")
	cmd := exec.CommandContext(ctx, "go", "build", "-o", bin, "./cmd/salesforce-sandbox")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOWORK=off")
	if text, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the sandbox: %w\n%s", err, text)
	}
	return bin, nil
}

// Who may log in. The password is followed by the token when it is sent, as
// Salesforce wants it.
const (
	clientID = "certification"
	secret   = "certification-secret"
	username = "robot@selfsame.example"
	password = "correct & <horse>"
	token    = "7oken"
	startup  = 15 * time.Second
	stopTime = 5 * time.Second
)

// org defines the platform event of the official sample clients and a managed
// subscription.
//
//go:embed schema.json
var org []byte

// Process is a running sandbox. Stop must be called.
type Process struct {
	cmd    *exec.Cmd
	env    []string
	exited chan struct{}
	log    *tail
}

// Start runs the binary; dir is an empty folder for its keys. It returns once
// the sandbox serves.
func Start(ctx context.Context, bin, dir string) (*Process, error) {
	if err := keys(dir); err != nil {
		return nil, err
	}
	schema, ca := filepath.Join(dir, "schema.json"), filepath.Join(dir, "ca.pem")
	if err := os.WriteFile(schema, org, 0o600); err != nil {
		return nil, fmt.Errorf("write the schema: %w", err)
	}
	cmd := exec.Command(bin, "-listen", "127.0.0.1:0", "-pubsub-listen", "127.0.0.1:0", "-pubsub-tls-listen", "127.0.0.1:0", "-certificate", ca,
		"-client-id", clientID, "-client-secret", secret, "-public-key", filepath.Join(dir, "app.pub"),
		"-username", username, "-password", password+token, "-schema", schema)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return nil, fmt.Errorf("start the sandbox: %w", err)
	}
	p := &Process{cmd: cmd, exited: make(chan struct{}), log: &tail{}}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the sandbox: %w", err)
	}
	serving := make(chan map[string]string, 1)
	go p.follow(stderr, serving)
	select {
	case at := <-serving:
		p.env = []string{
			"CERTIFY_URL=http://" + at["http"], "CERTIFY_PUBSUB=" + at["pubsub"], "CERTIFY_PUBSUB_TLS=" + at["pubsub_tls"],
			"CERTIFY_CLIENT_ID=" + clientID, "CERTIFY_CLIENT_SECRET=" + secret, "CERTIFY_KEY=" + filepath.Join(dir, "app.key"),
			"CERTIFY_USERNAME=" + username, "CERTIFY_PASSWORD=" + password, "CERTIFY_SECURITY_TOKEN=" + token,
			// Go programs trust this certificate as if the system did.
			"SSL_CERT_FILE=" + ca,
		}
		return p, nil
	case <-p.exited:
		return nil, fmt.Errorf("the sandbox ended at once: %s", p.log)
	case <-time.After(startup):
		err = errors.New("the sandbox did not serve in time")
	case <-ctx.Done():
		err = ctx.Err()
	}
	return nil, errors.Join(err, p.Stop())
}

// PID is the id of the process.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Env says to the cases where the sandbox is and who may log in.
func (p *Process) Env() []string { return p.env }

var (
	serves    = regexp.MustCompile(`msg="sandbox is serving"(.*)`)
	attribute = regexp.MustCompile(`(\w+)=(\S+)`)
)

// follow reads the log until the process ends, and collects the process.
func (p *Process) follow(log io.Reader, serving chan<- map[string]string) {
	defer close(p.exited)
	for s := bufio.NewScanner(log); s.Scan(); {
		if m := serves.FindStringSubmatch(s.Text()); m != nil {
			at := map[string]string{}
			for _, a := range attribute.FindAllStringSubmatch(m[1], -1) {
				at[a[1]] = a[2]
			}
			serving <- at
			continue
		}
		p.log.add(s.Text())
	}
	if err := p.cmd.Wait(); err != nil {
		p.log.add(err.Error())
	}
}

// Stop ends the process and waits for it. It is an error if the process had
// ended before, ends with an error, or has to be killed.
func (p *Process) Stop() error {
	select {
	case <-p.exited:
		return fmt.Errorf("the sandbox ended by itself: %s", p.log)
	default:
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("stop the sandbox: %w", err)
	}
	select {
	case <-p.exited:
	case <-time.After(stopTime):
		err := p.cmd.Process.Kill()
		<-p.exited
		return errors.Join(errors.New("the sandbox did not stop and was killed"), err)
	}
	if !p.cmd.ProcessState.Success() {
		return fmt.Errorf("the sandbox stopped with an error: %s", p.log)
	}
	return nil
}

// keys writes a new key pair of an app.
func keys(dir string) error {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return fmt.Errorf("make a key: %w", err)
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return fmt.Errorf("make a key: %w", err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fmt.Errorf("make a key: %w", err)
	}
	err = errors.Join(write(filepath.Join(dir, "app.pub"), "PUBLIC KEY", public), write(filepath.Join(dir, "app.key"), "PRIVATE KEY", private))
	if err != nil {
		return fmt.Errorf("write the keys: %w", err)
	}
	return nil
}

func write(path, kind string, der []byte) error {
	return os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}

// tail keeps the end of the log. It is safe for concurrent use.
type tail struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// maxTail is how much of the log is kept.
const maxTail = 8 << 10

func (t *tail) add(line string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text.WriteString(line + "\n")
	if over := t.text.Len() - maxTail; over > 0 {
		t.text.Next(over)
	}
}

// String returns what was kept.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.text.String()
}
