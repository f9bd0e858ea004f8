package survive

import (
	"cmp"
	"slices"

	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
)

// tuple is what one record says about all members of a unit.
type tuple struct {
	words   []*word // by member; nil where the record says nothing
	head    *word   // the newest of them
	content level
	filled  int
}

// decideUnit returns a decision per member; none when no record may decide.
func (r *Rules) decideUnit(rule *rule, fields []string, grouped [][]word) []golden.Decision {
	pools, pins := make([][]word, len(rule.Members)), make([][]word, len(rule.Members))
	for m, member := range rule.Members {
		pools[m], pins[m] = apart(grouped[slices.Index(fields, member)])
	}
	win := r.chooseTuple(rule, pools)
	var out []golden.Decision
	if win != nil {
		out = make([]golden.Decision, 0, len(rule.Members))
		for m, member := range rule.Members {
			out = append(out, r.decideMember(rule, member, m, win, pools[m]))
		}
	}
	return r.pinUnit(rule, out, pools, pins)
}

// chooseTuple finds the record that decides a unit; nil when there is none.
func (r *Rules) chooseTuple(rule *rule, words [][]word) *tuple {
	tuples := tuplesOf(rule, words)
	win := r.choose(rule, contest{
		n:      len(tuples),
		system: func(i int) string { return tuples[i].head.Ref.System },
		level:  func(i int) level { return tuples[i].content },
		better: func(i, j int) int {
			filled := 0
			if rule.Strategy == complete {
				filled = cmp.Compare(tuples[i].filled, tuples[j].filled)
			}
			return cmp.Or(filled, r.better(rule, tuples[i].head, tuples[j].head))
		},
	})
	if win < 0 {
		return nil
	}
	return tuples[win]
}

// tuplesOf returns one tuple per record; words are by member.
func tuplesOf(rule *rule, words [][]word) []*tuple {
	index := map[golden.Ref]*tuple{}
	var out []*tuple
	for m, member := range rule.Members {
		for i := range words[m] {
			w := &words[m][i]
			t := index[w.Ref]
			if t == nil {
				t = &tuple{words: make([]*word, len(rule.Members)), content: empty}
				index[w.Ref] = t
				out = append(out, t)
			}
			if t.words[m] != nil {
				continue // an older word of the same record
			}
			t.words[m] = w
			if t.head == nil || newer(w.Claim, t.head.Claim) > 0 {
				t.head = w
			}
			if w.value == "" {
				continue
			}
			t.filled++
			if slices.Contains(rule.RequireAny, member) {
				t.content = full
			} else {
				t.content = min(t.content, partial)
			}
		}
	}
	return out
}

// decideMember writes down what the winning record says about one member.
func (r *Rules) decideMember(rule *rule, field string, member int, win *tuple, words []word) golden.Decision {
	if w := win.words[member]; w != nil {
		return r.decision(rule, field, w, words)
	}
	// The record never had anything here. Saying so keeps the other systems from showing a mixture.
	h := win.head
	implied := word{at: h.at, Claim: &golden.Claim{
		Field: field, Ref: h.Ref, Version: h.Version, EventTime: h.EventTime, ChangeID: h.ChangeID, Received: h.Received,
	}}
	return r.decision(rule, field, &implied, words)
}
