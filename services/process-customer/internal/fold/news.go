package fold

import (
	"slices"

	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
)

// guard is what was known, when a plan was made, of the fields that it writes and of those that move with them.
type guard struct {
	fields []string
	// sent are what was sent to the record before, and when it was being created.
	sent [2]store.Intent
}

// guard notes what a plan must not write over unread.
func (u *Unit) guard(p *Plan) {
	ref := p.Row.Ref
	for _, field := range golden.Fields(ref.Object) {
		if _, written := p.Sent[field]; !written {
			continue
		}
		for _, member := range u.rules.Unit(ref.Object, field) {
			if !slices.Contains(p.guard.fields, member) {
				p.guard.fields = append(p.guard.fields, member)
			}
		}
	}
	for i, record := range []string{ref.RecordID, ""} {
		in := u.intents[intentKey{ref.System, p.GoldenID, record}]
		if u.now.Sub(in.At) > lateFor {
			in.Late = nil
		}
		p.guard.sent[i] = in
	}
}

// News reports whether a record that was read just now says something unheard of about what the plan writes: somebody has changed
// it, or a call of ours that nobody has answered has. Whoever takes the reading in knows it afterwards. A value that may be ours and
// has arrived late is no news: whose it is shows when its change is told, and nobody's word is lost by writing over it.
func (p *Plan) News(rec *source.Record) bool {
	if rec.Version < p.Row.Version {
		return false
	}
	return slices.ContainsFunc(p.guard.fields, func(field string) bool {
		if field == golden.Parent {
			return rec.ParentID != p.Row.ParentID
		}
		value, said := rec.Values[field]
		held, known := p.Row.Shadow[field]
		switch {
		case !said || (known && held == value):
			return false
		case known:
			return !p.guard.some(func(in *store.Intent) bool { return mayArrive(in, field, value) })
		case value == "":
			return p.guard.some(func(in *store.Intent) bool { return len(in.Sent[field]) > 0 })
		default:
			return !p.perhapsOurs(field, value)
		}
	})
}

// Unclaimed returns a record that was read just now without the values that nobody can tell whose they are yet.
func (p *Plan) Unclaimed(rec source.Record) source.Record {
	rec.Values = rec.Values.Clone()
	for field, value := range rec.Values {
		if _, known := p.Row.Shadow[field]; !known && p.perhapsOurs(field, value) {
			delete(rec.Values, field)
		}
	}
	return rec
}

// perhapsOurs reports whether a value of a field of which nobody knows what it holds was sent to it.
func (p *Plan) perhapsOurs(field, value string) bool {
	return p.guard.some(func(in *store.Intent) bool {
		return lastSent(in.Sent[field], value) >= 0 || slices.Contains(in.Late[field], value)
	})
}

func (g *guard) some(fn func(*store.Intent) bool) bool { return fn(&g.sent[0]) || fn(&g.sent[1]) }
