package survive

import (
	"cmp"
	"slices"

	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
)

// A pin is a value that a person has set over the rules. It is a claim like any other, of the system golden.SystemPin:
// whether it holds follows from the claims alone, so a pin survives everything that the claims survive. One that holds
// until the value changes holds as long as the rules would choose what they chose when it was set.

// rulePinned is what decisions by a pin are called.
const rulePinned = "pin"

// apart separates pins from everything else.
func apart(words []word) (pool, pins []word) {
	if !slices.ContainsFunc(words, func(w word) bool { return w.Ref.System == golden.SystemPin }) {
		return words, nil
	}
	for _, w := range words {
		if w.Ref.System == golden.SystemPin {
			pins = append(pins, w)
		} else {
			pool = append(pool, w)
		}
	}
	return pool, pins
}

// bestPin returns the pin set last that has not been taken away; nil when there is none. Only the newest word of a
// record counts: without a hold it says that the pin was taken away.
func (r *Rules) bestPin(rule *rule, pins []word) *word {
	var best *word
	for i := range pins {
		if i > 0 && pins[i].Ref == pins[i-1].Ref {
			continue
		}
		if pins[i].Hold != "" && (best == nil || r.later(rule, &pins[i], best) > 0) {
			best = &pins[i]
		}
	}
	return best
}

// holds reports whether a pin stands against what the rules choose.
func holds(pin *word, chosen string) bool {
	return pin.Hold == golden.HoldAlways || pin.Over == chosen
}

// pinned puts a pin over a decision if it holds, and among its losers if not.
func (r *Rules) pinned(rule *rule, d golden.Decision, pin *word, pins []word) golden.Decision {
	if pin == nil || !holds(pin, d.Value) {
		d.Losers = append(d.Losers, r.losers(rule, pins, func(*word) bool { return false })...)
		return d
	}
	out := golden.Decision{Field: d.Field, Value: pin.value, Rule: rulePinned, Path: d.Path, Winner: r.won(pin)}
	if r.brief {
		return out
	}
	if d.Winner != nil {
		out.Losers = append(out.Losers, *d.Winner)
	}
	out.Losers = append(append(out.Losers, d.Parts...), d.Losers...)
	out.Losers = append(out.Losers, r.losers(rule, pins, func(w *word) bool { return same(w.Claim, pin.Claim) })...)
	return out
}

// pinUnit puts a pin over the decisions of a unit: over all members or none, like everything about a unit.
func (r *Rules) pinUnit(rule *rule, decisions []golden.Decision, pools, pins [][]word) []golden.Decision {
	if !slices.ContainsFunc(pins, func(p []word) bool { return len(p) > 0 }) {
		return decisions
	}
	chosen := func(m int) golden.Decision {
		for _, d := range decisions {
			if d.Field == rule.Members[m] {
				return d
			}
		}
		return r.decision(rule, rule.Members[m], nil, pools[m])
	}
	var ref golden.Ref // the record of the pin set last
	var last *word
	for m := range rule.Members {
		if p := r.bestPin(rule, pins[m]); p != nil && (last == nil || cmp.Or(r.later(rule, p, last)) > 0) {
			last, ref = p, p.Ref
		}
	}
	held := make([]*word, len(rule.Members))
	stands := last != nil
	for m := range rule.Members {
		for i := range pins[m] {
			if w := &pins[m][i]; held[m] == nil && w.Ref == ref {
				held[m] = w
			}
		}
		stands = stands && held[m] != nil && held[m].Hold != "" && holds(held[m], chosen(m).Value)
	}
	out := make([]golden.Decision, 0, len(rule.Members))
	for m := range rule.Members {
		pin := held[m]
		if !stands {
			pin = nil
		}
		if d := r.pinned(rule, chosen(m), pin, pins[m]); d.Winner != nil || len(decisions) > 0 {
			out = append(out, d)
		}
	}
	return out
}
