package bulk

import (
	"context"
	"errors"
	"fmt"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

const scope = "github.com/selfsame-io/selfsame/services/system-salesforce/internal/bulk"

// meter shows loads as metrics.
type meter struct{ rows, resent, jobs, waits metric.Int64Counter }

func newMeter(p metric.MeterProvider) (*meter, error) {
	m := p.Meter(scope)
	var out meter
	var errs [4]error
	out.rows, errs[0] = m.Int64Counter("selfsame.salesforce.bulk.rows", metric.WithDescription("rows of bulk loads by what became of them"))
	out.resent, errs[1] = m.Int64Counter("selfsame.salesforce.bulk.resent", metric.WithDescription("rows of bulk loads that were sent once more, by reason"))
	out.jobs, errs[2] = m.Int64Counter("selfsame.salesforce.bulk.jobs", metric.WithDescription("bulk jobs by their final state"))
	out.waits, errs[3] = m.Int64Counter("selfsame.salesforce.bulk.waits", metric.WithDescription("times that a bulk step had to wait, by reason"))
	if err := errors.Join(errs[:]...); err != nil {
		return nil, fmt.Errorf("metrics of bulk loads: %w", err)
	}
	return &out, nil
}

// settled counts the rows of a load when it ends, without those that were counted when it ended before.
func (m *meter) settled(ctx context.Context, object string, l, before Ledger) {
	for state, n := range map[State]int64{
		Succeeded: l.Succeeded() - before.Succeeded(), Failed: l.Failed - before.Failed, Refused: l.Refused - before.Refused,
		NotProcessed: l.NotProcessed - before.NotProcessed, Uncertain: l.Uncertain - before.Uncertain,
	} {
		if n > 0 {
			m.rows.Add(ctx, n, metric.WithAttributes(attribute.String("object", object), attribute.String("outcome", state.String())))
		}
	}
	for reason, n := range l.Reasons {
		if n -= before.Reasons[reason]; n == 0 {
			continue
		}
		m.resent.Add(ctx, n, metric.WithAttributes(attribute.String("object", object), attribute.String("reason", reason)))
	}
}

func (m *meter) ended(ctx context.Context, object string, s jobState) {
	m.jobs.Add(ctx, 1, metric.WithAttributes(attribute.String("object", object), attribute.String("state", string(s))))
}

func (m *meter) wait(ctx context.Context, reason string) {
	m.waits.Add(ctx, 1, metric.WithAttributes(attribute.String("reason", reason)))
}
