package rules

import (
	"iter"
	"slices"
	"strings"
	"unicode"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/schema"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/store"
)

// The actions of a duplicate rule.
const (
	block = "block"
	alert = "alert"
)

// maxMatches is how many records a refusal names.
const maxMatches = 100

// compiled is a set of rules, ready to be applied.
type compiled struct {
	set        Set
	validation []validation
	duplicate  []duplicate
	assignment []assignment
}

type validation struct {
	object   *schema.Object
	inactive bool
	when     []condition
	message  string
	fields   []string
}

type duplicate struct {
	rule   Duplicate
	object *schema.Object
	match  []*schema.Field
}

type assignment struct {
	id       string
	object   *schema.Object
	inactive bool
	entries  []assignmentEntry
}

type assignmentEntry struct {
	when  []condition
	owner string
}

// assignable reports whether records of an object can be assigned by rules.
func assignable(o *schema.Object) bool {
	return o.Name == "Lead" || o.Name == "Case" || o.Name == "Account"
}

// Check implements store.Rules: validation rules first, then duplicate rules.
func (e *Engine) Check(v store.View, w store.Wishes, old, next *store.Record) *store.Error {
	c := e.now.Load()
	for _, r := range c.validation {
		if r.object == next.Object && !r.inactive && met(r.when, old, next) {
			return &store.Error{Code: "FIELD_CUSTOM_VALIDATION_EXCEPTION", Message: r.message, Fields: r.fields}
		}
	}
	for _, d := range c.duplicate {
		if d.object != next.Object || d.rule.Inactive {
			continue
		}
		if err := d.check(v, w, old, next); err != nil {
			return err
		}
	}
	return nil
}

func (d duplicate) check(v store.View, w store.Wishes, old, next *store.Record) *store.Error {
	action := d.rule.OnInsert
	if old != nil {
		action = d.rule.OnUpdate
	}
	if action == "" || action == alert && w.AllowDuplicates {
		return nil
	}
	if old != nil && !slices.ContainsFunc(d.match, func(f *schema.Field) bool { return old.Get(f) != next.Get(f) }) {
		return nil // nothing that the rule looks at has changed
	}
	matches := d.find(v, next)
	if len(matches) == 0 {
		return nil
	}
	engine := "ExactMatchEngine"
	if d.rule.Fuzzy {
		engine = "FuzzyMatchEngine"
	}
	return &store.Error{Code: "DUPLICATES_DETECTED", Message: d.rule.Message, Duplicates: &store.Duplicates{
		Rule: d.rule.Name, MatchRule: d.rule.MatchRule, Engine: engine, AllowSave: action == alert, Message: d.rule.Message,
		Matches: matches, Details: w.DuplicateDetails, Version: w.Version,
	}}
}

func (d duplicate) find(v store.View, next *store.Record) []*store.Record {
	keys := make([]any, len(d.match))
	for i, f := range d.match {
		if keys[i] = d.key(next.Get(f)); keys[i] == nil {
			return nil
		}
	}
	var out []*store.Record
	for r := range d.candidates(v, next) {
		if r.Deleted || r.ID == next.ID || len(out) == maxMatches {
			continue
		}
		same := true
		for i, f := range d.match {
			same = same && d.key(r.Get(f)) == keys[i]
		}
		if same {
			out = append(out, r)
		}
	}
	return out
}

// candidates are the records to compare with: those of an index if there is
// one, or all.
func (d duplicate) candidates(v store.View, next *store.Record) iter.Seq[*store.Record] {
	for _, f := range d.match {
		if !d.rule.Fuzzy && f.Indexed() {
			return slices.Values(v.Lookup(f, next.Get(f)))
		}
	}
	return v.All(d.object)
}

// key is what two values that are alike have in common; nil for nothing.
func (d duplicate) key(v any) any {
	text, ok := v.(string)
	if !ok {
		return v
	}
	text = strings.ToLower(text)
	if d.rule.Fuzzy {
		text = strings.Map(func(r rune) rune {
			if unicode.IsLetter(r) || unicode.IsDigit(r) {
				return r
			}
			return -1
		}, text)
	}
	if text == "" {
		return nil
	}
	return text
}

// Assign implements store.Rules.
func (e *Engine) Assign(_ store.View, w store.Wishes, next *store.Record) (string, *store.Error) {
	if !assignable(next.Object) {
		return "", nil
	}
	for _, a := range e.now.Load().assignment {
		if a.object != next.Object {
			continue
		}
		if w.Assign == store.AssignActive && a.inactive || w.Assign != store.AssignActive && w.Assign != a.id {
			continue
		}
		for _, entry := range a.entries {
			if met(entry.when, nil, next) {
				return entry.owner, nil
			}
		}
		return "", nil
	}
	if w.Assign != store.AssignActive {
		return "", &store.Error{Code: "INVALID_CROSS_REFERENCE_KEY", Message: "invalid cross reference id", Fields: []string{}}
	}
	return "", nil
}
