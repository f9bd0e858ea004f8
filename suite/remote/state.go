// Package remote speaks to a running demo from outside: it knows where everything listens and how to be let in.
//
// Invariant: everything goes through what a user of the demo could use too: public REST, contracts, control APIs. Nothing is
// read from files of the services. Open proves that it speaks to the demo the state file is about, by its instance id.
package remote

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// State is where a demo listens. It is written to a file for scripts; it holds secrets of the demo only.
type State struct {
	// Instance is made anew with each start.
	Instance string `json:"instance"`
	// PID is the process that started the demo.
	PID int `json:"pid"`
	// Processes is true when each service is a process of its own.
	Processes bool `json:"processes"`
	// Started is when the demo started.
	Started time.Time `json:"started"`
	// Dir is the directory with databases, keys and logs.
	Dir string `json:"dir"`
	// REST is the base URL of the mobile API.
	REST string `json:"rest"`
	// OpenAPI and Docs describe the mobile API.
	OpenAPI string `json:"openapi"`
	Docs    string `json:"docs"`
	// Issuer is the base URL of the development issuer of tokens.
	Issuer string `json:"issuer"`
	// Token is a bearer token for the mobile API, good for 24 hours.
	Token string `json:"token"`
	// Salesforce is the base URL of the sandbox, PubSub its event endpoint.
	Salesforce string `json:"salesforce"`
	PubSub     string `json:"pubsub"`
	// S4 is the base URL of the S/4HANA sandbox, if there is one behind the ERP.
	S4 string `json:"s4,omitempty"`
	// ClientID, Username and KeyFile let in a user of Salesforce who is not Selfsame. Integration is the id of the user
	// that is.
	ClientID    string `json:"salesforce_client_id"`
	Username    string `json:"salesforce_username"`
	KeyFile     string `json:"salesforce_key_file"`
	Integration string `json:"salesforce_integration_user_id"`
	// Control is the base URL of the demo's control API, which sets faults between process-customer and system-erp.
	Control string `json:"control"`
	// GRPC and Ops are addresses by service; GRPC has "erp-proxy" as well.
	GRPC map[string]string `json:"grpc"`
	Ops  map[string]string `json:"ops"`
	// PIDs are the process ids by service, when each is a process of its own.
	PIDs map[string]int `json:"pids,omitempty"`
}

// DefaultFile is the state file's path, relative to the working directory.
const DefaultFile = ".selfsame/demo.json"

// ErrNoDemo means that there is no state file: no demo runs, or it runs elsewhere.
var ErrNoDemo = errors.New("no demo is running here")

// Load reads a state file.
func Load(path string) (State, error) {
	var s State
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return s, fmt.Errorf("%w: %s does not exist; start one with: selfsame demo", ErrNoDemo, path)
	}
	if err != nil {
		return s, fmt.Errorf("read state of the demo: %w", err)
	}
	if err := json.Unmarshal(b, &s); err != nil {
		return s, fmt.Errorf("%s is not the state of a demo: %w", path, err)
	}
	return s, nil
}

// Save writes the state file in one step, readable by its owner only.
func (s State) Save(path string) error {
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("encode state of the demo: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("write state of the demo: %w", err)
	}
	tmp := path + ".new"
	if err := os.WriteFile(tmp, append(b, '\n'), 0o600); err != nil {
		return fmt.Errorf("write state of the demo: %w", err)
	}
	if err := os.Rename(tmp, path); err != nil {
		return fmt.Errorf("write state of the demo: %w", err)
	}
	return nil
}
