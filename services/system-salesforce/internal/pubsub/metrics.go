package pubsub

import (
	"context"
	"errors"
	"fmt"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

type metrics struct{ reconnects metric.Int64Counter }

func newMetrics(provider metric.MeterProvider) (metrics, error) {
	reconnects, err := provider.Meter("github.com/selfsame-io/selfsame/services/system-salesforce/pubsub").Int64Counter(
		"selfsame.cdc.reconnects", metric.WithDescription("times a change stream was opened again after it had ended or gone silent"))
	if err != nil {
		return metrics{}, fmt.Errorf("metric selfsame.cdc.reconnects: %w", err)
	}
	return metrics{reconnects: reconnects}, nil
}

func (m metrics) reconnect(ctx context.Context, topic string, cause error) {
	why := "ended"
	if errors.Is(cause, errSilent) {
		why = "silent"
	}
	m.reconnects.Add(ctx, 1, metric.WithAttributes(attribute.String("topic", topic), attribute.String("cause", why)))
}
