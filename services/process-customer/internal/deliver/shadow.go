package deliver

import (
	"context"
	"fmt"
	"time"

	"github.com/selfsame-io/selfsame/services/process-customer/internal/fold"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
)

// shadow notes what would be written instead of writing it. Nothing is taken for sent: the system is known to hold what it
// held before, and what others write to it is their own word. The marks end; what is noted is marked again when shadow mode
// ends.
func (b *batch) shadow(ctx context.Context, tx *store.Tx, unit *fold.Unit, now time.Time) error {
	system := b.d.System()
	ids := make([]golden.ID, len(b.claimed))
	for i := range b.claimed {
		ids[i] = b.claimed[i].GoldenID
	}
	noted, err := tx.ShadowOf(ctx, system, ids)
	if err != nil {
		return err
	}
	var put []store.ShadowWrite
	first := map[store.ShadowWrite]string{} // what was held when the field was first noted
	for _, w := range noted {
		first[store.ShadowWrite{GoldenID: w.GoldenID, RecordID: w.RecordID, Field: w.Field}] = w.Before
	}
	for _, id := range ids {
		for _, p := range unit.Plan(id, system).Plans {
			for _, w := range shadowOf(&p, system, b.object, now) {
				if before, ok := first[store.ShadowWrite{GoldenID: w.GoldenID, RecordID: w.RecordID, Field: w.Field}]; ok {
					w.Before = before
				}
				put = append(put, w)
			}
		}
	}
	if err := tx.PutShadow(ctx, put); err != nil {
		return fmt.Errorf("shadow %s: %w", system, err)
	}
	if _, err := tx.Done(ctx, system, b.claimed, store.Shadowed); err != nil {
		return err
	}
	return tx.Settle(ctx, ids)
}

// shadowOf returns the fields of a plan.
func shadowOf(p *fold.Plan, system string, obj golden.Object, now time.Time) []store.ShadowWrite {
	one := store.ShadowWrite{System: system, GoldenID: p.GoldenID, RecordID: p.Write.Ref.RecordID, Object: obj, Since: now}
	switch {
	case p.Delete:
		one.Kind = store.ShadowDelete
		return []store.ShadowWrite{one}
	case len(p.Sent) == 0:
		one.Kind = store.ShadowLink
		return []store.ShadowWrite{one}
	case p.Row == nil:
		one.Kind = store.ShadowCreate
	default:
		one.Kind = store.ShadowUpdate
	}
	var out []store.ShadowWrite
	for _, field := range golden.Fields(obj) {
		value, ok := p.Sent[field]
		if !ok {
			continue
		}
		w := one
		w.Field, w.Intended = field, value
		if p.Row != nil {
			w.Before = p.Row.Shadow[field]
		}
		out = append(out, w)
	}
	return out
}
