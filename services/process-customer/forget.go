package processcustomer

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/selfsame-io/selfsame/pkg/idempotent"
	"github.com/selfsame-io/selfsame/pkg/telemetry"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
)

const (
	forgetEvery = time.Minute
	forgetBatch = 1000
)

// forget removes settled changes and answers after their retention. A failure is only noted: the next round does the work.
func forget(ctx context.Context, records *store.Store, answers *idempotent.SQLStore, retention time.Duration, log *slog.Logger) error {
	tick := time.NewTicker(forgetEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if _, err := answers.Purge(ctx, forgetBatch); err != nil && ctx.Err() == nil {
			log.WarnContext(ctx, "old idempotency keys cannot be removed", slog.String(telemetry.KeyError, err.Error()))
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

// observe shows what waits as metrics. They are read from the database when they are asked for, so every replica shows
// the same numbers: take the maximum, not the sum.
func observe(tel *telemetry.Telemetry, records *store.Store) error {
	meter := tel.Meter.Meter("github.com/selfsame-io/selfsame/services/process-customer")
	gauge := func(name, unit, help string, read func(ctx context.Context, o metric.Float64Observer) error) error {
		_, err := meter.Float64ObservableGauge(name, metric.WithUnit(unit), metric.WithDescription(help), metric.WithFloat64Callback(read))
		if err != nil {
			return fmt.Errorf("metric %s: %w", name, err)
		}
		return nil
	}
	system := func(name string) metric.ObserveOption {
		return metric.WithAttributes(attribute.String("selfsame.system", name))
	}
	err := gauge("selfsame.sync.pending", "{record}", "Records that wait to be written.", func(ctx context.Context, o metric.Float64Observer) error {
		backlogs, err := records.Read().Backlogs(ctx)
		for _, b := range backlogs {
			o.Observe(float64(b.Pending), system(b.System))
		}
		return err
	})
	if err != nil {
		return err
	}
	err = gauge("selfsame.sync.oldest_pending.age", "s", "Age of the oldest record that waits.", func(ctx context.Context, o metric.Float64Observer) error {
		backlogs, err := records.Read().Backlogs(ctx)
		for _, b := range backlogs {
			o.Observe(time.Since(b.Oldest).Seconds(), system(b.System))
		}
		return err
	})
	if err != nil {
		return err
	}
	err = gauge("selfsame.dead_letter.count", "{record}", "Open dead letters.", func(ctx context.Context, o metric.Float64Observer) error {
		counts, _, err := records.Read().CountDead(ctx)
		for direction, bySystem := range counts {
			for name, n := range bySystem {
				o.Observe(float64(n), system(name), metric.WithAttributes(attribute.String("selfsame.direction", direction)))
			}
		}
		return err
	})
	if err != nil {
		return err
	}
	return gauge("selfsame.dead_letter.oldest.age", "s", "Age of the oldest open dead letter.", func(ctx context.Context, o metric.Float64Observer) error {
		_, oldest, err := records.Read().CountDead(ctx)
		if err == nil && !oldest.IsZero() {
			o.Observe(time.Since(oldest).Seconds())
		}
		return err
	})
}
