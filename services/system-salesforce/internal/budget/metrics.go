package budget

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/priority"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/rest"
)

// metrics counts calls by priority and shows what is left.
type metrics struct {
	made   metric.Int64Counter
	denied metric.Int64Counter

	mu     sync.Mutex
	limits map[string]Allowance
}

func byLevel(l priority.Level) attribute.KeyValue { return attribute.String("priority", l.String()) }

func newMetrics(provider metric.MeterProvider, a *Accountant) (*metrics, error) {
	if provider == nil {
		provider = noop.NewMeterProvider()
	}
	meter := provider.Meter("budget")
	m := &metrics{limits: map[string]Allowance{}}
	var errs [10]error
	m.made, errs[0] = meter.Int64Counter("selfsame.salesforce.budget.calls", metric.WithDescription("Calls made, by priority and outcome."))
	m.denied, errs[1] = meter.Int64Counter("selfsame.salesforce.budget.refused", metric.WithDescription("Calls that had to wait, by priority and reason."))
	remaining, err := meter.Int64ObservableGauge("selfsame.salesforce.budget.remaining", metric.WithDescription("Calls left before work of a priority has to wait."))
	errs[2] = err
	estimate, err := meter.Int64ObservableGauge("selfsame.salesforce.budget.estimate", metric.WithDescription("Calls used when all that are handed out have been made."))
	errs[3] = err
	closed, err := meter.Int64ObservableGauge("selfsame.salesforce.budget.closed", metric.WithDescription("1 while work of a priority is held back because Salesforce refused it."))
	errs[4] = err
	concurrency, err := meter.Int64ObservableGauge("selfsame.salesforce.concurrency.limit", metric.WithDescription("Calls of this process that may run at once now."))
	errs[5] = err
	waiting, err := meter.Int64ObservableGauge("selfsame.salesforce.concurrency.waiting", metric.WithDescription("Calls that wait for a slot, by priority."))
	errs[6] = err
	left, err := meter.Int64ObservableGauge("selfsame.salesforce.allowance.remaining", metric.WithDescription("What is left of the org's other limits."))
	errs[7] = err
	whole, err := meter.Int64ObservableGauge("selfsame.salesforce.allowance.limit", metric.WithDescription("The org's other limits."))
	errs[8] = err
	ends, err := meter.Float64ObservableGauge("selfsame.salesforce.budget.exhaustion", metric.WithUnit("s"),
		metric.WithDescription("Time until the allowance is used up at the rate of the last hour; absent when not within a day."))
	errs[9] = err
	if err := errors.Join(errs[:]...); err != nil {
		return nil, fmt.Errorf("budget metrics: %w", err)
	}
	_, err = meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		s := a.State()
		if s.Limit > 0 {
			o.ObserveInt64(estimate, s.Estimate)
			for _, l := range priority.Levels() {
				o.ObserveInt64(remaining, max(0, s.Remaining(a.o.Config, l)), metric.WithAttributes(byLevel(l)))
			}
		}
		if at := a.ends(); !at.IsZero() {
			o.ObserveFloat64(ends, max(0, at.Sub(a.o.Now()).Seconds()))
		}
		limit, _, queue := a.gateway.state()
		o.ObserveInt64(concurrency, int64(limit))
		for _, l := range priority.Levels() {
			o.ObserveInt64(waiting, int64(queue[l]), metric.WithAttributes(byLevel(l)))
			o.ObserveInt64(closed, flag(s.ClosedFor != priority.Unset && l >= s.ClosedFor), metric.WithAttributes(byLevel(l)))
		}
		for name, x := range m.known() {
			o.ObserveInt64(left, x.Remaining, metric.WithAttributes(attribute.String("name", name)))
			o.ObserveInt64(whole, x.Limit, metric.WithAttributes(attribute.String("name", name)))
		}
		return nil
	}, remaining, estimate, closed, concurrency, waiting, left, whole, ends)
	if err != nil {
		return nil, fmt.Errorf("budget metrics: %w", err)
	}
	return m, nil
}

// shown are the limits worth a metric: what Selfsame itself can use up.
func shown(name string) bool {
	switch name {
	case "DailyApiRequests", "DailyBulkApiBatches", "DailyBulkV2QueryJobs", "DailyDeliveredPlatformEvents", "HourlyPublishedPlatformEvents", "DataStorageMB":
		return true
	}
	return false
}

func (m *metrics) allowances(all []Allowance) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, a := range all {
		if shown(a.Name) {
			m.limits[a.Name] = a
		}
	}
}

func (m *metrics) known() map[string]Allowance {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.limits)
}

func (m *metrics) calls(ctx context.Context, l priority.Level, o rest.CallOutcome) {
	outcome := "failed"
	switch {
	case o.Sends == 0:
		return
	case o.Exhausted:
		outcome = "exhausted"
	case o.Crowded:
		outcome = "crowded"
	case o.Served:
		outcome = "served"
	}
	m.made.Add(ctx, int64(o.Sends), metric.WithAttributes(byLevel(l), attribute.String("outcome", outcome)))
}

func (m *metrics) refusal(ctx context.Context, l priority.Level, err error) {
	m.denied.Add(ctx, 1, metric.WithAttributes(byLevel(l), attribute.String("reason", fault.ReasonOf(err))))
}
