package processcustomer

import (
	"context"
	"log/slog"
	"time"

	"github.com/selfsame-io/selfsame/pkg/telemetry"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
)

const (
	forgetEvery = time.Minute
	forgetBatch = 1000
)

// forget removes settled changes after their retention. A failure is only noted: the next round does the work.
func forget(ctx context.Context, records *store.Store, retention time.Duration, log *slog.Logger) error {
	tick := time.NewTicker(forgetEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if retention == 0 {
			continue
		}
		for n := forgetBatch; n == forgetBatch && ctx.Err() == nil; {
			err := records.Tx(ctx, func(ctx context.Context, tx *store.Tx) error {
				var err error
				n, err = tx.Purge(ctx, time.Now().Add(-retention), forgetBatch)
				return err
			})
			if err != nil {
				n = 0
				log.WarnContext(ctx, "old changes cannot be removed", slog.String(telemetry.KeyError, err.Error()))
			}
		}
	}
}
