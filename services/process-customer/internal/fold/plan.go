package fold

import (
	"context"
	"slices"

	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
)

// Plan is one write that brings a record of a system to the golden values.
type Plan struct {
	GoldenID golden.ID
	// Row is the record as known; nil when it is to be created.
	Row   *store.Source
	Write source.Write
	// Sent are the canonical values of the write, a contact's customer as golden id.
	Sent golden.Values
	// Delete is true when the record is to be deleted instead.
	Delete bool
	// Repeat is true for a creation of which nobody knows whether it was made before: look the record up first.
	Repeat bool
	// added are the fields whose value Send has noted for the first time, opened those that were sent before without an answer.
	added, opened []string
	guard         guard
}

// Planned is what a system has to be told about one golden record.
type Planned struct {
	// Plans are the writes, one per record of the system; none when it holds everything.
	Plans []Plan
	// Wait is true when the contact's customer has to be written first; Plans are then as they would be without that.
	Wait bool
	// Parent is the customer that is waited for.
	Parent golden.ID
	// Skip says why nothing may be written, as a stable reason; empty otherwise.
	Skip string
}

// Reasons why a contact is not written.
const (
	// ReasonParentDeleted: the system has deleted its customer.
	ReasonParentDeleted = "PARENT_DELETED"
	// ReasonParentAbsent: the system does not have its customer, and the rules say that it shall not be made there.
	ReasonParentAbsent = "PARENT_ABSENT"
)

// LoadForPlan loads golden records, their customers and what was sent, for Plan.
func (u *Unit) LoadForPlan(ctx context.Context, system string, ids []golden.ID) error {
	if err := u.LoadGoldens(ctx, ids); err != nil {
		return err
	}
	var parents []golden.ID
	for _, id := range ids {
		g := u.goldens[id]
		if g == nil {
			continue
		}
		parents = append(parents, golden.ID(g.Values[golden.Parent]))
		if g.Deleted && g.Object == golden.Customer { // what goes with it when it is deleted
			children, err := u.tx.ListChildren(ctx, id, "", maxChildren)
			if err != nil {
				return err
			}
			for _, c := range children {
				parents = append(parents, c.ID)
			}
		}
	}
	if err := u.LoadGoldens(ctx, parents); err != nil {
		return err
	}
	moved, err := u.tx.MovesTo(ctx, ids)
	if err != nil {
		return err
	}
	for _, m := range moved {
		u.adopted[m.Ref] = true
	}
	return u.LoadIntents(ctx, system, ids)
}

// Plan works out what to write to a system about one golden record.
func (u *Unit) Plan(id golden.ID, system string) Planned {
	g := u.goldens[id]
	if g == nil || !u.needs(g, system) {
		return Planned{}
	}
	live, _ := split(u.of[id], system)
	if g.Deleted {
		return u.planDelete(g, live)
	}
	parentID, wait, skip := u.parentIn(g, system)
	out := Planned{Parent: u.follow(golden.ID(g.Values[golden.Parent]))}
	if len(live) == 0 {
		if skip == "" {
			out.Plans = []Plan{u.planCreate(g, system, parentID)}
		}
		out.Wait, out.Skip = wait, skip
		return out
	}
	taken := u.plainTaken(id, system)
	for _, row := range live {
		p := Plan{GoldenID: id, Row: row, Sent: u.delta(g, row)}
		if _, moves := p.Sent[golden.Parent]; moves {
			if wait {
				out.Wait = true
			}
			if skip != "" {
				delete(p.Sent, golden.Parent)
			}
		}
		p.Write = source.Write{Ref: row.Ref, Values: p.Sent.Clone(), ExpectedVersion: row.Version}
		if _, moves := p.Sent[golden.Parent]; moves {
			p.Write.ParentID = parentID
		}
		if source.GoldenIDOf(row.ExternalID) != id {
			p.Write.ExternalID = source.ExternalIDOf(id, "")
			// One that a merge brought along never gets the plain id: once the merge is taken back, creating the golden record
			// there by that id would find it and write over it.
			if taken || u.adopted[row.Ref] {
				p.Write.ExternalID = source.ExternalIDOf(id, row.Ref.RecordID)
			}
			taken = true
		}
		if len(p.Sent) > 0 || p.Write.ExternalID != "" {
			u.guard(&p)
			out.Plans = append(out.Plans, p)
		}
	}
	return out
}

// planDelete has the records go that live although the golden record does not: a system whose deletion is final has
// deleted it.
func (u *Unit) planDelete(g *store.Golden, live []*store.Source) Planned {
	var out Planned
	for _, row := range live {
		out.Plans = append(out.Plans, Plan{GoldenID: g.ID, Row: row, Delete: true, Write: source.Write{Ref: row.Ref}})
	}
	return out
}

