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
	"strings"
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
	// priority takes the claim of the system with the greatest priority.
	priority strategy = "priority"
	// trust takes the value of the system that is trusted most with this field; systems without trust never win.
	trust strategy = "trust"
	// longest takes the value with the most characters, shortest the one with the fewest.
	longest  strategy = "longest"
	shortest strategy = "shortest"
	// least and greatest take the smallest and the greatest value: numbers by size, other text by its bytes.
	least    strategy = "min"
	greatest strategy = "max"
	// union joins the lists of all records.
	union strategy = "union"
	// complete takes the record that fills the most fields of a unit.
	complete strategy = "most_complete"
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

// Overruled says what becomes of an edit that does not win, in the record where it was made.
type Overruled string

// What may become of an edit that does not win.
const (
	// Revert writes the golden value over it.
	Revert Overruled = "revert"
	// Keep leaves it where it was made until somebody whose word counts says something newer.
	Keep Overruled = "keep"
	// Ask leaves it and asks a person.
	Ask Overruled = "ask"
)

// rule decides one field, or several that move together.
type rule struct {
	// Path is where the rule stands in the file; it decides nothing.
	Path       string        `json:"-"`
	Unit       string        `json:"unit,omitempty"`
	Members    []string      `json:"members,omitempty"`
	RequireAny []string      `json:"require_any,omitempty"`
	Strategy   strategy      `json:"strategy"`
	Master     []string      `json:"master,omitempty"`
	Bucket     time.Duration `json:"bucket"`
	Blank      blank         `json:"blank"`
	WriteTo    []string      `json:"write_to"`

	Trust     map[string]int `json:"trust,omitempty"`
	Normalise []string       `json:"normalise,omitempty"`
	Separator string         `json:"separator,omitempty"`
	MaxItems  int            `json:"max_items,omitempty"`
	Overruled Overruled      `json:"overruled,omitempty"`

	names map[string]string // see name
}

// name returns what decisions by the rule are called when the word of a system decides, of no named one if it is empty.
func (r *rule) name(system string) string {
	if name, ok := r.names[system]; ok {
		return name
	}
	name := string(r.Strategy)
	if r.Unit != "" {
		name = r.Unit + ": " + name
	}
	if system != "" {
		name += " " + system
	}
	return name
}

// clock says what is known of the clock of a system.
type clock struct {
	// Offset is how much it is ahead.
	Offset time.Duration `json:"offset,omitempty"`
	// MaxFuture is how much later than its receipt an edit may count.
	MaxFuture time.Duration `json:"max_future"`
}

// authority says which systems decide that a golden record lives.
type authority struct {
	// Create are the systems whose records are created elsewhere; nil means all.
	Create []string `json:"create"`
	// Delete are the systems of which each alone deletes the golden record.
	Delete []string `json:"delete,omitempty"`
}

// Rules are a parsed rule file. They cannot be changed and are safe for concurrent use.
type Rules struct {
	version     int
	priorities  map[string]int
	clocks      map[string]clock
	blanks      map[string]bool
	authorities map[golden.Object]authority
	objects     map[golden.Object]map[string]*rule
	digest      string
	asks        bool
	text        []byte
	// short are the same rules, but their decisions say no more than what was chosen: brief.
	short *Rules
	brief bool
}

// Default returns the rules that hold when no file is configured.
func Default() *Rules {
	r, err := Parse(defaultRules)
	if err != nil {
		panic(fmt.Sprintf("survive: the built-in rules are wrong: %v", err))
	}
	return r
}

// DefaultText returns the rule file that holds when none is configured.
func DefaultText() []byte { return slices.Clone(defaultRules) }

// Text returns the file that the rules were read from.
func (r *Rules) Text() []byte { return slices.Clone(r.text) }

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

// Overruled returns what becomes of an edit of field that does not win.
func (r *Rules) Overruled(obj golden.Object, field string) Overruled {
	if rule := r.objects[obj][field]; rule != nil && rule.Overruled != "" {
		return rule.Overruled
	}
	return Revert
}

// Asks reports whether some field has its overruled edits asked about.
func (r *Rules) Asks() bool { return r.asks }

