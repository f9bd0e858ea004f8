package edge

import (
	"context"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/selfsame-io/selfsame/pkg/telemetry"
)

// What is measured is what otelhttp measures of the same requests, whether spans are recorded or not.
func TestMeasure(t *testing.T) {
	t.Parallel()
	for name, options := range map[string][]telemetry.Option{"spans are not recorded": nil, "spans are recorded": {telemetry.WithSpanExporter(tracetest.NewInMemoryExporter())}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ours, theirs := start(t, options...), start(t)
			h, err := New(Options{Telemetry: ours, Service: fixed{}, Tokens: anyone{}, Budget: 5 * time.Second, MaxBody: 1 << 20})
			require.NoError(t, err)
			for _, line := range []string{
				"GET /v1/customers/c_a?summary=true", "HEAD /v1/customers/c_a", "GET /nowhere", "BREW /v1/customers", "DELETE /v1/customers", "POST /v1/customers",
			} {
				verb, target, _ := strings.Cut(line, " ")
				request := func() *http.Request {
					r := httptest.NewRequestWithContext(t.Context(), verb, target, nil)
					if verb == "POST" {
						r = httptest.NewRequestWithContext(t.Context(), verb, target, strings.NewReader(`{"unknown": 1}`))
					}
					r.Header.Set("Authorization", "Bearer x")
					r.Header.Set("Content-Type", "application/json")
					return r
				}
				got := httptest.NewRecorder()
				h.ServeHTTP(got, request())
				reference(theirs, got).ServeHTTP(httptest.NewRecorder(), seenAs(request()))
			}
			lines := series(t, ours)
			require.Len(t, slices.DeleteFunc(slices.Clone(lines), func(line string) bool {
				return !strings.HasPrefix(line, "http_server_request_duration_seconds_count")
			}), 6)
			require.Equal(t, series(t, theirs), lines)
		})
	}
}

func start(t *testing.T, options ...telemetry.Option) *telemetry.Telemetry {
	t.Helper()
	tel, err := telemetry.Start(t.Context(), "test", telemetry.Config{LogLevel: "error"}, options...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, tel.Shutdown(context.WithoutCancel(t.Context()))) })
	return tel
}

// reference gives an answer that was given before, and has otelhttp measure it.
func reference(tel *telemetry.Telemetry, answer *httptest.ResponseRecorder) http.Handler {
	inner := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(answer.Code)
		_, _ = w.Write(answer.Body.Bytes())
	})
	return otelhttp.NewHandler(inner, serverName, otelhttp.WithTracerProvider(tel.Tracer), otelhttp.WithMeterProvider(tel.Meter),
		otelhttp.WithPropagators(tel.Propagator), otelhttp.WithServerName(serverName))
}

// seenAs shows otelhttp the route of a request in the place of its path; one that is refused for its method has none.
func seenAs(r *http.Request) *http.Request {
	if path := r.URL.Path; strings.HasPrefix(path, "/v1/") && r.Method != "BREW" && r.Method != "DELETE" {
		r.Pattern = r.Method + " " + strings.Replace(path, "c_a", "{customer_id}", 1)
	}
	r.Host = serverName
	return r
}

func series(t *testing.T, tel *telemetry.Telemetry) []string {
	t.Helper()
	w := httptest.NewRecorder()
	tel.Metrics.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", "/metrics", nil))
	return requestSeries(w.Body.String())
}

// requestSeries returns the series of requests, with the values of those that are no time.
func requestSeries(page string) []string {
	found := map[string]bool{}
	took := regexp.MustCompile(`^(http_server_request_duration_seconds_(?:bucket|sum)\{.*\}) .*`)
	for line := range strings.Lines(page) {
		if strings.Contains(line, "http_server_") {
			found[took.ReplaceAllString(strings.TrimSpace(line), "$1")] = true
		}
	}
	return slices.Sorted(maps.Keys(found))
}

func TestMeasure_PassesIDsOn(t *testing.T) {
	t.Parallel()
	tel, err := telemetry.Start(t.Context(), "test", telemetry.Config{LogLevel: "error"})
	require.NoError(t, err)
	m, err := newMeasure(tel)
	require.NoError(t, err)
	var seen trace.SpanContext
	h := m.wrap(func(_ *statusWriter, r *http.Request) { seen = trace.SpanContextFromContext(r.Context()) })
	r := httptest.NewRequestWithContext(t.Context(), "GET", "/", nil)
	h.ServeHTTP(httptest.NewRecorder(), r)
	require.True(t, seen.IsValid(), "a request begins a trace")
	r.Header.Set("Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00")
	h.ServeHTTP(httptest.NewRecorder(), r)
	require.Equal(t, "0af7651916cd43dd8448eb211c80319c", seen.TraceID().String(), "or continues the client's")
	require.NotEqual(t, "b7ad6b7169203331", seen.SpanID().String())
	require.NoError(t, tel.Shutdown(t.Context()))
}

// TestMeasure_DecidesItself sends what a phone may say of its trace: two ids are taken of it and nothing else.
func TestMeasure_DecidesItself(t *testing.T) {
	t.Parallel()
	for name, recorded := range map[string]bool{"all are recorded": true, "none is recorded": false} {
		var options []telemetry.Option
		if recorded {
			options = append(options, telemetry.WithSpanExporter(tracetest.NewInMemoryExporter()))
		}
		m, err := newMeasure(start(t, options...))
		require.NoError(t, err)
		for _, flags := range []string{"00", "01", "03"} {
			t.Run(name+", "+flags, func(t *testing.T) {
				t.Parallel()
				var seen trace.SpanContext
				h := m.wrap(func(_ *statusWriter, r *http.Request) { seen = trace.SpanContextFromContext(r.Context()) })
				r := httptest.NewRequestWithContext(t.Context(), "GET", "/", nil)
				r.Header.Set("Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-"+flags)
				r.Header.Set("Tracestate", "canary=planted")
				h.ServeHTTP(httptest.NewRecorder(), r)
				require.Equal(t, "0af7651916cd43dd8448eb211c80319c", seen.TraceID().String())
				require.Equal(t, recorded, seen.IsSampled())
				require.Zero(t, seen.TraceState().Len())
			})
		}
	}
}
