package remote

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"

	"github.com/selfsame-io/selfsame/pkg/telemetry"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/erp"
)

// counters tell operators what happened at the border.
type counters struct {
	kind                                     string
	writes, gaps, clashes, forgotten, unseen metric.Int64Counter
	up                                       metric.Int64Gauge
}

func newCounters(m metric.Meter, kind string) (c counters, err error) {
	if m == nil {
		m = noop.Meter{}
	}
	c.kind = kind
	if c.writes, err = m.Int64Counter("selfsame.erp.backend.writes",
		metric.WithDescription("Writes of the foreign ERP that were answered, by kind of record and outcome.")); err != nil {
		return c, err
	}
	if c.gaps, err = m.Int64Counter("selfsame.erp.backend.uncertain",
		metric.WithDescription("Writes whose outcome was not known when the caller was answered.")); err != nil {
		return c, err
	}
	if c.forgotten, err = m.Int64Counter("selfsame.erp.backend.forgotten",
		metric.WithDescription("Rows about writes of the foreign ERP that were removed after their retention.")); err != nil {
		return c, err
	}
	if c.up, err = m.Int64Gauge("selfsame.erp.backend.up",
		metric.WithDescription("1 when the last look for changes reached the foreign ERP and it has what is needed, else 0.")); err != nil {
		return c, err
	}
	if c.unseen, err = m.Int64Counter("selfsame.erp.backend.drift",
		metric.WithDescription("Differences that the comparison with the foreign ERP found and its stamps had not shown.")); err != nil {
		return c, err
	}
	c.clashes, err = m.Int64Counter("selfsame.erp.backend.unmirrored",
		metric.WithDescription("Records of the foreign ERP that could not be mirrored, each time they were seen."))
	return c, err
}

func (c counters) attrs(object string, more ...attribute.KeyValue) metric.MeasurementOption {
	return metric.WithAttributes(append(more, attribute.String("backend", c.kind), attribute.String(telemetry.KeyObject, object))...)
}

func (c counters) written(ctx context.Context, object string, o erp.Outcome) {
	c.writes.Add(ctx, 1, c.attrs(object, attribute.String(telemetry.KeyOutcome, o.String())))
}

func (c counters) lost(ctx context.Context, object string) { c.gaps.Add(ctx, 1, c.attrs(object)) }

func (c counters) unmirrored(ctx context.Context, object string) {
	c.clashes.Add(ctx, 1, c.attrs(object))
}

func (c counters) connected(ctx context.Context, yes bool) {
	up := int64(0)
	if yes {
		up = 1
	}
	c.up.Record(context.WithoutCancel(ctx), up, metric.WithAttributes(attribute.String("backend", c.kind)))
}

func (c counters) drift(ctx context.Context, object string) { c.unseen.Add(ctx, 1, c.attrs(object)) }

func (c counters) forgot(ctx context.Context, object string, n int64) {
	if n > 0 {
		c.forgotten.Add(ctx, n, c.attrs(object))
	}
}
