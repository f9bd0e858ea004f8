package fold

import (
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/survive"
)

// Weighed is what rules make of a golden record.
type Weighed struct {
	Decisions []golden.Decision
	Deleted   bool
	// Writes are the fields that would have to be written, by record; one without an id would be created.
	Writes map[golden.Ref][]string
}

// Weigh says what rules make of a golden record and its records, without changing anything. It needs no transaction.
// Questions are those about the golden record.
func (f *Folder) Weigh(rules *survive.Rules, g *store.Golden, rows []*store.Source, questions []store.Question) Weighed {
	u := &Unit{f: f, rules: rules, of: map[golden.ID][]*store.Source{g.ID: rows}, asked: map[questionKey]store.Question{}}
	for _, q := range questions {
		u.asked[questionKey{q.Ref, q.Field}] = q
	}
	out := Weighed{Decisions: Decide(g.Object, rows, rules), Deleted: gone(g.Object, rows, rules), Writes: map[golden.Ref][]string{}}
	then := g.Clone()
	then.Values, then.Deleted = golden.ValuesOf(out.Decisions), out.Deleted
	for _, system := range f.systems {
		if then.Deleted || !u.needs(then, system) {
			continue
		}
		live, _ := split(rows, system)
		if len(live) == 0 {
			out.Writes[golden.Ref{System: system, Object: g.Object}] = nil
		}
		for _, row := range live {
			delta := u.delta(then, row)
			for _, field := range golden.Fields(g.Object) {
				if _, ok := delta[field]; ok {
					out.Writes[row.Ref] = append(out.Writes[row.Ref], field)
				}
			}
		}
	}
	return out
}
