package survive

import (
	"slices"

	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
)

// Merge returns one decision for every field of obj that some claim is about, in field order, and for every member of
// a unit that has a winner: a member which the winning record says nothing about is blank. Claims about other fields
// are left aside. The claims are a set: their order and repetitions do not matter, and they are not changed.
func Merge(obj golden.Object, claims []golden.Claim, r *Rules) []golden.Decision {
	rules := r.objects[obj]
	fields := golden.Fields(obj)
	grouped := group(fields, claims)
	out := make([]golden.Decision, 0, len(fields))
	var units map[string]*tuple
	for i, field := range fields {
		rule := rules[field]
		if rule.Unit == "" {
			if len(grouped[i]) > 0 {
				out = append(out, r.decide(rule, field, grouped[i]))
			}
			continue
		}
		if units == nil {
			units = map[string]*tuple{}
		}
		win, done := units[rule.Unit]
		if !done {
			win = r.chooseTuple(rule, fields, grouped)
			units[rule.Unit] = win
		}
		if win != nil {
			out = append(out, r.decideMember(rule, field, win, grouped[i]))
		}
	}
	return out
}

// Absorb returns the claims to keep of one record about one field once next has come in: next, and the last one that
// was not blank if next is. That is all Merge can ever ask for. A claim of a lower version than the newest is ignored.
// Of two claims with one version the one that came in later is the newer: a system whose versions are coarse serves
// the record as it is now, so the later reading is the truer one.
func Absorb(have []golden.Claim, next golden.Claim) []golden.Claim {
	var last *golden.Claim
	for i := range have {
		if have[i].Version > next.Version {
			return have
		}
		if have[i].Value != "" && (last == nil || newer(&have[i], last) > 0) {
			last = &have[i]
		}
	}
	if next.Value != "" || last == nil {
		return []golden.Claim{next}
	}
	kept := *last
	// Equal versions would leave open which of the two is the newer word.
	kept.Version = min(kept.Version, next.Version-1)
	return []golden.Claim{next, kept}
}

// group returns the claims by field, in the order of fields; those of one record stand together, newest first.
func group(fields []string, claims []golden.Claim) [][]golden.Claim {
	out := make([][]golden.Claim, len(fields))
	for i := range claims {
		at := slices.Index(fields, claims[i].Field)
		if at < 0 {
			continue
		}
		c := claims[i]
		// One form of time, so that equal claims are equal as values too.
		c.EventTime = c.EventTime.Round(0).UTC()
		out[at] = append(out[at], c)
	}
	for i := range out {
		out[i] = byRecord(out[i])
	}
	return out
}

// decide finds the winner of a field that stands alone.
func (r *Rules) decide(rule *rule, field string, claims []golden.Claim) golden.Decision {
	words := spoken(rule, claims)
	win := r.choose(rule, contest{
		n:      len(words),
		system: func(i int) string { return words[i].Ref.System },
		level: func(i int) level {
			if words[i].Value == "" {
				return empty
			}
			return full
		},
		better: func(i, j int) int { return r.better(rule, words[i], words[j]) },
	})
	if win < 0 {
		return r.decision(rule, field, nil, claims)
	}
	return r.decision(rule, field, words[win], claims)
}

// spoken returns one claim per record: its newest, or the newest that is not blank where the rule says keep.
func spoken(rule *rule, claims []golden.Claim) []*golden.Claim {
	words := make([]*golden.Claim, 0, len(claims))
	for i := 0; i < len(claims); {
		end := i + 1
		for end < len(claims) && claims[end].Ref == claims[i].Ref {
			end++
		}
		word := &claims[i]
		for j := i; rule.Blank == keep && word.Value == "" && j < end; j++ {
			if claims[j].Value != "" {
				word = &claims[j]
			}
		}
		words = append(words, word)
		i = end
	}
	return words
}

