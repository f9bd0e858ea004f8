package bulk

import (
	"testing"

	"github.com/stretchr/testify/require"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
)

func TestLoadsAreCounted(t *testing.T) {
	t.Parallel()
	o := setup(t)
	// The first transaction of 200 rows stays locked to the end for 3 of them.
	o.faults(`{"rules":[{"effect":"lock_row","object":"Lead","count":1803}]}`)
	reader := sdkmetric.NewManualReader()
	meter := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))
	c := o.client(t.TempDir(), func(opt *Options) { opt.Meter = meter })
	_, err := c.Upsert(t.Context(), leadSpec(""), func() func() (Row, error) {
		next, extra := leads(200), rowsOf(Row{Values: []any{"n", "c", ""}}, Row{Values: []any{nil, "c", "k"}})
		return func() (Row, error) {
			if r, err := next(); err == nil {
				return r, nil
			}
			return extra()
		}
	}(), func(Outcome) error { return nil })
	require.NoError(t, err)

	var all metricdata.ResourceMetrics
	require.NoError(t, reader.Collect(t.Context(), &all))
	got := map[string]int64{}
	for _, m := range all.ScopeMetrics[0].Metrics {
		for _, p := range m.Data.(metricdata.Sum[int64]).DataPoints {
			name := m.Name
			for _, key := range []string{"outcome", "reason", "state"} {
				for _, a := range p.Attributes.ToSlice() {
					if string(a.Key) == key {
						name += " " + a.Value.AsString()
					}
				}
			}
			got[name] += p.Value
		}
	}
	require.Equal(t, map[string]int64{
		"selfsame.salesforce.bulk.rows succeeded": 200, "selfsame.salesforce.bulk.rows failed": 1, "selfsame.salesforce.bulk.rows refused": 1,
		"selfsame.salesforce.bulk.resent RECORD_LOCKED": 3, "selfsame.salesforce.bulk.jobs JobComplete": 2,
	}, got)
}
