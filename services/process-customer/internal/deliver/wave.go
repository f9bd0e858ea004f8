package deliver

import (
	"context"
	"log/slog"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/priority"
	"github.com/selfsame-io/selfsame/pkg/telemetry"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
)

// wave delivers a large backlog of a level to a system that takes many records at once: several batches are claimed, each in its own
// transaction, sent as one load, and recorded batch by batch. It returns 0 when the backlog is not large or the system
// takes only batches.
func (l *lane) wave(ctx context.Context, obj golden.Object, level store.Level) (int, error) {
	loader, ok := l.system.(source.Loader)
	if !ok || !l.lanes[level].full.Load() {
		return 0, nil
	}
	ctx = priority.With(ctx, level.Priority())
	deep, err := l.store.Read().DueAtLeast(ctx, l.System(), obj, level, l.now(), l.cfg.BulkFrom)
	if err != nil || !deep {
		return 0, err
	}
	var batches []*batch
	n := 0
	for n < l.cfg.BulkSize {
		b := &batch{d: l, object: obj, level: level, lease: l.cfg.BulkTimeout + l.cfg.Lease}
		if err := b.claim(ctx); err != nil {
			b.unclaimed(ctx, err)
			if n == 0 {
				return 0, err
			}
			l.log.WarnContext(ctx, "bulk load is smaller than it could be", slog.String(telemetry.KeySystem, l.System()), slog.String(telemetry.KeyReason, fault.ReasonOf(err)))
			break // what is claimed goes first; the next step meets the error again
		}
		if len(b.claimed) == 0 {
			break
		}
		n += len(b.claimed)
		if len(b.items) > 0 {
			batches = append(batches, b)
		}
	}
	if len(batches) == 0 {
		return n, nil
	}
	ctx, span := l.tracer.Start(ctx, "load "+l.System(), trace.WithSpanKind(trace.SpanKindProducer),
		trace.WithAttributes(attribute.String(telemetry.KeySystem, l.System()), attribute.Int(telemetry.KeyCount, n)))
	defer span.End()
	for _, b := range batches {
		if err := b.look(ctx); err != nil {
			l.giveBack(ctx, batches...)
			return 0, err
		}
	}
	l.load(ctx, loader, obj, batches)
	for _, b := range batches {
		if err := b.record(ctx); err != nil {
			return 0, err
		}
		if err := b.readAgain(ctx); err != nil {
			return 0, err
		}
	}
	return n, nil
}

// load sends the items of all batches: those that the system does not have as one load, the others in calls of their batch,
// because a load knows records by external id only.
func (l *lane) load(ctx context.Context, loader source.Loader, obj golden.Object, batches []*batch) {
	var fresh []*item
	seen := map[string]bool{}
	for _, b := range batches {
		var known []*item
		for _, it := range b.unsettled() {
			key := it.plan.Write.ExternalID
			if it.plan.Write.Ref.RecordID != "" || key == "" || seen[key] {
				known = append(known, it)
				continue
			}
			seen[key] = true
			fresh = append(fresh, it)
		}
		if len(known) > 0 {
			b.send(ctx, known)
		}
	}
	if len(fresh) == 0 {
		return
	}
	writes := make([]source.Write, len(fresh))
	for i, it := range fresh {
		writes[i] = it.plan.Write
		it.called = true
	}
	bounded, cancel := context.WithTimeout(ctx, l.cfg.BulkTimeout)
	defer cancel()
	results, err := loader.Load(bounded, obj, writes)
	if err == nil && len(results) != len(writes) {
		err = fault.New(fault.Internal, "RESULTS_MISSING", "%d results for %d writes", len(results), len(writes))
	}
	written := 0
	for i := range results {
		if err == nil {
			fresh[i].result = results[i]
			if results[i].Err == nil {
				written++
			}
		}
	}
	l.called(err, written)
	if err != nil {
		l.loadFailed(ctx, batches, fresh, err)
	}
}

// loadFailed deals with a load that failed as a whole: when the system does not take it as a load, its records go in batches.
func (l *lane) loadFailed(ctx context.Context, batches []*batch, fresh []*item, err error) {
	l.log.WarnContext(ctx, "bulk load failed", slog.String(telemetry.KeySystem, l.System()), slog.String(telemetry.KeyReason, fault.ReasonOf(err)))
	switch fault.KindOf(err) {
	case fault.Invalid, fault.Precondition, fault.Unimplemented, fault.NotFound, fault.Forbidden:
		of := map[*item]bool{}
		for _, it := range fresh {
			of[it] = true
		}
		for _, b := range batches {
			var items []*item
			for _, it := range b.items {
				if of[it] {
					items = append(items, it)
				}
			}
			if len(items) > 0 {
				b.send(ctx, items)
			}
		}
		return
	}
	until := l.pause(err)
	for _, b := range batches {
		b.until = until
	}
	for _, it := range fresh {
		it.result, it.whole = source.Result{Err: err}, true
	}
}
