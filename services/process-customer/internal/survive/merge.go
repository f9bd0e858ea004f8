package survive

import (
	"slices"
	"strings"

	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
)

// Merge returns one decision for every field of obj that some claim is about, in field order, and for every member of
// a unit that has a winner: a member which the winning record says nothing about is blank. Claims about other fields
// are left aside. The claims are a set: their order and repetitions do not matter, and they are not changed.
func Merge(obj golden.Object, claims []golden.Claim, r *Rules) []golden.Decision {
	all := make([]*golden.Claim, len(claims))
	for i := range claims {
		all[i] = &claims[i]
	}
	return r.merge(obj, all)
}

// Decide is Merge for claims that stand elsewhere. Their order and repetitions do not matter, and they are not changed.
func Decide(obj golden.Object, claims []*golden.Claim, r *Rules) []golden.Decision {
	return r.merge(obj, claims)
}

// Choose is Decide for whoever needs no more than what was chosen and by which rule: the decisions have no losers, and their
// winners are claims that were given, which must not be changed later either.
func Choose(obj golden.Object, claims []*golden.Claim, r *Rules) []golden.Decision {
	return r.short.merge(obj, claims)
}

func (r *Rules) merge(obj golden.Object, claims []*golden.Claim) []golden.Decision {
	rules := r.objects[obj]
	fields := golden.Fields(obj)
	grouped := r.group(obj, fields, claims)
	out := make([]golden.Decision, 0, len(fields))
	var units map[string][]golden.Decision
	for i, field := range fields {
		rule := rules[field]
		if rule.Unit == "" {
			if len(grouped[i]) > 0 {
				out = append(out, r.decide(rule, field, grouped[i]))
			}
			continue
		}
		if units == nil {
			units = map[string][]golden.Decision{}
		}
		members, done := units[rule.Unit]
		if !done {
			members = r.decideUnit(rule, fields, grouped)
			units[rule.Unit] = members
		}
		for _, d := range members {
			if d.Field == field {
				out = append(out, d)
			}
		}
	}
	return out
}

// Absorb returns the claims to keep of one record about one field once next has come in: next, and the last one that
// was not blank if next is. That is all Merge can ever ask for. A claim of a lower version than the newest is ignored.
// Of two claims with one version the one that came in later is the newer: a system whose versions are coarse serves
// the record as it is now, so the later reading is the truer one.
func (r *Rules) Absorb(have []golden.Claim, next golden.Claim) []golden.Claim {
	var last *golden.Claim
	for i := range have {
		if have[i].Version > next.Version {
			return have
		}
		if have[i].Value != "" && !r.empty(have[i].Value) && (last == nil || newer(&have[i], last) > 0) {
			last = &have[i]
		}
	}
	if (next.Value != "" && !r.empty(next.Value)) || last == nil {
		return []golden.Claim{next}
	}
	kept := *last
	// Equal versions would leave open which of the two is the newer word.
	kept.Version = min(kept.Version, next.Version-1)
	return []golden.Claim{next, kept}
}

// group returns the claims by field, in the order of fields; those of one record stand together, newest first.
func (r *Rules) group(obj golden.Object, fields []string, claims []*golden.Claim) [][]word {
	out := make([][]word, len(fields))
	of := make([]int, len(claims))
	counts := make([]int, len(fields))
	for i := range claims {
		if of[i] = slices.Index(fields, claims[i].Field); of[i] >= 0 {
			counts[of[i]]++
		}
	}
	room := make([]word, 0, len(claims)) // of all of them
	for i, n := range counts {
		out[i], room = room[:0:n], room[n:n]
	}
	for i := range claims {
		at := of[i]
		if at < 0 {
			continue
		}
		w := word{Claim: plain(claims[i]), at: r.At(claims[i])}
		w.value = r.valueOf(r.objects[obj][w.Field], obj, w.Field, w.Value)
		out[at] = append(out[at], w)
	}
	for i := range out {
		out[i] = byRecord(out[i])
	}
	return out
}

// plain returns a claim with one form of time, so that equal claims are equal as values too.
func plain(c *golden.Claim) *golden.Claim {
	event, received := c.EventTime.Round(0).UTC(), c.Received.Round(0).UTC()
	if event == c.EventTime && received == c.Received { //nolint:staticcheck // not the same moment: this very form, as a stored one has
		return c
	}
	out := *c
	out.EventTime, out.Received = event, received
	return &out
}

