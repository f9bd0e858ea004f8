package processcustomer

import (
	"errors"
	"fmt"

	"go.opentelemetry.io/otel/metric"

	"github.com/selfsame-io/selfsame/pkg/telemetry"
)

// scope names the meter of this package.
const scope = "github.com/selfsame-io/selfsame/services/process-customer"

// gauges are numbers that are read together whenever somebody asks for them.
type gauges struct {
	what  string
	meter metric.Meter
	all   []metric.Observable
	errs  []error
}

func newGauges(tel *telemetry.Telemetry, what string) *gauges {
	return &gauges{what: what, meter: tel.Meter.Meter(scope)}
}

// count returns a gauge of whole things.
func (g *gauges) count(name, unit, help string) metric.Int64ObservableGauge {
	i, err := g.meter.Int64ObservableGauge(name, metric.WithUnit(unit), metric.WithDescription(help))
	g.all, g.errs = append(g.all, i), append(g.errs, err)
	return i
}

// level returns a gauge of anything else.
func (g *gauges) level(name, unit, help string) metric.Float64ObservableGauge {
	i, err := g.meter.Float64ObservableGauge(name, metric.WithUnit(unit), metric.WithDescription(help))
	g.all, g.errs = append(g.all, i), append(g.errs, err)
	return i
}

// read has the gauges read by fn.
func (g *gauges) read(fn metric.Callback) error {
	err := errors.Join(g.errs...)
	if err == nil {
		_, err = g.meter.RegisterCallback(fn, g.all...)
	}
	if err != nil {
		return fmt.Errorf("metrics of %s: %w", g.what, err)
	}
	return nil
}
