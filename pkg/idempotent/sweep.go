package idempotent

import (
	"context"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"

	"github.com/selfsame-io/selfsame/pkg/telemetry"
)

const (
	sweepBatch  = 100
	sweepLittle = 20        // where one writer keeps all the others waiting
	sweepRest   = 20        // times as long as a batch took
	sweepLong   = 100       // where the same disk flushes what the purge has written and what calls wait for
	sweepLate   = time.Hour // after which it does not rest as long
	sweepBrisk  = 4
)

// Sweep purges the store every so often until ctx ends, and then returns nil. It works in batches, small ones, because calls
// that commit wait until what the purge has written is on the disk too; and it rests between them for twenty times as long as
// the batch took, or a hundred times where all share one writer: a store that has much to forget is not busy with that, and of
// a hundred calls at most one meets it. Where that is too slow, and there is still more after an hour, it rests for four times
// as long until there is not. A failure is logged and counted; the next round does the work. A nil log
// discards, a nil meter tells nobody.
func Sweep(ctx context.Context, store Store, every time.Duration, log *slog.Logger, meter metric.MeterProvider) error {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	if meter == nil {
		meter = noop.NewMeterProvider()
	}
	removal, err := telemetry.NewRemoval(meter.Meter(scopeName), "idempotency keys", every)
	if err != nil {
		return err
	}
	batch, gentle := sweepBatch, time.Duration(sweepRest)
	if can := store.Capabilities(); can.Transactional && !can.Shared {
		batch, gentle = sweepLittle, sweepLong
	}
	var since time.Time // when there was first more than a batch
	for pause := every; ; {
		t := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			t.Stop()
			return nil
		case <-t.C:
		}
		begun := time.Now()
		n, err := store.Purge(ctx, batch)
		switch {
		case removal.Done(ctx, err):
			log.WarnContext(ctx, "old idempotency keys cannot be removed", slog.String(telemetry.KeyError, err.Error()))
			pause = every
		case n < batch:
			pause, since = every, time.Time{}
		default:
			if since.IsZero() {
				since = begun
			}
			rest := gentle
			if begun.Sub(since) > sweepLate {
				rest = sweepBrisk
			}
			pause = min(rest*time.Since(begun), every)
		}
	}
}
