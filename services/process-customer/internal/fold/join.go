package fold

import (
	"context"
	"maps"
	"slices"

	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
)

// Two golden records become one by their records: those of the one go to the other, with all their claims. Where they
// came from is remembered, so taking the merge back gives both what they would have had without it. Nothing is copied
// and nothing is thrown away.

// LoadJoin loads what a merge of golden records, or taking one back, touches: the records of both, their contacts, and
// what was sent to them.
func (u *Unit) LoadJoin(ctx context.Context, ids ...golden.ID) error {
	if err := u.LoadGoldens(ctx, ids); err != nil {
		return err
	}
	ids = u.withHeirs(ids)
	var children []golden.ID
	for _, id := range ids {
		found, err := u.tx.ListChildren(ctx, id, "", maxChildren)
		if err != nil {
			return err
		}
		for _, c := range found {
			children = append(children, c.ID)
		}
		if _, known := u.left[id]; known {
			continue // what the unit has moved since is not stored yet
		}
		moves, err := u.tx.Moves(ctx, id)
		if err != nil {
			return err
		}
		for _, m := range u.moves {
			if m.From == id {
				moves = append(moves, m)
			}
		}
		u.left[id] = moves
		for _, m := range moves {
			if err := u.LoadGoldens(ctx, []golden.ID{m.To}); err != nil {
				return err
			}
			if err := u.loadRows(ctx, m.Ref.System, m.Ref.Object, []string{m.Ref.RecordID}); err != nil {
				return err
			}
		}
	}
	if err := u.LoadGoldens(ctx, children); err != nil {
		return err
	}
	for _, system := range u.f.systems {
		if err := u.LoadIntents(ctx, system, ids); err != nil {
			return err
		}
	}
	return u.loadBranches(ctx, ids)
}

// withHeirs returns golden records and all that they were merged into, each once: who has their records now, and whoever had them between.
func (u *Unit) withHeirs(ids []golden.ID) []golden.ID {
	var out []golden.ID
	for _, id := range ids {
		for id != "" && !slices.Contains(out, id) {
			out = append(out, id)
			g := u.goldens[id]
			if g == nil {
				break
			}
			id = g.MergedInto
		}
	}
	return out
}

// Join merges the golden record from into another one. Both must be loaded (LoadJoin). It reports false when there is
// nothing to merge: they are one already, are of different kinds, or one of them went into a third.
func (u *Unit) Join(into, from golden.ID, ref golden.Ref, changeID string) bool {
	a, b := u.goldens[into], u.goldens[from]
	if into == from || a == nil || b == nil || a.Object != b.Object || a.MergedInto != "" || b.MergedInto != "" {
		return false
	}
	for _, row := range slices.Clone(u.of[from]) {
		if live, dead := split(u.of[into], row.Ref.System); dead && len(live) == 0 && !row.Deleted {
			u.revive(into, row.Ref.System) // its contacts have a record of their customer there again
		}
		u.moveRow(row, into)
		u.putMove(store.Move{From: from, To: into, Ref: row.Ref, At: u.now})
	}
	next := b.Clone()
	next.MergedInto, next.Version, next.Updated = into, b.Version+1, u.now
	u.putGolden(next)
	u.said[from] = true
	note := store.Event{System: ref.System, RecordID: ref.RecordID, ChangeID: changeID}
	note.GoldenID, note.Kind, note.Reason = from, "merged", string(into)
	u.Note(note)
	note.GoldenID, note.Kind, note.Reason = into, "absorbed", string(from)
	u.Note(note)
	u.realign(changeID, into, from)
	u.touch(into, "")
	u.merge(into, ref, changeID)
	return true
}

