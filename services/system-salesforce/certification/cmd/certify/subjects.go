package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/selfsame-io/selfsame/services/system-salesforce/certification/internal/matrix"
	"github.com/selfsame-io/selfsame/services/system-salesforce/certification/internal/report"
)

// subject is a client and how its cases are run.
type subject struct {
	client matrix.Client
	// module is the path of a Go client, to find its version.
	module string
	// dir is where the cases are and run.
	dir     string
	command []string
	read    func(io.Reader) ([]matrix.Result, error)
}

// Why clients do not have something.
const (
	restOnly   = "it speaks REST, not the Pub/Sub API"
	cometd     = "it subscribes over CometD, not the Pub/Sub API"
	eventsOnly = "it is a client of the Pub/Sub API only"
	noSuchCall = "it has no such call"
	noLogin    = "it cannot log in this way"
	noRetry    = "it does not log in again by itself"
)

// events, bulk and rest are capabilities that clients lack together.
var (
	events = []string{"topic", "subscribe", "replay", "publish", "publish-stream", "managed"}
	rest   = []string{"describe", "query", "records", "refusal", "collections", "composite", "bulk-load", "bulk-query", "bulk-classic", "publish-rest"}
)

// lacks makes the list of what a client does not have out of reasons and the
// capabilities they apply to.
func lacks(groups map[string][]string) map[string]string {
	out := map[string]string{}
	for why, ids := range groups {
		for _, id := range ids {
			out[id] = why
		}
	}
	return out
}

// subjects returns the clients, with the versions that are installed.
func subjects() ([]subject, error) {
	out := []subject{
		node("jsforce", "jsforce.mjs", map[string][]string{
			cometd: events,
			"it asks for compressed answers by itself and never compresses requests": {"compression"},
		}),
		node("salesforce-pubsub-api-client", "pubsub.mjs", map[string][]string{
			eventsOnly: append([]string{"compression", "identity"}, rest...),
			noRetry:    {"relogin"},
			noLogin:    {"login-password"},
		}),
		golang("go-salesforce", "github.com/k-capehart/go-salesforce/v3", "gosalesforce", map[string][]string{
			restOnly:   events,
			noLogin:    {"login-soap"},
			noSuchCall: {"identity", "describe", "bulk-classic"},
		}),
		golang("simpleforce", "github.com/simpleforce/simpleforce", "simpleforce", map[string][]string{
			restOnly:   events,
			noLogin:    {"login-jwt", "login-client-credentials", "login-password"},
			noRetry:    {"relogin"},
			noSuchCall: {"identity", "collections", "composite", "compression", "bulk-load", "bulk-query", "bulk-classic"},
		}),
		golang("go-force", "github.com/nimajalali/go-force", "goforce", map[string][]string{
			restOnly: events,
			"its logins go to fixed hosts of Salesforce": {"login-jwt", "login-client-credentials", "login-password", "login-soap", "relogin"},
			noSuchCall: {"identity", "collections", "composite", "compression", "bulk-load", "bulk-query", "bulk-classic"},
		}),
		golang("pub-sub-api/go", "github.com/developerforce/pub-sub-api/go", "pubsubstubs", map[string][]string{
			eventsOnly: append([]string{"compression"}, rest...),
			noLogin:    {"login-jwt", "login-soap"},
			noRetry:    {"relogin"},
			"its stubs are older than managed subscriptions": {"managed"},
		}),
	}
	for i := range out {
		version, err := out[i].version()
		if err != nil {
			return nil, err
		}
		out[i].client.Version = version
	}
	return out, nil
}

func golang(name, module, pkg string, absent map[string][]string) subject {
	return subject{
		client: matrix.Client{Name: name, Language: "Go", Absent: lacks(absent)},
		module: module,
		dir:    pkg,
		read:   report.Go,
	}
}

func node(name, script string, absent map[string][]string) subject {
	return subject{
		client: matrix.Client{Name: name, Language: "JavaScript", Absent: lacks(absent)},
		dir:    "node",
		// A client may leave streams open when it is closed, which keep Node alive.
		command: []string{"node", "--test-force-exit", "--test-reporter=./reporter.mjs", script},
		read:    report.Node,
	}
}

// prepare compiles the cases of a Go client into dir. They are run as a program
// of their own and not by "go test", because their environment makes them trust
// no certificate but that of the sandbox.
func (s *subject) prepare(ctx context.Context, dir string) error {
	if s.module == "" {
		return nil
	}
	bin := filepath.Join(dir, "cases.test")
	cmd := exec.CommandContext(ctx, "go", "test", "-c", "-o", bin, "./"+s.dir)
	cmd.Env = append(os.Environ(), "GOWORK=off")
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("compile the cases of %s: %w\n%s", s.client.Name, err, text)
	}
	s.command = []string{"go", "tool", "test2json", bin, "-test.v=test2json", "-test.timeout=2m"}
	return nil
}

// version asks what is installed.
func (s *subject) version() (string, error) {
	if s.module != "" {
		cmd := exec.Command("go", "list", "-mod=readonly", "-m", "-f", "{{.Version}}", s.module)
		cmd.Env = append(os.Environ(), "GOWORK=off")
		text, err := cmd.Output()
		if err != nil {
			return "", fmt.Errorf("version of %s: %w", s.client.Name, err)
		}
		return strings.TrimSpace(string(text)), nil
	}
	text, err := os.ReadFile(filepath.Join(s.dir, "node_modules", s.client.Name, "package.json"))
	if err != nil {
		return "", fmt.Errorf("version of %s (is node/ installed? run npm ci there): %w", s.client.Name, err)
	}
	var p struct{ Version string }
	if err := json.Unmarshal(text, &p); err != nil {
		return "", fmt.Errorf("version of %s: %w", s.client.Name, err)
	}
	return p.Version, nil
}
