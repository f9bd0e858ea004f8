package deliver

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/telemetry"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
)

// What was noted to be sent is taken for ours when it is seen, also if a person has typed it. So whoever knows that nothing was sent takes
// back what it has noted: the database did not say whether a claim was stored, or failed between the claim and the call. Only a process
// that dies in between leaves a note of which nobody knows.

// giveBack gives the marks of batches back of which nothing was sent, now or before the lane works on.
func (l *lane) giveBack(ctx context.Context, batches ...*batch) {
	l.owed = append(l.owed, batches...)
	if err := l.repay(context.WithoutCancel(ctx)); err != nil {
		l.log.WarnContext(ctx, "deliveries are given back later", slog.String(telemetry.KeySystem, l.System()), slog.String(telemetry.KeyReason, fault.ReasonOf(err)))
	}
}

// unclaimed gives the marks of a batch back of which the database did not say whether they were claimed.
func (b *batch) unclaimed(ctx context.Context, err error) {
	if fault.KindOf(err) == fault.Uncertain && len(b.claimed) > 0 {
		b.d.giveBack(ctx, b)
	}
}

// repay gives back what the lane still holds of such batches.
func (l *lane) repay(ctx context.Context) error {
	for len(l.owed) > 0 {
		if err := l.owed[0].back(ctx); err != nil {
			return err
		}
		l.owed = l.owed[1:]
	}
	l.owed = nil
	return nil
}

// back gives the marks of a batch back that are claimed as it has claimed them, and takes back what was noted of them.
func (b *batch) back(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, b.d.cfg.Lease)
	defer cancel()
	err := b.d.store.Tx(ctx, func(ctx context.Context, tx *store.Tx) error {
		unit, err := b.d.folder.Begin(ctx, tx, telemetry.Traceparent(ctx)) // the lock comes first, as in claim
		if err != nil {
			return err
		}
		ids, err := tx.GiveBack(ctx, b.d.System(), b.claimed, b.leased)
		if err != nil || len(ids) == 0 {
			return err
		}
		if err := unit.LoadForPlan(ctx, b.d.System(), ids); err != nil {
			return err
		}
		ours := make(map[golden.ID]bool, len(ids))
		for _, id := range ids {
			ours[id] = true
		}
		for _, it := range b.items {
			if ours[it.plan.GoldenID] {
				unit.Unsend(&it.plan)
			}
		}
		return unit.Flush(ctx)
	})
	if err != nil {
		return fmt.Errorf("give deliveries to %s back: %w", b.d.System(), err)
	}
	return nil
}
