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
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
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
		"Anywhere":    policy(required, optionsv1.Recovery_RECOVERY_RECOVERABLE),
		"Reject":      policy(required, optionsv1.Recovery_RECOVERY_RECOVERABLE),
		"Successes":   policy(required, optionsv1.Recovery_RECOVERY_RECOVERABLE),
		"Permanent":   policy(required, optionsv1.Recovery_RECOVERY_RECOVERABLE),
		"Rich":        policy(required, optionsv1.Recovery_RECOVERY_RECOVERABLE),
	}
	change := func(name string, fn func(*optionsv1.IdempotencyPolicy)) {
		fn(proto.GetExtension(methods[name], optionsv1.E_Idempotency).(*optionsv1.IdempotencyPolicy))
	}
	change("Anywhere", func(p *optionsv1.IdempotencyPolicy) { p.InTransaction = true })
	change("Reject", func(p *optionsv1.IdempotencyPolicy) { p.InFlight = optionsv1.InFlight_IN_FLIGHT_REJECT })
	change("Successes", func(p *optionsv1.IdempotencyPolicy) { p.KeptOutcomes = optionsv1.KeptOutcomes_KEPT_OUTCOMES_SUCCESS })
	change("Permanent", func(p *optionsv1.IdempotencyPolicy) { p.Permanent, p.Retention = true, nil })
	change("Rich", func(p *optionsv1.IdempotencyPolicy) { p.FingerprintExclude = []string{"inner.text", "note"} })
	sd := &descriptorpb.ServiceDescriptorProto{Name: proto.String("TestService")}
	for name, o := range methods {
		sd.Method = append(sd.Method, &descriptorpb.MethodDescriptorProto{
			Name: proto.String(name), Options: o,
			InputType: proto.String(inputOf(name)), OutputType: proto.String(".google.protobuf.StringValue"),
		})
	}
	fd, err := protodesc.NewFile(&descriptorpb.FileDescriptorProto{
		Name: proto.String("selfsame/idempotenttest/v1/test.proto"), Package: proto.String("selfsame.idempotenttest.v1"),
		Syntax: proto.String("proto3"), Dependency: []string{"google/protobuf/wrappers.proto", "selfsame/options/v1/options.proto"},
		MessageType: []*descriptorpb.DescriptorProto{richType()},
		Service: []*descriptorpb.ServiceDescriptorProto{sd, {
			Name: proto.String("StreamService"), Method: []*descriptorpb.MethodDescriptorProto{{
				Name: proto.String("Stream"), Options: policy(required, optionsv1.Recovery_RECOVERY_MANUAL), ServerStreaming: proto.Bool(true),
				InputType: proto.String(".google.protobuf.StringValue"), OutputType: proto.String(".google.protobuf.StringValue"),
			}},
		}},
	}, protoregistry.GlobalFiles)
	if err != nil {
		return err
	}
	if err := protoregistry.GlobalFiles.RegisterFile(fd); err != nil {
		return err
	}
	return protoregistry.GlobalTypes.RegisterMessage(dynamicpb.NewMessageType(fd.Messages().ByName("Rich")))
})

func inputOf(name string) string {
	if name == "Rich" {
		return ".selfsame.idempotenttest.v1.Rich"
	}
	return ".google.protobuf.StringValue"
}

// richType is a message with one field of each kind that matters to fingerprints.
func richType() *descriptorpb.DescriptorProto {
	field := func(name string, n int32, kind descriptorpb.FieldDescriptorProto_Type) *descriptorpb.FieldDescriptorProto {
		return &descriptorpb.FieldDescriptorProto{
			Name: proto.String(name), JsonName: proto.String(name), Number: proto.Int32(n), Type: kind.Enum(), Label: descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum(),
		}
	}
	optional := field("optional", 2, descriptorpb.FieldDescriptorProto_TYPE_INT32)
	optional.Proto3Optional, optional.OneofIndex = proto.Bool(true), proto.Int32(0)
	ignored := field("client_time", 3, descriptorpb.FieldDescriptorProto_TYPE_STRING)
	ignored.Options = &descriptorpb.FieldOptions{}
	proto.SetExtension(ignored.Options, optionsv1.E_FingerprintIgnore, true)
	tags := field("tags", 5, descriptorpb.FieldDescriptorProto_TYPE_MESSAGE)
	tags.TypeName, tags.Label = proto.String(".selfsame.idempotenttest.v1.Rich.TagsEntry"), descriptorpb.FieldDescriptorProto_LABEL_REPEATED.Enum()
	inner := field("inner", 7, descriptorpb.FieldDescriptorProto_TYPE_MESSAGE)
	inner.TypeName = proto.String(".selfsame.idempotenttest.v1.Rich")
	return &descriptorpb.DescriptorProto{
		Name: proto.String("Rich"),
		Field: []*descriptorpb.FieldDescriptorProto{
			field("text", 1, descriptorpb.FieldDescriptorProto_TYPE_STRING), optional, ignored,
			field("note", 4, descriptorpb.FieldDescriptorProto_TYPE_STRING), tags,
			field("amount", 6, descriptorpb.FieldDescriptorProto_TYPE_DOUBLE), inner,
		},
		OneofDecl: []*descriptorpb.OneofDescriptorProto{{Name: proto.String("_optional")}},
		NestedType: []*descriptorpb.DescriptorProto{{
			Name: proto.String("TagsEntry"), Options: &descriptorpb.MessageOptions{MapEntry: proto.Bool(true)},
			Field: []*descriptorpb.FieldDescriptorProto{
				field("key", 1, descriptorpb.FieldDescriptorProto_TYPE_STRING), field("value", 2, descriptorpb.FieldDescriptorProto_TYPE_STRING),
			},
		}},
	}
}

