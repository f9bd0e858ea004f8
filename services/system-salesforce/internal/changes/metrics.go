package changes

import (
	"context"
	"fmt"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/pubsub"
)

type metrics struct {
	events, gaps metric.Int64Counter
	lag          metric.Float64Histogram
}

func newMetrics(provider metric.MeterProvider) (metrics, error) {
	meter := provider.Meter("github.com/selfsame-io/selfsame/services/system-salesforce/changes")
	var m metrics
	var err error
	if m.events, err = meter.Int64Counter("selfsame.cdc.events", metric.WithDescription("change events received")); err != nil {
		return m, fmt.Errorf("metric selfsame.cdc.events: %w", err)
	}
	if m.gaps, err = meter.Int64Counter("selfsame.cdc.gaps", metric.WithDescription("change events that do not say what changed")); err != nil {
		return m, fmt.Errorf("metric selfsame.cdc.gaps: %w", err)
	}
	m.lag, err = meter.Float64Histogram("selfsame.cdc.lag", metric.WithUnit("s"),
		metric.WithDescription("time from the commit in the CRM to the change being sent"),
		metric.WithExplicitBucketBoundaries(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200, 86400))
	if err != nil {
		return m, fmt.Errorf("metric selfsame.cdc.lag: %w", err)
	}
	return m, nil
}

func (m metrics) event(ctx context.Context, object string, e pubsub.Event, now time.Time) {
	attrs := metric.WithAttributes(attribute.String("object", object), attribute.String("kind", changeType(e.ChangeType)))
	m.events.Add(ctx, 1, attrs)
	if strings.HasPrefix(e.ChangeType, "GAP_") || overflow(e) {
		m.gaps.Add(ctx, 1, attrs)
	}
	m.lag.Record(ctx, max(0, now.Sub(e.Committed).Seconds()), metric.WithAttributes(attribute.String("object", object)))
}

// changeType keeps the label within the known values.
func changeType(t string) string {
	switch t {
	case "CREATE", "UPDATE", "DELETE", "UNDELETE", "GAP_CREATE", "GAP_UPDATE", "GAP_DELETE", "GAP_UNDELETE", "GAP_OVERFLOW", "SNAPSHOT":
		return strings.ToLower(t)
	}
	return "other"
}
