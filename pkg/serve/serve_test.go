package serve_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/selfsame-io/selfsame/pkg/caller"
	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/serve"
	"github.com/selfsame-io/selfsame/pkg/telemetry"
	"github.com/selfsame-io/selfsame/pkg/telemetry/telemetrytest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// contract is a service built at run time: Read is declared free of side effects, Write is not, Watch streams. Its
// request has a field "email" that must be an address.
var contract = sync.OnceValues(func() (protoreflect.FileDescriptor, error) {
	rules := &descriptorpb.FieldOptions{}
	proto.SetExtension(rules, validate.E_Field, &validate.FieldRules{Type: &validate.FieldRules_String_{String_: &validate.StringRules{
		WellKnown: &validate.StringRules_Email{Email: true},
	}}, Ignore: validate.Ignore_IGNORE_IF_ZERO_VALUE.Enum()})
	m := func(name string, o *descriptorpb.MethodOptions, stream bool) *descriptorpb.MethodDescriptorProto {
		return &descriptorpb.MethodDescriptorProto{
			Name: proto.String(name), Options: o, ServerStreaming: proto.Bool(stream),
			InputType: proto.String(".servetest.Request"), OutputType: proto.String(".google.protobuf.Empty"),
		}
	}
	return protodesc.NewFile(&descriptorpb.FileDescriptorProto{
		Name: proto.String("servetest.proto"), Package: proto.String("servetest"), Syntax: proto.String("proto3"),
		Dependency: []string{"google/protobuf/empty.proto", "buf/validate/validate.proto"},
		MessageType: []*descriptorpb.DescriptorProto{{Name: proto.String("Request"), Field: []*descriptorpb.FieldDescriptorProto{{
			Name: proto.String("email"), Number: proto.Int32(1), Options: rules,
			Type: descriptorpb.FieldDescriptorProto_TYPE_STRING.Enum(), Label: descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum(),
		}}}},
		Service: []*descriptorpb.ServiceDescriptorProto{{Name: proto.String("TestService"), Method: []*descriptorpb.MethodDescriptorProto{
			m("Read", &descriptorpb.MethodOptions{IdempotencyLevel: descriptorpb.MethodOptions_NO_SIDE_EFFECTS.Enum()}, false),
			m("Write", nil, false),
			m("Watch", nil, true),
		}}},
	}, protoregistry.GlobalFiles)
})

func request(t testing.TB, email string) *dynamicpb.Message {
	t.Helper()
	fd, err := contract()
	require.NoError(t, err)
	d := fd.Messages().ByName("Request")
	msg := dynamicpb.NewMessage(d)
	msg.Set(d.Fields().ByName("email"), protoreflect.ValueOfString(email))
	return msg
}

// impl implements the contract with functions.
type impl struct {
	unary  func(ctx context.Context) error
	stream func(ss grpc.ServerStream) error
}

func (i impl) register(t testing.TB) func(grpc.ServiceRegistrar) {
	unary := func(name string) grpc.MethodDesc {
		return grpc.MethodDesc{MethodName: name, Handler: func(srv any, ctx context.Context, dec func(any) error, ic grpc.UnaryServerInterceptor) (any, error) {
			in := request(t, "")
			if err := dec(in); err != nil {
				return nil, err
			}
			return ic(ctx, in, &grpc.UnaryServerInfo{Server: srv, FullMethod: "/servetest.TestService/" + name}, func(ctx context.Context, _ any) (any, error) {
				return &emptypb.Empty{}, i.unary(ctx)
			})
		}}
	}
	return func(r grpc.ServiceRegistrar) {
		r.RegisterService(&grpc.ServiceDesc{
			ServiceName: "servetest.TestService", HandlerType: (*any)(nil),
			Methods: []grpc.MethodDesc{unary("Read"), unary("Write")},
			Streams: []grpc.StreamDesc{{StreamName: "Watch", ServerStreams: true, Handler: func(_ any, ss grpc.ServerStream) error {
				if err := ss.RecvMsg(request(t, "")); err != nil {
					return err
				}
				return i.stream(ss)
			}}},
		}, i)
	}
}