// rich reads a request from JSON.
func rich(t testing.TB, text string) proto.Message {
	t.Helper()
	require.NoError(t, registerContract())
	mt, err := protoregistry.GlobalTypes.FindMessageByName("selfsame.idempotenttest.v1.Rich")
	require.NoError(t, err)
	m := mt.New().Interface()
	require.NoError(t, protojson.Unmarshal([]byte(text), m))
	return m
}

type handlerFunc func(ctx context.Context, req string) (string, error)

// world is a server with a handler that tests replace, and a client.
type world struct {
	t     *testing.T
	store idempotent.Store
	conn  *grpc.ClientConn

	mu      sync.Mutex
	handler handlerFunc
	gate    func(ctx context.Context, method string) error // what stands before: authorization, validation, limits
	runs    int
	srv     *grpc.Server
}

func (w *world) guard(g func(ctx context.Context, method string) error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.gate = g
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
	gate := func(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
		w.mu.Lock()
		g := w.gate
		w.mu.Unlock()
		if g != nil {
			if err := g(ctx, info.FullMethod); err != nil {
				return nil, err
			}
		}
		return next(ctx, req)
	}
	ln := bufconn.Listen(1 << 16)
	srv := grpc.NewServer(grpc.ChainUnaryInterceptor(fault.UnaryServer(nil), identify, gate, idempotent.UnaryServer(store, o)))
	w.srv = srv
	desc := grpc.ServiceDesc{ServiceName: service, HandlerType: (*any)(nil)}
	for _, name := range []string{"Recoverable", "Probe", "Manual", "Optional", "Natural", "Read", "Undeclared", "None", "Transaction", "Anywhere", "Reject", "Successes", "Permanent", "Rich"} {
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
		var in proto.Message = &wrapperspb.StringValue{}
		if name == "Rich" {
			in = rich(w.t, "{}")
		}
		if err := dec(in); err != nil {
			return nil, err
		}
		return ic(ctx, in, &grpc.UnaryServerInfo{Server: srv, FullMethod: method(name)}, func(ctx context.Context, req any) (any, error) {
			w.mu.Lock()
			w.runs++
			h := w.handler
			w.mu.Unlock()
			text := "rich"
			if v, ok := req.(*wrapperspb.StringValue); ok {
				text = v.GetValue()
			}
			out, err := h(ctx, text)
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
	return w.send(ctx, name, key, wrapperspb.String(req))
}

func (w *world) send(ctx context.Context, name, key string, req proto.Message, opts ...grpc.CallOption) reply {
	w.t.Helper()
	r, _ := w.exchange(ctx, name, key, req, opts...)
	return r
}

// exchange also returns the metadata of the answer: the header on success, the trailer on an error.
func (w *world) exchange(ctx context.Context, name, key string, req proto.Message, opts ...grpc.CallOption) (reply, metadata.MD) {
	w.t.Helper()
	if key != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, idempotent.Metadata, key)
	}
	var header, trailer metadata.MD
	out := &wrapperspb.StringValue{}
	err := w.conn.Invoke(ctx, method(name), req, out, append(opts, grpc.Header(&header), grpc.Trailer(&trailer))...)
	// A caller who has gone may have the header of a success whose message it did not wait for.
	if err != nil && ctx.Err() == nil && (len(header.Get(idempotent.StatusMetadata)) > 0 || len(header.Get("location")) > 0) {
		w.t.Error("a header on an error switches off the client's retries")
	}
	r := reply{out.GetValue(), strings.Join(append(header.Get(idempotent.StatusMetadata), trailer.Get(idempotent.StatusMetadata)...), ","), err}
	if err != nil {
		return r, trailer
	}
	return r, header
}

func (w *world) as(name string) context.Context {
	return metadata.AppendToOutgoingContext(w.t.Context(), "test-caller", name)
}
