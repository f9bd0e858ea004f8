package fold

import (
	"cmp"
	"slices"
	"time"

	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
)

// Effect is what an observation came to.
type Effect struct {
	// State is store.Applied, store.Unchanged or store.Superseded.
	State string
	// Echo is true when it showed what we had written.
	Echo bool
	// GoldenID is the golden record concerned; empty when none is.
	GoldenID golden.ID
}

// Observe folds one change in. The records it touches must be loaded (LoadBatch). ScanEpoch is the number of the scan
// that met the record, zero outside one.
func (u *Unit) Observe(c source.Change, scanEpoch int64) (Effect, error) {
	row := u.rows[c.Ref]
	switch {
	case c.Deleted:
		return u.observeGone(row, c), nil
	case c.Record == nil: // only a change that says so deletes
		eff := Effect{State: store.Unchanged}
		if row != nil {
			eff.GoldenID = row.GoldenID
		}
		return eff, nil
	}
	rec := c.Record
	if scanEpoch > 0 {
		u.met[c.Ref] = scanEpoch
	}
	back := row != nil && rec.Version < row.Version && c.SetBack == row.Version
	if row != nil && rec.Version < row.Version && !back {
		return Effect{State: store.Superseded, GoldenID: row.GoldenID}, nil
	}
	values, parentOpen := u.resolveParent(rec)
	known := row != nil && row.GoldenID != ""
	var next *store.Source
	switch {
	case known:
		next = row.Clone()
	default:
		id, err := u.identify(c, values)
		if err != nil {
			return Effect{}, err
		}
		next = (&store.Source{Ref: c.Ref, GoldenID: id}).Clone()
	}
	revived := known && row.Deleted
	if from := u.came[c.Ref]; revived && row.MergedInto != "" && u.Part(from, c.Ref, c.ID) {
		// The merge was taken back in its system: the record has its own customer again.
		next = u.rows[c.Ref].Clone()
	}
	next.Deleted, next.MergedInto = false, ""
	next.Removed = next.Removed && !revived && u.dying(next)
	next.ParentID, next.ParentOpen = rec.ParentID, parentOpen
	linkChanged := !known || revived || next.ExternalID != rec.ExternalID
	next.ExternalID = rec.ExternalID

	if back {
		setBack(row, next, rec)
	}
	seen := u.compare(row, next, c, values)
	if _, held := next.Shadow[golden.Parent]; held && parentOpen && nobodys(u.rows[golden.Ref{System: c.Ref.System, Object: golden.Customer, RecordID: rec.ParentID}]) {
		delete(next.Shadow, golden.Parent)
		seen.shadow = true
	}
	if known && !revived {
		u.markEdits(next, seen.claimed)
	}
	if next.Version = max(next.Version, rec.Version); back {
		next.Version = rec.Version
	}
	next.EventTime, next.LastChangeID = eventTime(c, u.now), c.ID
	if scanEpoch > 0 {
		next.ScanEpoch = scanEpoch
	}
	if known && !linkChanged && !seen.shadow && row.Version == next.Version && row.ParentID == next.ParentID && row.ParentOpen == next.ParentOpen {
		// Nothing to write but the scan that met it.
		return Effect{State: store.Unchanged, Echo: seen.echo, GoldenID: row.GoldenID}, nil
	}
	u.putRow(next)
	if (!known || revived) && c.Ref.Object == golden.Customer {
		u.link(c.Ref, next.GoldenID)
	}
	if _, dead := split(u.of[next.GoldenID], c.Ref.System); revived || (!known && dead) {
		u.revive(next.GoldenID, c.Ref.System)
	}
	if revived {
		u.Note(store.Event{GoldenID: next.GoldenID, Kind: "undeleted", System: c.Ref.System, RecordID: c.Ref.RecordID, ChangeID: c.ID})
	}
	u.touch(next.GoldenID, c.Ref.System)
	if known && !revived {
		u.noteConcurrent(row, next, seen.claimed, c)
	}
	if len(seen.claimed) > 0 || !known || revived {
		u.merge(next.GoldenID, c.Ref, c.ID)
	}
	if known && !revived {
		u.noteOverruled(next, seen.claimed, c)
	}
	if !known {
		u.joinLosers(next.GoldenID, c)
	}
	eff := Effect{State: store.Unchanged, Echo: seen.echo && len(seen.claimed) == 0, GoldenID: next.GoldenID}
	if len(seen.claimed) > 0 || (!known && !seen.echo) || revived {
		eff.State, eff.Echo = store.Applied, false
	}
	return eff, nil
}

