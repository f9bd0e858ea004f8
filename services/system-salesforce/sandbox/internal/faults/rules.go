package faults

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// The effects that a scripted rule may have.
const (
	// For requests, by method and path.

	Latency      = "latency"      // waits for Delay
	Error        = "error"        // answers Status and Code before anything happened
	Unauthorized = "unauthorized" // ends the caller's session and answers 401
	Quota        = "quota"        // answers 403 REQUEST_LIMIT_EXCEEDED
	Reset        = "reset"        // resets the connection before anything happened
	LoseAck      = "lose_ack"     // commits, then resets the connection
	Truncate     = "truncate"     // sends half of the answer, then closes

	// For records, by object, record and parent.

	LockRow = "lock_row" // refuses the record with UNABLE_TO_LOCK_ROW

	// For events, by object, record and change type.

	Duplicate = "duplicate_event" // delivers Copies times (2 without)
	Drop      = "drop_event"      // publishes and never delivers
	Gap       = "gap_event"       // announces the change without its values

	// For event streams, by topic.

	LoseKeepAlive = "lose_keepalive"    // leaves one keepalive out
	Freeze        = "freeze_stream"     // the stream stays open and is silent for ever
	ResetStream   = "reset_stream"      // breaks the stream after a delivery
	CorruptReplay = "corrupt_replay_id" // refuses the position of a new stream
	Refuse        = "refuse_stream"     // answers that the service is unavailable
)

func effects() []string {
	return []string{
		Latency, Error, Unauthorized, Quota, Reset, LoseAck, Truncate, LockRow, Duplicate, Drop, Gap,
		LoseKeepAlive, Freeze, ResetStream, CorruptReplay, Refuse,
	}
}

// Scripted is one rule of a script: what happens, to what, and when. Selectors
// that are empty match everything; a rule without any trigger always fires.
// Each rule draws from a source of its own, so that rules do not disturb each
// other: the same seed and the same sequence of occasions give the same faults.
type Scripted struct {
	// Name is shown in the log.
	Name   string `json:"name,omitempty"`
	Effect string `json:"effect"`

	Method       string `json:"method,omitempty"`
	PathPrefix   string `json:"path_prefix,omitempty"`
	PathContains string `json:"path_contains,omitempty"`
	Object       string `json:"object,omitempty"`
	Record       string `json:"record,omitempty"` // 15 or 18 characters
	Parent       string `json:"parent,omitempty"` // 15 or 18 characters
	ChangeType   string `json:"change_type,omitempty"`
	Topic        string `json:"topic,omitempty"`

	// After is how many occasions pass before the rule may fire; Count how
	// often it fires, 0 without end; Probability the chance, 0 for certainty.
	After       int     `json:"after,omitempty"`
	Count       int     `json:"count,omitempty"`
	Probability float64 `json:"probability,omitempty"`
	// Start and For, Go durations, limit the rule to a time after the plan was
	// set, on the clock of the organization.
	Start string `json:"start,omitempty"`
	For   string `json:"for,omitempty"`

	Status  int    `json:"status,omitempty"`
	Code    string `json:"code,omitempty"`
	Message string `json:"message,omitempty"`
	Delay   string `json:"delay,omitempty"`
	Copies  int    `json:"copies,omitempty"`

	// Matched and Fired are shown; they are ignored when a plan is set.
	Matched int `json:"matched,omitempty"`
	Fired   int `json:"fired,omitempty"`
}

// Occasion is a moment at which something may go wrong.
type Occasion struct {
	Method     string
	Path       string
	Object     string
	Records    []string
	Parents    func() []string
	ChangeType string
	Topic      string
}

// Firing is one fault that happened.
type Firing struct {
	Rule   string `json:"rule,omitempty"`
	Effect string `json:"effect"`
	Method string `json:"method,omitempty"`
	Path   string `json:"path,omitempty"`
	Object string `json:"object,omitempty"`
	Record string `json:"record,omitempty"`
	Topic  string `json:"topic,omitempty"`
}

// script is the running form of a plan's rules.
type script struct {
	rules []rule
	since time.Time
}

type rule struct {
	Scripted
	rng                *rand.Rand
	start, lasts, wait time.Duration
}

func newScript(given []Scripted, seed int64, now time.Time) (script, error) {
	s := script{since: now}
	for i, g := range given {
		g.Matched, g.Fired = 0, 0
		r := rule{Scripted: g, rng: rand.New(rand.NewPCG(uint64(seed), 0xfa17+uint64(i)))}
		if err := r.check(); err != nil {
			return script{}, fmt.Errorf("rule %d: %w", i+1, err)
		}
		s.rules = append(s.rules, r)
	}
	return s, nil
}

