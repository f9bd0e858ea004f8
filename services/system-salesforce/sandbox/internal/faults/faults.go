// Package faults decides when the local Salesforce misbehaves.
//
// A plan is set from outside and consulted at each place where real systems
// fail. Decisions that need chance come from one seeded source, so a run can
// be repeated. The package only decides; the place that asked acts.
package faults

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"
)

// Rule fires on matching requests. Empty filters match everything. Count is
// how often it fires; with a Probability and no Count it fires for ever.
type Rule struct {
	Method       string  `json:"method,omitempty"`
	PathPrefix   string  `json:"path_prefix,omitempty"`
	PathContains string  `json:"path_contains,omitempty"`
	Count        int     `json:"count,omitempty"`
	Probability  float64 `json:"probability,omitempty"`
	// Status and Code shape an injected error answer; they are ignored by the
	// other rules. The default is 503 with SERVER_UNAVAILABLE.
	Status int    `json:"status,omitempty"`
	Code   string `json:"code,omitempty"`
}

// Plan is everything that can be set at once.
type Plan struct {
	// DuplicateEvents is how often each change event is delivered; 0 and 1
	// mean once.
	DuplicateEvents int `json:"duplicate_events,omitempty"`
	// ReorderEvents swaps neighbouring transactions on the event bus.
	ReorderEvents bool `json:"reorder_events,omitempty"`
	// LoseAck commits and then resets the connection without an answer.
	LoseAck *Rule `json:"lose_ack,omitempty"`
	// Error answers with an error before anything happened.
	Error *Rule `json:"error,omitempty"`
	// LockRow refuses single records with UNABLE_TO_LOCK_ROW.
	LockRow *Rule `json:"lock_row,omitempty"`
	// Latency delays every HTTP answer, as a Go duration.
	Latency string `json:"latency,omitempty"`
	// Rules are the script: any number of rules with selectors and triggers.
	Rules []Scripted `json:"rules,omitempty"`
	// Seed starts the chances of this plan afresh; 0 means the configured one.
	Seed int64 `json:"seed,omitempty"`
	// Down answers 503 to everything and breaks the event streams.
	Down bool `json:"down,omitempty"`

	// The following act once, when the plan is set, and are not kept.

	ExpireSessions  bool `json:"expire_sessions,omitempty"`
	ExpireReplayIDs bool `json:"expire_replay_ids,omitempty"`
	ResetStreams    bool `json:"reset_streams,omitempty"`
	// MigrateOrg gives the organization another id: all sessions and replay
	// ids are void afterwards.
	MigrateOrg bool `json:"migrate_org,omitempty"`
}

// Faults holds the current plan. It is safe for concurrent use.
type Faults struct {
	mu      sync.Mutex
	plan    Plan
	latency time.Duration
	rng     *rand.Rand
	seed    int64
	now     func() time.Time
	script  script
	log     []Firing
}

// New returns a Faults with an empty plan. The clock is for rules that are
// limited in time; nil means time.Now.
func New(seed int64, now func() time.Time) *Faults {
	if now == nil {
		now = time.Now
	}
	return &Faults{rng: source(seed), seed: seed, now: now}
}

func source(seed int64) *rand.Rand { return rand.New(rand.NewPCG(uint64(seed), 0x5a1e5f0c)) }

// Set replaces the plan.
func (f *Faults) Set(p Plan) error {
	var latency time.Duration
	if p.Latency != "" {
		var err error
		if latency, err = time.ParseDuration(p.Latency); err != nil || latency < 0 {
			return fmt.Errorf("latency %q is not a duration such as 50ms", p.Latency)
		}
	}
	for _, r := range []*Rule{p.LoseAck, p.Error, p.LockRow} {
		if r != nil && (r.Count < 0 || r.Probability < 0 || r.Probability > 1 || r.Count == 0 && r.Probability == 0) {
			return fmt.Errorf("a rule needs a positive count, or a probability of at most 1")
		}
	}
	seed := p.Seed
	if seed == 0 {
		seed = f.seed
	}
	rules, err := newScript(p.Rules, seed, f.now())
	if err != nil {
		return err
	}
	p.ExpireSessions, p.ExpireReplayIDs, p.ResetStreams, p.MigrateOrg, p.Rules = false, false, false, false, nil
	f.mu.Lock()
	defer f.mu.Unlock()
	f.plan, f.latency, f.script, f.log = p, latency, rules, nil
	if p.Seed != 0 {
		f.rng = source(p.Seed)
	}
	return nil
}

// Plan returns the current plan with the remaining counts.
func (f *Faults) Plan() Plan {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.plan
	for _, r := range []**Rule{&p.LoseAck, &p.Error, &p.LockRow} {
		if *r != nil {
			c := **r
			*r = &c
		}
	}
	for _, r := range f.script.rules {
		p.Rules = append(p.Rules, r.Scripted)
	}
	return p
}

// fires decides about one rule and drops it when it is used up.
func (f *Faults) fires(rule **Rule, method, path string) bool {
	r := *rule
	if r == nil || r.Method != "" && !strings.EqualFold(r.Method, method) ||
		!strings.HasPrefix(path, r.PathPrefix) || !strings.Contains(path, r.PathContains) {
		return false
	}
	if r.Probability > 0 && f.rng.Float64() >= r.Probability {
		return false
	}
	if r.Count > 0 {
		if r.Count--; r.Count == 0 {
			*rule = nil
		}
	}
	return true
}

// LoseAck reports whether the answer to this request is to be lost.
func (f *Faults) LoseAck(method, path string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.fires(&f.plan.LoseAck, method, path)
}

// Error returns the status and code to answer with, or 0.
func (f *Faults) Error(method, path string) (status int, code string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.plan.Down {
		return 503, "SERVER_UNAVAILABLE"
	}
	r := f.plan.Error
	if !f.fires(&f.plan.Error, method, path) {
		return 0, ""
	}
	return defaults(r.Status, r.Code)
}

// defaults completes an error answer.
func defaults(status int, code string) (int, string) {
	if status == 0 {
		status = 503
	}
	if code == "" {
		code = "SERVER_UNAVAILABLE"
		if status != 503 {
			code = "UNKNOWN_EXCEPTION"
		}
	}
	return status, code
}

// Latency is the delay of every HTTP answer.
func (f *Faults) Latency() time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.latency
}

// Down reports whether everything is unavailable.
func (f *Faults) Down() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.plan.Down
}

// Events returns how often to deliver each event and whether to swap
// transactions.
func (f *Faults) Events() (copies int, reorder bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return max(1, f.plan.DuplicateEvents), f.plan.ReorderEvents
}
