package idempotent_test

import (
	"context"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/selfsame-io/selfsame/pkg/caller"
	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/idempotent"
	optionsv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/options/v1"
)

// The contract of the tests: a service whose methods take and return a StringValue, one per policy.
const service = "selfsame.idempotenttest.v1.TestService"

func method(name string) string { return "/" + service + "/" + name }

var registerContract = sync.OnceValue(func() error {
	policy := func(k optionsv1.KeyRequirement, r optionsv1.Recovery) *descriptorpb.MethodOptions {
		o := &descriptorpb.MethodOptions{}
		proto.SetExtension(o, optionsv1.E_Idempotency, &optionsv1.IdempotencyPolicy{Key: k, Recovery: r, Retention: durationpb.New(1 << 40)})
		return o
	}
	required := optionsv1.KeyRequirement_KEY_REQUIREMENT_REQUIRED
	methods := map[string]*descriptorpb.MethodOptions{
		"Recoverable": policy(required, optionsv1.Recovery_RECOVERY_RECOVERABLE),
		"Probe":       policy(required, optionsv1.Recovery_RECOVERY_PROBE),
		"Manual":      policy(required, optionsv1.Recovery_RECOVERY_MANUAL),
		"Optional":    policy(optionsv1.KeyRequirement_KEY_REQUIREMENT_OPTIONAL, optionsv1.Recovery_RECOVERY_RECOVERABLE),
		"Natural":     policy(optionsv1.KeyRequirement_KEY_REQUIREMENT_NATURAL, optionsv1.Recovery_RECOVERY_RECOVERABLE),
		"Read":        {IdempotencyLevel: descriptorpb.MethodOptions_NO_SIDE_EFFECTS.Enum()},
		"Undeclared":  nil,
		"None":        policy(optionsv1.KeyRequirement_KEY_REQUIREMENT_NONE, optionsv1.Recovery_RECOVERY_UNSPECIFIED),
		"Transaction": policy(required, optionsv1.Recovery_RECOVERY_TRANSACTIONAL),
	}
	sd := &descriptorpb.ServiceDescriptorProto{Name: proto.String("TestService")}
	for name, o := range methods {
		sd.Method = append(sd.Method, &descriptorpb.MethodDescriptorProto{
			Name: proto.String(name), Options: o,
			InputType: proto.String(".google.protobuf.StringValue"), OutputType: proto.String(".google.protobuf.StringValue"),
		})
	}
	fd, err := protodesc.NewFile(&descriptorpb.FileDescriptorProto{
		Name: proto.String("selfsame/idempotenttest/v1/test.proto"), Package: proto.String("selfsame.idempotenttest.v1"),
		Syntax: proto.String("proto3"), Dependency: []string{"google/protobuf/wrappers.proto"},
		Service: []*descriptorpb.ServiceDescriptorProto{sd},
	}, protoregistry.GlobalFiles)
	if err != nil {
		return err
	}
	return protoregistry.GlobalFiles.RegisterFile(fd)
})

type handlerFunc func(ctx context.Context, req string) (string, error)

// world is a server with a handler that tests replace, and a client.
type world struct {
	t     *testing.T
	store idempotent.Store
	conn  *grpc.ClientConn

	mu      sync.Mutex
	handler handlerFunc
	runs    int
}

func (w *world) handle(h handlerFunc) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.handler = h
}

func (w *world) executions() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.runs
}

func newWorld(t *testing.T, store idempotent.Store, o idempotent.Options) *world {
	t.Helper()
	require.NoError(t, registerContract())
	w := &world{t: t, store: store, handler: func(_ context.Context, req string) (string, error) { return "did " + req, nil }}
	identify := func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
		if v := metadata.ValueFromIncomingContext(ctx, "test-caller"); len(v) == 1 {
			ctx = caller.With(ctx, caller.Identity{Name: v[0], Verified: true})
		}
		return next(ctx, req)
	}
	ln := bufconn.Listen(1 << 16)
	srv := grpc.NewServer(grpc.ChainUnaryInterceptor(fault.UnaryServer(nil), identify, idempotent.UnaryServer(store, o)))
	desc := grpc.ServiceDesc{ServiceName: service, HandlerType: (*any)(nil)}
	for _, name := range []string{"Recoverable", "Probe", "Manual", "Optional", "Natural", "Read", "Undeclared", "None", "Transaction"} {
		desc.Methods = append(desc.Methods, grpc.MethodDesc{MethodName: name, Handler: w.dispatch(name)})
	}
	srv.RegisterService(&desc, w)
	done := make(chan error, 1)
	go func() { done <- srv.Serve(ln) }()
	conn, err := grpc.NewClient("passthrough:///x", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return ln.DialContext(ctx) }),
		grpc.WithUnaryInterceptor(fault.UnaryClient()))
	require.NoError(t, err)
	w.conn = conn
	t.Cleanup(func() { require.NoError(t, conn.Close()); srv.GracefulStop(); require.NoError(t, <-done) })
	return w
}

func (w *world) dispatch(name string) func(any, context.Context, func(any) error, grpc.UnaryServerInterceptor) (any, error) {
	return func(srv any, ctx context.Context, dec func(any) error, ic grpc.UnaryServerInterceptor) (any, error) {
		in := &wrapperspb.StringValue{}
		if err := dec(in); err != nil {
			return nil, err
		}
		return ic(ctx, in, &grpc.UnaryServerInfo{Server: srv, FullMethod: method(name)}, func(ctx context.Context, req any) (any, error) {
			w.mu.Lock()
			w.runs++
			h := w.handler
			w.mu.Unlock()
			out, err := h(ctx, req.(*wrapperspb.StringValue).GetValue())
			if err != nil {
				return nil, err
			}
			return wrapperspb.String(out), nil
		})
	}
}

// reply is what a call came back with.
type reply struct {
	text   string
	status string // idempotency-status, from the header on success, from the trailer on an error
	err    error
}

func (w *world) call(ctx context.Context, name, key, req string) reply {
	w.t.Helper()
	if key != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, idempotent.Metadata, key)
	}
	var header, trailer metadata.MD
	out := &wrapperspb.StringValue{}
	err := w.conn.Invoke(ctx, method(name), wrapperspb.String(req), out, grpc.Header(&header), grpc.Trailer(&trailer))
	if err != nil && len(header.Get(idempotent.StatusMetadata)) > 0 {
		w.t.Error("a header on an error switches off the client's retries")
	}
	return reply{out.GetValue(), strings.Join(append(header.Get(idempotent.StatusMetadata), trailer.Get(idempotent.StatusMetadata)...), ","), err}
}

func (w *world) as(name string) context.Context {
	return metadata.AppendToOutgoingContext(w.t.Context(), "test-caller", name)
}