// decide finds the winner of a field that stands alone.
func (r *Rules) decide(rule *rule, field string, words []word) golden.Decision {
	pool, pins := apart(words)
	var d golden.Decision
	if rule.Strategy == union {
		d = r.join(rule, field, pool)
	} else {
		d = r.decision(rule, field, r.winner(rule, pool), pool)
	}
	if len(pins) > 0 {
		return r.pinned(rule, d, r.bestPin(rule, pins), pins)
	}
	return d
}

// winner returns the word that decides among those of a field; nil when none may.
func (r *Rules) winner(rule *rule, pool []word) *word {
	words := spoken(rule, pool)
	win := r.choose(rule, contest{
		n:      len(words),
		system: func(i int) string { return words[i].Ref.System },
		level: func(i int) level {
			if words[i].value == "" {
				return empty
			}
			return full
		},
		better: func(i, j int) int { return r.better(rule, words[i], words[j]) },
	})
	if win < 0 {
		return nil
	}
	return words[win]
}

// spoken returns one word per record: its newest, or the newest that is not blank where the rule says keep.
func spoken(rule *rule, words []word) []*word {
	out := make([]*word, 0, len(words))
	for i := 0; i < len(words); {
		end := i + 1
		for end < len(words) && words[end].Ref == words[i].Ref {
			end++
		}
		spoke := &words[i]
		for j := i; rule.Blank == keep && spoke.value == "" && j < end; j++ {
			if words[j].value != "" {
				spoke = &words[j]
			}
		}
		out = append(out, spoke)
		i = end
	}
	return out
}

// decision writes down the outcome; win is one of words or nil.
func (r *Rules) decision(rule *rule, field string, win *word, words []word) golden.Decision {
	d := golden.Decision{Field: field, Rule: rule.name(""), Path: rule.Path}
	if win != nil {
		d.Winner, d.Value = r.won(win), win.value
		if rule.Strategy == master || rule.Strategy == priority || rule.Strategy == trust {
			d.Rule = rule.name(win.Ref.System)
		}
	}
	d.Losers = r.losers(rule, words, func(w *word) bool { return win != nil && same(w.Claim, win.Claim) })
	return d
}

// won returns the claim of a word that has won.
func (r *Rules) won(w *word) *golden.Claim {
	if r.brief {
		return w.Claim
	}
	c := *w.Claim
	return &c
}

// losers returns the claims of words that did not win, best first.
func (r *Rules) losers(rule *rule, words []word, won func(*word) bool) []golden.Claim {
	if r.brief {
		return nil
	}
	var lost []word
	for i := range words {
		if !won(&words[i]) {
			lost = append(lost, words[i])
		}
	}
	slices.SortFunc(lost, func(a, b word) int { return r.better(rule, &b, &a) })
	var out []golden.Claim
	for i := range lost {
		out = append(out, *lost[i].Claim)
	}
	return out
}

func same(a, b *golden.Claim) bool { return a.Ref == b.Ref && newer(a, b) == 0 }

// join decides a list: what any record names is in it. Records that emptied theirs add nothing.
func (r *Rules) join(rule *rule, field string, words []word) golden.Decision {
	win := r.winner(rule, words)
	d := r.decision(rule, field, win, words)
	if win == nil {
		return d
	}
	var items []string
	part := map[golden.Claim]bool{}
	for _, w := range spoken(rule, words) {
		if w.value == "" {
			continue
		}
		for item := range strings.SplitSeq(w.value, rule.Separator) {
			if item = strings.TrimSpace(item); item != "" {
				items = append(items, item)
			}
		}
		if w != win {
			part[*w.Claim] = true
			d.Parts = append(d.Parts, *w.Claim)
		}
	}
	slices.Sort(items)
	items = slices.Compact(items)
	d.Value = strings.Join(items[:min(len(items), rule.MaxItems)], rule.Separator)
	d.Losers = slices.DeleteFunc(d.Losers, func(c golden.Claim) bool { return part[c] })
	if len(d.Losers) == 0 {
		d.Losers = nil
	}
	return d
}

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
			if _, ranked := r.rank(rule, c.system(i)); !ranked {
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
