package bulk

import (
	"context"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/selfsame-io/selfsame/pkg/fault"
)

func TestALoadIsGoneOnWithOnlyForItsOwnRows(t *testing.T) {
	t.Parallel()
	row := func(key, name string) Row { return Row{Values: []any{name, "c", key}} }
	rows := []Row{row("a", "A"), row("b", "B"), row("", "nobody")}
	columns := []string{"LastName", "FirstName", "Selfsame_Id__c"}
	o := setup(t)
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	d := &dying{cancel: cancel}
	o.wire.set(func(int, *http.Request) error { return d.die() }, nil)
	_, err := o.client(dir).Upsert(ctx, leadSpec("x"), rowsOf(rows...), func(Outcome) error { return nil })
	require.Error(t, err)
	o.wire.set(nil, nil)

	other := leadSpec("x")
	other.Columns = columns
	for name, c := range map[string]struct {
		spec Spec
		rows []Row
	}{
		"another value":            {leadSpec("x"), []Row{row("a", "A"), row("b", "Z"), rows[2]}},
		"another key":              {leadSpec("x"), []Row{row("a", "A"), row("c", "B"), rows[2]}},
		"another order":            {leadSpec("x"), []Row{rows[1], rows[0], rows[2]}},
		"a row less":               {leadSpec("x"), rows[:2]},
		"a row more":               {leadSpec("x"), append(rows[:3:3], row("d", "D"))},
		"a row put right":          {leadSpec("x"), []Row{rows[0], rows[1], row("n", "nobody")}},
		"values of another column": {other, rows},
	} {
		// One after the other: a load runs once at a time.
		_, err := o.client(dir).Upsert(t.Context(), c.spec, rowsOf(c.rows...), func(out Outcome) error {
			t.Errorf("%s: an outcome of %s was told", name, out.Key)
			return nil
		})
		require.Equal(t, ReasonDiffers, fault.ReasonOf(err), name)
		require.Equal(t, fault.Precondition, fault.KindOf(err), name)
	}
	require.Zero(t, o.live("Lead"), "nothing was sent")
	var got outcomes
	sum, err := o.client(dir).Upsert(t.Context(), leadSpec("x"), rowsOf(rows...), got.sink)
	require.NoError(t, err, "the load was kept for its own rows")
	require.Equal(t, int64(2), sum.Created)
	require.Equal(t, 3, got.total)
}

func TestALoadThatIsGoneOnWithIsCountedOnce(t *testing.T) {
	t.Parallel()
	o := setup(t)
	dir := t.TempDir()
	reader := sdkmetric.NewManualReader()
	meter := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))
	option := func(opt *Options) { opt.Meter, opt.PartRows, opt.Jobs = meter, 40, 1 }
	ctx, cancel := context.WithCancel(t.Context())
	d := &dying{cancel: cancel}
	uploads := 0
	o.wire.set(func(_ int, r *http.Request) error {
		if r.Method == http.MethodPut {
			if uploads++; uploads == 2 {
				return d.die()
			}
		}
		return nil
	}, nil)
	_, err := o.client(dir, option).Upsert(ctx, leadSpec("x"), leads(100), func(Outcome) error { return nil })
	require.Error(t, err)
	counted := func() int64 {
		var all metricdata.ResourceMetrics
		require.NoError(t, reader.Collect(context.Background(), &all))
		sum := int64(0)
		for _, m := range all.ScopeMetrics[0].Metrics {
			if m.Name == "selfsame.salesforce.bulk.rows" {
				for _, p := range m.Data.(metricdata.Sum[int64]).DataPoints {
					sum += p.Value
				}
			}
		}
		return sum
	}
	require.Equal(t, int64(40), counted(), "the first part was settled")
	o.wire.set(nil, nil)
	_, err = o.client(dir, option).Upsert(t.Context(), leadSpec("x"), nil, func(Outcome) error { return nil })
	require.NoError(t, err)
	require.Equal(t, int64(100), counted())
}
