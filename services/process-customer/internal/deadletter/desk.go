// Package deadletter is where a person deals with what could not be taken in or delivered.
//
// The invariant: a dead letter is settled once, by a person or by a later success, and what it held moves with it in the
// same transaction: a delivery tried again is pending again, a change that is given up is refused. A letter holds no
// values, so a retry always works with what the systems and the golden record say now. What is done to many letters at
// once is done to those that the person was shown (Preview), and to no others.
package deadletter

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/telemetry"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/fold"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/intake"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
)

// MaxRetry is the greatest number of letters tried again by one call.
const MaxRetry = 500

// Mode says where a letter is tried again.
type Mode uint8

const (
	// SameStep repeats what failed: the delivery, or the reading of the record.
	SameStep Mode = iota
	// FromStart reads the records of the customer or contact in every system again, takes them in, and delivers.
	FromStart
	// CurrentRules computes the golden record again under the rules in force, and delivers.
	CurrentRules
)

// String returns the name of the mode.
func (m Mode) String() string { return [...]string{"same step", "from the start", "current rules"}[m] }

// Store is what the desk needs of the database.
type Store interface {
	Tx(ctx context.Context, fn func(ctx context.Context, tx *store.Tx) error) error
	Read() store.Reader
}

// Deps are what a Desk needs. All are required.
type Deps struct {
	Store   Store
	Folder  *fold.Folder
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
	folder  *fold.Folder
	systems map[string]source.System
	take    func(ctx context.Context, system string, b intake.Batch) (intake.Outcome, error)
	now     func() time.Time
	marked  func()
}

// New returns a desk.
func New(d Deps) *Desk {
	desk := &Desk{store: d.Store, folder: d.Folder, systems: map[string]source.System{}, take: d.Take, now: d.Now, marked: d.Marked}
	for _, s := range d.Systems {
		desk.systems[s.Name()] = s
	}
	return desk
}

// Retry tries open letters again: those named, or those of a system when none is. It returns how many. Letters that are
// settled already are left alone.
func (d *Desk) Retry(ctx context.Context, ids []string, system string, mode Mode) (int, error) {
	letters, err := d.open(ctx, ids, system)
	if err != nil {
		return 0, err
	}
	return d.redrive(ctx, letters, mode, mode.String(), nil)
}

func (d *Desk) open(ctx context.Context, ids []string, system string) ([]store.DeadLetter, error) {
	if len(ids) == 0 {
		return d.store.Read().ListDeadLetters(ctx, system, false, time.Time{}, "", MaxRetry)
	}
	return d.store.Read().OpenLetters(ctx, ids)
}

// also is more to do in the transaction that settles letters.
type also func(ctx context.Context, tx *store.Tx, ids []string) error

// redrive tries letters again and returns how many. The note is kept in the trail.
func (d *Desk) redrive(ctx context.Context, letters []store.DeadLetter, mode Mode, note string, and also) (int, error) {
	var deliveries, readings []store.DeadLetter
	for _, l := range letters {
		if l.Direction == store.DirectionDeliver {
			deliveries = append(deliveries, l)
		} else {
			readings = append(readings, l)
		}
	}
	if mode == FromStart {
		if err := d.readAll(ctx, deliveries); err != nil {
			return 0, err
		}
	}
	n, err := d.redeliver(ctx, deliveries, mode, note, and)
	if err != nil {
		return n, err
	}
	read, err := d.reread(ctx, readings, note, and)
	return n + read, err
}

// redeliver marks the golden records of refused deliveries again.
func (d *Desk) redeliver(ctx context.Context, letters []store.DeadLetter, mode Mode, note string, and also) (int, error) {
	byID := map[string]store.DeadLetter{}
	var ids []string
	for _, l := range letters {
		byID[l.ID] = l
		ids = append(ids, l.ID)
	}
	if len(ids) == 0 {
		return 0, nil
	}
	n := 0
	err := d.store.Tx(ctx, func(ctx context.Context, tx *store.Tx) error {
		unit, err := d.folder.Begin(ctx, tx, telemetry.Traceparent(ctx))
		if err != nil {
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
			events = append(events, event(l, "retried", l.Reason, note, now, telemetry.Traceparent(ctx)))
		}
		if mode == CurrentRules {
			if err := unit.LoadGoldens(ctx, goldens); err != nil {
				return err
			}
			for _, id := range goldens {
				unit.Remerge(id, "rules")
			}
			if err := unit.Flush(ctx); err != nil {
				return err
			}
		}
		if err := tx.Mark(ctx, marks, now); err != nil {
			return err
		}
		if err := tx.Settle(ctx, goldens); err != nil {
			return err
		}
		if err := tx.AddEvents(ctx, events); err != nil || and == nil {
			return err
		}
		return and(ctx, tx, ids)
	})
	if err != nil {
		return 0, fmt.Errorf("retry deliveries: %w", err)
	}
	d.marked()
	return n, nil
}

