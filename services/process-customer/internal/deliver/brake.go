package deliver

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/selfsame-io/selfsame/services/process-customer/internal/fold"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
)

// ReasonDeletionsHeld is why a deletion is not carried out: there are more than a person need not be asked about.
const ReasonDeletionsHeld = "DELETIONS_HELD"

const (
	// brakeWindow is the time over which the brake counts.
	brakeWindow = time.Hour
	// heldAgain is when a held deletion is looked at again: its record may have been undeleted.
	heldAgain = 10 * time.Minute
)

// brake returns the claimed deletions that a person has to confirm first. Up to DeleteBrake records are deleted within an hour
// unasked; what is more is held, all of its batch and everything that follows, until somebody confirms it or the records
// are undeleted. An accident in one system, such as a client that was emptied by mistake, thus costs the others at most as
// many records as that.
func (b *batch) brake(ctx context.Context, tx *store.Tx, unit *fold.Unit, now time.Time) (map[golden.ID]bool, error) {
	limit, system := b.d.cfg.DeleteBrake, b.d.System()
	if limit <= 0 {
		return nil, nil
	}
	var unasked []store.Claimed
	var ids, back []golden.ID
	for i, c := range b.claimed {
		g := unit.Golden(c.GoldenID)
		if g != nil && !g.Deleted && (c.Held || c.Confirmed) { // it was undeleted
			back = append(back, c.GoldenID)
			b.claimed[i].Held, b.claimed[i].Confirmed = false, false
		}
		if g == nil || !g.Deleted || c.Confirmed || follows(unit, g, system) || len(unit.Plan(c.GoldenID, system).Plans) == 0 {
			continue
		}
		unasked, ids = append(unasked, c), append(ids, c.GoldenID)
	}
	if err := tx.Release(ctx, system, back); err != nil {
		return nil, err
	}
	if len(unasked) == 0 {
		return nil, nil
	}
	holds, err := tx.Holds(ctx, system)
	if err != nil {
		return nil, err
	}
	if !holds {
		few, err := tx.NoteRemovals(ctx, system, ids, limit, now, brakeWindow)
		if err != nil || few {
			return nil, err
		}
	}
	held := map[golden.ID]bool{}
	for _, c := range unasked {
		held[c.GoldenID] = true
		if !c.Held {
			b.held++
			unit.Note(store.Event{GoldenID: c.GoldenID, Kind: "deletion_held", System: system, Reason: ReasonDeletionsHeld})
		}
	}
	if err := tx.Hold(ctx, system, unasked, ReasonDeletionsHeld, now, now.Add(heldAgain)); err != nil {
		return nil, fmt.Errorf("hold deletions in %s: %w", system, err)
	}
	return held, nil
}

// follows reports whether a contact goes after its customer, which is deleted and gone from the system: what was decided about
// that counts for it, too.
func follows(unit *fold.Unit, g *store.Golden, system string) bool {
	parent := unit.Golden(golden.ID(g.Values[golden.Parent]))
	return g.Object == golden.Contact && parent != nil && parent.Deleted &&
		!slices.ContainsFunc(unit.Rows(parent.ID), func(r *store.Source) bool { return r.Ref.System == system && !r.Deleted })
}
