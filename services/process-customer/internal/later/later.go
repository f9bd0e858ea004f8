// Package later places orders that were taken although the ERP could not take them then.
//
// The invariants: an operation is stored before its caller hears of it, and ends in an order or in a reason, never both
// and never neither; every try carries the same reference, by which the ERP makes one order, so a try that was lost, or
// one by another process, is found and not repeated.
//
// The package does not decide what may be queued, and it does not keep the order of operations.
package later

import (
	"context"
	"log/slog"
	"time"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/telemetry"
	customerv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/customer/v1"
)

// Keep is how long an operation can be asked for after its end.
const Keep = 90 * 24 * time.Hour

const (
	look     = time.Second
	lease    = time.Minute
	atOnce   = 20
	firstGap = time.Second
	longGap  = 5 * time.Minute
	// patience is how long an order is tried. After that a person has to look.
	patience = 7 * 24 * time.Hour
	sweep    = 1000
	// purgeEvery is how often operations are removed that nobody can ask for any more.
	purgeEvery = time.Minute
)

// ReasonExpired means that the ERP did not take the order in all the time it was tried.
const ReasonExpired = "OPERATION_EXPIRED"

// Place places an order under its reference, or finds the one that an earlier try placed.
type Place func(ctx context.Context, o Operation) (*customerv1.OrderSummary, error)

// Worker does what is due. Make it with NewWorker.
type Worker struct {
	store *Store
	place Place
	now   func() time.Time
	tel   *telemetry.Telemetry
}

// NewWorker returns a worker; any number may share a store.
func NewWorker(store *Store, place Place, now func() time.Time, tel *telemetry.Telemetry) *Worker {
	return &Worker{store: store, place: place, now: now, tel: tel}
}

// Run works until ctx ends. A failure of the store is noted; the next round does the work.
func (w *Worker) Run(ctx context.Context) error {
	removal, err := telemetry.NewRemoval(w.tel.Meter.Meter("later"), "operations", purgeEvery)
	if err != nil {
		return err
	}
	tick := time.NewTicker(look)
	defer tick.Stop()
	for purged := (time.Time{}); ; {
		if err := w.Round(ctx); err != nil && ctx.Err() == nil {
			w.tel.Log.WarnContext(ctx, "queued orders cannot be read", slog.String(telemetry.KeyError, err.Error()))
		}
		if now := w.now(); now.Sub(purged) >= purgeEvery { // a round may take long
			purged = now
			if err := w.store.purge(ctx, now.Add(-Keep), sweep); removal.Done(ctx, err) {
				w.tel.Log.WarnContext(ctx, "old operations cannot be removed", slog.String(telemetry.KeyError, err.Error()))
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// Round does what is due now.
func (w *Worker) Round(ctx context.Context) error {
	claimed, err := w.store.claim(ctx, w.now(), atOnce)
	if err != nil {
		return err
	}
	for _, o := range claimed {
		if ctx.Err() != nil {
			return nil // the lease ends, and somebody goes on
		}
		if err := w.try(ctx, o); err != nil {
			return err
		}
	}
	return nil
}

func (w *Worker) try(ctx context.Context, o Operation) error {
	order, err := w.place(ctx, o)
	now := w.now()
	switch {
	case err == nil:
		o.Done, o.Result, o.Reason, o.Message = true, order, "", ""
	case ctx.Err() != nil:
		return nil
	case final(err):
		e, _ := fault.As(err)
		o.Done, o.Reason, o.Message = true, fault.ReasonOf(err), e.Message
	case now.Sub(o.Created) > patience:
		o.Done, o.Reason, o.Message = true, ReasonExpired, "the order was not taken in the time it was tried"
	default:
		o.Due = now.Add(gap(o.Attempt))
		w.tel.Log.LogAttrs(ctx, slog.LevelInfo, "queued order waits", slog.String("operation_id", o.ID), slog.Int64("attempt", o.Attempt),
			slog.String("reason", fault.ReasonOf(err)))
	}
	return w.store.settle(ctx, o, now)
}

// final reports whether the same order would be refused again.
func final(err error) bool {
	switch fault.KindOf(err) {
	case fault.Invalid, fault.NotFound, fault.Precondition, fault.AlreadyExists:
		return true
	default:
		return false
	}
}

func gap(attempt int64) time.Duration {
	g := firstGap
	for range attempt - 1 {
		if g *= 2; g >= longGap {
			return longGap
		}
	}
	return g
}
