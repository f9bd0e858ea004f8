package fold

import (
	"maps"

	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
)

// Ack folds the acknowledgement of a write in: the record is linked and known to hold what was written, and what the
// system added on its own, such as a number, is its own word. It reports whether the record is new here. The golden
// record and its records must be loaded, the named record included (LoadRecords).
func (u *Unit) Ack(p *Plan, res source.Result, changeID string) bool {
	ref := p.Write.Ref
	ref.RecordID = res.RecordID
	row := u.rows[ref]
	id := u.follow(p.GoldenID) // it may have been merged during the call
	if row != nil && row.GoldenID != "" && row.GoldenID != p.GoldenID {
		if row.GoldenID == id {
			return false // the feed was faster, and has given the record to the heir
		}
		// The system gave the write to a record that belongs to somebody else. Nothing may be concluded from it; the
		// record's own change tells what it holds now.
		u.Note(store.Event{GoldenID: p.GoldenID, Kind: "conflict", System: ref.System, RecordID: ref.RecordID, ChangeID: changeID, Reason: "RECORD_BELONGS_TO_ANOTHER"})
		return false
	}
	created := row == nil || row.GoldenID == ""
	var next *store.Source
	if created {
		next = (&store.Source{Ref: ref, GoldenID: id, EventTime: u.now}).Clone()
		u.descend(p.GoldenID, ref)
	} else {
		next = row.Clone()
	}
	if !created && res.Version > 0 && res.Version < row.Version {
		// The feed was faster and has told something newer already.
		u.acked(p, next, res)
		u.touch(id, ref.System)
		return false
	}
	next.Deleted, next.MergedInto = false, ""
	if p.Write.ExternalID != "" {
		next.ExternalID = p.Write.ExternalID
	}
	if _, moved := p.Sent[golden.Parent]; moved || created {
		next.ParentID, next.ParentOpen = p.Write.ParentID, false
	}
	u.arrived(p, row, next, res)
	if created {
		// What a new record was not told it does not hold.
		for _, field := range u.f.fields[ref.System][ref.Object] {
			_, told := p.Sent[field]
			if _, known := next.Shadow[field]; !told && !known && u.rules.WritesTo(ref.Object, field, ref.System) {
				next.Shadow[field] = ""
			}
		}
	}
	next.Version = max(next.Version, res.Version)
	u.acked(p, next, res)
	if created && ref.Object == golden.Customer {
		u.link(ref, id)
	}
	claimed := false
	if res.Record != nil {
		claimed = u.compareStored(next, p, *res.Record, changeID)
		next.EventTime = eventTime(source.Change{Record: res.Record}, u.now)
	}
	u.putRow(next)
	u.touch(id, ref.System)
	if claimed {
		u.merge(id, ref, changeID)
	}
	return created
}

// arrived notes that the record holds what was sent. A system that tells no versions may have been heard of meanwhile:
// if the feed has not shown our value but another one, nobody can say which of the two was written last. The value is
// then unknown, and what the golden record says, which knows both, is written again.
func (u *Unit) arrived(p *Plan, row, next *store.Source, res source.Result) {
	quiet := row == nil || res.Version > 0
	if row != nil && p.Row != nil {
		quiet = quiet || (row.Version == p.Row.Version && row.LastChangeID == p.Row.LastChangeID)
	}
	if quiet {
		maps.Copy(next.Shadow, p.Sent)
		return
	}
	sent := u.intentFor(next).Sent
	for field, value := range p.Sent {
		if held, known := next.Shadow[field]; (!known || held != value) && lastSent(sent[field], value) >= 0 {
			delete(next.Shadow, field)
		}
	}
}

// compareStored folds in the record that the system returned as stored. A written field that came out differently was
// rewritten by the system; anything else that differs is the system's own word.
func (u *Unit) compareStored(next *store.Source, p *Plan, rec source.Record, changeID string) bool {
	values, _ := u.resolveParent(&rec)
	var claimed []string
	for _, field := range golden.Fields(next.Ref.Object) {
		value, said := values[field]
		if !said || next.Shadow[field] == value {
			if said {
				next.Shadow[field] = value
			}
			continue
		}
		next.Shadow[field] = value
		if wrote, written := p.Sent[field]; written {
			next.Rewritten[field] = rewritten(next.Rewritten[field], wrote, value, maxRewrites)
			continue
		}
		claimed = append(claimed, field)
	}
	u.claim(next, claimed, source.Change{ID: changeID, Ref: next.Ref, Record: &rec})
	return len(claimed) > 0
}

// Say folds in what somebody said through our own API: each field is a claim of the API's own record of the golden
// record, whose version grows with every call. It happened after everything that is known, so it is not older than the
// claim it is to replace. Reports whether the golden record changed.
func (u *Unit) Say(id golden.ID, values golden.Values, changeID string) bool {
	ref := golden.Ref{System: golden.SystemAPI, Object: id.Object(), RecordID: string(id)}
	row := u.rows[ref]
	if row == nil {
		for _, r := range u.of[id] {
			if r.Ref == ref {
				row = r
			}
		}
	}
	if row == nil {
		row = &store.Source{Ref: ref, GoldenID: id}
	}
	next := row.Clone()
	next.Version++
	at := u.now
	for _, d := range Decide(id.Object(), u.of[id], u.rules) {
		if _, said := values[d.Field]; said && d.Winner != nil {
			if after := u.rules.At(d.Winner).Add(sayMargin); after.After(at) {
				at = after
			}
		}
	}
	next.EventTime, next.LastChangeID = at.UTC(), changeID
	var fields []string
	for _, field := range golden.Fields(id.Object()) {
		if value, said := values[field]; said {
			next.Shadow[field] = value
			fields = append(fields, field)
			continue
		}
		// What moves together with a field that is said is said to be as it is.
		for _, member := range u.rules.Unit(id.Object(), field) {
			if _, said := values[member]; said {
				next.Shadow[field] = u.goldens[id].Values[field]
			}
		}
	}
	rec := source.Record{Ref: ref, Version: next.Version, EventTime: next.EventTime}
	u.claim(next, fields, source.Change{ID: changeID, Ref: ref, Record: &rec})
	u.putRow(next)
	return u.merge(id, ref, changeID)
}