// running is a service under test.
type running struct {
	t     *testing.T
	addrs serve.Addrs
	stop  context.CancelFunc
	done  chan error
	once  sync.Once
	err   error
}

func (r *running) wait() error {
	r.once.Do(func() { r.err = <-r.done })
	return r.err
}

func start(t *testing.T, s serve.Service) *running {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	if s.Telemetry == nil {
		s.Telemetry = telemetry.Discard()
	}
	if s.Config == (serve.Config{}) {
		s.Config = serve.DefaultConfig()
	}
	r := &running{t: t, stop: stop, done: make(chan error, 1)}
	started := make(chan serve.Addrs, 1)
	s.Started = func(a serve.Addrs) { started <- a }
	go func() { r.done <- serve.Run(ctx, s) }()
	select {
	case r.addrs = <-started:
	case err := <-r.done:
		require.FailNow(t, "did not start", "%v", err)
	}
	t.Cleanup(func() { stop(); _ = r.wait() })
	return r
}

func (r *running) dial(o serve.ClientOptions) *grpc.ClientConn {
	r.t.Helper()
	conn, err := serve.Dial(r.addrs.GRPC, o)
	require.NoError(r.t, err)
	r.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func (r *running) get(path string) (int, string) {
	r.t.Helper()
	tr := &http.Transport{}
	defer tr.CloseIdleConnections()
	resp, err := (&http.Client{Transport: tr}).Get("http://" + r.addrs.Ops + path)
	require.NoError(r.t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	require.NoError(r.t, err)
	return resp.StatusCode, string(b)
}

func call(ctx context.Context, t testing.TB, conn *grpc.ClientConn, name string, opts ...grpc.CallOption) error {
	t.Helper()
	return conn.Invoke(ctx, "/servetest.TestService/"+name, request(t, ""), &emptypb.Empty{}, opts...)
}

func ok(context.Context) error { return nil }

func TestRun_ServesAndStops(t *testing.T) {
	t.Parallel()
	var logs telemetrytest.Log
	tel, err := telemetry.Start(t.Context(), "test", telemetry.Config{}, telemetry.WithLogWriter(&logs))
	require.NoError(t, err)
	loopEnded := make(chan struct{})
	begun := time.Now()
	r := start(t, serve.Service{
		Name: "test", Telemetry: tel, Register: impl{unary: ok}.register(t),
		Loops: []serve.Loop{{Name: "loop", Run: func(ctx context.Context) error { <-ctx.Done(); close(loopEnded); return ctx.Err() }}},
		HTTP:  []serve.HTTP{{Name: "web", Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("hello")) })}},
	})
	conn := r.dial(serve.ClientOptions{Telemetry: tel})
	require.NoError(t, call(t.Context(), t, conn, "Read"))
	t.Logf("first answer after %v", time.Since(begun))

	code, body := r.get("/livez")
	require.Equal(t, 200, code, body)
	code, body = r.get("/readyz")
	require.Equal(t, 200, code, body)
	// The server counts a call after it has answered.
	for body = ""; !strings.Contains(body, `rpc_server_call_duration_seconds_count{`) && t.Context().Err() == nil; {
		_, body = r.get("/metrics")
	}
	require.Contains(t, body, `rpc_method="servetest.TestService/Read"`)
	require.NotContains(t, body, "grpc.health", "the noise of health checks is filtered")

	resp, err := http.Get("http://" + r.addrs.HTTP["web"] + "/") //nolint:noctx // test
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	http.DefaultClient.CloseIdleConnections()

	for _, name := range []string{"", "servetest.TestService"} {
		h, err := healthpb.NewHealthClient(conn).Check(t.Context(), &healthpb.HealthCheckRequest{Service: name})
		require.NoError(t, err)
		require.Equal(t, healthpb.HealthCheckResponse_SERVING, h.GetStatus())
	}
	r.stop()
	require.NoError(t, r.wait())
	<-loopEnded
	require.NoError(t, tel.Shutdown(t.Context()))
	require.Contains(t, logs.String(), `"msg":"stopped"`)
}

