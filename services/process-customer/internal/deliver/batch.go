package deliver

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/selfsame-io/selfsame/pkg/telemetry"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/fold"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
)

// item is one write of a batch and what became of it.
type item struct {
	plan   fold.Plan
	mark   *store.Claimed
	result source.Result
	called bool
	// found is true when the record turned out to be there already.
	found bool
	// whole is true when the error is about the call and says nothing about this record.
	whole bool
}

// batch is what one Step works on.
type batch struct {
	d       *Deliverer
	object  golden.Object
	lease   time.Duration // how long the marks are ours; zero means Config.Lease
	claimed []store.Claimed
	items   []*item
	// until is when the system is called again, if a whole call failed.
	until time.Time
}

// claim takes due marks, works out the writes and notes what will be sent. What needs no write is done here.
func (b *batch) claim(ctx context.Context) error {
	d := b.d
	system := d.System()
	lease := max(b.lease, d.cfg.Lease)
	// Nothing due is the common case and needs no transaction.
	if due, err := d.store.Read().Due(ctx, system, b.object, d.now()); err != nil || !due {
		return err
	}
	return d.store.Tx(ctx, func(ctx context.Context, tx *store.Tx) error {
		b.claimed, b.items = nil, nil
		now := d.now()
		// The lock comes first: intake takes it before it touches a mark, too.
		unit, err := d.folder.Begin(ctx, tx, telemetry.Traceparent(ctx))
		if err != nil {
			return err
		}
		control, err := tx.Control(ctx, system, store.DirectionDeliver)
		if err != nil {
			return err
		}
		limit := control.Allowance(now, d.cfg.BatchSize)
		if limit == 0 {
			return nil
		}
		claimed, err := tx.Claim(ctx, system, b.object, now, lease, limit)
		if err != nil || len(claimed) == 0 {
			return err
		}
		if !control.Shadow {
			if err := tx.Spend(ctx, control, now, len(claimed)); err != nil {
				return err
			}
		}
		ids := make([]golden.ID, len(claimed))
		for i := range claimed {
			ids[i] = claimed[i].GoldenID
		}
		if err := unit.LoadForPlan(ctx, system, ids); err != nil {
			return err
		}
		if control.Shadow {
			b.claimed = claimed
			return b.shadow(ctx, tx, unit, now)
		}
		var done []store.Claimed
		var wait []store.Retry
		var orphans []orphan
		writes := 0
		for i := range claimed {
			c := &claimed[i]
			planned := unit.Plan(c.GoldenID, system)
			switch {
			case planned.Wait:
				orphans = append(orphans, orphan{c, planned.Parent})
			case len(planned.Plans) == 0:
				done = append(done, *c)
				if planned.Skip != "" {
					unit.Note(store.Event{GoldenID: c.GoldenID, Kind: "skipped", System: system, Reason: planned.Skip})
				}
			case writes > 0 && writes+len(planned.Plans) > source.MaxWrites:
				wait = append(wait, store.Retry{Claimed: *c, Due: now}) // the next batch
			default:
				for _, p := range planned.Plans {
					unit.Send(&p)
					b.items = append(b.items, &item{plan: p, mark: c})
				}
				writes += len(planned.Plans)
			}
		}
		b.claimed = claimed
		parked, err := b.parents(ctx, tx, unit, orphans)
		if err != nil {
			return err
		}
		for _, o := range orphans {
			if !parked[o.mark] {
				wait = append(wait, store.Retry{Claimed: *o.mark, Due: now.Add(d.cfg.ParentWait), Postponed: true})
			}
		}
		if err := unit.Flush(ctx); err != nil {
			return err
		}
		return errors.Join(b.finish(ctx, tx, done, store.Unneeded, now), tx.Again(ctx, system, wait))
	})
}

// finish removes marks and settles what waited for them. Dead letters of what was delivered are resolved.
func (b *batch) finish(ctx context.Context, tx *store.Tx, done []store.Claimed, outcome store.Outcome, now time.Time) error {
	if len(done) == 0 {
		return nil
	}
	system := b.d.System()
	gone, err := tx.Done(ctx, system, done, outcome)
	if err != nil {
		return err
	}
	ids := make([]golden.ID, len(done))
	for i := range done {
		ids[i] = done[i].GoldenID
	}
	open, err := tx.OpenDeliver(ctx, system, gone)
	if err != nil {
		return err
	}
	var letters []string
	for _, l := range open {
		letters = append(letters, l.ID)
	}
	if _, err := tx.SettleDead(ctx, letters, store.DeadResolved, "", now); err != nil {
		return err
	}
	return tx.Settle(ctx, ids)
}

func (b *batch) links() []trace.Link {
	var out []trace.Link
	for i := range b.claimed {
		if link, ok := telemetry.LinkTo(b.claimed[i].Traceparent); ok {
			out = append(out, link)
		}
	}
	return out
}