func (r *rule) check() error {
	switch {
	case !slices.Contains(effects(), r.Effect):
		return fmt.Errorf("the effect %q is none of %s", r.Effect, strings.Join(effects(), ", "))
	case r.After < 0 || r.Count < 0 || r.Copies < 0:
		return fmt.Errorf("after, count and copies cannot be negative")
	case r.Probability < 0 || r.Probability > 1:
		return fmt.Errorf("a probability lies between 0 and 1")
	case r.Status != 0 && (r.Status < 400 || r.Status > 599):
		return fmt.Errorf("the status %d is no error", r.Status)
	case r.Effect == Latency && r.Delay == "":
		return fmt.Errorf("latency needs a delay")
	}
	for _, d := range []struct {
		name, text string
		into       *time.Duration
	}{{"start", r.Start, &r.start}, {"for", r.For, &r.lasts}, {"delay", r.Delay, &r.wait}} {
		if d.text == "" {
			continue
		}
		var err error
		if *d.into, err = time.ParseDuration(d.text); err != nil || *d.into < 0 {
			return fmt.Errorf("%s %q is not a duration such as 50ms", d.name, d.text)
		}
	}
	return nil
}

func (r *rule) matches(o Occasion) bool {
	return (r.Method == "" || strings.EqualFold(r.Method, o.Method)) &&
		strings.HasPrefix(o.Path, r.PathPrefix) && strings.Contains(o.Path, r.PathContains) &&
		(r.Object == "" || strings.EqualFold(r.Object, o.Object)) &&
		(r.ChangeType == "" || strings.EqualFold(r.ChangeType, o.ChangeType)) &&
		(r.Topic == "" || r.Topic == o.Topic) &&
		(r.Record == "" || hasID(o.Records, r.Record)) &&
		(r.Parent == "" || o.Parents != nil && hasID(o.Parents(), r.Parent))
}

// hasID finds an id whether or not it carries its checksum.
func hasID(ids []string, want string) bool {
	return slices.ContainsFunc(ids, func(id string) bool { return id == want || len(want) == 15 && strings.HasPrefix(id, want) })
}

// shownFirings is how many faults the log keeps.
const shownFirings = 500

// decide returns the first rule with the effect that fires now. The caller
// holds the lock.
func (f *Faults) decide(effect string, o Occasion) (rule, bool) {
	for i := range f.script.rules {
		r := &f.script.rules[i]
		if r.Effect != effect || !r.matches(o) {
			continue
		}
		if r.start > 0 || r.lasts > 0 {
			age := f.now().Sub(f.script.since)
			if age < r.start || r.lasts > 0 && age >= r.start+r.lasts {
				continue
			}
		}
		r.Matched++
		if r.Matched <= r.After || r.Count > 0 && r.Fired >= r.Count {
			continue
		}
		if r.Probability > 0 && r.rng.Float64() >= r.Probability {
			continue
		}
		r.Fired++
		f.note(r, o)
		return *r, true
	}
	return rule{}, false
}

func (f *Faults) note(r *rule, o Occasion) {
	entry := Firing{Rule: r.Name, Effect: r.Effect, Method: o.Method, Path: o.Path, Object: o.Object, Topic: o.Topic}
	if len(o.Records) > 0 {
		entry.Record = o.Records[0]
	}
	if len(f.log) >= shownFirings {
		f.log = slices.Delete(f.log, 0, len(f.log)-shownFirings+1)
	}
	f.log = append(f.log, entry)
}

// Fires reports whether a rule with the effect fires on this occasion.
func (f *Faults) Fires(effect string, o Occasion) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, ok := f.decide(effect, o)
	return ok
}

// Log returns the faults of rules that happened since the plan was set, oldest
// first.
func (f *Faults) Log() []Firing {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.log)
}

// Idle reports whether no rule is about records. It is asked for each of them,
// before what a rule would want to know is gathered.
func (f *Faults) Idle() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.plan.LockRow == nil && len(f.script.rules) == 0
}

// LockRecord reports whether a record is to be found locked.
func (f *Faults) LockRecord(object, id string, parents func() []string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fires(&f.plan.LockRow, "", "") {
		return true
	}
	_, ok := f.decide(LockRow, Occasion{Object: object, Records: []string{id}, Parents: parents})
	return ok
}

// Copies is how often to deliver an event; 0 means never.
func (f *Faults) Copies(object, changeType string, records []string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	o := Occasion{Object: object, ChangeType: changeType, Records: records}
	if _, ok := f.decide(Drop, o); ok {
		return 0
	}
	if r, ok := f.decide(Duplicate, o); ok {
		return max(2, r.Copies)
	}
	return 1
}
