package fold

import (
	"slices"

	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
)

// Pin sets values of a loaded golden record over the rules. Fields that move together with one of them are pinned as
// they are. It reports whether the golden record changed.
func (u *Unit) Pin(id golden.ID, values golden.Values, hold golden.Hold, changeID string) bool {
	g := u.goldens[id]
	pooled := u.pooled(g)
	all := golden.Values{}
	for _, field := range golden.Fields(g.Object) {
		value, said := values[field]
		if !said {
			continue
		}
		for _, member := range u.rules.Unit(g.Object, field) {
			if _, given := values[member]; !given {
				all[member] = g.Values[member]
			}
		}
		all[field] = golden.Canonical(g.Object, field, value)
	}
	return u.putPins(g, all, pooled, hold, "pinned", changeID)
}

// Unpin takes pins away, those of fields that move together with the named ones too.
func (u *Unit) Unpin(id golden.ID, fields []string, changeID string) bool {
	g := u.goldens[id]
	all := golden.Values{}
	row := u.rows[pinRef(g)]
	for _, field := range fields {
		for _, member := range u.rules.Unit(g.Object, field) {
			if row != nil && len(row.Claims[member]) > 0 && row.Claims[member][0].Hold != "" {
				all[member] = ""
			}
		}
	}
	if len(all) == 0 {
		return false
	}
	return u.putPins(g, all, golden.Values{}, "", "unpinned", changeID)
}

func pinRef(g *store.Golden) golden.Ref {
	return golden.Ref{System: golden.SystemPin, Object: g.Object, RecordID: string(g.ID)}
}

// pooled returns what the rules choose without pins.
func (u *Unit) pooled(g *store.Golden) golden.Values {
	rows := slices.DeleteFunc(slices.Clone(u.of[g.ID]), func(r *store.Source) bool { return r.Ref.System == golden.SystemPin })
	return golden.ValuesOf(Decide(g.Object, rows, u.rules))
}

func (u *Unit) putPins(g *store.Golden, values, over golden.Values, hold golden.Hold, kind, changeID string) bool {
	ref := pinRef(g)
	row := u.rows[ref]
	if row == nil {
		row = &store.Source{Ref: ref, GoldenID: g.ID}
	}
	next := row.Clone()
	next.Version++
	next.EventTime, next.LastChangeID = u.now.UTC(), changeID
	var fields []string
	for _, field := range golden.Fields(g.Object) {
		value, pinned := values[field]
		if !pinned {
			continue
		}
		fields = append(fields, field)
		next.Shadow[field] = value
		next.Claims[field] = []golden.Claim{{
			Field: field, Value: value, Ref: ref, Version: next.Version, EventTime: next.EventTime, ChangeID: changeID, Hold: hold, Over: over[field],
		}}
	}
	u.putRow(next)
	u.Note(store.Event{GoldenID: g.ID, Kind: kind, System: golden.SystemPin, RecordID: string(g.ID), ChangeID: changeID, Fields: fields, Reason: string(hold)})
	return u.merge(g.ID, ref, changeID)
}
