// Package rules holds what an administrator lays down about the records of the
// local Salesforce: validation rules, duplicate rules and assignment rules.
//
// The problem: an integration meets these rules as refusals and as changes it
// did not ask for, so they must be there to be met, and must be absent unless
// somebody configured them.
//
// Invariant: a set of rules is checked against the object model as a whole and
// replaced as a whole; a write sees one set. The package stores no records and
// knows no formulas: conditions compare one field each.
package rules

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/schema"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/sfid"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/store"
)

// Set is all rules of an organization, as a schema file or the control plane
// gives them. The zero value has none.
type Set struct {
	Validation []Validation `json:"validationRules,omitempty"`
	Duplicate  []Duplicate  `json:"duplicateRules,omitempty"`
	Assignment []Assignment `json:"assignmentRules,omitempty"`
}

// Validation refuses a record that meets all conditions.
type Validation struct {
	Name     string      `json:"name"`
	Object   string      `json:"object"`
	Inactive bool        `json:"inactive,omitempty"`
	When     []Condition `json:"when"`
	Message  string      `json:"message"`
	// Field is where the error is shown; empty means at the top of the page.
	Field string `json:"field,omitempty"`
}

// Duplicate finds records that are alike in all fields of Match.
type Duplicate struct {
	Name      string   `json:"name"`
	MatchRule string   `json:"matchRule,omitempty"`
	Object    string   `json:"object"`
	Inactive  bool     `json:"inactive,omitempty"`
	Match     []string `json:"match"`
	// Fuzzy compares letters and digits only, without regard to case.
	Fuzzy bool `json:"fuzzy,omitempty"`
	// OnInsert and OnUpdate are "block" (refuse), "alert" (refuse unless the
	// caller insists) or empty (do not look).
	OnInsert string `json:"onInsert,omitempty"`
	OnUpdate string `json:"onUpdate,omitempty"`
	// Message is the text of the refusal; empty means that of the vendor.
	Message string `json:"message,omitempty"`
}

// Assignment gives a record the owner of the first entry that it meets.
type Assignment struct {
	// ID names the rule in Sforce-Auto-Assign; empty means that one is made.
	ID       string  `json:"id,omitempty"`
	Name     string  `json:"name"`
	Object   string  `json:"object"`
	Inactive bool    `json:"inactive,omitempty"`
	Entries  []Entry `json:"entries"`
}

// Entry is one line of an assignment rule.
type Entry struct {
	When []Condition `json:"when,omitempty"`
	// Owner is a username or the id of a user.
	Owner string `json:"owner"`
}

// Engine applies a set of rules. It is safe for concurrent use.
type Engine struct {
	schema *schema.Schema
	now    atomic.Pointer[compiled]
}

var _ store.Rules = (*Engine)(nil)

// New makes an engine without rules.
func New(s *schema.Schema) *Engine {
	e := &Engine{schema: s}
	e.now.Store(&compiled{})
	return e
}

// Parse reads the rules out of schema documents, which hold other things too.
func Parse(documents ...[]byte) (Set, error) {
	var all Set
	for i, doc := range documents {
		var one Set
		d := json.NewDecoder(bytes.NewReader(doc))
		d.UseNumber()
		if err := d.Decode(&one); err != nil {
			return Set{}, fmt.Errorf("read rules of document %d: %w", i, err)
		}
		all.Validation = append(all.Validation, one.Validation...)
		all.Duplicate = append(all.Duplicate, one.Duplicate...)
		all.Assignment = append(all.Assignment, one.Assignment...)
	}
	return all, nil
}

// Users finds the ids of users in a store by id or username.
func Users(data *store.Store) func(name string) (id string, ok bool) {
	return func(name string) (id string, ok bool) {
		_ = data.Read(func(v store.View) error { // fn never fails
			o := v.Schema().Object("User")
			if given, valid := sfid.Normal(name); valid && v.Get(o, given) != nil {
				id, ok = given, true
				return nil
			}
			if found := v.Lookup(o.Field("Username"), name); len(found) == 1 {
				id, ok = found[0].ID, true
			}
			return nil
		})
		return id, ok
	}
}

// Get returns the current rules.
func (e *Engine) Get() Set { return e.now.Load().set }

