package changes

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/pubsub"
)

// metrics tell how the feeds do. They hold no ids.
type metrics struct {
	events, gaps, fills, refilled, unreadable, merged metric.Int64Counter
	lag                                               metric.Float64Histogram
	now                                               func() time.Time

	mu       sync.Mutex
	watchers map[*watching]struct{}
}

// watching is where one open stream stands, by lane.
type watching struct {
	m  *metrics
	at map[string]position
}

func newMetrics(provider metric.MeterProvider, now func() time.Time) (*metrics, error) {
	meter := provider.Meter("github.com/selfsame-io/selfsame/services/system-salesforce/changes")
	m := &metrics{now: now, watchers: map[*watching]struct{}{}}
	var errs []error
	counter := func(name, text string) metric.Int64Counter {
		c, err := meter.Int64Counter(name, metric.WithDescription(text))
		errs = append(errs, err)
		return c
	}
	m.events = counter("selfsame.cdc.events", "change events received")
	m.gaps = counter("selfsame.cdc.gaps", "change events that do not say what changed")
	m.fills = counter("selfsame.cdc.ranges", "lost ranges that were read again, by how that ended")
	m.refilled = counter("selfsame.cdc.refilled", "changes sent because their range was lost")
	m.unreadable = counter("selfsame.salesforce.cdc.unreadable", "changed records that could not be read and that nobody says are deleted; nothing was sent about them")
	m.merged = counter("selfsame.salesforce.cdc.merged", "deleted records that a merge in Salesforce put another one in the place of")
	var err error
	m.lag, err = meter.Float64Histogram("selfsame.cdc.lag", metric.WithUnit("s"),
		metric.WithDescription("time from the commit in the CRM to the change being sent"),
		metric.WithExplicitBucketBoundaries(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200, 86400))
	errs = append(errs, err)
	left, err1 := meter.Float64ObservableGauge("selfsame.cdc.retention.left", metric.WithUnit("s"),
		metric.WithDescription("time until Salesforce drops the events after the position of the slowest open stream"))
	open, err2 := meter.Int64ObservableGauge("selfsame.cdc.ranges.open", metric.WithDescription("lost ranges that are being read again"))
	if err := errors.Join(append(errs, err1, err2)...); err != nil {
		return nil, fmt.Errorf("metrics of changes: %w", err)
	}
	if _, err := meter.RegisterCallback(func(_ context.Context, o metric.Observer) error { m.observe(o, left, open); return nil }, left, open); err != nil {
		return nil, fmt.Errorf("metrics of changes: %w", err)
	}
	return m, nil
}

// watch counts a stream until it is closed.
func (m *metrics) watch(t token) *watching {
	w := &watching{m: m, at: t.Topics}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.watchers[w] = struct{}{}
	return w
}

// sent notes what was sent; the positions are not changed afterwards.
func (w *watching) sent(t token) {
	w.m.mu.Lock()
	defer w.m.mu.Unlock()
	w.at = t.Topics
}

func (w *watching) close() {
	w.m.mu.Lock()
	defer w.m.mu.Unlock()
	delete(w.m.watchers, w)
}

func (m *metrics) observe(o metric.Observer, left metric.Float64Observable, open metric.Int64Observable) {
	m.mu.Lock()
	defer m.mu.Unlock()
	oldest, fills := map[string]int64{}, map[string]int64{}
	for w := range m.watchers {
		for lane, at := range w.at {
			if have, ok := oldest[lane]; !ok || at.Time < have {
				oldest[lane] = at.Time
			}
			fills[lane] += int64(len(at.Fills))
		}
	}
	for lane, at := range oldest {
		attrs := metric.WithAttributes(attribute.String("object", lane))
		o.ObserveInt64(open, fills[lane], attrs)
		if at > 0 {
			o.ObserveFloat64(left, max(0, (retention-m.now().Sub(time.UnixMilli(at))).Seconds()), attrs)
		}
	}
}

func (m *metrics) event(ctx context.Context, object string, e pubsub.Event) {
	attrs := metric.WithAttributes(attribute.String("object", object), attribute.String("kind", changeType(e.ChangeType)))
	m.events.Add(ctx, 1, attrs)
	if strings.HasPrefix(e.ChangeType, "GAP_") || overflow(e) {
		m.gaps.Add(ctx, 1, attrs)
	}
	m.lag.Record(ctx, max(0, m.now().Sub(e.Committed).Seconds()), metric.WithAttributes(attribute.String("object", object)))
}

// hidden counts records about which nothing is sent.
func (m *metrics) hidden(ctx context.Context, object string, n int) {
	m.unreadable.Add(ctx, int64(n), metric.WithAttributes(attribute.String("object", object)))
}

// mergedRecords counts records that were merged into others.
func (m *metrics) mergedRecords(ctx context.Context, object string, n int) {
	if n > 0 {
		m.merged.Add(ctx, int64(n), metric.WithAttributes(attribute.String("object", object)))
	}
}

// platform counts a platform event.
func (m *metrics) platform(ctx context.Context, object string, published time.Time) {
	m.events.Add(ctx, 1, metric.WithAttributes(attribute.String("object", object), attribute.String("kind", "published")))
	m.lag.Record(ctx, max(0, m.now().Sub(published).Seconds()), metric.WithAttributes(attribute.String("object", object)))
}

func (m *metrics) filled(ctx context.Context, f fill, n int) {
	m.refilled.Add(ctx, int64(n), metric.WithAttributes(attribute.String("object", f.Object), attribute.String("cause", f.Cause)))
}

func (m *metrics) begun(ctx context.Context, f fill) { m.lostRange(ctx, f, "begun") }

func (m *metrics) ended(ctx context.Context, f fill, err error) {
	if err != nil {
		m.lostRange(ctx, f, "forgotten")
		return
	}
	m.lostRange(ctx, f, "complete")
}

func (m *metrics) lostRange(ctx context.Context, f fill, state string) {
	m.fills.Add(ctx, 1, metric.WithAttributes(attribute.String("object", f.Object), attribute.String("cause", f.Cause), attribute.String("state", state)))
}

// changeType keeps the label within the known values.
func changeType(t string) string {
	switch t {
	case "CREATE", "UPDATE", "DELETE", "UNDELETE", "GAP_CREATE", "GAP_UPDATE", "GAP_DELETE", "GAP_UNDELETE", "GAP_OVERFLOW", "SNAPSHOT":
		return strings.ToLower(t)
	}
	return "other"
}
