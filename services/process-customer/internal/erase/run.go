package erase

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/retry"
	"github.com/selfsame-io/selfsame/pkg/telemetry"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
)

const (
	look  = time.Second
	lease = 2 * time.Minute
	// atOnce is how many steps are claimed together.
	atOnce = 20
	// reconsider is when a record is tried again that a system refuses to delete: a person has to do something there.
	reconsider = time.Hour
	// tellEvery is how often a process looks which erasures others have begun, tellBack how far back it looks.
	tellEvery = 10 * time.Second
	tellBack  = time.Minute
)

// word is what a record is called between being written over and being deleted: systems demand a name.
const word = "Erased"

// Run does what the systems have to do until ctx ends. A database that does not answer is waited for.
func (d *Desk) Run(ctx context.Context) error {
	tick := time.NewTicker(look)
	defer tick.Stop()
	var told time.Time
	for {
		if now := d.d.Now(); now.Sub(told) >= tellEvery {
			if ids, err := d.d.Store.Read().ErasedSince(ctx, now.Add(-tellBack)); err == nil {
				told = now
				for _, id := range ids {
					d.d.Forget(id)
				}
			}
		}
		for {
			n, err := d.Round(ctx)
			if err != nil && ctx.Err() == nil {
				d.d.Telemetry.Log.WarnContext(ctx, "erasures cannot be carried out", slog.String(telemetry.KeyError, err.Error()))
			}
			if n < atOnce || err != nil || ctx.Err() != nil {
				break
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// Round carries out what is due and ends what is done. It returns how many steps it worked on.
func (d *Desk) Round(ctx context.Context) (int, error) {
	now := d.d.Now()
	due, err := d.d.Store.Read().StepsDue(ctx, now)
	if err != nil {
		return 0, err
	}
	var claimed []store.ErasureStep
	if due {
		err := d.d.Store.Tx(ctx, func(ctx context.Context, tx *store.Tx) error {
			var err error
			claimed, err = tx.ClaimSteps(ctx, now, lease, atOnce)
			return err
		})
		if err != nil {
			return 0, fmt.Errorf("claim erasures: %w", err)
		}
	}
	for _, s := range claimed {
		if ctx.Err() != nil {
			return 0, ctx.Err() // the lease ends, and somebody goes on
		}
		if err := d.carryOut(ctx, s); err != nil {
			return 0, err
		}
	}
	return len(claimed), d.finish(ctx)
}

// carryOut does one step and stores what became of it.
func (d *Desk) carryOut(ctx context.Context, s store.ErasureStep) error {
	err := d.remove(ctx, s)
	now := d.d.Now()
	s.Attempts++
	switch {
	case err == nil:
		s.State, s.Reason, s.Done = store.StepDone, "", now
	case ctx.Err() != nil:
		return ctx.Err()
	case lasting(err):
		s.State, s.Reason, s.Due = store.StepRefused, fault.ReasonOf(err), now.Add(reconsider)
		d.d.Telemetry.Log.WarnContext(ctx, "erasure refused", slog.String(telemetry.KeySystem, s.Ref.System), slog.String(telemetry.KeyReason, s.Reason),
			slog.String("erasure_id", s.ErasureID))
	default:
		wait := retry.Backoff{Min: time.Second, Max: 15 * time.Minute, Factor: 2}.Next(min(s.Attempts, 20))
		s.State, s.Reason, s.Due = store.StepWaiting, fault.ReasonOf(err), now.Add(max(wait, fault.RetryAfter(err)))
	}
	err = d.d.Store.Tx(context.WithoutCancel(ctx), func(ctx context.Context, tx *store.Tx) error { return tx.SettleStep(ctx, s) })
	if err != nil {
		return fmt.Errorf("settle erasure: %w", err)
	}
	return nil
}

// lasting reports whether a system would refuse the same again.
func lasting(err error) bool {
	switch fault.KindOf(err) {
	case fault.Invalid, fault.Precondition, fault.Forbidden, fault.AlreadyExists, fault.Unimplemented:
		return true
	default:
		return false
	}
}

// remove has a record gone: it is written over, so that a recycle bin or a tombstone holds nothing of it, and deleted. A
// system that does not take the one is still asked for the other.
func (d *Desk) remove(ctx context.Context, s store.ErasureStep) error {
	sys := d.systems[s.Ref.System]
	if sys == nil {
		return fault.New(fault.Precondition, ReasonSystem, "the system is not configured any more")
	}
	ids := []string{s.Ref.RecordID}
	if s.Ref.RecordID == "" {
		recs, err := sys.Find(ctx, s.Ref.Object, []string{s.ExternalID})
		if err != nil {
			return fmt.Errorf("look record up: %w", err)
		}
		ids = nil
		for _, rec := range recs {
			ids = append(ids, rec.Ref.RecordID)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	if err := d.blank(ctx, sys, s.Ref.Object, ids); err != nil {
		return err
	}
	results, err := sys.Remove(ctx, s.Ref.Object, ids)
	if err != nil {
		return fmt.Errorf("delete record: %w", err)
	}
	var errs []error
	for _, r := range results {
		if !fault.Is(r.Err, fault.NotFound) {
			errs = append(errs, r.Err)
		}
	}
	return errors.Join(errs...)
}

// blank writes over everything that a system carries of records. Only a system that cannot be reached is an error.
func (d *Desk) blank(ctx context.Context, sys source.System, obj golden.Object, ids []string) error {
	values := golden.Values{}
	for _, field := range sys.Fields(obj) {
		switch field {
		case golden.Parent, golden.ERPNumber: // a number says nothing about a person once the record is gone
		case golden.Name, golden.LastName:
			values[field] = word
		default:
			values[field] = ""
		}
	}
	var writes []source.Write
	for _, id := range ids {
		writes = append(writes, source.Write{Ref: golden.Ref{System: sys.Name(), Object: obj, RecordID: id}, Values: values})
	}
	results, err := sys.Upsert(ctx, obj, writes)
	for _, r := range results {
		if err == nil {
			err = r.Err
		}
	}
	if err == nil || lasting(err) || fault.Is(err, fault.NotFound) || fault.Is(err, fault.Conflict) {
		return nil
	}
	return fmt.Errorf("write over record: %w", err)
}

// finish erases stored answers and signs receipts of what is done otherwise.
func (d *Desk) finish(ctx context.Context) error {
	done, err := d.d.Store.Read().Unfinished(ctx, atOnce)
	if err != nil {
		return err
	}
	var unanswered error // what keeps the answers may be down: erasures that need nothing of it end all the same
	for _, e := range done {
		if !e.Answered && len(e.Systems) == 0 {
			if unanswered == nil {
				unanswered = d.answers(ctx, e)
			}
			if unanswered != nil {
				continue
			}
		}
		if err := d.end(ctx, e.ID); err != nil {
			return err
		}
	}
	return unanswered
}

// answers erases what is kept of answers about the record, and notes how many there were: in one transaction, if they are in this
// database. If not, each attempt adds what it has erased, and what a process erased right before it died is not counted.
func (d *Desk) answers(ctx context.Context, e store.Erasure) error {
	var n int
	var erased error
	if d.d.AnswersTx == nil {
		if n, erased = d.d.Answers(ctx, string(e.GoldenID)); erased != nil && n == 0 {
			return fmt.Errorf("erase stored answers: %w", erased)
		}
		ctx = context.WithoutCancel(ctx)
	}
	err := d.d.Store.Tx(ctx, func(ctx context.Context, tx *store.Tx) error {
		if d.d.AnswersTx != nil {
			var err error
			if n, err = d.d.AnswersTx(ctx, tx.SQL(), string(e.GoldenID)); err != nil {
				return err
			}
		}
		return tx.AnswersErased(ctx, e.ID, int64(n), erased == nil)
	})
	if err = errors.Join(erased, err); err != nil {
		return fmt.Errorf("erase stored answers: %w", err)
	}
	return nil
}

// end signs the receipt.
func (d *Desk) end(ctx context.Context, id string) error {
	err := d.d.Store.Tx(ctx, func(ctx context.Context, tx *store.Tx) error {
		if err := tx.LockIdentity(ctx); err != nil {
			return err
		}
		e, err := tx.Erasure(ctx, id)
		if err != nil || e.State != store.Erasing {
			return err
		}
		seed, err := tx.ReceiptSeed(ctx)
		if err != nil {
			return err
		}
		e.Done = d.d.Now()
		if e.Receipt, e.Signature, err = sign(e, seed); err != nil {
			return err
		}
		ended, err := tx.FinishErasure(ctx, e)
		if err != nil || !ended {
			return err
		}
		if err := tx.ForgetReason(ctx, e.ID); err != nil {
			return err
		}
		return tx.AddEvents(ctx, []store.Event{{At: e.Done, GoldenID: e.GoldenID, Kind: "erasure_done", ChangeID: e.ID, Traceparent: telemetry.Traceparent(ctx)}})
	})
	if err != nil {
		return fmt.Errorf("finish erasure: %w", err)
	}
	return nil
}
