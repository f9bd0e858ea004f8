package fold

import (
	"github.com/selfsame-io/selfsame/services/process-customer/internal/audit"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
)

// changesOf returns what the audit trail keeps of changed fields: the values before and after, and the rule that decided.
func changesOf(fields []string, before golden.Values, decisions []golden.Decision) []audit.Field {
	decided := make(map[string]*golden.Decision, len(decisions))
	for i := range decisions {
		decided[decisions[i].Field] = &decisions[i]
	}
	out := make([]audit.Field, 0, len(fields))
	for _, f := range fields {
		change := audit.Field{Name: f, Before: before[f]}
		if d := decided[f]; d != nil {
			change.After, change.Rule = d.Value, d.Rule
		}
		out = append(out, change)
	}
	return out
}

// firstValues adds the first values of a golden record to the event of this unit that says it was created.
func (u *Unit) firstValues(id golden.ID, fields []string, changes []audit.Field) {
	for i := len(u.events) - 1; i >= 0; i-- {
		if e := &u.events[i]; e.GoldenID == id && e.Kind == "created" {
			e.Fields, e.Changes = fields, changes
			return
		}
	}
}