// Set replaces all rules, or says what is wrong with the new ones and keeps the
// old. users finds owners.
func (e *Engine) Set(set Set, users func(name string) (id string, ok bool)) error {
	set.Assignment = slices.Clone(set.Assignment)
	c := &compiled{}
	for i, r := range set.Validation {
		v, err := e.validation(r)
		if err != nil {
			return fmt.Errorf("validation rule %d %s: %w", i+1, r.Name, err)
		}
		c.validation = append(c.validation, v)
	}
	for i, r := range set.Duplicate {
		d, err := e.duplicate(r)
		if err != nil {
			return fmt.Errorf("duplicate rule %d %s: %w", i+1, r.Name, err)
		}
		c.duplicate = append(c.duplicate, d)
	}
	for i, r := range set.Assignment {
		a, err := e.assignment(r, users)
		if err != nil {
			return fmt.Errorf("assignment rule %d %s: %w", i+1, r.Name, err)
		}
		if a.id == "" {
			a.id = sfid.New("01Q", i+1)
		}
		set.Assignment[i].ID = a.id
		c.assignment = append(c.assignment, a)
	}
	c.set = set
	e.now.Store(c)
	return nil
}

func (e *Engine) object(name string) (*schema.Object, error) {
	o := e.schema.Object(name)
	if o == nil || o.ReadOnly {
		return nil, fmt.Errorf("no object %q can have rules", name)
	}
	return o, nil
}

func field(o *schema.Object, name string) (*schema.Field, error) {
	f := o.Field(name)
	if f == nil || f.Type == schema.Address {
		return nil, fmt.Errorf("%s has no field %q to compare", o.Name, name)
	}
	return f, nil
}

func (e *Engine) validation(r Validation) (validation, error) {
	o, err := e.object(r.Object)
	if err != nil {
		return validation{}, err
	}
	out := validation{object: o, inactive: r.Inactive, message: r.Message, fields: []string{}}
	if r.Message == "" || len(r.When) == 0 {
		return out, fmt.Errorf("a message and a condition are needed")
	}
	if r.Field != "" {
		f, err := field(o, r.Field)
		if err != nil {
			return out, err
		}
		out.fields = []string{f.Name}
	}
	out.when, err = conditions(o, r.When)
	return out, err
}

func (e *Engine) duplicate(r Duplicate) (duplicate, error) {
	o, err := e.object(r.Object)
	if err != nil {
		return duplicate{}, err
	}
	out := duplicate{rule: r, object: o}
	for _, action := range []string{r.OnInsert, r.OnUpdate} {
		if action != "" && action != block && action != alert {
			return out, fmt.Errorf("the action %q is none of block and alert", action)
		}
	}
	if r.Name == "" || len(r.Match) == 0 {
		return out, fmt.Errorf("a name and a field to match are needed")
	}
	for _, name := range r.Match {
		f, err := field(o, name)
		if err != nil {
			return out, err
		}
		out.match = append(out.match, f)
	}
	if out.rule.MatchRule == "" {
		out.rule.MatchRule = strings.TrimSuffix(r.Name, "_Duplicate_Rule") + "_Match_Rule"
	}
	if out.rule.Message == "" {
		out.rule.Message = "Use one of these records?"
	}
	return out, nil
}

func (e *Engine) assignment(r Assignment, users func(string) (string, bool)) (assignment, error) {
	o, err := e.object(r.Object)
	if err != nil {
		return assignment{}, err
	}
	out := assignment{object: o, inactive: r.Inactive}
	if !assignable(o) {
		return out, fmt.Errorf("%s has no assignment rules", o.Name)
	}
	if r.ID != "" {
		id, ok := sfid.Normal(r.ID)
		if !ok {
			return out, fmt.Errorf("%q is not an id", r.ID)
		}
		out.id = id
	}
	for _, entry := range r.Entries {
		owner, ok := users(entry.Owner)
		if !ok {
			return out, fmt.Errorf("the owner %q is no user", entry.Owner)
		}
		when, err := conditions(o, entry.When)
		if err != nil {
			return out, err
		}
		out.entries = append(out.entries, assignmentEntry{when, owner})
	}
	return out, nil
}
