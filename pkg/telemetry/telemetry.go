package telemetry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	otelprom "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/metric"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/propagation"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/exemplar"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	tracenoop "go.opentelemetry.io/otel/trace/noop"
)

// Config is what an operator decides. The zero value logs JSON at info and exports no traces.
type Config struct {
	// LogLevel is debug, info, warn or error; empty means info.
	LogLevel string `conf:"log_level" help:"debug, info, warn or error"`
	// LogFormat is json or text; empty means json.
	LogFormat string `conf:"log_format" help:"json or text"`
	// OTLPEndpoint is the host:port of an OTLP gRPC collector; empty exports nothing.
	OTLPEndpoint string `conf:"otlp_endpoint" help:"host:port of an OTLP gRPC collector; empty exports no traces"`
	// OTLPInsecure sends traces without TLS.
	OTLPInsecure bool `conf:"otlp_insecure" help:"send traces without TLS"`
	// TraceSampleRatio is the share of new traces that is recorded, 0 to 1; zero means all, negative none.
	TraceSampleRatio float64 `conf:"trace_sample_ratio" help:"share of new traces to record; 0 means all, negative none"`
}

// DefaultConfig returns the configuration that the zero value stands for, spelled out.
func DefaultConfig() Config {
	return Config{LogLevel: "info", LogFormat: "json", TraceSampleRatio: 1}
}

// Validate checks the values that Start would refuse.
func (c Config) Validate() error {
	_, err := newLogger(io.Discard, "", "", c.LogLevel, c.LogFormat)
	if c.TraceSampleRatio > 1 {
		err = errors.Join(err, fmt.Errorf("trace_sample_ratio %v: more than 1", c.TraceSampleRatio))
	}
	return err
}

// Telemetry is what one service observes itself with. All fields are set and safe for concurrent use.
type Telemetry struct {
	// Log writes to standard error unless WithLogWriter says otherwise.
	Log *slog.Logger
	// Tracer makes spans.
	Tracer trace.TracerProvider
	// Recording is true when spans are recorded and exported. Otherwise they only carry ids, and whoever makes them for
	// each of many small calls may do with less.
	Recording bool
	// Meter makes instruments; their values show on Metrics.
	Meter metric.MeterProvider
	// Propagator carries W3C trace context and baggage.
	Propagator propagation.TextMapPropagator
	// Metrics serves this service's own registry in the Prometheus format.
	Metrics http.Handler

	share    float64 // of new traces that is recorded
	shutdown []func(context.Context) error
}

// Sampled decides whether a new trace is recorded, without looking at its id: for one that a stranger has begun, who may neither decide
// it nor choose an id for which it is decided.
func (t *Telemetry) Sampled() bool {
	return rand.Float64() < t.share //nolint:gosec // nothing secret depends on it
}

type options struct {
	logs     io.Writer
	exporter sdktrace.SpanExporter
	version  string
}

// Option changes how Start builds a Telemetry.
type Option func(*options)

// WithLogWriter sends the log to w.
func WithLogWriter(w io.Writer) Option { return func(o *options) { o.logs = w } }

// WithSpanExporter records all spans and exports each to e when it ends, for tests.
func WithSpanExporter(e sdktrace.SpanExporter) Option { return func(o *options) { o.exporter = e } }

// WithVersion adds the version of the service to logs, spans and metrics.
func WithVersion(v string) Option { return func(o *options) { o.version = v } }

