package edge

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/semconv/v1.43.0/httpconv"
	"go.opentelemetry.io/otel/trace"

	"github.com/selfsame-io/selfsame/pkg/telemetry"
)

// measure does the part of otelhttp that the edge needs, with the same names: a span and three metrics for each request, by
// route. A span says nothing of path, query, address and agent: a path may hold anything a stranger types, a query holds
// filters over customers, and an address is personal data. What a span holds is worked out only when it is recorded, and
// the attributes of metrics once; otelhttp, which cannot be told to leave any of it out, costs a tenth of a read.
type measure struct {
	tel      *telemetry.Telemetry
	tracer   trace.Tracer
	duration metric.Float64Histogram
	received metric.Int64Histogram
	sent     metric.Int64Histogram

	sets sync.Map // answered → []metric.RecordOption
}

// ofServer is what spans begin with.
var ofServer = []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindServer)}

// answered is what a measurement is told apart by. All of it is bounded: the routes are the contract's, invented verbs are
// one, and a server speaks few protocols and statuses.
type answered struct {
	verb, route, proto string
	status             int
	secure             bool
}

func newMeasure(t *telemetry.Telemetry) (*measure, error) {
	meter := t.Meter.Meter(otelhttp.ScopeName, metric.WithInstrumentationVersion(otelhttp.Version))
	duration, err := httpconv.NewServerRequestDuration(meter,
		metric.WithExplicitBucketBoundaries(0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)) // as otelhttp has them
	received, receivedErr := httpconv.NewServerRequestBodySize(meter)
	sent, sentErr := httpconv.NewServerResponseBodySize(meter)
	tracer := t.Tracer.Tracer(otelhttp.ScopeName, trace.WithInstrumentationVersion(otelhttp.Version))
	return &measure{tel: t, tracer: tracer, duration: duration.Inst(), received: received.Inst(), sent: sent.Inst()}, errors.Join(err, receivedErr, sentErr)
}

// wrap measures what next answers.
func (m *measure) wrap(next func(*statusWriter, *http.Request)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		begin, verb := time.Now(), standardVerb(r.Method)
		route := routeName(r.Context())
		ctx, span := m.tracer.Start(m.begun(r), verb+" "+route, ofServer...)
		defer span.End()
		if route == unknownRoute {
			route = ""
		}
		r = r.WithContext(ctx)
		var body *counter
		if r.Body != nil && r.Body != http.NoBody {
			body = &counter{ReadCloser: r.Body}
			r.Body = body
		}
		s := &statusWriter{ResponseWriter: w}
		next(s, r)
		a := answered{verb: verb, route: route, proto: r.Proto, status: s.status, secure: r.TLS != nil}
		if a.status == 0 {
			a.status = http.StatusOK
		}
		o := m.attributes(a)
		if span.IsRecording() {
			span.SetAttributes(attributesOf(a)...)
			span.SetAttributes(attribute.String(keyRequestID, callOf(ctx).id))
			if a.status >= http.StatusInternalServerError {
				span.SetStatus(codes.Error, "")
			}
		}
		m.received.Record(ctx, body.count(), o...)
		m.sent.Record(ctx, s.bytes, o...)
		m.duration.Record(ctx, time.Since(begin).Seconds(), o...)
	})
}

func (m *measure) attributes(a answered) []metric.RecordOption {
	if o, ok := m.sets.Load(a); ok {
		return o.([]metric.RecordOption) //nolint:forcetypeassert // holds nothing else
	}
	o := []metric.RecordOption{metric.WithAttributeSet(attribute.NewSet(attributesOf(a)...))}
	m.sets.Store(a, o)
	return o
}

// attributesOf says what a request was, in the words of the conventions.
func attributesOf(a answered) []attribute.KeyValue {
	scheme := "http"
	if a.secure {
		scheme = "https"
	}
	attrs := []attribute.KeyValue{
		semconv.HTTPRequestMethodKey.String(a.verb), semconv.URLScheme(scheme), semconv.ServerAddress(serverName), semconv.HTTPResponseStatusCode(a.status),
	}
	if name, version, ok := strings.Cut(a.proto, "/"); ok {
		attrs = append(attrs, semconv.NetworkProtocolName(strings.ToLower(name)), semconv.NetworkProtocolVersion(version))
	}
	if a.route != "" {
		attrs = append(attrs, semconv.HTTPRoute(a.route))
	}
	return attrs
}

// standardVerb returns the verb as the conventions name it: an invented one is _OTHER.
func standardVerb(verb string) string {
	switch upper := strings.ToUpper(verb); upper {
	case http.MethodConnect, http.MethodDelete, http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodPatch, http.MethodPost,
		http.MethodPut, http.MethodTrace:
		return upper
	}
	return "_OTHER"
}

// counter counts what is read of a body.
type counter struct {
	io.ReadCloser
	n int64
}

func (c *counter) Read(b []byte) (int, error) {
	n, err := c.ReadCloser.Read(b)
	c.n += int64(n)
	return n, err
}

func (c *counter) count() int64 {
	if c == nil {
		return 0
	}
	return c.n
}

// begun returns a context that goes on with the trace that the client has begun. Only the two ids are taken: whether a trace is recorded is
// decided here, and its state would go, like baggage, to every service below.
func (m *measure) begun(r *http.Request) context.Context {
	text := r.Header.Get("Traceparent")
	if text == "" {
		return r.Context()
	}
	said := trace.SpanContextFromContext(propagation.TraceContext{}.Extract(context.Background(), propagation.MapCarrier{"traceparent": text}))
	if !said.IsValid() {
		return r.Context()
	}
	return trace.ContextWithRemoteSpanContext(r.Context(), trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: said.TraceID(), SpanID: said.SpanID(), TraceFlags: trace.TraceFlags(0).WithSampled(m.tel.Sampled()),
	}))
}
