package deliver

import (
	"context"
	"errors"
	"log/slog"
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
	// looked is true when the record was read before it was to be written, reading what it turned out to say that was not known.
	looked  bool
	reading *source.Change
	// found is true when the record turned out to be there already.
	found bool
	// whole is true when the error is about the call and says nothing about this record.
	whole bool
}

// batch is what one Step works on.
type batch struct {
	d       *lane
	object  golden.Object
	level   store.Level
	lease   time.Duration // how long the marks are ours; zero means Config.Lease
	leased  time.Time     // until when they are
	claimed []store.Claimed
	items   []*item
	held    int // deletions that wait for a person from now on
	// until is when the system is called again, if a whole call failed.
	until time.Time
}

// claim takes due marks, works out the writes and notes what will be sent. What needs no write is done here.
func (b *batch) claim(ctx context.Context) error {
	d := b.d
	system := d.System()
	lease := max(b.lease, d.cfg.Lease)
	// Nothing due is the common case and needs no transaction.
	if due, err := d.store.Read().Due(ctx, system, b.object, b.level, d.now()); err != nil || !due {
		return err
	}
	err := d.store.Tx(ctx, func(ctx context.Context, tx *store.Tx) error {
		b.claimed, b.items, b.held = nil, nil, 0
		now := d.now()
		b.leased = now.Add(lease)
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
		claimed, err := tx.Claim(ctx, system, b.object, b.level, now, lease, limit)
		if err != nil || len(claimed) == 0 {
			return err
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
		b.claimed = claimed
		held, err := b.brake(ctx, tx, unit, now)
		if err != nil {
			return err
		}
		if err := tx.Spend(ctx, control, now, len(claimed)-len(held)); err != nil {
			return err
		}
		p := b.plan(unit, held, now)
		parked, err := b.parents(ctx, tx, unit, p.orphans)
		if err != nil {
			return err
		}
		for _, o := range p.orphans {
			if !parked[o.mark] {
				p.wait = append(p.wait, store.Retry{Claimed: *o.mark, Due: now.Add(d.cfg.ParentWait), Postponed: true})
			}
		}
		if err := unit.Flush(ctx); err != nil {
			return err
		}
		return errors.Join(b.finish(ctx, tx, p.done, store.Unneeded, now), tx.Again(ctx, system, p.wait))
	})
	if err == nil && b.held > 0 {
		d.log.WarnContext(ctx, "deletions wait for a person", slog.String(telemetry.KeySystem, system), slog.Int(telemetry.KeyCount, b.held))
	}
	return err
}

// planned is what becomes of claimed marks that are not written now.
type planned struct {
	done    []store.Claimed
	wait    []store.Retry
	orphans []orphan
}

// plan works out the writes and notes what will be sent; of a creation that may have been made before once it was looked for (see look).
func (b *batch) plan(unit *fold.Unit, held map[golden.ID]bool, now time.Time) planned {
	var out planned
	system, writes := b.d.System(), 0
	for i := range b.claimed {
		c := &b.claimed[i]
		if held[c.GoldenID] {
			continue
		}
		p := unit.Plan(c.GoldenID, system)
		switch {
		case p.Wait:
			out.orphans = append(out.orphans, orphan{c, p.Parent})
		case len(p.Plans) == 0:
			out.done = append(out.done, *c)
			if p.Skip != "" {
				unit.Note(store.Event{GoldenID: c.GoldenID, Kind: "skipped", System: system, Reason: p.Skip})
			}
		case writes > 0 && writes+len(p.Plans) > source.MaxWrites:
			out.wait = append(out.wait, store.Retry{Claimed: *c, Due: now}) // the next batch
		default:
			for _, w := range p.Plans {
				if !w.Repeat {
					unit.Send(&w)
				}
				b.items = append(b.items, &item{plan: w, mark: c})
			}
			writes += len(p.Plans)
		}
	}
	return out
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