func (u *Unit) planCreate(g *store.Golden, system, parentID string) Plan {
	before := u.intents[intentKey{system, g.ID, ""}]
	p := Plan{GoldenID: g.ID, Sent: golden.Values{}, Repeat: len(before.Sent)+len(before.Late) > 0}
	for _, field := range u.f.fields[system][g.Object] {
		if value := g.Values[field]; value != "" && u.rules.WritesTo(g.Object, field, system) {
			p.Sent[field] = value
		}
	}
	p.Write = source.Write{
		Ref: golden.Ref{System: system, Object: g.Object}, ExternalID: source.ExternalIDOf(g.ID, ""),
		ParentID: parentID, Values: p.Sent.Clone(),
	}
	return p
}

// parentIn returns the record id that a contact's customer has in a system; wait when it will get one, skip when it
// was deleted there.
func (u *Unit) parentIn(g *store.Golden, system string) (id string, wait bool, skip string) {
	parent := u.follow(golden.ID(g.Values[golden.Parent]))
	if g.Object != golden.Contact || parent == "" || !slices.Contains(u.f.fields[system][golden.Contact], golden.Parent) ||
		!u.rules.WritesTo(golden.Contact, golden.Parent, system) {
		return "", false, ""
	}
	live, dead := split(u.of[parent], system)
	if len(live) == 0 {
		if pg := u.goldens[parent]; dead || pg == nil || pg.Deleted {
			return "", false, ReasonParentDeleted
		} else if !u.needs(pg, system) {
			return "", false, ReasonParentAbsent
		}
		return "", true, ""
	}
	for _, row := range live {
		if row.ExternalID == source.ExternalIDOf(parent, "") {
			return row.Ref.RecordID, false, ""
		}
	}
	return live[0].Ref.RecordID, false, ""
}

// needs reports whether a system holds something else than it should.
func (u *Unit) needs(g *store.Golden, system string) bool {
	if g.MergedInto != "" || len(u.f.fields[system][g.Object]) == 0 {
		return false
	}
	live, dead := split(u.of[g.ID], system)
	if g.Deleted {
		return len(live) > 0
	}
	if len(live) == 0 {
		// A person deleted it there: that is respected until it comes back.
		return !dead && u.rules.Creates(g.Object, liveIn(u.of[g.ID]))
	}
	for _, row := range live {
		if source.GoldenIDOf(row.ExternalID) != g.ID {
			return true
		}
		for _, field := range u.f.fields[system][g.Object] {
			if _, lacks := u.lacks(g, row, field); lacks {
				return true
			}
		}
	}
	return false
}

// delta returns the golden values that a record should hold and does not.
func (u *Unit) delta(g *store.Golden, row *store.Source) golden.Values {
	out := golden.Values{}
	for _, field := range u.f.fields[row.Ref.System][g.Object] {
		if want, lacks := u.lacks(g, row, field); lacks {
			out[field] = want
		}
	}
	return out
}

// lacks returns the golden value that a record should hold in a field, and whether it does not.
func (u *Unit) lacks(g *store.Golden, row *store.Source, field string) (want string, lacks bool) {
	want, ok := g.Values[field]
	have, known := row.Shadow[field]
	same := known && want == have && (field != golden.Parent || !u.astray(g, row))
	if !ok || same || !u.rules.WritesTo(g.Object, field, row.Ref.System) {
		return want, false
	}
	if r := row.Rewritten[field]; r.Times >= maxRewrites && r.Wrote == want && r.Holds == have {
		return want, false // the system makes have out of want, however often it is asked
	}
	return want, !u.stays(g, row, field) // an edit that the rules overrule and do not revert does
}

// astray reports whether a contact names a record of its customer that is gone, although its system has another one of that
// customer: it was made again there, or a merge put the other one in its place and left the contact behind.
func (u *Unit) astray(g *store.Golden, row *store.Source) bool {
	parent := u.follow(golden.ID(g.Values[golden.Parent]))
	was := u.rows[golden.Ref{System: row.Ref.System, Object: golden.Customer, RecordID: row.ParentID}]
	if row.ParentID == "" || was == nil || !was.Deleted || was.GoldenID != parent {
		return false
	}
	live, _ := split(u.of[parent], row.Ref.System)
	return len(live) > 0
}

// split returns the live records that a system has of a golden record, and whether somebody there has deleted one.
func split(rows []*store.Source, system string) (live []*store.Source, dead bool) {
	for _, r := range rows {
		switch {
		case r.Ref.System != system:
		case r.Deleted:
			dead = dead || !r.Removed
		default:
			live = append(live, r)
		}
	}
	return live, dead
}

// plainTaken reports whether some record of a system has, had, or may be getting the plain external id.
func (u *Unit) plainTaken(id golden.ID, system string) bool {
	for _, r := range u.of[id] {
		if r.Ref.System == system && r.ExternalID == source.ExternalIDOf(id, "") {
			return true
		}
	}
	return len(u.intents[intentKey{system, id, ""}].Sent) > 0
}
