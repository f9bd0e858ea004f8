package deliver

import (
	"context"
	"crypto/rand"
	"slices"
	"strings"

	"github.com/selfsame-io/selfsame/services/process-customer/internal/fold"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
)

// orphan is a contact whose customer has to be written first.
type orphan struct {
	mark   *store.Claimed
	parent golden.ID
}

// parents parks the contacts whose customer nobody is going to write: it is a dead letter itself, or was given up. They are
// marked again when the system has the customer. One for which something urgent waits is urgent itself. It returns the marks that are gone.
func (b *batch) parents(ctx context.Context, tx *store.Tx, unit *fold.Unit, orphans []orphan) (map[*store.Claimed]bool, error) {
	if len(orphans) == 0 {
		return nil, nil
	}
	system := b.d.System()
	var ids []golden.ID
	for _, o := range orphans {
		if !slices.Contains(ids, o.parent) {
			ids = append(ids, o.parent)
		}
	}
	marked, err := tx.Marked(ctx, ids)
	if err != nil {
		return nil, err
	}
	out := map[*store.Claimed]bool{}
	var marks []store.Claimed
	var letters []store.DeadLetter
	var gone []golden.ID
	var awaited []golden.ID
	for _, o := range orphans {
		if slices.Contains(marked[o.parent], system) {
			awaited = append(awaited, o.parent)
			continue // it is on its way
		}
		out[o.mark] = true
		marks, gone = append(marks, *o.mark), append(gone, o.mark.GoldenID)
		letters = append(letters, store.DeadLetter{
			ID: "d_" + strings.ToLower(rand.Text()), Direction: store.DirectionDeliver, Ref: golden.Ref{System: system, Object: b.object},
			GoldenID: o.mark.GoldenID, Reason: store.ReasonParentParked, Message: "its customer is a dead letter, or was given up", Attempts: 1, Parked: unit.Now(),
		})
		unit.Note(store.Event{GoldenID: o.mark.GoldenID, Kind: "parked", System: system, Reason: store.ReasonParentParked})
	}
	if b.level == store.LevelSync {
		if err := tx.Urge(ctx, system, awaited); err != nil {
			return nil, err
		}
	}
	if err := tx.Park(ctx, letters); err != nil {
		return nil, err
	}
	if _, err := tx.Done(ctx, system, marks, store.LetterWritten); err != nil {
		return nil, err
	}
	return out, tx.Settle(ctx, gone)
}
