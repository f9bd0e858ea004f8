package shadow

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/selfsame-io/selfsame/pkg/telemetry"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
)

// Watch publishes the parity of systems in shadow mode as selfsame.shadow.fields. It is safe for concurrent use.
type Watch struct {
	read func() store.Reader
	log  *slog.Logger

	mu     sync.Mutex
	counts map[string]map[State]int64
}

// NewWatch returns a watch; nothing is published before its first look, nor about a system that is not in shadow mode.
func NewWatch(read func() store.Reader, tel *telemetry.Telemetry) (*Watch, error) {
	w := &Watch{read: read, log: tel.Log, counts: map[string]map[State]int64{}}
	meter := tel.Meter.Meter("shadow")
	gauge, err := meter.Int64ObservableGauge("selfsame.shadow.fields", metric.WithUnit("{field}"),
		metric.WithDescription("Fields that would have been written in shadow mode, by how they compare with what the system holds."))
	if err != nil {
		return nil, fmt.Errorf("shadow: %w", err)
	}
	_, err = meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		w.mu.Lock()
		defer w.mu.Unlock()
		for system, counts := range w.counts {
			for _, s := range States() {
				o.ObserveInt64(gauge, counts[s], metric.WithAttributes(attribute.String("selfsame.system", system), attribute.String("selfsame.state", string(s))))
			}
		}
		return nil
	}, gauge)
	if err != nil {
		return nil, fmt.Errorf("shadow: %w", err)
	}
	return w, nil
}

// Look compares once.
func (w *Watch) Look(ctx context.Context) error {
	r := w.read()
	controls, err := r.Controls(ctx)
	if err != nil {
		return err
	}
	counts := map[string]map[State]int64{}
	for _, c := range controls {
		if !c.Shadow {
			continue
		}
		lines, err := Parity(ctx, r, c.System)
		if err != nil {
			return err
		}
		counts[c.System] = map[State]int64{}
		for _, l := range lines {
			for s, n := range l.Count {
				counts[c.System][s] += n
			}
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.counts = counts
	return nil
}

// Run looks every so often until ctx ends. A database that does not answer is only noted.
func (w *Watch) Run(ctx context.Context, every time.Duration) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		if err := w.Look(ctx); err != nil && ctx.Err() == nil {
			w.log.WarnContext(ctx, "parity not read", slog.String(telemetry.KeyError, err.Error()))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}
