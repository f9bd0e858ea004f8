package fold

import (
	"maps"
	"strings"
	"time"

	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/survive"
)

// Decide returns why each field of a golden record has its value, given all records that belong to it. The claims of a
// deleted record count until a live record says something newer about the field: deleting a record changes no value,
// and holds none for ever.
func Decide(obj golden.Object, rows []*store.Source, rules *survive.Rules) []golden.Decision {
	return survive.Decide(obj, counting(obj, rows, rules), rules)
}

// choose is Decide for whoever needs no more than what was chosen and by which rule.
func choose(obj golden.Object, rows []*store.Source, rules *survive.Rules) []golden.Decision {
	return survive.Choose(obj, counting(obj, rows, rules), rules)
}

// counting returns the claims that count.
func counting(obj golden.Object, rows []*store.Source, rules *survive.Rules) []*golden.Claim {
	n, dead := 0, false
	for _, row := range rows {
		dead = dead || (row.Deleted && row.MergedInto == "")
		for _, list := range row.Claims {
			n += len(list)
		}
	}
	claims := make([]*golden.Claim, 0, n)
	add := func(list []golden.Claim) {
		for i := range list {
			claims = append(claims, &list[i])
		}
	}
	newest := map[string]time.Time{} // only if somebody's claims count until then
	for _, row := range rows {
		if row.Deleted || row.MergedInto != "" {
			continue
		}
		for field, list := range row.Claims {
			add(list)
			if !dead || row.Ref.System == golden.SystemPin {
				continue // a pin may stand on the word of a deleted record
			}
			for _, member := range rules.Unit(obj, field) {
				if len(list) > 0 && rules.At(&list[0]).After(newest[member]) {
					newest[member] = rules.At(&list[0])
				}
			}
		}
	}
	for _, row := range rows {
		if !row.Deleted || row.MergedInto != "" {
			continue
		}
		for field, list := range row.Claims {
			if len(list) > 0 && !newest[field].After(rules.At(&list[0])) {
				add(list)
			}
		}
	}
	return claims
}

// merge computes a golden record again and reports whether it changed. Ref and changeID are what caused it.
func (u *Unit) merge(id golden.ID, ref golden.Ref, changeID string) bool {
	old := u.goldens[id]
	u.said[id] = true
	decisions := choose(old.Object, u.of[id], u.rules)
	values := golden.ValuesOf(decisions)
	deleted := gone(old.Object, u.of[id], u.rules)
	if old.Version > 0 && old.Deleted == deleted && maps.Equal(old.Values, values) {
		return false
	}
	next := old.Clone()
	fields := changedFields(old.Object, old.Values, values)
	changes := changesOf(fields, old.Values, decisions)
	next.Values, next.Deleted = values, deleted
	next.Version, next.Updated = old.Version+1, u.now
	next.NameKey = nameKey(old.Object, values)
	u.putGolden(next)
	u.touch(id, "")
	u.addOwners(next)
	if old.Version > 0 {
		kind := "changed"
		if deleted != old.Deleted {
			u.revive(id, "")
			kind = map[bool]string{true: "golden_deleted", false: "golden_undeleted"}[deleted]
		}
		u.Note(store.Event{GoldenID: id, Kind: kind, System: ref.System, RecordID: ref.RecordID, ChangeID: changeID, Fields: fields, Changes: changes})
	} else {
		u.firstValues(id, fields, changes)
	}
	return true
}

func changedFields(obj golden.Object, a, b golden.Values) []string {
	var out []string
	for _, f := range golden.Fields(obj) {
		if a[f] != b[f] {
			out = append(out, f)
		}
	}
	return out
}

// gone reports whether every system that had the record has deleted it, or one whose deletion is final. A record that
// only our API knows is not gone: it has not arrived yet.
func gone(obj golden.Object, rows []*store.Source, rules *survive.Rules) bool {
	lives, died := map[string]bool{}, map[string]bool{}
	for _, r := range rows {
		switch {
		case golden.Own(r.Ref.System) || r.MergedInto != "" || (r.Deleted && r.Removed): // what we deleted says nothing
		case r.Deleted:
			died[r.Ref.System] = true
		default:
			lives[r.Ref.System] = true
		}
	}
	for system := range died {
		if rules.Deletes(obj, system) && !lives[system] {
			return true
		}
	}
	return len(died) > 0 && len(lives) == 0
}

// liveIn returns the systems that have a live record, our API included.
func liveIn(rows []*store.Source) []string {
	var out []string
	for _, r := range rows {
		if !r.Deleted && r.Ref.System != golden.SystemPin {
			out = append(out, r.Ref.System)
		}
	}
	return out
}

func eventTime(c source.Change, now time.Time) time.Time {
	switch {
	case c.Record != nil && !c.Record.EventTime.IsZero():
		return c.Record.EventTime.UTC().Truncate(time.Microsecond)
	case !c.CommitTime.IsZero():
		return c.CommitTime.UTC().Truncate(time.Microsecond)
	default:
		return now.UTC().Truncate(time.Microsecond)
	}
}

func compareRows(a, b *store.Source) int {
	if n := strings.Compare(a.Ref.System, b.Ref.System); n != 0 {
		return n
	}
	return strings.Compare(a.Ref.RecordID, b.Ref.RecordID)
}
