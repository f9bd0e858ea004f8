package serve_test

import (
	"context"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/selfsame-io/selfsame/pkg/serve"
	"github.com/selfsame-io/selfsame/pkg/telemetry"
)

// Whether spans are recorded, and whether gRPC repeats calls, decides who measures them; what is measured must not depend on it.
func TestMeasure_WithAndWithoutSpans(t *testing.T) {
	t.Parallel()
	exporter := tracetest.NewInMemoryExporter()
	record := []telemetry.Option{telemetry.WithSpanExporter(exporter)}
	unsampled := telemetry.ContextWith(t.Context(), "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00")
	repeated := []protoreflect.ServiceDescriptor{healthpb.File_grpc_health_v1_health_proto.Services().Get(0)}
	var reference []string
	for _, c := range []struct {
		name     string
		options  []telemetry.Option
		ctx      context.Context //nolint:containedctx // a case
		services []protoreflect.ServiceDescriptor
		spans    int // of the client
	}{
		{"spans are recorded of each attempt", record, t.Context(), repeated, 17},
		{"spans are recorded of each call", record, t.Context(), nil, 17},
		{"nothing is recorded of attempts", nil, t.Context(), repeated, 0},
		{"nothing is recorded of calls", nil, t.Context(), nil, 0},
		{"this trace is not, of attempts", record, unsampled, repeated, 0},
		{"this trace is not, of calls", record, unsampled, nil, 0},
	} {
		tel, err := telemetry.Start(t.Context(), "test", telemetry.Config{LogLevel: "error"}, c.options...)
		require.NoError(t, err)
		require.Equal(t, c.options != nil, tel.Recording)
		exporter.Reset()
		series := callSeries(c.ctx, t, tel, c.services)
		if reference == nil {
			reference = series
		}
		require.Equal(t, reference, series, c.name)
		require.Len(t, slices.DeleteFunc(exporter.GetSpans(), func(s tracetest.SpanStub) bool { return s.SpanKind != trace.SpanKindClient }), c.spans, c.name)
		require.NoError(t, tel.Shutdown(t.Context()))
	}
}

// A span says the same whoever makes it.
func TestMeasure_Spans(t *testing.T) {
	t.Parallel()
	said := func(services ...protoreflect.ServiceDescriptor) []string {
		exporter := tracetest.NewInMemoryExporter()
		tel, err := telemetry.Start(t.Context(), "test", telemetry.Config{LogLevel: "error"}, telemetry.WithSpanExporter(exporter))
		require.NoError(t, err)
		r := start(t, serve.Service{Name: "test", Telemetry: tel, Register: impl{unary: func(context.Context) error {
			return status.Error(codes.Aborted, "as asked")
		}}.register(t)})
		conn := r.dial(serve.ClientOptions{Telemetry: tel, Services: services})
		require.Error(t, call(t.Context(), t, conn, "Write"))
		stream, err := healthpb.NewHealthClient(conn).Watch(t.Context(), &healthpb.HealthCheckRequest{})
		require.NoError(t, err)
		_, err = stream.Recv()
		require.NoError(t, err)
		unknown, err := conn.NewStream(t.Context(), &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, "/servetest.TestService/Nothing")
		require.NoError(t, err)
		require.Error(t, unknown.RecvMsg(&emptypb.Empty{}))
		var out []string
		require.Eventually(t, func() bool {
			out = nil
			for _, s := range exporter.GetSpans() {
				if s.SpanKind != trace.SpanKindClient {
					continue
				}
				line := s.Name + " " + s.Status.Code.String() + " " + s.Status.Description
				attributes := map[string]string{}
				for _, a := range s.Attributes {
					attributes[string(a.Key)] = a.Value.String()
				}
				delete(attributes, "server.port")
				for _, name := range slices.Sorted(maps.Keys(attributes)) {
					line += " " + name + "=" + attributes[name]
				}
				out = append(out, line)
			}
			return len(out) == 2
		}, time.Minute, 5*time.Millisecond)
		require.NoError(t, tel.Shutdown(t.Context()))
		return out
	}
	attempts := said(healthpb.File_grpc_health_v1_health_proto.Services().Get(0))
	require.Len(t, attempts, 2)
	require.Equal(t, attempts, said())
}

