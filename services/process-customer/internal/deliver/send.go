package deliver

import (
	"context"
	"fmt"
	"slices"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/telemetry"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/fold"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/intake"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
)

// ReasonFound means that a record which was to be created was there already: an earlier attempt, of which nobody knew, had
// made it.
const ReasonFound = "RECORD_FOUND"

// look looks up the records that are to be created and may have been created before, by their external id. One that is
// found is taken in like any reading: what people have made of it meanwhile is theirs, and creating it again would write
// over it. What is about to be sent is noted for the others only: a record that was found does not hold it, and its blanks would be
// taken for somebody's word.
func (b *batch) look(ctx context.Context) error {
	d := b.d
	var repeats []*item
	for _, it := range b.items {
		if it.plan.Repeat {
			repeats = append(repeats, it)
		}
	}
	for part := range slices.Chunk(repeats, source.MaxWrites) {
		ids := make([]string, len(part))
		for i, it := range part {
			ids[i] = it.plan.Write.ExternalID
		}
		recs, err := b.find(ctx, ids)
		if err != nil {
			b.unseen(part, err)
			continue
		}
		found := map[string]bool{}
		var absent []*item
		var changes []source.Change
		for _, rec := range recs {
			found[rec.ExternalID] = true
			changes = append(changes, intake.Reading("found", rec))
		}
		for _, it := range part {
			if found[it.plan.Write.ExternalID] {
				it.found = true
				it.result.Err = fault.New(fault.Conflict, ReasonFound, "the record was made by an earlier attempt")
			} else {
				absent = append(absent, it)
			}
		}
		if err := b.note(ctx, absent); err != nil {
			return err
		}
		if len(changes) > 0 {
			if err := d.takeIn(ctx, changes); err != nil {
				return err
			}
		}
	}
	return nil
}

// note notes what is about to be sent.
func (b *batch) note(ctx context.Context, items []*item) error {
	if len(items) == 0 {
		return nil
	}
	d := b.d
	ids := make([]golden.ID, len(items))
	for i, it := range items {
		ids[i] = it.plan.GoldenID
	}
	plans := make([]fold.Plan, len(items))
	err := d.store.Tx(ctx, func(ctx context.Context, tx *store.Tx) error {
		unit, err := d.folder.Begin(ctx, tx, telemetry.Traceparent(ctx))
		if err != nil {
			return err
		}
		if err := unit.LoadForPlan(ctx, d.System(), ids); err != nil {
			return err
		}
		for i, it := range items {
			plans[i] = it.plan
			if unit.Golden(it.plan.GoldenID) != nil { // else it was erased, and so will be what is written
				unit.Send(&plans[i])
			}
		}
		return unit.Flush(ctx)
	})
	if err != nil {
		return fmt.Errorf("note what is sent to %s: %w", d.System(), err)
	}
	for i, it := range items {
		it.plan = plans[i]
	}
	return nil
}

func (b *batch) find(ctx context.Context, ids []string) ([]source.Record, error) {
	ctx, cancel := context.WithTimeout(ctx, b.d.cfg.Timeout)
	defer cancel()
	recs, err := b.d.system.Find(ctx, b.object, ids)
	b.d.called(err, 0)
	return recs, err
}

// unseen deals with records that could not be looked up: they are not written. A system that does not answer is left alone.
func (b *batch) unseen(items []*item, err error) {
	whole := false
	switch fault.KindOf(err) {
	case fault.Invalid, fault.Precondition, fault.Forbidden, fault.NotFound, fault.Unimplemented:
	default:
		whole = true
		b.until = b.d.pause(err)
	}
	for _, it := range items {
		it.result, it.whole = source.Result{Err: err}, whole
	}
}

// unsettled are the items about which nothing is decided yet.
func (b *batch) unsettled() []*item {
	var out []*item
	for _, it := range b.items {
		if it.result.Err == nil {
			out = append(out, it)
		}
	}
	return out
}

// maxFutile is how many calls of a divided batch may fail in a row for unclassified reasons before the system itself
// is taken to be broken.
const maxFutile = 8

// send writes items in calls of at most source.MaxWrites, each after a look where the system checks no versions. A call that is
// refused as a whole is divided until the record to blame stands alone, so that one bad record stops no other.
func (b *batch) send(ctx context.Context, items []*item) {
	futile := 0
	queue := chunk(items)
	for len(queue) > 0 {
		part := queue[0]
		queue = queue[1:]
		writable, err := b.unread(ctx, part)
		if err == nil && len(writable) > 0 {
			part = writable
			err = b.call(ctx, part)
		}
		if err == nil {
			futile = 0
			continue
		}
		kind := fault.KindOf(err)
		switch {
		case kind == fault.Internal:
			futile++
		case kind != fault.Invalid:
			futile = maxFutile
		}
		if futile >= maxFutile {
			b.until = b.d.pause(err)
			for _, rest := range append([][]*item{part}, queue...) {
				for _, it := range rest {
					it.result, it.whole = source.Result{Err: err}, true
				}
			}
			return
		}
		if len(part) == 1 {
			part[0].result = source.Result{Err: err}
			continue
		}
		half := len(part) / 2
		queue = append([][]*item{part[:half], part[half:]}, queue...)
	}
}

// chunk divides items into calls: first those that write, then those that delete.
func chunk(items []*item) [][]*item {
	var writes, deletes []*item
	for _, it := range items {
		if it.plan.Delete {
			deletes = append(deletes, it)
		} else {
			writes = append(writes, it)
		}
	}
	return slices.AppendSeq(slices.Collect(slices.Chunk(writes, source.MaxWrites)), slices.Chunk(deletes, source.MaxWrites))
}

func (b *batch) call(ctx context.Context, items []*item) error {
	ctx, cancel := context.WithTimeout(ctx, b.d.cfg.Timeout)
	defer cancel()
	for _, it := range items {
		it.called = true
	}
	results, err := b.carryOut(ctx, items)
	if err == nil && len(results) != len(items) {
		err = fault.New(fault.Internal, "RESULTS_MISSING", "%d results for %d writes", len(results), len(items))
	}
	written := 0
	for i := range results {
		if err == nil {
			items[i].result = results[i]
			if results[i].Err == nil {
				written++
			}
		}
	}
	b.d.called(err, written)
	return err
}

// carryOut makes the call: all items write, or all delete.
func (b *batch) carryOut(ctx context.Context, items []*item) ([]source.Result, error) {
	if items[0].plan.Delete {
		ids := make([]string, len(items))
		for i, it := range items {
			ids[i] = it.plan.Write.Ref.RecordID
		}
		return b.d.system.Remove(ctx, b.object, ids)
	}
	writes := make([]source.Write, len(items))
	for i, it := range items {
		writes[i] = it.plan.Write
	}
	return b.d.system.Upsert(ctx, b.object, writes)
}