// Part takes a merge back: what went away from a golden record returns to it, wherever it is now. It reports false when
// the record was not merged into another one. It must be loaded (LoadJoin).
func (u *Unit) Part(from golden.ID, ref golden.Ref, changeID string) bool {
	g := u.goldens[from]
	if g == nil || g.MergedInto == "" {
		return false
	}
	hosts := map[golden.ID]bool{}
	for _, m := range u.left[from] {
		if row := u.rows[m.Ref]; row != nil && row.GoldenID != from {
			hosts[row.GoldenID] = true
			u.moveRow(row, from)
		}
	}
	into := u.follow(g.MergedInto)
	next := g.Clone()
	next.MergedInto, next.Version, next.Updated = "", g.Version+1, u.now
	u.putGolden(next)
	u.forgetMoves(from)
	if !u.parted[from] {
		u.parted[from] = true
		u.undo = append(u.undo, func() { delete(u.parted, from) })
	}
	n := len(u.apart)
	u.undo = append(u.undo, func() { u.apart = u.apart[:n] })
	u.apart = append(u.apart, Parted{from, into})
	note := store.Event{System: ref.System, RecordID: ref.RecordID, ChangeID: changeID, GoldenID: from, Kind: "unmerged", Reason: string(into)}
	u.Note(note)
	hosts[into] = true
	u.takeLosers(from, slices.Sorted(maps.Keys(hosts)), ref, changeID)
	u.release(from)
	for _, host := range slices.Sorted(maps.Keys(hosts)) {
		if g := u.goldens[host]; g == nil || g.MergedInto != "" {
			continue
		}
		note.GoldenID, note.Kind, note.Reason = host, "released", string(from)
		u.Note(note)
		u.realign(changeID, from, host)
		u.touch(host, "")
		u.merge(host, ref, changeID)
	}
	u.touch(from, "")
	u.merge(from, ref, changeID)
	return true
}

// moveRow gives a record to another golden record, with what was sent to it and not seen yet.
func (u *Unit) moveRow(row *store.Source, to golden.ID) {
	from := row.GoldenID
	before := u.of[from]
	u.undo = append(u.undo, func() { u.of[from] = before })
	u.of[from] = slices.DeleteFunc(slices.Clone(before), func(r *store.Source) bool { return r.Ref == row.Ref })
	next := row.Clone()
	next.GoldenID = to
	u.putRow(next)
	k := intentKey{row.Ref.System, from, row.Ref.RecordID}
	if in, ok := u.intents[k]; ok && len(in.Sent)+len(in.Late) > 0 {
		moved := in
		moved.GoldenID = to
		u.putIntent(moved)
		in.Sent, in.Late = nil, nil
		u.putIntent(in)
	}
}

func (u *Unit) putMove(m store.Move) {
	n := len(u.moves)
	left := u.left[m.From]
	u.undo = append(u.undo, func() { u.moves, u.left[m.From] = u.moves[:n], left })
	u.moves = append(u.moves, m)
	u.left[m.From] = append(slices.Clone(left), m) // the same batch may take the merge back
}

// descend notes that a record was made for a golden record which was merged before anybody had heard of the record: when the merge
// is taken back it goes along.
func (u *Unit) descend(from golden.ID, ref golden.Ref) {
	for range maxDepth {
		g := u.goldens[from]
		if g == nil || g.MergedInto == "" {
			return
		}
		m := store.Move{From: from, To: g.MergedInto, Ref: ref, At: u.now}
		if _, loaded := u.left[from]; loaded {
			u.putMove(m)
		} else { // whoever loads what is stored finds it among the moves of the unit
			n := len(u.moves)
			u.undo = append(u.undo, func() { u.moves = u.moves[:n] })
			u.moves = append(u.moves, m)
		}
		from = g.MergedInto
	}
}

// forgetMoves drops what the unit knows of how records went away from a golden record, once they are back.
func (u *Unit) forgetMoves(from golden.ID) {
	moves, left := u.moves, u.left[from]
	u.undo = append(u.undo, func() { u.moves, u.left[from] = moves, left })
	u.moves = slices.DeleteFunc(slices.Clone(moves), func(m store.Move) bool { return m.From == from })
	u.left[from] = nil // as it was read they are gone
}

// realign has the contacts of two customers name the one that the record of their customer belongs to now. A contact
// whose customer only our API named goes with the customer that is not merged away.
func (u *Unit) realign(changeID string, a, b golden.ID) {
	if a.Object() != golden.Customer {
		return
	}
	ours := func(v string) bool { return v == string(a) || v == string(b) }
	for _, id := range slices.Sorted(maps.Keys(u.goldens)) {
		if id.Object() != golden.Contact {
			continue
		}
		changed := false
		for _, row := range slices.Clone(u.of[id]) {
			want := a
			if parent := u.rows[golden.Ref{System: row.Ref.System, Object: golden.Customer, RecordID: row.ParentID}]; row.ParentID != "" && parent != nil {
				want = parent.GoldenID
			} else if !golden.Own(row.Ref.System) || u.goldens[a].MergedInto != "" {
				continue
			}
			next := row.Clone()
			list := slices.Clone(next.Claims[golden.Parent])
			for i := range list {
				if ours(list[i].Value) {
					list[i].Value = string(want)
				}
			}
			if ours(next.Shadow[golden.Parent]) {
				next.Shadow[golden.Parent] = string(want)
			}
			if slices.Equal(list, row.Claims[golden.Parent]) && next.Shadow[golden.Parent] == row.Shadow[golden.Parent] {
				continue
			}
			if len(list) > 0 {
				next.Claims[golden.Parent] = list
			}
			u.putRow(next)
			changed = true
		}
		if changed {
			u.touch(id, "")
			u.merge(id, golden.Ref{}, changeID)
		}
	}
}

