package deliver

import (
	"cmp"
	"context"
	"fmt"

	"github.com/selfsame-io/selfsame/pkg/priority"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source"
)

// readings reads records and returns them as changes. The same record in the same version is the same change. A record that cannot
// be read is no change: it is kept as it is known, and its delivery is tried again until it becomes a dead letter.
func (d *Deliverer) readings(ctx context.Context, obj golden.Object, ids []string) (changes []source.Change, unreadable []string, err error) {
	recs, missing, err := d.system.Fetch(ctx, obj, ids)
	if err != nil {
		return nil, nil, fmt.Errorf("read records again: %w", err)
	}
	told := map[string]bool{}
	for i := range recs {
		rec := recs[i]
		c := source.Change{
			ID:  fmt.Sprintf("reread/%s/%s/%d", obj, rec.Ref.RecordID, cmp.Or(rec.Version, rec.EventTime.UnixMicro())),
			Ref: rec.Ref, Deleted: rec.Deleted, MergedInto: rec.MergedInto, Version: rec.Version, CommitTime: rec.EventTime,
		}
		if !rec.Deleted {
			c.Record = &rec
		}
		changes = append(changes, c)
		told[rec.Ref.RecordID] = true
	}
	now := d.now()
	for _, id := range missing {
		told[id] = true
		changes = append(changes, source.Change{
			ID:  fmt.Sprintf("reread/%s/%s/gone/%d", obj, id, now.UnixMicro()),
			Ref: golden.Ref{System: d.System(), Object: obj, RecordID: id}, Deleted: true, CommitTime: now,
		})
	}
	for _, id := range ids {
		if !told[id] {
			unreadable = append(unreadable, id)
		}
	}
	return changes, unreadable, nil
}

// noteBlind notes which of the records that were read could not be.
func (d *Deliverer) noteBlind(obj golden.Object, ids, unreadable []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, id := range ids {
		delete(d.blind, golden.Ref{System: d.System(), Object: obj, RecordID: id})
	}
	for _, id := range unreadable {
		d.blind[golden.Ref{System: d.System(), Object: obj, RecordID: id}] = true
	}
}

func (d *Deliverer) isBlind(ref golden.Ref) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.blind[ref]
}

// takeIn takes in what was read. It tells what people have done, whatever it was read for.
func (d *Deliverer) takeIn(ctx context.Context, changes []source.Change) error {
	return d.reread(priority.With(ctx, priority.Sync), d.System(), changes)
}
