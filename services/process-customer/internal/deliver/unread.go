package deliver

import (
	"context"
	"fmt"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/intake"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source"
)

// share is the part of Config.Timeout that a look before a write may take: it is added to that of the write, within the lease.
const share = 3

// unread takes those items out of a call to a system that checks no versions whose records say something that is not known yet: a
// person has edited them since they were last read, or a write of ours had arrived that nobody had answered. They are conflicts, as
// they would be in a system that checks. One read of all records of the call shows it. What it cannot see is an edit between it and
// the write that follows at once.
func (b *batch) unread(ctx context.Context, items []*item) ([]*item, error) {
	d := b.d
	if d.system.ChecksVersions() {
		return items, nil
	}
	var ids []string
	for _, it := range items {
		if it.overwrites() && !it.looked {
			ids = append(ids, it.plan.Row.Ref.RecordID)
		}
	}
	if len(ids) == 0 {
		return items, nil
	}
	read, err := b.glance(ctx, ids)
	if err != nil {
		return nil, err
	}
	var rest []*item
	for _, it := range items {
		if !it.overwrites() || it.looked {
			rest = append(rest, it)
			continue
		}
		it.looked = true
		c, told := read[it.plan.Row.Ref.RecordID]
		if !told || (!c.Deleted && !it.plan.News(c.Record)) {
			rest = append(rest, it)
			continue
		}
		if !c.Deleted {
			rec := it.plan.Unclaimed(*c.Record)
			c.Record = &rec
		}
		it.reading = &c
		it.result = source.Result{Err: fault.New(fault.Conflict, fault.ReasonETagMismatch, "the record was changed since it was last read")}
	}
	return rest, nil
}

// overwrites reports whether the item writes values over those of a record that is known.
func (it *item) overwrites() bool {
	return it.plan.Row != nil && !it.plan.Delete && len(it.plan.Sent) > 0
}

// glance reads records before they are written and returns what was read as changes, by id. What later changes have made of a record
// is in them, and still to be told by the feed.
func (b *batch) glance(ctx context.Context, ids []string) (map[string]source.Change, error) {
	d := b.d
	ctx, cancel := context.WithTimeout(ctx, d.cfg.Timeout/share)
	defer cancel()
	recs, missing, err := d.system.Fetch(ctx, b.object, ids)
	d.asked(err)
	if err != nil {
		return nil, fmt.Errorf("read records before they are written: %w", err)
	}
	now := d.now()
	out := make(map[string]source.Change, len(ids))
	for _, rec := range recs {
		c := intake.Reading("look", rec)
		c.ID = fmt.Sprintf("%s/%d", c.ID, now.UnixMicro()) // a version may be told twice, with other values
		c.Newer = true
		out[rec.Ref.RecordID] = c
	}
	for _, id := range missing {
		out[id] = intake.Gone("look", golden.Ref{System: d.System(), Object: b.object, RecordID: id}, 0, now)
	}
	return out, nil
}