func TestRun_Readiness(t *testing.T) {
	t.Parallel()
	var open atomic.Bool
	r := start(t, serve.Service{Name: "test", Register: impl{unary: ok}.register(t), Checks: []serve.Check{
		{Name: "feed", Ready: func(context.Context) error {
			if !open.Load() {
				return errors.New("waiting for the first page")
			}
			return nil
		}},
		{Name: "store", Ready: func(context.Context) error { return nil }},
	}})
	require.Eventually(t, func() bool {
		code, body := r.get("/readyz")
		var page struct {
			Ready  bool
			Checks map[string]string
		}
		require.NoError(t, json.Unmarshal([]byte(body), &page))
		return code == 503 && !page.Ready && page.Checks["feed"] == "waiting for the first page" && page.Checks["store"] == "ok"
	}, 30*time.Second, 5*time.Millisecond)
	code, _ := r.get("/livez")
	require.Equal(t, 200, code, "a service that is not ready lives")
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	conn := r.dial(serve.ClientOptions{})
	require.Equal(t, fault.Timeout, fault.KindOf(call(ctx, t, conn, "Read")), "clients wait for a service that is not ready")
	open.Store(true)
	require.NoError(t, call(t.Context(), t, conn, "Read"))
	code, _ = r.get("/readyz")
	require.Equal(t, 200, code)
}

func TestRun_StopOrder(t *testing.T) {
	t.Parallel()
	var events telemetrytest.Log
	inCall, finish := make(chan struct{}), make(chan struct{})
	cfg := serve.DefaultConfig()
	cfg.DrainDelay, cfg.StopTimeout = 200*time.Millisecond, time.Minute
	var r *running
	r = start(t, serve.Service{
		Name: "test", Config: cfg,
		Register: impl{
			unary: func(context.Context) error { close(inCall); <-finish; fmt.Fprint(&events, "call;"); return nil },
			stream: func(ss grpc.ServerStream) error {
				if err := ss.SendMsg(&emptypb.Empty{}); err != nil {
					return err
				}
				<-ss.Context().Done()
				return ss.Context().Err()
			},
		}.register(t),
		Loops: []serve.Loop{{Name: "loop", Run: func(ctx context.Context) error {
			<-ctx.Done()
			code, _ := r.get("/readyz")
			fmt.Fprintf(&events, "loop after readyz %d;", code)
			close(finish)
			return ctx.Err()
		}}},
	})
	conn := r.dial(serve.ClientOptions{})
	stream, err := conn.NewStream(t.Context(), &grpc.StreamDesc{ServerStreams: true}, "/servetest.TestService/Watch", grpc.WaitForReady(true))
	require.NoError(t, err)
	require.NoError(t, stream.SendMsg(request(t, "")))
	require.NoError(t, stream.CloseSend())
	require.NoError(t, stream.RecvMsg(&emptypb.Empty{}))
	result := make(chan error, 1)
	ctx, body := t.Context(), request(t, "")
	go func() { result <- conn.Invoke(ctx, "/servetest.TestService/Write", body, &emptypb.Empty{}) }()
	<-inCall
	begun := time.Now()
	r.stop()
	err = stream.RecvMsg(&emptypb.Empty{})
	require.Equal(t, fault.ReasonShuttingDown, fault.ReasonOf(err), "a subscription ends when the service drains: %v", err)
	require.NoError(t, <-result, "a call in progress is finished")
	require.NoError(t, r.wait())
	require.GreaterOrEqual(t, time.Since(begun), cfg.DrainDelay)
	require.Less(t, time.Since(begun), cfg.StopTimeout)
	require.Equal(t, "loop after readyz 503;call;", events.String())
}

