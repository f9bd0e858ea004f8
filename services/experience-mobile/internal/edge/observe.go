package edge

import (
	"context"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/selfsame-io/selfsame/pkg/telemetry"
)

const (
	serverName   = "experience-mobile"
	unknownRoute = "unknown"
)

type originalKey struct{}

// observe measures the request.
func (e *edge) observe(next http.Handler) http.Handler {
	if e.o.Telemetry.Recording {
		return e.traced(next)
	}
	return e.measure.wrap(func(s *statusWriter, r *http.Request) { e.logged(next, s, r) })
}

// traced measures the request and makes a span of it. The instrumentation is shown a copy without path, query, address
// and agent: a path may hold anything a stranger types, a query holds filters over customers, and an address is personal
// data.
func (e *edge) traced(next http.Handler) http.Handler {
	inner := http.HandlerFunc(func(w http.ResponseWriter, seen *http.Request) {
		original, ok := seen.Context().Value(originalKey{}).(*http.Request)
		if !ok {
			original = seen
		}
		r := original.WithContext(seen.Context())
		r.Body = seen.Body
		trace.SpanFromContext(r.Context()).SetAttributes(attribute.String(keyRequestID, callOf(r.Context()).id))
		e.logged(next, &statusWriter{ResponseWriter: w}, r)
	})
	t := e.o.Telemetry
	measured := otelhttp.NewHandler(inner, serverName,
		otelhttp.WithTracerProvider(t.Tracer), otelhttp.WithMeterProvider(t.Meter), otelhttp.WithPropagators(t.Propagator),
		otelhttp.WithServerName(serverName),
		otelhttp.WithSpanNameFormatter(func(_ string, r *http.Request) string { return r.Pattern }))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		measured.ServeHTTP(w, blank(r))
	})
}

// blank returns the copy that the instrumentation may see.
func blank(r *http.Request) *http.Request {
	template := routeName(r.Context())
	seen := r.WithContext(context.WithValue(r.Context(), originalKey{}, r))
	seen.URL = &url.URL{Path: template}
	seen.Pattern = r.Method + " " + template
	seen.RemoteAddr, seen.Host, seen.RequestURI = "", serverName, ""
	seen.Header = http.Header{}
	for _, name := range []string{"Traceparent", "Tracestate"} {
		if v := r.Header.Values(name); len(v) > 0 {
			seen.Header[name] = v
		}
	}
	return seen
}

func routeName(ctx context.Context) string {
	if rt := callOf(ctx).route; rt != nil {
		return rt.template
	}
	return unknownRoute
}

// logged writes one line per request: at debug level, or as a warning when we failed.
func (e *edge) logged(next http.Handler, s *statusWriter, r *http.Request) {
	begin := time.Now()
	defer func() {
		level := slog.LevelDebug
		if s.status >= http.StatusInternalServerError {
			level = slog.LevelWarn
		}
		if !e.log.Enabled(r.Context(), level) {
			return
		}
		e.log.LogAttrs(r.Context(), level, "request answered",
			slog.String(keyRequestID, callOf(r.Context()).id),
			slog.String(telemetry.KeyMethod, verbName(r.Method)),
			slog.String("route", routeName(r.Context())),
			slog.Int("status", s.status),
			slog.String(telemetry.KeyReason, s.Header().Get("X-Error-Code")),
			slog.Int64("bytes", s.bytes),
			slog.Int64(telemetry.KeyDuration, time.Since(begin).Milliseconds()))
	}()
	next.ServeHTTP(s, r)
}

// verbName keeps invented methods out of the log.
func verbName(m string) string {
	switch m {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPatch, http.MethodPut, http.MethodDelete, http.MethodOptions:
		return m
	}
	return "OTHER"
}