// callSeries makes calls of every kind and returns the series that measure them.
func callSeries(ctx context.Context, t *testing.T, tel *telemetry.Telemetry, services []protoreflect.ServiceDescriptor) []string {
	t.Helper()
	var answer error
	r := start(t, serve.Service{Name: "test", Telemetry: tel, Register: impl{unary: func(context.Context) error { return answer }}.register(t)})
	conn := r.dial(serve.ClientOptions{Telemetry: tel, Services: services})
	want := 0
	for c := codes.OK; c <= codes.Unauthenticated; c++ {
		answer = nil
		if c != codes.OK {
			answer = status.Error(c, "as asked")
		}
		require.Equal(t, c == codes.OK, call(ctx, t, conn, "Write") == nil)
		want++
	}
	// A method that nobody serves is not called here: grpc-go may answer it before its message is sent, and what its client then
	// tells a stats handler is that the call went well.
	_, err := healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{})
	require.NoError(t, err)
	found := map[string]bool{}
	port := regexp.MustCompile(`(server_port)="\d+"`)
	require.Eventually(t, func() bool { // the server counts a call after it has answered
		_, page := r.get("/metrics")
		clear(found)
		for line := range strings.Lines(page) {
			name, value, _ := strings.Cut(line, "} ")
			switch {
			case strings.HasPrefix(line, "# TYPE rpc_"), strings.HasPrefix(line, "# HELP rpc_"):
				found[line] = true
			case strings.HasPrefix(line, "rpc_") && strings.Contains(line, "_count{"):
				found[port.ReplaceAllString(name, `$1="0"`)+"} "+value] = true
			case strings.HasPrefix(line, "rpc_") && strings.Contains(line, "_bucket{"):
				found[port.ReplaceAllString(name, `$1="0"`)] = true
			}
		}
		n := 0
		for line := range found {
			if strings.HasPrefix(line, "rpc_server_call_duration_seconds_count{") {
				n++
			}
		}
		return n == want
	}, time.Minute, 5*time.Millisecond)
	return slices.Sorted(maps.Keys(found))
}

func TestMeasure_PassesIDsOn(t *testing.T) {
	t.Parallel()
	tel, err := telemetry.Start(t.Context(), "test", telemetry.Config{LogLevel: "error"})
	require.NoError(t, err)
	var seen trace.SpanContext
	var baggage string
	r := start(t, serve.Service{Name: "test", Telemetry: tel, Register: impl{unary: func(ctx context.Context) error {
		seen = trace.SpanContextFromContext(ctx)
		out := propagation.MapCarrier{}
		propagation.Baggage{}.Inject(ctx, out)
		baggage = out["baggage"]
		return nil
	}}.register(t)})
	conn := r.dial(serve.ClientOptions{Telemetry: tel})

	t.Run("a call outside any trace begins one", func(t *testing.T) {
		require.NoError(t, call(t.Context(), t, conn, "Read"))
		require.True(t, seen.IsValid())
		require.False(t, seen.IsSampled(), "but nothing of it is recorded")
	})
	t.Run("a call inside a trace continues it, with its baggage", func(t *testing.T) {
		const caller = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
		ctx := propagation.Baggage{}.Extract(telemetry.ContextWith(t.Context(), caller), propagation.MapCarrier{"baggage": "tenant=a"})
		require.NoError(t, call(ctx, t, conn, "Read"))
		require.Equal(t, "0af7651916cd43dd8448eb211c80319c", seen.TraceID().String())
		require.NotEqual(t, "b7ad6b7169203331", seen.SpanID().String(), "under an id of its own")
		require.False(t, seen.IsRemote())
		require.Equal(t, "tenant=a", baggage)
	})
	require.NoError(t, tel.Shutdown(t.Context()))
}
