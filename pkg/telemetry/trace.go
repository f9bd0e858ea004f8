package telemetry

import (
	"context"
	"net/http"
	"net/url"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

const traceparent = "traceparent"

// Traceparent returns the W3C traceparent of the current span, to be stored in a row; "" without one.
func Traceparent(ctx context.Context) string {
	c := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, c)
	return c[traceparent]
}

// ContextWith returns ctx with the remote span of a stored traceparent as the current one, so that spans
// started from it continue that trace. Without a usable traceparent ctx is returned as it is.
func ContextWith(ctx context.Context, stored string) context.Context {
	if stored == "" {
		return ctx
	}
	return propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier{traceparent: stored})
}

// LinkTo returns a span link to a stored traceparent; false if it is empty or malformed. Batch work has many
// origins, so its spans link to them instead of continuing one.
func LinkTo(stored string) (trace.Link, bool) {
	sc := trace.SpanContextFromContext(ContextWith(context.Background(), stored))
	if !sc.IsValid() {
		return trace.Link{}, false
	}
	return trace.Link{SpanContext: sc}, true
}

// HTTPTransport returns a round tripper with one client span and the metric http.client.request.duration per
// request. Spans do not hold the query string: it holds filters over customers. A nil base means
// http.DefaultTransport.
func HTTPTransport(t *Telemetry, base http.RoundTripper) http.RoundTripper {
	if base == nil {
		base = http.DefaultTransport
	}
	return hideQuery{otelhttp.NewTransport(showQuery{base},
		otelhttp.WithTracerProvider(t.Tracer),
		otelhttp.WithMeterProvider(t.Meter),
		otelhttp.WithPropagators(t.Propagator),
		otelhttp.WithSpanNameFormatter(func(_ string, r *http.Request) string { return r.Method }),
	)}
}

type realURL struct{}

// hideQuery sits outside the instrumentation and lets it see the URL without query and user.
type hideQuery struct{ next http.RoundTripper }

func (h hideQuery) RoundTrip(r *http.Request) (*http.Response, error) {
	shown := *r.URL
	shown.RawQuery, shown.ForceQuery, shown.User, shown.Fragment = "", false, nil, ""
	hidden := r.WithContext(context.WithValue(r.Context(), realURL{}, r.URL))
	hidden.URL = &shown
	resp, err := h.next.RoundTrip(hidden)
	if resp != nil {
		resp.Request = r
	}
	return resp, err
}

// showQuery sits inside it and puts the real URL back.
type showQuery struct{ next http.RoundTripper }

func (s showQuery) RoundTrip(r *http.Request) (*http.Response, error) {
	if u, ok := r.Context().Value(realURL{}).(*url.URL); ok {
		r = r.WithContext(r.Context())
		r.URL = u
	}
	return s.next.RoundTrip(r)
}