func TestRun_CutsOffWhatDoesNotEnd(t *testing.T) {
	t.Parallel()
	cfg := serve.DefaultConfig()
	cfg.StopTimeout = 100 * time.Millisecond
	inCall := make(chan struct{})
	r := start(t, serve.Service{Name: "test", Config: cfg, Register: impl{unary: func(ctx context.Context) error {
		close(inCall)
		<-ctx.Done()
		return ctx.Err()
	}}.register(t)})
	result := make(chan error, 1)
	conn := r.dial(serve.ClientOptions{})
	ctx, body := t.Context(), request(t, "")
	go func() { result <- conn.Invoke(ctx, "/servetest.TestService/Write", body, &emptypb.Empty{}) }()
	<-inCall
	r.stop()
	require.NoError(t, r.wait())
	require.Equal(t, fault.Unavailable, fault.KindOf(<-result))
}

func TestRun_Failures(t *testing.T) {
	t.Parallel()
	t.Run("the error of a loop ends the service", func(t *testing.T) {
		t.Parallel()
		boom := errors.New("boom")
		r := start(t, serve.Service{Name: "test", Loops: []serve.Loop{
			{Name: "bad", Run: func(context.Context) error { return boom }},
			{Name: "good", Run: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }},
			{Name: "short", Run: func(context.Context) error { return nil }},
		}})
		err := r.wait()
		require.ErrorIs(t, err, boom)
		require.ErrorContains(t, err, "serve test: loop bad")
	})
	t.Run("so does its panic", func(t *testing.T) {
		t.Parallel()
		r := start(t, serve.Service{Name: "test", Loops: []serve.Loop{{Name: "bad", Run: func(context.Context) error { panic("oops") }}}})
		require.ErrorContains(t, r.wait(), "loop bad: panic: oops")
	})
	t.Run("an address in use is an error before anything runs", func(t *testing.T) {
		t.Parallel()
		ln, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // test
		require.NoError(t, err)
		defer ln.Close()
		cfg := serve.DefaultConfig()
		cfg.Ops = ln.Addr().String()
		err = serve.Run(t.Context(), serve.Service{Name: "test", Config: cfg, Telemetry: telemetry.Discard(), Loops: []serve.Loop{
			{Name: "loop", Run: func(context.Context) error { t.Error("ran"); return nil }},
		}})
		require.ErrorContains(t, err, "ops: ")
	})
	t.Run("two services live in one process", func(t *testing.T) {
		t.Parallel()
		for range 2 {
			tel, err := telemetry.Start(t.Context(), "test", telemetry.Config{}, telemetry.WithLogWriter(io.Discard))
			require.NoError(t, err)
			r := start(t, serve.Service{Name: "test", Telemetry: tel, Register: impl{unary: ok}.register(t)})
			require.NoError(t, call(t.Context(), t, r.dial(serve.ClientOptions{}), "Read"))
		}
	})
}

