package identify

import (
	"context"
	"log/slog"
	"time"

	"github.com/selfsame-io/selfsame/pkg/telemetry"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/fold"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
)

const (
	// batch is how many golden records are matched by one transaction: it holds the identity lock, and on SQLite the only
	// writer.
	batch = 5
	// rest is how long matching rests after each transaction, as a multiple of what that took: it never has more than a
	// quarter of the writer.
	rest = 3
	// patience is how long matching stands aside for a first scan or a backlog of deliveries.
	patience = 10 * time.Minute
	// backlog is how many deliveries may wait while matching goes on.
	backlog = 500
)

// Worker matches what could wait: everything in mode ask, everything after a change of the model, and what the brake has
// held back.
type Worker struct {
	decider *Decider
	store   Store
	folder  *fold.Folder
	marked  func()
	aside   time.Time // since when it stands aside; zero when it does not
}

// NewWorker returns a worker. Marked is called after deliveries were marked.
func NewWorker(d *Decider, s Store, f *fold.Folder, marked func()) *Worker {
	return &Worker{decider: d, store: s, folder: f, marked: marked}
}

// Run works until ctx ends.
func (w *Worker) Run(ctx context.Context) error {
	tick := time.NewTicker(w.decider.every)
	defer tick.Stop()
	for {
		if err := w.turn(ctx); err != nil && ctx.Err() == nil {
			w.decider.log.ErrorContext(ctx, "customers not matched", slog.String("error", err.Error()))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// turn matches what waits, unless it is to stand aside.
func (w *Worker) turn(ctx context.Context) error {
	waits, err := w.store.Read().MatchWaits(ctx, w.decider.now())
	if err != nil || !waits {
		return err
	}
	if busy, err := w.busy(ctx); err != nil || busy {
		return err
	}
	for {
		begun := time.Now()
		more, err := w.Step(ctx)
		if err != nil || !more {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(rest * time.Since(begun)):
		}
	}
}

// Step matches some of what waits and reports whether there may be more.
func (w *Worker) Step(ctx context.Context) (more bool, err error) {
	n := 0
	err = w.store.Tx(ctx, func(ctx context.Context, tx *store.Tx) error {
		u, err := w.folder.Begin(ctx, tx, telemetry.Traceparent(ctx))
		if err != nil {
			return err
		}
		n = 0
		for _, j := range w.decider.judges() {
			if ours, err := j.begin(tx, u).ours(ctx); err != nil || !ours {
				return err // another replica has other models and does it
			}
		}
		ids, err := tx.TakeMatchDue(ctx, w.decider.now(), batch)
		n = len(ids)
		if err != nil || n == 0 {
			return err
		}
		for _, j := range w.decider.judges() {
			// Joining customers has changed whose their contacts are.
			if of := distinct(append(j.among(ids), u.TakeChanged(j.object)...)); len(of) > 0 {
				if err := j.begin(tx, u).settle(ctx, of, nil); err != nil {
					return err
				}
			}
		}
		return u.Flush(ctx)
	})
	if n > 0 && err == nil {
		w.marked()
	}
	return n == batch && err == nil, err
}

// among returns those ids that are of the kind.
func (d *judge) among(ids []golden.ID) []golden.ID {
	var out []golden.ID
	for _, id := range ids {
		if id.Object() == d.object {
			out = append(out, id)
		}
	}
	return out
}

// busy reports whether a first scan or a backlog is under way, which matching must not slow down, for ten minutes at most.
func (w *Worker) busy(ctx context.Context) (bool, error) {
	r := w.store.Read()
	feeds, err := r.Feeds(ctx)
	if err != nil {
		return false, err
	}
	busy := false
	for _, f := range store.InUse(feeds, w.folder.Systems(), w.decider.now()) {
		busy = busy || (!f.Complete && f.Scan == store.ScanRunning)
	}
	if !busy {
		waiting, err := r.Backlogs(ctx)
		if err != nil {
			return false, err
		}
		var n int64
		for _, b := range waiting {
			n += b.Pending - b.Held
		}
		busy = n > backlog
	}
	if !busy {
		w.aside = time.Time{}
		return false, nil
	}
	now := w.decider.now()
	if w.aside.IsZero() {
		w.aside = now
	}
	return now.Sub(w.aside) < patience, nil
}
