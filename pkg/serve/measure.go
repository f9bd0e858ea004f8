package serve

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"go.opentelemetry.io/otel/attribute"
	otelcodes "go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/semconv/v1.43.0/rpcconv"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
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

// clientStats observes the attempts of a client's calls.
func clientStats(t *telemetry.Telemetry) (stats.Handler, error) {
	lean, err := clientMeasure(t)
	if err == nil && t.Recording {
		return &bySample{Handler: otelgrpc.NewClientHandler(instrument(t)...), lean: lean}, nil
	}
	return lean, err
}

func clientMeasure(t *telemetry.Telemetry) (*measure, error) {
	d, err := rpcconv.NewClientCallDuration(meterOf(t), callBounds())
	return &measure{
		client: true, recording: t.Recording, tracer: tracerOf(t), propagator: t.Propagator, duration: d.Inst(),
		failed: func(c codes.Code) bool { return c != codes.OK },
	}, err
}

// observed returns how the calls of a client are observed. For a stats.Handler, gRPC copies the metadata of each call three times; it is needed
// where gRPC repeats calls, because only it sees each attempt. Elsewhere the innermost interceptors see as much.
func observed(o ClientOptions) ([]grpc.DialOption, error) {
	if len(o.Services) > 0 {
		h, err := clientStats(o.Telemetry)
		return []grpc.DialOption{grpc.WithStatsHandler(h)}, err
	}
	m, err := clientMeasure(o.Telemetry)
	return []grpc.DialOption{grpc.WithChainUnaryInterceptor(m.unary), grpc.WithChainStreamInterceptor(m.stream)}, err
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
	recording  bool
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

// unary observes a call of a client.
func (m *measure) unary(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	ctx, done, observed := m.call(ctx, method)
	if observed {
		opts = append(slices.Clip(opts), grpc.Peer(&done.server))
	}
	err := invoke(ctx, method, req, reply, cc, opts...)
	if observed {
		done.end(err)
	}
	return err
}

// stream observes a stream of a client.
func (m *measure) stream(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, streamer grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	ctx, done, observed := m.call(ctx, method)
	if observed {
		opts = append(slices.Clip(opts), grpc.Peer(&done.server), grpc.OnFinish(done.end))
	}
	return streamer(ctx, desc, cc, method, opts...)
}

// outCall is a call of a client that is under way.
type outCall struct {
	of     *measure
	ctx    context.Context //nolint:containedctx // for the time of one call
	method string
	span   trace.Span // nil if the call has none of its own
	began  time.Time
	server peer.Peer
}

// call begins a call, and passes the ids of its trace on. It is false for one that is not observed.
func (m *measure) call(ctx context.Context, method string) (context.Context, *outCall, bool) {
	if infrastructure(method) {
		return m.inject(ctx), nil, false
	}
	c := &outCall{of: m, method: method, began: time.Now()}
	// As with attempts: nobody would ever see a span between in a trace that is not recorded.
	if in := trace.SpanContextFromContext(ctx); !in.IsValid() || m.recording && in.IsSampled() {
		ctx, c.span = m.tracer.Start(ctx, strings.TrimPrefix(method, "/"), trace.WithSpanKind(trace.SpanKindClient))
	}
	c.ctx = ctx
	return m.inject(ctx), c, true
}

func (c *outCall) end(err error) {
	what := series{method: c.method, code: status.Code(err)}
	if addr, ok := c.server.Addr.(*net.TCPAddr); ok {
		what.peer = addr.AddrPort()
	}
	if c.span != nil {
		if c.span.IsRecording() {
			c.span.SetAttributes(what.attributes()...)
			if s := status.Convert(err); err != nil {
				c.span.SetStatus(otelcodes.Error, s.Message())
			}
		}
		c.span.End()
	}
	c.of.duration.Record(c.ctx, time.Since(c.began).Seconds(), c.of.attributes(what))
}

func (m *measure) attributes(s series) metric.MeasurementOption {
	if o, ok := m.sets.Load(s); ok {
		return o.(metric.MeasurementOption) //nolint:forcetypeassert // holds nothing else
	}
	attrs := s.attributes()
	if m.failed(s.code) {
		attrs = append(attrs, semconv.ErrorTypeKey.String(canonical(s.code)))
	}
	o := metric.WithAttributeSet(attribute.NewSet(attrs...))
	if m.kept.Add(1) <= maxSeries {
		m.sets.Store(s, o)
	}
	return o
}

// attributes are those of a measurement and of a span.
func (s series) attributes() []attribute.KeyValue {
	attrs := []attribute.KeyValue{semconv.RPCSystemNameGRPC, semconv.RPCResponseStatusCode(canonical(s.code))}
	if name, ok := strings.CutPrefix(s.method, "/"); ok {
		attrs = append(attrs, semconv.RPCMethod(name))
	}
	if s.peer.IsValid() {
		attrs = append(attrs, semconv.ServerAddress(s.peer.Addr().Unmap().String()), semconv.ServerPort(int(s.peer.Port())))
	}
	return attrs
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