func TestServer_Interceptors(t *testing.T) {
	t.Parallel()
	var seen struct {
		sync.Mutex
		caller   caller.Identity
		deadline time.Duration
	}
	var fail atomic.Pointer[func() error]
	r := start(t, serve.Service{Name: "test", Register: impl{
		unary: func(ctx context.Context) error {
			seen.Lock()
			defer seen.Unlock()
			seen.caller = caller.From(ctx)
			at, _ := ctx.Deadline()
			seen.deadline = time.Until(at)
			if f := fail.Load(); f != nil {
				return (*f)()
			}
			return nil
		},
		stream: func(grpc.ServerStream) error { panic("in a stream") },
	}.register(t)})
	conn := r.dial(serve.ClientOptions{CallerName: "mobile"})

	require.NoError(t, call(t.Context(), t, conn, "Write"))
	require.Equal(t, caller.Identity{Name: "mobile"}, seen.caller, "a name without a certificate is not verified")
	require.InDelta(t, 5*time.Second, seen.deadline, float64(5*time.Second), "a call never leaves without a deadline")

	bad := conn.Invoke(t.Context(), "/servetest.TestService/Write", request(t, "nobody"), &emptypb.Empty{})
	fe, isFault := fault.As(bad)
	require.True(t, isFault)
	require.Equal(t, fault.Invalid, fe.Kind)
	require.Equal(t, fault.ReasonValidationFailed, fe.Reason)
	require.Len(t, fe.Fields, 1)
	require.Equal(t, "email", fe.Fields[0].Path)
	require.Equal(t, "string.email", fe.Fields[0].Reason)
	require.NotContains(t, bad.Error(), "nobody", "the value is not repeated")

	panics := func() error { panic("secret") }
	fail.Store(&panics)
	err := call(t.Context(), t, conn, "Write")
	require.Equal(t, fault.ReasonPanic, fault.ReasonOf(err))
	require.NotContains(t, err.Error(), "secret")
	unknown := func() error { return errors.New("secret") }
	fail.Store(&unknown)
	err = call(t.Context(), t, conn, "Write")
	require.Equal(t, codes.Internal, status.Code(err))
	require.NotContains(t, err.Error(), "secret")
	fail.Store(nil)

	short, cancel := context.WithTimeout(t.Context(), 90*time.Millisecond)
	defer cancel()
	require.Equal(t, fault.Timeout, fault.KindOf(call(short, t, conn, "Write")))

	stream, err := conn.NewStream(t.Context(), &grpc.StreamDesc{ServerStreams: true}, "/servetest.TestService/Watch", grpc.WaitForReady(true))
	require.NoError(t, err)
	require.NoError(t, stream.SendMsg(request(t, "nobody")))
	require.NoError(t, stream.CloseSend())
	require.Equal(t, fault.Invalid, fault.KindOf(stream.RecvMsg(&emptypb.Empty{})), "streams are validated too")
	stream, err = conn.NewStream(t.Context(), &grpc.StreamDesc{ServerStreams: true}, "/servetest.TestService/Watch", grpc.WaitForReady(true))
	require.NoError(t, err)
	require.NoError(t, stream.SendMsg(request(t, "a@example.com")))
	require.NoError(t, stream.CloseSend())
	require.Equal(t, fault.ReasonPanic, fault.ReasonOf(stream.RecvMsg(&emptypb.Empty{})))
	require.NoError(t, call(t.Context(), t, conn, "Write"), "the process survives")
}

func TestDial_RepeatsOnlyWhatIsDeclaredIdempotent(t *testing.T) {
	t.Parallel()
	fd, err := contract()
	require.NoError(t, err)
	services := []protoreflect.ServiceDescriptor{fd.Services().ByName("TestService")}
	for name, tt := range map[string]struct {
		method   string
		services []protoreflect.ServiceDescriptor
		err      *fault.Error
		want     int64
		least    time.Duration
	}{
		"a read is tried three times":             {"Read", services, fault.New(fault.Unavailable, "", "x"), 3, 0},
		"a write once":                            {"Write", services, fault.New(fault.Unavailable, "", "x"), 1, 0},
		"without descriptors everything once":     {"Read", nil, fault.New(fault.Unavailable, "", "x"), 1, 0},
		"another failure once":                    {"Read", services, fault.New(fault.Conflict, "", "x"), 1, 0},
		"an uncertain outcome once":               {"Read", services, fault.New(fault.Uncertain, "", "x"), 1, 0},
		"the server's wait between tries is kept": {"Read", services, fault.New(fault.Unavailable, "", "x").WithRetryAfter(250 * time.Millisecond), 3, 500 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var calls atomic.Int64
			r := start(t, serve.Service{Name: "test", Register: impl{unary: func(context.Context) error { calls.Add(1); return tt.err }}.register(t)})
			begun := time.Now()
			err := call(t.Context(), t, r.dial(serve.ClientOptions{Services: tt.services}), tt.method)
			require.Equal(t, tt.err.Kind, fault.KindOf(err))
			require.Equal(t, tt.want, calls.Load())
			require.GreaterOrEqual(t, time.Since(begun), tt.least)
		})
	}
	t.Run("failing all the time uses up the right to repeat", func(t *testing.T) {
		t.Parallel()
		var calls atomic.Int64
		r := start(t, serve.Service{Name: "test", Register: impl{unary: func(context.Context) error {
			calls.Add(1)
			return fault.New(fault.Unavailable, "", "x").WithRetryAfter(time.Millisecond)
		}}.register(t)})
		conn := r.dial(serve.ClientOptions{Services: services})
		const n = 100
		for range n {
			require.Error(t, call(t.Context(), t, conn, "Read"))
		}
		require.Less(t, calls.Load(), int64(2*n), "three tries each without throttling would be %d", 3*n)
	})
}