// Start builds the telemetry of a service. It does not wait for a collector. The caller calls Shutdown.
func Start(ctx context.Context, service string, cfg Config, opts ...Option) (*Telemetry, error) {
	o := options{logs: os.Stderr}
	for _, opt := range opts {
		opt(&o)
	}
	log, err := newLogger(o.logs, service, o.version, cfg.LogLevel, cfg.LogFormat)
	if err != nil {
		return nil, fmt.Errorf("telemetry: %w", err)
	}
	attrs := []attribute.KeyValue{attribute.String("service.name", service)}
	if o.version != "" {
		attrs = append(attrs, attribute.String("service.version", o.version))
	}
	res := resource.NewSchemaless(attrs...)

	share := cfg.share(o)
	tracer, err := newTracer(ctx, cfg, o, share, res)
	if err != nil {
		return nil, fmt.Errorf("telemetry: traces: %w", err)
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	exporter, err := otelprom.New(otelprom.WithRegisterer(registry), otelprom.WithoutScopeInfo())
	if err != nil {
		return nil, errors.Join(fmt.Errorf("telemetry: metrics: %w", err), tracer.Shutdown(ctx))
	}
	recording := cfg.OTLPEndpoint != "" || o.exporter != nil
	measuring := []sdkmetric.Option{sdkmetric.WithReader(exporter), sdkmetric.WithResource(res)}
	if !recording {
		// No span is sampled, so no measurement has one to point at, and each need not look for it.
		measuring = append(measuring, sdkmetric.WithExemplarFilter(exemplar.AlwaysOffFilter))
	}
	meter := sdkmetric.NewMeterProvider(measuring...)
	return &Telemetry{
		Log: log, Tracer: tracer, Recording: recording, Meter: meter, Propagator: propagator(), share: share,
		Metrics:  promhttp.HandlerFor(registry, promhttp.HandlerOpts{EnableOpenMetrics: true, ErrorLog: errorLog{log}}),
		shutdown: []func(context.Context) error{tracer.Shutdown, meter.Shutdown},
	}, nil
}

func propagator() propagation.TextMapPropagator {
	return propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{})
}

// share returns which part of new traces is recorded.
func (c Config) share(o options) float64 {
	switch {
	case o.exporter != nil, c.OTLPEndpoint != "" && c.TraceSampleRatio == 0:
		return 1
	case c.OTLPEndpoint == "":
		return 0
	}
	return max(c.TraceSampleRatio, 0)
}

func newTracer(ctx context.Context, cfg Config, o options, share float64, res *resource.Resource) (*sdktrace.TracerProvider, error) {
	opts := []sdktrace.TracerProviderOption{sdktrace.WithResource(res)}
	sampler := sdktrace.NeverSample()
	if share > 0 {
		sampler = sdktrace.TraceIDRatioBased(share)
	}
	if o.exporter != nil {
		opts = append(opts, sdktrace.WithSyncer(o.exporter))
	}
	if cfg.OTLPEndpoint != "" {
		dial := []otlptracegrpc.Option{otlptracegrpc.WithEndpoint(cfg.OTLPEndpoint)}
		if cfg.OTLPInsecure {
			dial = append(dial, otlptracegrpc.WithInsecure())
		}
		exporter, err := otlptracegrpc.New(ctx, dial...)
		if err != nil {
			return nil, err
		}
		opts = append(opts, sdktrace.WithBatcher(exporter))
	}
	return sdktrace.NewTracerProvider(append(opts, sdktrace.WithSampler(sdktrace.ParentBased(sampler)))...), nil
}

// Shutdown sends what is still buffered and releases everything. It may be called more than once.
func (t *Telemetry) Shutdown(ctx context.Context) error {
	var errs []error
	for _, stop := range t.shutdown {
		errs = append(errs, stop(ctx))
	}
	t.shutdown = nil
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("telemetry shutdown: %w", err)
	}
	return nil
}

// Discard returns a Telemetry that keeps nothing, for tests and tools.
func Discard() *Telemetry {
	return &Telemetry{
		Log: slog.New(slog.DiscardHandler), Tracer: tracenoop.NewTracerProvider(),
		Meter: metricnoop.NewMeterProvider(), Propagator: propagator(), Metrics: http.NotFoundHandler(),
	}
}

// errorLog lets the metrics page report its errors to the log.
type errorLog struct{ log *slog.Logger }

func (l errorLog) Println(v ...any) {
	l.log.Warn("metrics page", slog.String(KeyError, fmt.Sprint(v...)))
}
