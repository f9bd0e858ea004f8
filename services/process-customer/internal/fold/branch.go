package fold

import (
	"context"
	"slices"

	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
)

// Merges are merged again: what took the place of one customer gives way to a third. A record that comes back takes back the
// merge that it was part of, and no other one: those before it come along with it, those after it stay.

// joinRow joins the golden record of a record that was merged away in its system, and remembers that this was why.
func (u *Unit) joinRow(into golden.ID, row *store.Source, ref golden.Ref, changeID string) {
	from := u.follow(row.GoldenID)
	if !u.Join(into, from, ref, changeID) {
		return
	}
	before, had := u.came[row.Ref]
	u.undo = append(u.undo, func() {
		delete(u.came, row.Ref)
		if had {
			u.came[row.Ref] = before
		}
	})
	u.came[row.Ref] = from
}

// loadBranches finds out, of the records of golden records that were merged away in their systems, which golden record each of
// these merges has joined to another, and loads what taking it back touches.
func (u *Unit) loadBranches(ctx context.Context, ids []golden.ID) error {
	var more []golden.ID
	for _, id := range ids {
		for _, row := range u.of[id] {
			if _, known := u.came[row.Ref]; known || row.MergedInto == "" {
				continue
			}
			from, err := u.branch(ctx, row)
			if err != nil {
				return err
			}
			u.came[row.Ref] = from
			if _, loaded := u.left[from]; from != "" && !loaded {
				more = append(more, from)
			}
		}
	}
	if len(more) == 0 {
		return nil
	}
	return u.LoadJoin(ctx, more...)
}

// branch returns the golden record that the merge of a record in its system has joined to another one; empty when it has joined
// none, because the two were one already. The merges that the record has gone through are those from where it was first to where it is;
// its own is the last of them that the record which took its place has not gone through as well.
func (u *Unit) branch(ctx context.Context, row *store.Source) (golden.ID, error) {
	moves, err := u.path(ctx, row.Ref)
	if err != nil || len(moves) == 0 {
		return "", err
	}
	ref := golden.Ref{System: row.Ref.System, Object: row.Ref.Object, RecordID: row.MergedInto}
	if err := u.loadRows(ctx, ref.System, ref.Object, []string{ref.RecordID}); err != nil {
		return "", err
	}
	winner := u.rows[ref]
	if winner == nil || winner.GoldenID == "" {
		return moves[len(moves)-1].From, nil
	}
	others, err := u.tx.MovesOf(ctx, ref)
	if err != nil {
		return "", err
	}
	shared := map[golden.ID]bool{winner.GoldenID: true}
	for _, m := range others {
		shared[m.From] = true
	}
	for _, m := range slices.Backward(moves) {
		if !shared[m.From] {
			return m.From, u.LoadGoldens(ctx, []golden.ID{m.From})
		}
	}
	return "", nil
}

// path returns the merges that a record has gone through.
func (u *Unit) path(ctx context.Context, ref golden.Ref) ([]store.Move, error) {
	moves, err := u.tx.MovesOf(ctx, ref)
	if err == nil && len(moves) == 0 {
		u.native[ref] = true
	}
	return moves, err
}

// home reports whether a record that was merged away in its system is where it was without any merge.
func (u *Unit) home(ref golden.Ref) bool {
	return u.native[ref] && !slices.ContainsFunc(u.moves, func(m store.Move) bool { return m.Ref == ref })
}

// takeLosers has those follow a golden record that has left others which had come to them by being merged into one of its records.
func (u *Unit) takeLosers(from golden.ID, hosts []golden.ID, ref golden.Ref, changeID string) {
	for _, host := range hosts {
		if host == from {
			continue
		}
		for _, row := range slices.Clone(u.of[host]) {
			if row.MergedInto == "" || u.rows[row.Ref].GoldenID != host {
				continue
			}
			winner := u.rows[golden.Ref{System: row.Ref.System, Object: row.Ref.Object, RecordID: row.MergedInto}]
			if winner == nil || winner.GoldenID != from {
				continue
			}
			branch := u.came[row.Ref]
			switch {
			case branch == "" && u.home(row.Ref): // it gave way to what had been merged into it, and they were one already
				u.joinRow(from, row, ref, changeID)
			case branch == "" || branch == from || u.follow(branch) != host:
			case u.Part(branch, ref, changeID):
				u.joinRow(from, u.rows[row.Ref], ref, changeID)
			}
		}
	}
}

// release has the golden records that the records of from went through on their way further from it forget them: to take their merges
// back must not bring these along.
func (u *Unit) release(from golden.ID) {
	moves, forgotten := u.moves, u.forgotten
	u.undo = append(u.undo, func() { u.moves, u.forgotten = moves, forgotten })
	u.moves, u.forgotten = slices.Clone(moves), slices.Clip(forgotten)
	for _, row := range u.of[from] {
		for _, id := range u.above(from, row.Ref) {
			past := func(m store.Move) bool { return m.From == id && m.Ref == row.Ref }
			left := u.left[id]
			u.undo = append(u.undo, func() { u.left[id] = left })
			u.left[id] = slices.DeleteFunc(slices.Clone(left), past)
			u.moves = slices.DeleteFunc(u.moves, past)
			u.forgotten = append(u.forgotten, store.Move{From: id, Ref: row.Ref})
		}
	}
}

// above returns the golden records that a record of from has gone through on its way further from it. They have no claim to it any more.
func (u *Unit) above(from golden.ID, ref golden.Ref) []golden.ID {
	var out []golden.ID
	for id, moves := range u.left {
		if id != from && slices.ContainsFunc(moves, func(m store.Move) bool { return m.Ref == ref }) && !u.under(id, from) {
			out = append(out, id)
		}
	}
	slices.Sort(out)
	return out
}

// under reports whether a golden record was merged into another one, directly or not.
func (u *Unit) under(id, root golden.ID) bool {
	for range maxDepth {
		if id == root {
			return true
		}
		g := u.goldens[id]
		if g == nil || g.MergedInto == "" {
			return false
		}
		id = g.MergedInto
	}
	return false
}
