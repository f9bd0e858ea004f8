package edge

import (
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/selfsame-io/selfsame/pkg/telemetry"
)

// Whether spans are recorded decides who measures requests; what is measured must not depend on it.
func TestMeasure(t *testing.T) {
	t.Parallel()
	pages := map[bool][]string{}
	for recording, options := range map[bool][]telemetry.Option{false: nil, true: {telemetry.WithSpanExporter(tracetest.NewInMemoryExporter())}} {
		tel, err := telemetry.Start(t.Context(), "test", telemetry.Config{LogLevel: "error"}, options...)
		require.NoError(t, err)
		require.Equal(t, recording, tel.Recording)
		h, err := New(Options{Telemetry: tel, Service: fixed{}, Tokens: anyone{}, Budget: 5 * time.Second, MaxBody: 1 << 20})
		require.NoError(t, err)
		for _, line := range []string{
			"GET /v1/customers/c_a?summary=true", "HEAD /v1/customers/c_a", "GET /nowhere", "BREW /v1/customers", "DELETE /v1/customers", "POST /v1/customers",
		} {
			verb, target, _ := strings.Cut(line, " ")
			r := httptest.NewRequestWithContext(t.Context(), verb, target, nil)
			if verb == "POST" {
				r = httptest.NewRequestWithContext(t.Context(), verb, target, strings.NewReader(`{"unknown": 1}`))
			}
			r.Header.Set("Authorization", "Bearer x")
			r.Header.Set("Content-Type", "application/json")
			h.ServeHTTP(httptest.NewRecorder(), r)
		}
		w := httptest.NewRecorder()
		tel.Metrics.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", "/metrics", nil))
		pages[recording] = requestSeries(w.Body.String())
		require.NoError(t, tel.Shutdown(t.Context()))
	}
	require.Len(t, slices.DeleteFunc(slices.Clone(pages[false]), func(line string) bool {
		return !strings.HasPrefix(line, "http_server_request_duration_seconds_count")
	}), 6)
	require.Equal(t, pages[true], pages[false])
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
