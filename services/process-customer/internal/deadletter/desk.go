// Package deadletter is where a person deals with what could not be taken in or delivered.
//
// The invariant: a dead letter is settled once, by a person or by a later success, and what it held moves with it in the
// same transaction: a delivery tried again is pending again, a change that is given up is refused. A letter holds no
// values, so a retry always works with what the systems and the golden record say now.
package deadletter

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/telemetry"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/intake"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
)

// MaxRetry is the greatest number of letters tried again by one call.
const MaxRetry = 500

// Store is what the desk needs of the database.
type Store interface {
	Tx(ctx context.Context, fn func(ctx context.Context, tx *store.Tx) error) error
	Read() store.Reader
}

// Deps are what a Desk needs. All are required.
type Deps struct {
	Store   Store
	Systems []source.System
	// Take takes readings in.
	Take func(ctx context.Context, system string, b intake.Batch) (intake.Outcome, error)
	Now  func() time.Time
	// Marked is called after deliveries were marked.
	Marked func()
}

// Desk settles dead letters. It is safe for concurrent use.
type Desk struct {
	store   Store
	systems map[string]source.System
	take    func(ctx context.Context, system string, b intake.Batch) (intake.Outcome, error)
	now     func() time.Time
	marked  func()
}

// New returns a desk.
func New(d Deps) *Desk {
	desk := &Desk{store: d.Store, systems: map[string]source.System{}, take: d.Take, now: d.Now, marked: d.Marked}
	for _, s := range d.Systems {
		desk.systems[s.Name()] = s
	}
	return desk
}

// Retry tries open letters again: those named, or those of a system when none is. It returns how many. Letters that are
// settled already are left alone.
func (d *Desk) Retry(ctx context.Context, ids []string, system string) (int, error) {
	letters, err := d.open(ctx, ids, system)
	if err != nil {
		return 0, err
	}
	n, err := d.retryDeliveries(ctx, letters)
	if err != nil {
		return n, err
	}
	read, err := d.retryReadings(ctx, letters)
	return n + read, err
}

func (d *Desk) open(ctx context.Context, ids []string, system string) ([]store.DeadLetter, error) {
	if len(ids) == 0 {
		return d.store.Read().ListDeadLetters(ctx, system, false, time.Time{}, "", MaxRetry)
	}
	return d.store.Read().OpenLetters(ctx, ids)
}

// retryDeliveries marks the golden records of refused deliveries again.
func (d *Desk) retryDeliveries(ctx context.Context, letters []store.DeadLetter) (int, error) {
	byID := map[string]store.DeadLetter{}
	var ids []string
	for _, l := range letters {
		if l.Direction == store.DirectionDeliver {
			byID[l.ID] = l
			ids = append(ids, l.ID)
		}
	}
	if len(ids) == 0 {
		return 0, nil
	}
	n := 0
	err := d.store.Tx(ctx, func(ctx context.Context, tx *store.Tx) error {
		if err := tx.LockIdentity(ctx); err != nil {
			return err
		}
		now := d.now()
		moved, err := tx.SettleDead(ctx, ids, store.DeadRetried, "", now)
		if err != nil {
			return err
		}
		n = len(moved)
		var marks []store.Mark
		var goldens []golden.ID
		var events []store.Event
		for _, id := range moved {
			l := byID[id]
			goldens = append(goldens, l.GoldenID)
			marks = append(marks, store.Mark{System: l.Ref.System, Object: l.Ref.Object, GoldenID: l.GoldenID, Traceparent: telemetry.Traceparent(ctx)})
			events = append(events, event(l, "retried", "", now, telemetry.Traceparent(ctx)))
		}
		if err := tx.Mark(ctx, marks, now); err != nil {
			return err
		}
		if err := tx.Settle(ctx, goldens); err != nil {
			return err
		}
		return tx.AddEvents(ctx, events)
	})
	if err != nil {
		return 0, fmt.Errorf("retry deliveries: %w", err)
	}
	d.marked()
	return n, nil
}

func event(l store.DeadLetter, kind, reason string, now time.Time, traceparent string) store.Event {
	return store.Event{
		At: now, GoldenID: l.GoldenID, Kind: kind, System: l.Ref.System, RecordID: l.Ref.RecordID, ChangeID: l.ChangeID, Reason: reason,
		Traceparent: traceparent,
	}
}

// retryReadings reads the records of changes that could not be taken in and takes them in as they are now. A letter whose
// record can be taken in is resolved by that; otherwise it stays open. One whose record cannot be read is not counted as tried.
func (d *Desk) retryReadings(ctx context.Context, letters []store.DeadLetter) (int, error) {
	n := 0
	for _, l := range letters {
		sys := d.systems[l.Ref.System]
		if l.Direction != store.DirectionIntake || sys == nil || l.Ref.RecordID == "" || !l.Ref.Object.Valid() {
			continue
		}
		recs, missing, err := sys.Fetch(ctx, l.Ref.Object, []string{l.Ref.RecordID})
		if err != nil {
			return n, fmt.Errorf("read record again: %w", err)
		}
		// The number of attempts is part of the id: each retry is a look of its own.
		why := fmt.Sprintf("retry/%s/%d", l.ID, l.Attempts)
		var changes []source.Change
		for _, rec := range recs {
			changes = append(changes, intake.Reading(why, rec))
		}
		for range missing {
			changes = append(changes, intake.Gone(why, l.Ref, 0, d.now()))
		}
		if len(changes) == 0 {
			continue // it cannot be read, so nothing is known that was not known before
		}
		if _, err := d.take(ctx, l.Ref.System, intake.Batch{Changes: changes}); err != nil {
			return n, fmt.Errorf("take record in again: %w", err)
		}
		n++
	}
	return n, nil
}

// Discard gives one letter up for a reason that is kept. What it held counts as refused. A settled letter stays as it is.
func (d *Desk) Discard(ctx context.Context, id, reason string) (store.DeadLetter, error) {
	var got store.DeadLetter
	err := d.store.Tx(ctx, func(ctx context.Context, tx *store.Tx) error {
		if err := tx.LockIdentity(ctx); err != nil {
			return err
		}
		now := d.now()
		moved, err := tx.SettleDead(ctx, []string{id}, store.DeadDiscarded, reason, now)
		if err != nil {
			return err
		}
		if got, err = tx.DeadLetter(ctx, id); err != nil || len(moved) == 0 {
			return err
		}
		if got.Direction == store.DirectionIntake {
			err = tx.MoveParked(ctx, got.Ref, store.Refused)
		} else {
			err = tx.RefuseParked(ctx, got.GoldenID)
		}
		if err != nil {
			return err
		}
		note := event(got, "discarded", got.Reason, now, telemetry.Traceparent(ctx))
		note.Note = reason
		return tx.AddEvents(ctx, []store.Event{note})
	})
	if err != nil {
		return store.DeadLetter{}, notFound(fmt.Errorf("discard: %w", err))
	}
	return got, nil
}

func notFound(err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return fault.Wrap(fault.NotFound, "DEAD_LETTER_UNKNOWN", err, "there is no such dead letter")
	}
	return err
}
