package telemetry

import (
	"context"
	"fmt"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
)

// Removal tells whether a loop still removes rows that are older than their retention. It is safe for concurrent use.
type Removal struct {
	failures metric.Int64Counter
	of       metric.MeasurementOption

	mu   sync.Mutex
	last time.Time
}

// NewRemoval publishes how long ago rows of a kind were last removed, or it was seen that none are too old; how often that is
// looked for; and how often it failed. The kind is one of a few words that stand in the code. Before the first success the age is
// that of the Removal. A nil meter tells nobody.
func NewRemoval(m metric.Meter, rows string, every time.Duration) (*Removal, error) {
	if m == nil {
		m = noop.Meter{}
	}
	r := &Removal{of: metric.WithAttributeSet(attribute.NewSet(attribute.String("selfsame.rows", rows))), last: time.Now()}
	var err error
	if r.failures, err = m.Int64Counter("selfsame.retention.failures", metric.WithUnit("{failure}"),
		metric.WithDescription("Times that rows past their retention could not be removed, by what they are.")); err != nil {
		return nil, fmt.Errorf("metrics of %s: %w", rows, err)
	}
	age, err := m.Float64ObservableGauge("selfsame.retention.last_success.age", metric.WithUnit("s"),
		metric.WithDescription("Time since rows past their retention were last removed, or none were found."))
	if err != nil {
		return nil, fmt.Errorf("metrics of %s: %w", rows, err)
	}
	period, err := m.Float64ObservableGauge("selfsame.retention.period", metric.WithUnit("s"),
		metric.WithDescription("How often rows past their retention are looked for."))
	if err != nil {
		return nil, fmt.Errorf("metrics of %s: %w", rows, err)
	}
	if _, err := m.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		r.mu.Lock()
		defer r.mu.Unlock()
		o.ObserveFloat64(age, time.Since(r.last).Seconds(), r.of)
		o.ObserveFloat64(period, every.Seconds(), r.of)
		return nil
	}, age, period); err != nil {
		return nil, fmt.Errorf("metrics of %s: %w", rows, err)
	}
	r.failures.Add(context.Background(), 0, r.of)
	return r, nil
}

// Done notes how a batch ended, and reports whether it failed; one that ended with ctx did not.
func (r *Removal) Done(ctx context.Context, err error) (failed bool) {
	switch {
	case err == nil:
		r.mu.Lock()
		defer r.mu.Unlock()
		r.last = time.Now()
		return false
	case ctx.Err() != nil:
		return false
	default:
		r.failures.Add(ctx, 1, r.of)
		return true
	}
}
