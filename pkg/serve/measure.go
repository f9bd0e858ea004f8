package serve

import (
	"context"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/semconv/v1.43.0/rpcconv"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"

	"github.com/selfsame-io/selfsame/pkg/telemetry"
)

// serverStats observes the calls of a server.
func serverStats(t *telemetry.Telemetry) stats.Handler {
	if t.Recording {
		return otelgrpc.NewServerHandler(instrument(t)...)
	}
	d, err := rpcconv.NewServerCallDuration(meterOf(t), callBounds())
	if err != nil { // a wrong name or unit, which these are not
		return otelgrpc.NewServerHandler(instrument(t)...)
	}
	return &measure{tracer: tracerOf(t), propagator: t.Propagator, duration: d.Inst(), failed: serverFailed}
}

// clientStats observes the calls of a client.
func clientStats(t *telemetry.Telemetry) stats.Handler {
	full := otelgrpc.NewClientHandler(instrument(t)...)
	d, err := rpcconv.NewClientCallDuration(meterOf(t), callBounds())
	if err != nil {
		return full
	}
	lean := &measure{
		client: true, tracer: tracerOf(t), propagator: t.Propagator, duration: d.Inst(), failed: func(c codes.Code) bool { return c != codes.OK },
	}
	if t.Recording {
		return &bySample{Handler: full, lean: lean}
	}
	return lean
}

// bySample instruments the calls of a recorded trace in full and those of one that is not as if none were recorded. A call
// without a trace begins one, and whether that is recorded is for its sampler to say.
type bySample struct {
	stats.Handler // otelgrpc

	lean *measure
}

// TagRPC implements stats.Handler.
func (b *bySample) TagRPC(ctx context.Context, info *stats.RPCTagInfo) context.Context {
	if in := trace.SpanContextFromContext(ctx); in.IsValid() && !in.IsSampled() && !infrastructure(info.FullMethodName) {
		return b.lean.TagRPC(ctx, info)
	}
	return b.Handler.TagRPC(ctx, info)
}

// HandleRPC implements stats.Handler.
func (b *bySample) HandleRPC(ctx context.Context, rs stats.RPCStats) {
	if _, ok := ctx.Value(measuredKey{}).(*measured); ok {
		b.lean.HandleRPC(ctx, rs)
		return
	}
	b.Handler.HandleRPC(ctx, rs)
}

func meterOf(t *telemetry.Telemetry) metric.Meter {
	return t.Meter.Meter(otelgrpc.ScopeName, metric.WithInstrumentationVersion(otelgrpc.Version), metric.WithSchemaURL(semconv.SchemaURL))
}

func tracerOf(t *telemetry.Telemetry) trace.Tracer {
	return t.Tracer.Tracer(otelgrpc.ScopeName, trace.WithInstrumentationVersion(otelgrpc.Version))
}

// callBounds are those of otelgrpc, in seconds.
func callBounds() metric.HistogramOption {
	return metric.WithExplicitBucketBoundaries(0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
}

// measure stands in for otelgrpc in a process that records no spans. It passes the ids of traces on and measures calls
// under the same names, at a fraction of the cost: otelgrpc copies the metadata, and makes the attributes of a span and
// of a measurement anew at each call, which was a tenth of a small read. Health and reflection calls are left out.
type measure struct {
	client     bool
	tracer     trace.Tracer
	propagator propagation.TextMapPropagator
	duration   metric.Float64Histogram
	failed     func(codes.Code) bool

	sets sync.Map // series → metric.MeasurementOption
	kept atomic.Int64
}

// maxSeries bounds the kept attribute sets: the name of a method comes from the client.
const maxSeries = 1000

// series is what a measurement is told apart by.
type series struct {
	method string
	code   codes.Code
	peer   netip.AddrPort // of a client's server
}

// measured is one call, from TagRPC to its end; a call's events come one after the other.
type measured struct {
	method string
	peer   netip.AddrPort
	span   trace.Span
}

type measuredKey struct{}

// TagConn implements stats.Handler.
func (*measure) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }

// HandleConn implements stats.Handler.
func (*measure) HandleConn(context.Context, stats.ConnStats) {}

