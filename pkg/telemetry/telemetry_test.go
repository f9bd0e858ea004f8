package telemetry_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/goleak"

	"github.com/selfsame-io/selfsame/pkg/telemetry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func setup(t *testing.T, cfg telemetry.Config) (*telemetry.Telemetry, *bytes.Buffer, *tracetest.InMemoryExporter) {
	t.Helper()
	logs, spans := &bytes.Buffer{}, tracetest.NewInMemoryExporter()
	tel, err := telemetry.Start(t.Context(), "test", cfg, telemetry.WithLogWriter(logs), telemetry.WithSpanExporter(spans), telemetry.WithVersion("v1"))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, tel.Shutdown(context.Background())) })
	return tel, logs, spans
}

func TestLog(t *testing.T) {
	t.Parallel()
	t.Run("a line knows its service and its trace", func(t *testing.T) {
		t.Parallel()
		tel, logs, _ := setup(t, telemetry.Config{})
		ctx, span := tel.Tracer.Tracer("t").Start(t.Context(), "s")
		defer span.End()
		tel.Log.With("a", 1).WithGroup("g").InfoContext(ctx, "hello", "b", 2)
		var line map[string]any
		require.NoError(t, json.Unmarshal(logs.Bytes(), &line))
		require.Equal(t, "test", line["service"])
		require.Contains(t, logs.String(), span.SpanContext().TraceID().String())
		require.Contains(t, logs.String(), span.SpanContext().SpanID().String())
	})
	t.Run("sensitive attributes are replaced wherever they are", func(t *testing.T) {
		t.Parallel()
		tel, logs, _ := setup(t, telemetry.Config{})
		const canary = "CANARY"
		tel.Log.With("email", canary).Info("m", "Phone-Number", canary, "access_token", canary, "Authorization", canary, "name", canary,
			slog.Group("customer", "first_name", canary, "id", "c-1"), "passwd", canary, "x", telemetry.Personal(canary),
			"idempotency_key", canary, slog.Any("client_secret", []string{canary}))
		require.NotContains(t, logs.String(), canary)
		require.Contains(t, logs.String(), `"id":"c-1"`)
		require.Contains(t, logs.String(), `"x":"[personal]"`)
		require.NotContains(t, fmt.Sprintf("%v %+v %#v %s", telemetry.Personal(canary), telemetry.Personal(canary), telemetry.Personal(canary), telemetry.Personal(canary)), canary)
	})
	t.Run("ordinary keys are not", func(t *testing.T) {
		t.Parallel()
		for _, k := range []string{telemetry.KeyService, telemetry.KeySystem, telemetry.KeyRecordID, telemetry.KeyCustomerID, telemetry.KeyLoop, telemetry.KeyMethod, telemetry.KeyTopic, "grpc", "ops"} {
			require.False(t, telemetry.Sensitive(k), k)
		}
	})
	t.Run("the level and the format are configured", func(t *testing.T) {
		t.Parallel()
		tel, logs, _ := setup(t, telemetry.Config{LogLevel: "warn", LogFormat: "text"})
		tel.Log.Info("not shown")
		tel.Log.Warn("shown")
		require.Equal(t, 1, strings.Count(logs.String(), "\n"))
		require.Contains(t, logs.String(), "msg=shown")
		require.Error(t, telemetry.Config{LogLevel: "loud"}.Validate())
		require.Error(t, telemetry.Config{LogFormat: "xml"}.Validate())
		require.NoError(t, telemetry.DefaultConfig().Validate())
	})
}

func TestStart_TouchesNothingGlobal(t *testing.T) {
	before := fmt.Sprintf("%p %p", otel.GetTracerProvider(), otel.GetMeterProvider())
	a, _, _ := setup(t, telemetry.Config{})
	b, _, _ := setup(t, telemetry.Config{})
	require.Equal(t, before, fmt.Sprintf("%p %p", otel.GetTracerProvider(), otel.GetMeterProvider()))
	count := func(tel *telemetry.Telemetry) string {
		rec := httptest.NewRecorder()
		tel.Metrics.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/metrics", nil))
		return rec.Body.String()
	}
	c, err := a.Meter.Meter("m").Int64Counter("selfsame.test.records")
	require.NoError(t, err)
	c.Add(t.Context(), 3)
	require.Contains(t, count(a), "selfsame_test_records_total 3")
	require.NotContains(t, count(b), "selfsame_test_records")
}

