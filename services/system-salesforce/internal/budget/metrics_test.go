package budget

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	sdk "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/selfsame-io/selfsame/pkg/priority"
)

func TestMetrics(t *testing.T) {
	t.Parallel()
	reader := sdk.NewManualReader()
	b := setup(t, exact(), 1_000)
	a, err := New(Options{
		Store: b.store, Config: b.store.cfg, Replica: "m", MaxConcurrent: 8, Now: b.org.clock, Meter: sdk.NewMeterProvider(sdk.WithReader(reader)),
	})
	require.NoError(t, err)
	a.blindTries = 1
	b.Accountant = a
	b.look()
	for range 4 {
		b.wait(slotLength)
		b.others(120)
		require.NoError(t, b.call(priority.Interactive))
		b.told()
	}
	b.others(100)
	require.NoError(t, b.call(priority.Interactive))
	b.told()
	require.Error(t, b.call(priority.Audit))
	b.foresee(t.Context())
	b.wait(poolIdle)
	b.due()
	b.told()

	var all metricdata.ResourceMetrics
	require.NoError(t, reader.Collect(t.Context(), &all))
	ints, floats := map[string]int64{}, map[string]float64{}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			switch d := m.Data.(type) {
			case metricdata.Gauge[int64]:
				for _, p := range d.DataPoints {
					ints[m.Name+label(p.Attributes)] = p.Value
				}
			case metricdata.Sum[int64]:
				for _, p := range d.DataPoints {
					ints[m.Name+label(p.Attributes)] += p.Value
				}
			case metricdata.Gauge[float64]:
				for _, p := range d.DataPoints {
					floats[m.Name] = p.Value
				}
			}
		}
	}
	require.EqualValues(t, 5, ints["selfsame.salesforce.budget.calls/interactive"])
	require.EqualValues(t, 1, ints["selfsame.salesforce.budget.refused/audit"])
	require.Zero(t, ints["selfsame.salesforce.budget.remaining/audit"])
	require.Positive(t, ints["selfsame.salesforce.budget.remaining/sync"])
	require.EqualValues(t, 586, ints["selfsame.salesforce.budget.estimate"])
	require.EqualValues(t, 8, ints["selfsame.salesforce.concurrency.limit"])
	require.Zero(t, ints["selfsame.salesforce.budget.closed/interactive"])
	require.Positive(t, floats["selfsame.salesforce.budget.exhaustion"])
	require.Less(t, floats["selfsame.salesforce.budget.exhaustion"], (4 * time.Hour).Seconds())
}

func label(set attribute.Set) string {
	if v, ok := set.Value("priority"); ok {
		return "/" + v.AsString()
	}
	return ""
}