// Creates reports whether a record that only these systems have is created in other systems.
func (r *Rules) Creates(obj golden.Object, systems []string) bool {
	create := r.authorities[obj].Create
	return create == nil || slices.ContainsFunc(systems, func(s string) bool { return slices.Contains(create, s) })
}

// Deletes reports whether the golden record is gone once this system has deleted its last record of it.
func (r *Rules) Deletes(obj golden.Object, system string) bool {
	return slices.Contains(r.authorities[obj].Delete, system)
}

// Value returns what the rule of a field makes of a value that a record holds: empty for one that means nothing,
// normalised where the rule says so.
func (r *Rules) Value(obj golden.Object, field, value string) string {
	rule := r.objects[obj][field]
	if rule == nil {
		return value
	}
	return r.valueOf(rule, obj, field, value)
}

func (r *Rules) valueOf(rule *rule, obj golden.Object, field, value string) string {
	if value == "" || r.empty(value) {
		return ""
	}
	for _, n := range rule.Normalise {
		value = normalisers[n](value)
	}
	if len(rule.Normalise) > 0 {
		value = golden.Canonical(obj, field, value)
	}
	return value
}

// empty reports whether a value is one of the words that mean nothing.
func (r *Rules) empty(value string) bool {
	return len(r.blanks) > 0 && r.blanks[strings.ToLower(value)]
}

// At returns when a claim counts as made: when its system says, corrected by what is known of the system's clock, and
// never more than the allowed time after it came in.
func (r *Rules) At(c *golden.Claim) time.Time {
	k, known := r.clocks[c.Ref.System]
	if !known {
		k.MaxFuture = maxFuture
	}
	at := c.EventTime.Add(-k.Offset)
	if limit := c.Received.Add(k.MaxFuture); !c.Received.IsZero() && at.After(limit) {
		at = limit
	}
	return at.Round(0).UTC()
}

// APIMayWrite reports whether a value for field that comes through our own API could win, given all decisions of the
// record as it is: false when a system that ranks higher or a pin decides the field, or when only other systems ever
// do. Where the value itself matters, as with longest, it says true and only trying tells.
func (r *Rules) APIMayWrite(obj golden.Object, field string, decisions []golden.Decision) bool {
	rule := r.objects[obj][field]
	if rule == nil {
		return false
	}
	own, ranked := r.rank(rule, golden.SystemAPI)
	if !ranked {
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
		if d.Winner == nil {
			continue
		}
		if d.Winner.Ref.System == golden.SystemPin && d.Field == field {
			return false
		}
		if !slices.Contains(deciding, d.Field) || (d.Value == "" && (rule.Blank != clear || rule.Strategy == trust)) {
			continue
		}
		if rank, ok := r.rank(rule, d.Winner.Ref.System); ok && rank < own {
			return false
		}
	}
	return true
}

// rank returns the place of a system under rules that rank systems, the lowest first; all have one place under others.
// Ok is false for a system that never wins.
func (r *Rules) rank(rule *rule, system string) (place int, ok bool) {
	switch rule.Strategy {
	case master:
		place = slices.Index(rule.Master, system)
		return place, place >= 0
	case trust:
		n, ok := rule.Trust[system]
		return -n, ok
	case priority:
		return -r.priorities[system], true
	default:
		return 0, true
	}
}

// seal computes the digest, and what every decision would else compute again.
func (r *Rules) seal() error {
	for _, rules := range r.objects {
		for _, one := range rules {
			names := map[string]string{"": one.name("")}
			for system := range r.priorities {
				names[system] = one.name(system)
			}
			one.names = names
		}
	}
	text, err := json.Marshal(struct {
		Version     int                                `json:"version"`
		Priorities  map[string]int                     `json:"priorities"`
		Objects     map[golden.Object]map[string]*rule `json:"objects"`
		Clocks      map[string]clock                   `json:"clocks,omitempty"`
		Blanks      map[string]bool                    `json:"blanks,omitempty"`
		Authorities map[golden.Object]authority        `json:"authorities,omitempty"`
	}{r.version, r.priorities, r.objects, r.clocks, r.blanks, r.authorities})
	if err != nil {
		return fmt.Errorf("write rules in canonical form: %w", err)
	}
	sum := sha256.Sum256(text)
	r.digest = hex.EncodeToString(sum[:])
	short := *r
	short.brief = true
	r.short = &short
	return nil
}
