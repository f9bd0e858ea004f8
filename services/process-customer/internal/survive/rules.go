// Package survive decides which system's word about a field survives into the golden record.
//
// Invariant: the outcome is a function of the set of claims and of the rules, and of nothing else. The order in which
// claims came in, and how often, does not matter, so a service that was down, got changes twice or in another order
// ends with the same record as one that did not. Inside one record its version decides, never a clock; between
// records the claims stand in one total order, never in pairwise "about the same time", which would not be transitive.
//
// The package is pure: no I/O, no clock. It does not know which claims are alive; the caller leaves out those of
// deleted records.
package survive

import (
	"crypto/sha256"
	_ "embed" // the default rules
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
)

//go:embed rules.yaml
var defaultRules []byte

// strategy says how the winner among several records is found.
type strategy string

const (
	// master asks the listed systems in their order; others never win.
	master strategy = "master"
	// latest takes the claim made last.
	latest strategy = "latest"
	// longest takes the value with the most characters.
	longest strategy = "longest"
)

// blank says what it means that a record's newest word is an empty value.
type blank string

const (
	// keep goes on with the record's last value that was not empty.
	keep blank = "keep"
	// clear takes the empty value at its word.
	clear blank = "clear"
	// yield lets the next best record decide.
	yield blank = "yield"
)

// rule decides one field, or several that move together.
type rule struct {
	Unit       string        `json:"unit,omitempty"`
	Members    []string      `json:"members,omitempty"`
	RequireAny []string      `json:"require_any,omitempty"`
	Strategy   strategy      `json:"strategy"`
	Master     []string      `json:"master,omitempty"`
	Bucket     time.Duration `json:"bucket"`
	Blank      blank         `json:"blank"`
	WriteTo    []string      `json:"write_to"`
}

// Rules are a parsed rule file. They cannot be changed and are safe for concurrent use.
type Rules struct {
	version    int
	priorities map[string]int
	objects    map[golden.Object]map[string]*rule
	digest     string
}

// Default returns the rules that hold when no file is configured.
func Default() *Rules {
	r, err := Parse(defaultRules)
	if err != nil {
		panic(fmt.Sprintf("survive: the built-in rules are wrong: %v", err))
	}
	return r
}

// Version returns the version that the author of the file gave it.
func (r *Rules) Version() int { return r.version }

// Digest returns the SHA-256 of what the rules say, in hex: two files that differ only in comments or layout have the
// same digest.
func (r *Rules) Digest() string { return r.digest }

// Systems returns the named systems, sorted.
func (r *Rules) Systems() []string {
	out := make([]string, 0, len(r.priorities))
	for name := range r.priorities {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

// WritesTo reports whether the golden value of field is written to system.
func (r *Rules) WritesTo(obj golden.Object, field, system string) bool {
	rule := r.objects[obj][field]
	return rule != nil && (rule.WriteTo == nil || slices.Contains(rule.WriteTo, system))
}

// APIMayWrite reports whether a value for field that comes through our own API could win, given all decisions of the
// record as it is: false when a system that ranks higher decides the field, or when only other systems ever do.
func (r *Rules) APIMayWrite(obj golden.Object, field string, decisions []golden.Decision) bool {
	rule := r.objects[obj][field]
	if rule == nil {
		return false
	}
	if rule.Strategy != master {
		return true
	}
	own := slices.Index(rule.Master, golden.SystemAPI)
	if own < 0 {
		return false
	}
	deciding := []string{field}
	if rule.Unit != "" {
		deciding = rule.RequireAny
		if rule.Blank == clear {
			deciding = rule.Members
		}
	}
	for i := range decisions {
		d := &decisions[i]
		if d.Winner == nil || !slices.Contains(deciding, d.Field) {
			continue
		}
		if d.Value == "" && rule.Blank != clear {
			continue
		}
		if rank := slices.Index(rule.Master, d.Winner.Ref.System); rank >= 0 && rank < own {
			return false
		}
	}
	return true
}

// seal computes the digest.
func (r *Rules) seal() error {
	text, err := json.Marshal(struct {
		Version    int                                `json:"version"`
		Priorities map[string]int                     `json:"priorities"`
		Objects    map[golden.Object]map[string]*rule `json:"objects"`
	}{r.version, r.priorities, r.objects})
	if err != nil {
		return fmt.Errorf("write rules in canonical form: %w", err)
	}
	sum := sha256.Sum256(text)
	r.digest = hex.EncodeToString(sum[:])
	return nil
}
