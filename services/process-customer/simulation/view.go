package simulation

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
)

// view is what has been read of the database since nothing happens. Who judges asks for the same few records again and again, each
// of which would be a statement.
type view struct {
	rows    map[golden.Ref]*store.Source // nil: there is none
	goldens map[golden.ID]whole          // nil: not read yet
	letters []store.DeadLetter           // nil: not read yet
}

// whole is a golden record and all records of it.
type whole struct {
	golden *store.Golden
	rows   []*store.Source
}

// look reads what is known of the live records of all systems. Nothing may happen until the function that it returns is called.
func (w *world) look(ctx context.Context) (over func()) {
	v := &view{rows: map[golden.Ref]*store.Source{}}
	for _, l := range w.lines {
		for _, obj := range golden.Objects() {
			var ids []string
			for _, rec := range l.records(obj) {
				ids = append(ids, rec.Ref.RecordID)
				v.rows[rec.Ref] = nil
			}
			rows, err := w.stage.store.Read().Sources(ctx, l.name, obj, ids)
			if err != nil {
				breach("the simulation is sound", "read records: %v", err)
			}
			for _, row := range rows {
				v.rows[row.Ref] = row
			}
		}
	}
	w.view = v
	return func() { w.view = nil }
}

// row returns what is known of a record; nil when nothing is.
func (w *world) row(ctx context.Context, ref golden.Ref) *store.Source {
	if w.view != nil {
		if row, seen := w.view.rows[ref]; seen {
			return row
		}
	}
	rows, err := w.stage.store.Read().Sources(ctx, ref.System, ref.Object, []string{ref.RecordID})
	if err != nil {
		breach("the simulation is sound", "read a record: %v", err)
	}
	if len(rows) == 0 {
		return nil
	}
	return rows[0]
}

// golden returns a golden record and all records of it.
func (w *world) golden(ctx context.Context, id golden.ID) (*store.Golden, []*store.Source) {
	var ids []golden.ID
	if w.view != nil {
		if w.view.goldens == nil {
			w.view.goldens = map[golden.ID]whole{}
			for _, row := range w.view.rows {
				if row != nil && row.GoldenID != "" {
					ids = append(ids, row.GoldenID)
				}
			}
		}
		if g, seen := w.view.goldens[id]; seen {
			return g.golden, g.rows
		}
	}
	all := w.wholes(ctx, slices.Compact(slices.Sorted(slices.Values(append(ids, id)))))
	g, known := all[id]
	if !known {
		breach("a record belongs to a golden record", "%s is not there", id)
	}
	if w.view != nil {
		maps.Copy(w.view.goldens, all)
	}
	return g.golden, g.rows
}

func (w *world) wholes(ctx context.Context, ids []golden.ID) map[golden.ID]whole {
	got, err := w.stage.store.Read().Goldens(ctx, ids)
	if err != nil {
		breach("the simulation is sound", "read golden records: %v", err)
	}
	rows, err := w.stage.store.Read().SourcesOf(ctx, ids)
	if err != nil {
		breach("the simulation is sound", "read records: %v", err)
	}
	of := map[golden.ID][]*store.Source{}
	for _, row := range rows {
		of[row.GoldenID] = append(of[row.GoldenID], row)
	}
	out := map[golden.ID]whole{}
	for _, g := range got {
		out[g.ID] = whole{g, of[g.ID]}
	}
	return out
}

// maxLetters is more dead letters than there are in any story.
const maxLetters = 1000

// parked returns the open dead letters.
func (w *world) parked(ctx context.Context) []store.DeadLetter {
	if w.view != nil && w.view.letters != nil {
		return w.view.letters
	}
	out, err := w.stage.store.Read().ListDeadLetters(ctx, "", false, time.Time{}, "", maxLetters)
	if err != nil || len(out) == maxLetters {
		breach("the simulation is sound", "read the dead letters: %d, %v", len(out), err)
	}
	if w.view != nil {
		w.view.letters = append([]store.DeadLetter{}, out...)
	}
	return out
}

// unread reports whether what a record says could not be taken in.
func (w *world) unread(ctx context.Context, system, id string) bool {
	return slices.ContainsFunc(w.parked(ctx), func(d store.DeadLetter) bool {
		return d.Direction == store.DirectionIntake && d.Ref.System == system && d.Ref.RecordID == id
	})
}

// stuck reports whether a golden record waits for a person in a system, or its customer does.
func (w *world) stuck(ctx context.Context, system string, g *store.Golden) bool {
	return slices.ContainsFunc(w.parked(ctx), func(d store.DeadLetter) bool {
		return d.Direction == store.DirectionDeliver && d.Ref.System == system && (d.GoldenID == g.ID || d.GoldenID == golden.ID(g.Values[golden.Parent]))
	})
}