// observeGone folds a deletion in. A tombstone is kept even of a record nobody knew: the news of its creation may
// still be on its way.
func (u *Unit) observeGone(row *store.Source, c source.Change) Effect {
	switch {
	case row == nil:
		u.putRow(&store.Source{
			Ref: c.Ref, Deleted: true, Version: c.Version, EventTime: c.CommitTime, LastChangeID: c.ID,
			Shadow: golden.Values{}, Claims: map[string][]golden.Claim{}, MergedInto: c.MergedInto,
		})
		if c.Ref.Object == golden.Customer {
			u.linked[c.Ref] = true // its contacts wait for nothing any more
		}
		return Effect{State: store.Unchanged}
	case c.Version > 0 && c.Version < row.Version:
		return Effect{State: store.Superseded, GoldenID: row.GoldenID}
	case row.Deleted && (row.GoldenID == "" || !undone(row, c)):
		into := row.MergedInto
		switch {
		case undone(row, c):
			into = c.MergedInto
		case into == "" || c.Version > row.Version:
			into = cmp.Or(c.MergedInto, into)
		}
		if c.Version > row.Version || into != row.MergedInto {
			next := row.Clone()
			next.Version, next.MergedInto = max(next.Version, c.Version), into
			u.putRow(next)
			if row.MergedInto != into {
				u.joinedThere(next, c) // the deletion was known before its reason
			}
		}
		return Effect{State: store.Unchanged, GoldenID: row.GoldenID}
	}
	next := row.Clone()
	if row.Deleted { // it was back, and its customer with it, and nobody has told
		u.Part(u.came[c.Ref], c.Ref, c.ID)
		next = u.rows[c.Ref].Clone()
		next.Removed = false
	}
	next.Deleted, next.LastChangeID, next.MergedInto = true, c.ID, c.MergedInto
	next.Version = max(next.Version, c.Version)
	u.putRow(next)
	u.Note(store.Event{GoldenID: next.GoldenID, Kind: "deleted", System: c.Ref.System, RecordID: c.Ref.RecordID, ChangeID: c.ID})
	u.touch(next.GoldenID, c.Ref.System)
	if c.MergedInto != "" {
		u.joinedThere(next, c)
	}
	id := u.rows[c.Ref].GoldenID
	u.revive(id, c.Ref.System) // its contacts have another record of their customer there, or wait for none any more
	u.merge(id, c.Ref, c.ID)
	return Effect{State: store.Applied, GoldenID: id}
}

// undone reports whether a deletion shows that the merge which a record is known to have gone by was taken back before it. Versions
// alone do not: the system was asked, and no longer says that it was this one.
func undone(row *store.Source, c source.Change) bool {
	return row.Deleted && row.MergedInto != "" && c.Deleted && c.Reread && c.Version >= row.Version && c.MergedInto != row.MergedInto
}

// resolveParent returns the values of a record with the golden id of a contact's customer among them, and whether the
// customer is named but not known yet.
func (u *Unit) resolveParent(rec *source.Record) (golden.Values, bool) {
	if rec.Ref.Object != golden.Contact {
		return rec.Values, false
	}
	values := rec.Values.Clone()
	if values == nil {
		values = golden.Values{}
	}
	delete(values, golden.Parent)
	if rec.ParentID == "" {
		values[golden.Parent] = ""
		return values, false
	}
	parent := u.rows[golden.Ref{System: rec.Ref.System, Object: golden.Customer, RecordID: rec.ParentID}]
	if parent == nil || parent.GoldenID == "" {
		return values, true
	}
	values[golden.Parent] = string(parent.GoldenID)
	return values, false
}

// nobodys reports whether a customer's record is gone that was never taken in: whose it was cannot be known any more, and a contact
// that names it is given back to whom it belonged before.
func nobodys(row *store.Source) bool {
	return row != nil && row.Deleted && row.GoldenID == "" && row.MergedInto == ""
}

// sight is what a comparison of a snapshot with what we knew came to.
type sight struct {
	claimed []string // fields that the record says something new about
	shadow  bool     // the record holds something else than we knew
	echo    bool     // it shows something we had sent
}