// TagRPC implements stats.Handler.
func (m *measure) TagRPC(ctx context.Context, info *stats.RPCTagInfo) context.Context {
	if infrastructure(info.FullMethodName) {
		if m.client {
			return m.inject(ctx)
		}
		return m.propagator.Extract(ctx, incoming{ctx})
	}
	call := &measured{method: info.FullMethodName}
	kind := trace.SpanKindClient
	if !m.client {
		ctx, kind = m.propagator.Extract(ctx, incoming{ctx}), trace.SpanKindServer
	}
	// A client passes on the ids of the span that it is called in; nobody would ever see those of a span between.
	if !m.client || !trace.SpanContextFromContext(ctx).IsValid() {
		ctx, call.span = m.tracer.Start(ctx, strings.TrimPrefix(call.method, "/"), trace.WithSpanKind(kind))
	}
	ctx = context.WithValue(ctx, measuredKey{}, call)
	if m.client {
		return m.inject(ctx)
	}
	return ctx
}

// HandleRPC implements stats.Handler.
func (m *measure) HandleRPC(ctx context.Context, rs stats.RPCStats) {
	switch rs := rs.(type) {
	case *stats.OutHeader:
		if addr, ok := rs.RemoteAddr.(*net.TCPAddr); ok && m.client {
			if call, ok := ctx.Value(measuredKey{}).(*measured); ok {
				call.peer = addr.AddrPort()
			}
		}
	case *stats.End:
		call, ok := ctx.Value(measuredKey{}).(*measured)
		if !ok {
			return
		}
		if call.span != nil {
			call.span.End()
		}
		m.duration.Record(ctx, rs.EndTime.Sub(rs.BeginTime).Seconds(), m.attributes(series{call.method, status.Code(rs.Error), call.peer}))
	}
}

func (m *measure) attributes(s series) metric.MeasurementOption {
	if o, ok := m.sets.Load(s); ok {
		return o.(metric.MeasurementOption) //nolint:forcetypeassert // holds nothing else
	}
	code := canonical(s.code)
	attrs := []attribute.KeyValue{semconv.RPCSystemNameGRPC, semconv.RPCResponseStatusCode(code)}
	if name, ok := strings.CutPrefix(s.method, "/"); ok {
		attrs = append(attrs, semconv.RPCMethod(name))
	}
	if s.peer.IsValid() {
		attrs = append(attrs, semconv.ServerAddress(s.peer.Addr().Unmap().String()), semconv.ServerPort(int(s.peer.Port())))
	}
	if m.failed(s.code) {
		attrs = append(attrs, semconv.ErrorTypeKey.String(code))
	}
	o := metric.WithAttributeSet(attribute.NewSet(attrs...))
	if m.kept.Add(1) <= maxSeries {
		m.sets.Store(s, o)
	}
	return o
}

// serverFailed reports whether a code is the server's own failure.
func serverFailed(c codes.Code) bool {
	switch c {
	case codes.Unknown, codes.DeadlineExceeded, codes.Unimplemented, codes.Internal, codes.Unavailable, codes.DataLoss:
		return true
	default:
		return false
	}
}

// canonical returns a code as the conventions write it: NOT_FOUND.
func canonical(c codes.Code) string {
	if c == codes.Canceled {
		return "CANCELLED"
	}
	var b strings.Builder
	for i, r := range c.String() {
		if i > 0 && r >= 'A' && r <= 'Z' && c != codes.OK {
			b.WriteByte('_')
		}
		b.WriteRune(r)
	}
	if name := b.String(); !strings.HasPrefix(name, "Code(") {
		return strings.ToUpper(name)
	}
	return "CODE(" + strconv.FormatUint(uint64(c), 10) + ")"
}

// inject adds the ids to what is sent.
func (m *measure) inject(ctx context.Context) context.Context {
	var out outgoing
	m.propagator.Inject(ctx, &out)
	if len(out.pairs) == 0 {
		return ctx
	}
	return metadata.AppendToOutgoingContext(ctx, out.pairs...)
}

// outgoing collects what is to be sent.
type outgoing struct{ pairs []string }

// Get implements propagation.TextMapCarrier.
func (*outgoing) Get(string) string { return "" }

// Set implements propagation.TextMapCarrier.
func (o *outgoing) Set(key, value string) { o.pairs = append(o.pairs, key, value) }

// Keys implements propagation.TextMapCarrier.
func (*outgoing) Keys() []string { return nil }

// incoming reads what was received, without copying the rest.
type incoming struct{ ctx context.Context } //nolint:containedctx // for the time of one call

// Get implements propagation.TextMapCarrier.
func (i incoming) Get(key string) string {
	if v := metadata.ValueFromIncomingContext(i.ctx, key); len(v) > 0 {
		return v[0]
	}
	return ""
}

// Set implements propagation.TextMapCarrier.
func (incoming) Set(string, string) {}

// Keys implements propagation.TextMapCarrier; the propagators in use ask by name.
func (incoming) Keys() []string { return nil }