// joinedThere folds in that a merge in a system put another record in the place of one.
func (u *Unit) joinedThere(row *store.Source, c source.Change) {
	winner := u.rows[golden.Ref{System: c.Ref.System, Object: c.Ref.Object, RecordID: c.MergedInto}]
	if winner == nil || winner.GoldenID == "" || row.GoldenID == "" {
		return // the winner is not known yet; it finds the loser when it comes
	}
	u.joinRow(u.follow(winner.GoldenID), row, c.Ref, c.ID)
}

// follow returns the golden record that one was merged into, itself when it was not.
func (u *Unit) follow(id golden.ID) golden.ID {
	for range maxDepth {
		g := u.goldens[id]
		if g == nil || g.MergedInto == "" {
			return id
		}
		id = g.MergedInto
	}
	return id
}

// loadJoins loads what merges in a system touch that the changes of a batch tell of, or records that come back from one.
func (u *Unit) loadJoins(ctx context.Context, system string, obj golden.Object, changes []source.Change) error {
	var winners, unknown []string
	for i := range changes {
		c := &changes[i]
		if c.MergedInto != "" {
			winners = append(winners, c.MergedInto)
		}
		if c.Record != nil && u.rows[c.Ref] == nil {
			unknown = append(unknown, c.Ref.RecordID)
		}
	}
	if err := u.loadRows(ctx, system, obj, winners); err != nil {
		return err
	}
	losers, err := u.tx.LosersTo(ctx, system, obj, unknown)
	if err != nil {
		return err
	}
	var heirs []golden.ID
	for _, l := range losers {
		if u.rows[l.Ref] == nil {
			u.know(l)
		}
		if id := u.rows[l.Ref].GoldenID; id != "" {
			heirs = append(heirs, id)
		}
	}
	if len(heirs) > 0 {
		if err := u.LoadJoin(ctx, heirs...); err != nil {
			return err
		}
	}
	for i := range changes {
		c := &changes[i]
		row := u.rows[c.Ref]
		var ids []golden.ID
		if c.MergedInto != "" {
			if winner := u.rows[golden.Ref{System: system, Object: obj, RecordID: c.MergedInto}]; winner != nil && row != nil {
				ids = append(ids, winner.GoldenID, row.GoldenID)
				if _, err := u.path(ctx, c.Ref); err != nil {
					return err
				}
			}
		}
		if row != nil && row.MergedInto != "" && (c.Record != nil || undone(row, *c)) {
			ids = append(ids, row.GoldenID)
		}
		if len(ids) > 0 {
			if err := u.LoadJoin(ctx, ids...); err != nil {
				return err
			}
		}
	}
	return nil
}

// heir returns the golden record of a record that was merged into ref in its system before ref was known.
func (u *Unit) heir(ref golden.Ref) golden.ID {
	if !u.mergers {
		return ""
	}
	var best *store.Source
	for _, row := range u.rows {
		if row.Ref.System == ref.System && row.Ref.Object == ref.Object && row.MergedInto == ref.RecordID && row.GoldenID != "" &&
			(best == nil || compareRows(row, best) < 0) {
			best = row
		}
	}
	if best == nil {
		return ""
	}
	return u.follow(best.GoldenID)
}

// joinLosers folds in merges in a system that put a record in the place of others before it was known.
func (u *Unit) joinLosers(id golden.ID, c source.Change) {
	if !u.mergers {
		return
	}
	var losers []*store.Source
	for _, row := range u.rows {
		if row.Ref.System == c.Ref.System && row.Ref.Object == c.Ref.Object && row.MergedInto == c.Ref.RecordID && row.GoldenID != "" {
			losers = append(losers, row)
		}
	}
	slices.SortFunc(losers, compareRows)
	for _, row := range losers {
		u.joinRow(u.follow(id), row, row.Ref, c.ID) // nothing when identify has found it by this one
	}
}

func (u *Unit) flushMoves(ctx context.Context) error {
	for from := range u.parted {
		if err := u.tx.DropMoves(ctx, from); err != nil {
			return err
		}
	}
	for _, m := range u.forgotten {
		if err := u.tx.DropMovesOf(ctx, []golden.ID{m.From}, m.Ref); err != nil {
			return err
		}
	}
	return u.tx.AddMoves(ctx, u.moves)
}