// compare folds the values of a snapshot into next. Each field is one of: as known, something we sent, or the
// system's own word, which becomes a claim. Row is the record as known; nil when it is not.
func (u *Unit) compare(row, next *store.Source, c source.Change, values golden.Values) sight {
	var s sight
	in := u.intentFor(next)
	before := knowledge(row, in)
	sentChanged := false
	for _, field := range golden.Fields(c.Ref.Object) {
		value, said := values[field]
		if !said {
			continue
		}
		old, known := next.Shadow[field]
		list := in.Sent[field]
		at := lastSent(list, value)
		if known && old == value {
			if at >= 0 && at == len(list)-1 && list[at].Acked {
				sentChanged = true
				settle(&in, field, at)
			}
			continue
		}
		// Who changed a record last has not written all that it holds: only where ours may be late does that tell whose it is, and only
		// in a reading. A change says itself what it has changed.
		ours := c.OwnWrite || (c.Changed == nil && c.Record.OwnWrite && mayArrive(&in, field, value))
		switch {
		case known && c.Newer && mayArrive(&in, field, value):
			continue // the change that put it there is still to be told, and says whose it is
		case known && c.Changed != nil && !c.OwnWrite && !slices.Contains(c.Changed, field) && mayArrive(&in, field, value):
			s.echo, s.shadow = true, true // somebody else changed something else, and met one of ours that had got lost on the way
			next.Shadow[field] = value
			continue
		case ours && c.Asked == before && overtaken(&in, field, at):
			s.echo, s.shadow, sentChanged = true, true, true // it has arrived after what it was overtaken by
			next.Shadow[field] = value
			settle(&in, field, len(list)-1)
			continue
		case at >= 0 && (ours || (!list[at].Acked && !list[at].Past) || (c.Asked == before && !known)):
			if ours && overtaken(&in, field, at) {
				u.doubt(c.Ref, before) // an old reading, or a late arrival
			}
			s.echo, s.shadow, sentChanged = true, true, true
			if newest := list[len(list)-1]; at == len(list)-1 || !newest.Acked {
				next.Shadow[field] = value
			}
			settle(&in, field, at)
			continue
		case ours && (slices.Contains(in.Late[field], value) || ((row == nil || row.GoldenID == "") && u.given(next, field, value))):
			s.echo, s.shadow = true, true // one of our own that had got lost on the way
			next.Shadow[field] = value
			continue
		case !known && value == "" && lastAcked(list) < 0:
			next.Shadow[field] = "" // a new record without a value says nothing, unless it is known to have had ours
			s.shadow = true
			continue
		}
		if c.Asked != before && doubted(row, c.Record.Version, known, list) {
			u.doubt(c.Ref, before)
		}
		switch at := lastAcked(list); {
		case c.OwnWrite && len(list) > 0:
			next.Rewritten[field] = rewritten(next.Rewritten[field], list[len(list)-1].Value, value, 1)
			sentChanged = true
			settle(&in, field, len(list)-1)
		case c.Asked == before && at >= 0:
			sentChanged = true // it has arrived and was replaced since
			settle(&in, field, at)
		}
		if c.Asked == before {
			sentChanged = past(&in, field) || sentChanged
		}
		next.Shadow[field] = value
		s.shadow = true
		if lost(row, c) {
			continue // what it said since is still its word, and is written again
		}
		if have := next.Claims[field]; len(have) > 0 && have[0].Value == value && c.Record.Version <= have[0].Version {
			continue // an old reading of a claim we have; what we wrote since will be written again
		}
		s.claimed = append(s.claimed, field)
	}
	u.claim(next, s.claimed, c)
	if sentChanged {
		u.putIntent(in)
	}
	return s
}

// given reports whether what a record holds which we have made and never heard of is what its golden record has from elsewhere: it was
// written there, and what was noted of that has gone to the record that was made in its place.
func (u *Unit) given(row *store.Source, field, value string) bool {
	return source.IsFirst(row.ExternalID) &&
		slices.ContainsFunc(u.of[row.GoldenID], func(r *store.Source) bool {
			return r.Shadow[field] == value || slices.ContainsFunc(r.Claims[field], func(c golden.Claim) bool { return c.Value == value })
		})
}

// claim makes claims of what next now holds in the fields, and in those that move together with them.
func (u *Unit) claim(next *store.Source, fields []string, c source.Change) {
	done := map[string]bool{}
	for _, field := range fields {
		for _, member := range u.rules.Unit(c.Ref.Object, field) {
			value, held := next.Shadow[member]
			if done[member] || !held {
				continue
			}
			done[member] = true
			claim := golden.Claim{
				Field: member, Value: value, Ref: next.Ref, Version: c.Record.Version, EventTime: eventTime(c, u.now), ChangeID: c.ID,
			}
			if now := u.now.UTC().Truncate(time.Microsecond); claim.EventTime.After(now) {
				claim.Received = now // the rules bound how far a clock may be ahead
			}
			next.Claims[member] = u.rules.Absorb(next.Claims[member], claim)
		}
	}
}

// maxRewrites is how often a system may turn a value into another before we stop writing it. Once could be a person
// who edited the record at the same moment.
const maxRewrites = 3

func rewritten(have store.Rewrite, wrote, holds string, times int) store.Rewrite {
	if have.Wrote == wrote && have.Holds == holds {
		have.Times += times
		return have
	}
	return store.Rewrite{Wrote: wrote, Holds: holds, Times: times}
}
