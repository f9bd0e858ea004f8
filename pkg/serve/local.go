package serve

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/selfsame-io/selfsame/pkg/telemetry"
)

// Local is a connection to services in the same process, without a socket: a call runs on the caller's goroutine, behind
// the interceptors that [Run] would put before it, in the same order. Metadata, deadline and status are as on the wire.
// It makes no spans and measures nothing: it is a call of a function, and whoever calls is measured already.
//
// It serves unary methods only. It is safe for concurrent use and needs no closing.
type Local struct {
	methods map[string]localMethod
	chain   grpc.UnaryServerInterceptor
}

type localMethod struct {
	desc grpc.MethodDesc
	impl any
}

// NewLocal returns a connection to what s registers. Of s it uses Register, Unary, Telemetry and Config.RequestTimeout.
func NewLocal(s Service) (*Local, error) {
	if s.Register == nil {
		return nil, errors.New("serve: a local service registers nothing")
	}
	if s.Telemetry == nil {
		s.Telemetry = telemetry.Discard()
	}
	if s.Config.RequestTimeout <= 0 {
		s.Config.RequestTimeout = DefaultConfig().RequestTimeout
	}
	l := &Local{methods: map[string]localMethod{}, chain: chained(unaryChain(s))}
	s.Register(l)
	return l, nil
}

// RegisterService implements grpc.ServiceRegistrar.
func (l *Local) RegisterService(desc *grpc.ServiceDesc, impl any) {
	for _, m := range desc.Methods {
		l.methods["/"+desc.ServiceName+"/"+m.MethodName] = localMethod{m, impl}
	}
}

// Invoke implements grpc.ClientConnInterface. What messages and metadata hold is handed over in both directions and not copied: after the call the caller
// does not change what its request holds, nor the handler what its answer holds. Of the call options it obeys grpc.Header and grpc.Trailer.
func (l *Local) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	m, ok := l.methods[method]
	if !ok {
		return status.Error(codes.Unimplemented, "no such method")
	}
	if err := ctx.Err(); err != nil {
		return status.FromContextError(err).Err()
	}
	sent, _ := metadata.FromOutgoingContext(ctx)
	// What the caller sends arrives, and nothing of it goes further by itself.
	ctx = metadata.NewOutgoingContext(metadata.NewIncomingContext(ctx, sent), metadata.MD{})
	answer := &localStream{method: method}
	resp, err := m.desc.Handler(m.impl, grpc.NewContextWithServerTransportStream(ctx, answer), func(in any) error { return handOver(in, args) }, l.chain)
	answer.tell(opts)
	if err == nil {
		err = handOver(reply, resp)
	}
	if _, ok := status.FromError(err); !ok {
		err = status.FromContextError(err).Err()
	}
	return err
}

// NewStream implements grpc.ClientConnInterface; it always fails.
func (l *Local) NewStream(context.Context, *grpc.StreamDesc, string, ...grpc.CallOption) (grpc.ClientStream, error) {
	return nil, status.Error(codes.Unimplemented, "a local connection has no streams")
}

// handOver gives an empty message the fields of another of its type.
func handOver(to, from any) error {
	dst, ok := to.(proto.Message)
	src, also := from.(proto.Message)
	if !ok || !also {
		return status.Error(codes.Internal, fmt.Sprintf("cannot make a %T of a %T", to, from))
	}
	d, s := dst.ProtoReflect(), src.ProtoReflect()
	if d.Type() != s.Type() {
		proto.Merge(dst, src)
		return nil
	}
	s.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		d.Set(f, v)
		return true
	})
	d.SetUnknown(s.GetUnknown())
	return nil
}

// chained runs interceptors one inside the other, the first outermost.
func chained(all []grpc.UnaryServerInterceptor) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		next := handler
		for i := len(all) - 1; i >= 0; i-- {
			inner, interceptor := next, all[i]
			next = func(ctx context.Context, req any) (any, error) { return interceptor(ctx, req, info, inner) }
		}
		return next(ctx, req)
	}
}

// localStream collects what a handler says beside its answer.
type localStream struct {
	method string

	mu              sync.Mutex
	header, trailer metadata.MD
	sent            bool
}

// Method implements grpc.ServerTransportStream.
func (s *localStream) Method() string { return s.method }

// SetHeader implements grpc.ServerTransportStream.
func (s *localStream) SetHeader(md metadata.MD) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sent {
		return errors.New("the header was sent")
	}
	s.header = joined(s.header, md)
	return nil
}

// SendHeader implements grpc.ServerTransportStream.
func (s *localStream) SendHeader(md metadata.MD) error {
	if err := s.SetHeader(md); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sent = true
	return nil
}

// SetTrailer implements grpc.ServerTransportStream.
func (s *localStream) SetTrailer(md metadata.MD) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.trailer = joined(s.trailer, md)
	return nil
}

// joined does not copy what nothing is added to. What was joined is not changed any more, so it may be told as it is.
func joined(to, md metadata.MD) metadata.MD {
	if len(to) == 0 {
		return md
	}
	return metadata.Join(to, md)
}

// tell gives the caller what it asked for.
func (s *localStream) tell(opts []grpc.CallOption) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, o := range opts {
		switch o := o.(type) {
		case grpc.HeaderCallOption:
			*o.HeaderAddr = s.header
		case grpc.TrailerCallOption:
			*o.TrailerAddr = s.trailer
		}
	}
}