func TestDial_LeavesTimeForTheWayHome(t *testing.T) {
	t.Parallel()
	var left atomic.Int64
	lower := start(t, serve.Service{Name: "lower", Register: impl{unary: func(ctx context.Context) error {
		at, _ := ctx.Deadline()
		left.Store(int64(time.Until(at)))
		return nil
	}}.register(t)})
	down := lower.dial(serve.ClientOptions{})
	var here atomic.Int64
	upper := start(t, serve.Service{Name: "upper", Register: impl{unary: func(ctx context.Context) error {
		at, _ := ctx.Deadline()
		here.Store(int64(time.Until(at)))
		return call(ctx, t, down, "Read")
	}}.register(t)})
	require.NoError(t, call(t.Context(), t, upper.dial(serve.ClientOptions{Timeout: 5 * time.Second}), "Read"))
	require.GreaterOrEqual(t, here.Load()-left.Load(), int64(20*time.Millisecond))
}

func TestDial_UserInterceptorsSeeFaultsAndMetadata(t *testing.T) {
	t.Parallel()
	r := start(t, serve.Service{Name: "test", Register: impl{unary: func(context.Context) error { return fault.New(fault.NotFound, "NOBODY", "x") }}.register(t)})
	var kind fault.Kind
	var name []string
	conn := r.dial(serve.ClientOptions{CallerName: "me", Unary: []grpc.UnaryClientInterceptor{
		func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
			md, _ := metadata.FromOutgoingContext(ctx)
			name = md.Get("selfsame-caller")
			err := invoke(ctx, method, req, reply, cc, opts...)
			kind = fault.KindOf(err)
			return err
		},
	}})
	require.Error(t, call(metadata.AppendToOutgoingContext(t.Context(), "selfsame-caller", "someone else"), t, conn, "Read"))
	require.Equal(t, fault.NotFound, kind)
	require.Equal(t, []string{"me"}, name)
}

func TestRun_StartsFast(t *testing.T) {
	t.Parallel()
	begun := time.Now()
	r := start(t, serve.Service{Name: "test", Register: impl{unary: ok}.register(t)})
	require.Eventually(t, func() bool { code, _ := r.get("/readyz"); return code == 200 }, 30*time.Second, time.Millisecond)
	t.Logf("ready after %v", time.Since(begun))
	require.False(t, strings.HasPrefix(r.addrs.GRPC, ":"))
}

func ExampleRun() {
	ctx, stop := context.WithCancel(context.Background())
	err := serve.Run(ctx, serve.Service{
		Name:      "example",
		Config:    serve.DefaultConfig(),
		Telemetry: telemetry.Discard(),
		Register:  func(grpc.ServiceRegistrar) { /* erpv1.RegisterErpServiceServer(r, impl) */ },
		Checks:    []serve.Check{{Name: "store", Ready: func(context.Context) error { return nil }}},
		Started:   func(serve.Addrs) { fmt.Println("started"); stop() },
	})
	fmt.Println(err)
	// Output:
	// started
	// <nil>
}