// decision writes down the outcome; win is one of claims or nil.
func (r *Rules) decision(rule *rule, field string, win *golden.Claim, claims []golden.Claim) golden.Decision {
	d := golden.Decision{Field: field, Rule: string(rule.Strategy)}
	if rule.Unit != "" {
		d.Rule = rule.Unit + ": " + d.Rule
	}
	if win != nil {
		w := *win
		d.Winner, d.Value = &w, w.Value
		if rule.Strategy == master {
			d.Rule += " " + w.Ref.System
		}
	}
	for i := range claims {
		if win == nil || !same(&claims[i], win) {
			d.Losers = append(d.Losers, claims[i])
		}
	}
	slices.SortFunc(d.Losers, func(a, b golden.Claim) int { return r.better(rule, &b, &a) })
	return d
}

func same(a, b *golden.Claim) bool { return a.Ref == b.Ref && newer(a, b) == 0 }

// level says how much a contestant has to offer.
type level int

const (
	full level = iota
	partial
	empty
	levels
)

// contest is a set of records that want to decide a field or a unit.
type contest struct {
	n      int
	system func(i int) string
	level  func(i int) level
	better func(i, j int) int
}

// choose returns the winner, or -1 when nobody may win.
func (r *Rules) choose(rule *rule, c contest) int {
	rounds := rule.Master
	if rule.Strategy != master {
		rounds = []string{""}
	}
	best := func(system string, want level, any bool) int {
		win := -1
		for i := range c.n {
			if (system != "" && c.system(i) != system) || (!any && c.level(i) != want) {
				continue
			}
			if win < 0 || c.better(i, win) > 0 {
				win = i
			}
		}
		return win
	}
	if rule.Blank == clear {
		for _, system := range rounds {
			if win := best(system, full, true); win >= 0 {
				return win
			}
		}
		return -1
	}
	for want := range levels {
		for _, system := range rounds {
			if win := best(system, want, false); win >= 0 {
				return win
			}
		}
	}
	return -1
}

// tuple is what one record says about all members of a unit.
type tuple struct {
	claims  []*golden.Claim // by member; nil where the record says nothing
	head    *golden.Claim   // the newest of them
	content level
}

// chooseTuple finds the record that decides a unit; nil when there is none.
func (r *Rules) chooseTuple(rule *rule, fields []string, grouped [][]golden.Claim) *tuple {
	tuples := tuplesOf(rule, fields, grouped)
	win := r.choose(rule, contest{
		n:      len(tuples),
		system: func(i int) string { return tuples[i].head.Ref.System },
		level:  func(i int) level { return tuples[i].content },
		better: func(i, j int) int { return r.better(rule, tuples[i].head, tuples[j].head) },
	})
	if win < 0 {
		return nil
	}
	return tuples[win]
}

// tuplesOf returns one tuple per record.
func tuplesOf(rule *rule, fields []string, grouped [][]golden.Claim) []*tuple {
	index := map[golden.Ref]*tuple{}
	var out []*tuple
	for m, member := range rule.Members {
		claims := grouped[slices.Index(fields, member)]
		for i := range claims {
			t := index[claims[i].Ref]
			if t == nil {
				t = &tuple{claims: make([]*golden.Claim, len(rule.Members)), content: empty}
				index[claims[i].Ref] = t
				out = append(out, t)
			}
			if t.claims[m] != nil {
				continue // an older word of the same record
			}
			t.claims[m] = &claims[i]
			if t.head == nil || newer(&claims[i], t.head) > 0 {
				t.head = &claims[i]
			}
			switch {
			case claims[i].Value == "":
			case slices.Contains(rule.RequireAny, member):
				t.content = full
			default:
				t.content = min(t.content, partial)
			}
		}
	}
	return out
}

// decideMember writes down what the winning record says about one member.
func (r *Rules) decideMember(rule *rule, field string, win *tuple, claims []golden.Claim) golden.Decision {
	if c := win.claims[slices.Index(rule.Members, field)]; c != nil {
		return r.decision(rule, field, c, claims)
	}
	// The record never had anything here. Saying so keeps the other systems from showing a mixture.
	implied := golden.Claim{Field: field, Ref: win.head.Ref, Version: win.head.Version, EventTime: win.head.EventTime, ChangeID: win.head.ChangeID}
	return r.decision(rule, field, &implied, claims)
}