func event(l store.DeadLetter, kind, reason, note string, now time.Time, traceparent string) store.Event {
	return store.Event{
		At: now, GoldenID: l.GoldenID, Kind: kind, System: l.Ref.System, RecordID: l.Ref.RecordID, ChangeID: l.ChangeID, Reason: reason,
		Note: note, Traceparent: traceparent,
	}
}

// readAll reads the records that the golden records of refused deliveries have in every system, and takes them in.
func (d *Desk) readAll(ctx context.Context, letters []store.DeadLetter) error {
	for _, l := range letters {
		rows, err := d.store.Read().SourcesOf(ctx, []golden.ID{l.GoldenID})
		if err != nil {
			return err
		}
		for _, row := range rows {
			if sys := d.systems[row.Ref.System]; sys != nil && !row.Deleted {
				if _, err := d.read(ctx, sys, row.Ref, fmt.Sprintf("redrive/%s/%d", l.ID, l.Attempts)); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// read reads one record and takes it in as it is now; false when it cannot be read, so that nothing is known that was not
// known before.
func (d *Desk) read(ctx context.Context, sys source.System, ref golden.Ref, why string) (bool, error) {
	recs, missing, err := sys.Fetch(ctx, ref.Object, []string{ref.RecordID})
	if err != nil {
		return false, fmt.Errorf("read record again: %w", err)
	}
	var changes []source.Change
	for _, rec := range recs {
		changes = append(changes, intake.Reading(why, rec))
	}
	for range missing {
		changes = append(changes, intake.Gone(why, ref, 0, d.now()))
	}
	if len(changes) == 0 {
		return false, nil
	}
	if _, err := d.take(ctx, ref.System, intake.Batch{Changes: changes}); err != nil {
		return false, fmt.Errorf("take record in again: %w", err)
	}
	return true, nil
}

// reread reads the records of changes that could not be taken in and takes them in as they are now. A letter whose record
// can be taken in is resolved by that; otherwise it stays open, with one attempt more. One whose record cannot be read is
// not counted as tried.
func (d *Desk) reread(ctx context.Context, letters []store.DeadLetter, note string, and also) (int, error) {
	n := 0
	for _, l := range letters {
		note := note
		if sys := d.systems[l.Ref.System]; sys != nil && l.Ref.RecordID != "" && l.Ref.Object.Valid() {
			// The number of attempts is part of the id: each retry is a look of its own.
			read, err := d.read(ctx, sys, l.Ref, fmt.Sprintf("retry/%s/%d", l.ID, l.Attempts))
			if err != nil {
				return n, err
			}
			if read {
				n++
			} else {
				note += ", the record cannot be read"
			}
		}
		err := d.store.Tx(ctx, func(ctx context.Context, tx *store.Tx) error {
			if err := tx.LockIdentity(ctx); err != nil {
				return err
			}
			if err := tx.AddEvents(ctx, []store.Event{event(l, "retried", l.Reason, note, d.now(), telemetry.Traceparent(ctx))}); err != nil || and == nil {
				return err
			}
			return and(ctx, tx, []string{l.ID})
		})
		if err != nil {
			return n, fmt.Errorf("retry reading: %w", err)
		}
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
		if _, err := d.discard(ctx, tx, id, reason); err != nil {
			return err
		}
		var err error
		got, err = tx.DeadLetter(ctx, id)
		return err
	})
	if err != nil {
		return store.DeadLetter{}, notFound(fmt.Errorf("discard: %w", err))
	}
	return got, nil
}

// discard gives one letter up inside a transaction; false when it was settled already.
func (d *Desk) discard(ctx context.Context, tx *store.Tx, id, reason string) (bool, error) {
	now := d.now()
	moved, err := tx.SettleDead(ctx, []string{id}, store.DeadDiscarded, reason, now)
	if err != nil || len(moved) == 0 {
		return false, err
	}
	l, err := tx.DeadLetter(ctx, id)
	if err != nil {
		return false, err
	}
	if l.Direction == store.DirectionIntake {
		err = tx.MoveParked(ctx, l.Ref, store.Refused)
	} else {
		err = tx.RefuseParked(ctx, l.GoldenID)
	}
	if err != nil {
		return false, err
	}
	return true, tx.AddEvents(ctx, []store.Event{event(l, "discarded", l.Reason, reason, now, telemetry.Traceparent(ctx))})
}

func notFound(err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return fault.Wrap(fault.NotFound, "DEAD_LETTER_UNKNOWN", err, "there is no such dead letter")
	}
	return err
}
