package idempotent

import (
	"context"
	"log/slog"
	"time"

	"github.com/selfsame-io/selfsame/pkg/telemetry"
)

const (
	sweepBatch  = 1000
	sweepLittle = 50 // where one writer keeps all the others waiting
	sweepRest   = 4  // times as long as a batch took
)

// Sweep purges the store every so often until ctx ends, and then returns nil. It works in batches, and rests between them
// for four times as long as the batch took: a store that has much to forget is not busy with that. On SQLite batches, and
// rests, are short: whatever a call waits for there is soon over. A failure is logged; the next round does the work. A nil
// log discards.
func Sweep(ctx context.Context, store Store, every time.Duration, log *slog.Logger) error {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	batch := sweepBatch
	if can := store.Capabilities(); can.Transactional && !can.Shared {
		batch = sweepLittle
	}
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
		case err != nil && ctx.Err() == nil:
			log.WarnContext(ctx, "old idempotency keys cannot be removed", slog.String(telemetry.KeyError, err.Error()))
			pause = every
		case n < batch:
			pause = every
		default:
			pause = min(sweepRest*time.Since(begun), every)
		}
	}
}