func TestStart_WithoutACollectorSpansHaveIDsButAreNotRecorded(t *testing.T) {
	t.Parallel()
	tel, err := telemetry.Start(t.Context(), "test", telemetry.Config{}, telemetry.WithLogWriter(io.Discard))
	require.NoError(t, err)
	ctx, span := tel.Tracer.Tracer("t").Start(t.Context(), "s")
	require.True(t, span.SpanContext().IsValid())
	require.False(t, span.IsRecording())
	require.NotEmpty(t, telemetry.Traceparent(ctx))
	require.NoError(t, tel.Shutdown(t.Context()))
	require.NoError(t, tel.Shutdown(t.Context()), "shutting down twice is harmless")
}

func TestTraceparent(t *testing.T) {
	t.Parallel()
	tel, _, _ := setup(t, telemetry.Config{})
	ctx, span := tel.Tracer.Tracer("t").Start(t.Context(), "origin")
	stored := telemetry.Traceparent(ctx)
	span.End()

	_, child := tel.Tracer.Tracer("t").Start(telemetry.ContextWith(t.Context(), stored), "later")
	require.Equal(t, span.SpanContext().TraceID(), child.SpanContext().TraceID())
	link, ok := telemetry.LinkTo(stored)
	require.True(t, ok)
	require.Equal(t, span.SpanContext().SpanID(), link.SpanContext.SpanID())

	require.Empty(t, telemetry.Traceparent(t.Context()))
	for _, bad := range []string{"", "x", "00-0-0-0"} {
		_, ok := telemetry.LinkTo(bad)
		require.False(t, ok)
		require.False(t, trace.SpanContextFromContext(telemetry.ContextWith(t.Context(), bad)).IsValid())
	}
}

func TestHTTPTransport(t *testing.T) {
	t.Parallel()
	var got string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r.URL.RawQuery + " " + r.Header.Get("traceparent")
		if r.URL.Path == "/old" {
			http.Redirect(w, r, "new?email=canary", http.StatusFound)
		}
	}))
	defer srv.Close()
	tel, _, spans := setup(t, telemetry.Config{})
	client := &http.Client{Transport: telemetry.HTTPTransport(tel, srv.Client().Transport)}
	resp, err := client.Get(srv.URL + "/old?q=canary") //nolint:noctx // test
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, "/new", resp.Request.URL.Path)
	require.True(t, strings.HasPrefix(got, "email=canary 00-"), "the server sees the query and the trace: %q", got)
	require.Len(t, spans.GetSpans(), 2)
	require.NotContains(t, fmt.Sprintf("%+v", spans.GetSpans()), "canary")
	rec := httptest.NewRecorder()
	tel.Metrics.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	require.Contains(t, rec.Body.String(), "http_client_request_duration_seconds")
	require.NotContains(t, rec.Body.String(), "canary")
}

func TestDiscard(t *testing.T) {
	t.Parallel()
	tel := telemetry.Discard()
	tel.Log.Info("x")
	_, span := tel.Tracer.Tracer("t").Start(t.Context(), "s")
	span.End()
	require.NoError(t, tel.Shutdown(t.Context()))
}

func ExamplePersonal() {
	var out bytes.Buffer
	tel, err := telemetry.Start(context.Background(), "example", telemetry.Config{LogFormat: "text"}, telemetry.WithLogWriter(&out))
	if err != nil {
		panic(err)
	}
	defer tel.Shutdown(context.Background())
	tel.Log.Info("customer changed", telemetry.KeyCustomerID, "c-42", "email", "ada@example.com", "greeting", telemetry.Personal("Dear Ada"))
	_, line, _ := strings.Cut(strings.TrimSpace(out.String()), "level=")
	fmt.Println(line)
	// Output: INFO msg="customer changed" service=example customer_id=c-42 email=[redacted] greeting=[personal]
}

// TestSampled: what is recorded of the traces of strangers is the same share as of one's own.
func TestSampled(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		config telemetry.Config
		least  int
		most   int
	}{
		"nothing is exported": {telemetry.Config{}, 0, 0},
		"all":                 {telemetry.Config{OTLPEndpoint: "127.0.0.1:1", OTLPInsecure: true}, 1000, 1000},
		"none":                {telemetry.Config{OTLPEndpoint: "127.0.0.1:1", OTLPInsecure: true, TraceSampleRatio: -1}, 0, 0},
		"some":                {telemetry.Config{OTLPEndpoint: "127.0.0.1:1", OTLPInsecure: true, TraceSampleRatio: 0.5}, 1, 999},
	} {
		tel, err := telemetry.Start(t.Context(), "test", c.config, telemetry.WithLogWriter(io.Discard))
		require.NoError(t, err, name)
		sampled := 0
		for range 1000 {
			if tel.Sampled() {
				sampled++
			}
		}
		require.GreaterOrEqual(t, sampled, c.least, name)
		require.LessOrEqual(t, sampled, c.most, name)
		require.NoError(t, tel.Shutdown(t.Context()), name)
	}
	require.False(t, telemetry.Discard().Sampled())
}
