package serve

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"
	"time"

	"buf.build/go/protovalidate"
	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/reflection"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/selfsame-io/selfsame/pkg/caller"
	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/telemetry"
)

const (
	minDeadline = 100 * time.Millisecond // below this a call cannot end well
	// streamWorkers are the goroutines that calls take turns on while there is one to spare, because a new one has to grow
	// its stack at each call again: a tenth of the work of a small read. They are as many as calls of one connection may be under
	// way, since those that wait for another service do not take turns.
	streamWorkers = maxCalls
	// maxCalls bounds the calls of one connection that are under way.
	maxCalls = 250
	// callerKey is the metadata with the name a caller gives itself; ignored where certificates are required.
	callerKey = "selfsame-caller"
)

// newServer builds the gRPC server. From outside to inside: tracing and metrics, recovery, faults, identity,
// deadline, validation, who may operate, the service's own interceptors, inner recovery (so that those see a panic as an error).
func (r *runner) newServer() (*grpc.Server, error) {
	cfg, log := r.s.Config, r.log
	ops, s := newOperators(r.s, r.grpcLn.Addr()), r.s
	s.Unary = append([]grpc.UnaryServerInterceptor{ops.unary}, s.Unary...)
	stream := append([]grpc.StreamServerInterceptor{
		outerStream(log), fault.StreamServer(log), identifyStream, ops.stream, r.endWithWork, validStream,
	}, r.s.Stream...)
	opts := []grpc.ServerOption{
		grpc.StatsHandler(serverStats(r.s.Telemetry)),
		grpc.ChainUnaryInterceptor(unaryChain(s)...),
		grpc.ChainStreamInterceptor(append(stream, innerStream)...),
		grpc.KeepaliveParams(keepalive.ServerParameters{
			MaxConnectionAge: cfg.MaxConnectionAge, MaxConnectionAgeGrace: 5 * time.Minute,
			Time: 30 * time.Second, Timeout: 10 * time.Second,
		}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: pingAllowed, PermitWithoutStream: true}),
		grpc.MaxConcurrentStreams(maxCalls),
		grpc.NumStreamWorkers(streamWorkers),
		grpc.MaxRecvMsgSize(cfg.MaxRecvBytes),
		grpc.MaxHeaderListSize(16 << 10),
		grpc.ConnectionTimeout(10 * time.Second),
	}
	if cfg.TLS.Enabled() {
		src, err := newTLSSource(cfg.TLS, true, log)
		if err != nil {
			return nil, fmt.Errorf("grpc: %w", err)
		}
		opts = append(opts, grpc.Creds(reloading{src}))
	}
	srv := grpc.NewServer(opts...)
	if r.s.Register != nil {
		r.s.Register(srv)
	}
	var names []string
	for name := range srv.GetServiceInfo() {
		names = append(names, name)
	}
	r.ready.serves(names)
	healthpb.RegisterHealthServer(srv, r.ready.health)
	reflection.Register(srv)
	return srv, nil
}

// unaryChain returns what a unary call of s passes through, from outside to inside.
func unaryChain(s Service) []grpc.UnaryServerInterceptor {
	log := s.Telemetry.Log
	chain := append([]grpc.UnaryServerInterceptor{
		outerUnary(log), fault.UnaryServer(log), identifyUnary, deadline(s.Config.RequestTimeout), validUnary,
	}, s.Unary...)
	return append(chain, innerUnary)
}

// instrument configures otelgrpc. Health and reflection calls are the noise of machines watching machines.
func instrument(t *telemetry.Telemetry) []otelgrpc.Option {
	return []otelgrpc.Option{
		otelgrpc.WithTracerProvider(t.Tracer), otelgrpc.WithMeterProvider(t.Meter), otelgrpc.WithPropagators(t.Propagator),
		otelgrpc.WithFilter(func(i *stats.RPCTagInfo) bool { return !infrastructure(i.FullMethodName) }),
	}
}

// infrastructure reports whether the method belongs to gRPC itself (health, reflection).
func infrastructure(method string) bool { return strings.HasPrefix(method, "/grpc.") }

type panicError struct {
	value any
	stack []byte
}

func (p *panicError) Error() string { return fmt.Sprintf("panic: %v\n%s", p.value, p.stack) }

func recovered(err *error) {
	if v := recover(); v != nil {
		*err = fault.Wrap(fault.Internal, fault.ReasonPanic, &panicError{v, debug.Stack()}, "internal error")
	}
}

func innerUnary(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (_ any, err error) {
	defer recovered(&err)
	return handler(ctx, req)
}

func innerStream(srv any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) (err error) {
	defer recovered(&err)
	return handler(srv, ss)
}

// outerUnary catches what an interceptor panics with; the handler's own panics end in innerUnary.
func outerUnary(log *slog.Logger) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (_ any, err error) {
		defer outermost(ctx, log, info.FullMethod, &err)
		return handler(ctx, req)
	}
}

func outerStream(log *slog.Logger) grpc.StreamServerInterceptor {
	return func(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) (err error) {
		defer outermost(ss.Context(), log, info.FullMethod, &err)
		return handler(srv, ss)
	}
}

func outermost(ctx context.Context, log *slog.Logger, method string, err *error) {
	if v := recover(); v != nil {
		log.LogAttrs(ctx, slog.LevelError, "interceptor panicked", slog.String(telemetry.KeyMethod, method),
			slog.String(telemetry.KeyError, (&panicError{v, debug.Stack()}).Error()))
		*err = status.Error(codes.Internal, "internal error")
	}
}

// identify puts the caller's identity into the context: the name in its certificate, if it had to show one, else the
// name it gives itself.
func identify(ctx context.Context) context.Context {
	if p, ok := peer.FromContext(ctx); ok {
		if info, ok := p.AuthInfo.(credentials.TLSInfo); ok && len(info.State.VerifiedChains) > 0 {
			return caller.With(ctx, caller.Identity{Name: subject(info.State.VerifiedChains[0][0]), Verified: true})
		}
	}
	if v := metadata.ValueFromIncomingContext(ctx, callerKey); len(v) == 1 && len(v[0]) <= 255 {
		return caller.With(ctx, caller.Identity{Name: v[0]})
	}
	return ctx
}

func identifyUnary(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	return handler(identify(ctx), req)
}

func identifyStream(srv any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	return handler(srv, withContext{ss, identify(ss.Context())})
}

// withContext is a stream with another context.
type withContext struct {
	grpc.ServerStream
	ctx context.Context //nolint:containedctx // grpc.ServerStream is defined that way
}

func (s withContext) Context() context.Context { return s.ctx }

// deadline gives every unary call a deadline and refuses one that cannot be met.
func deadline(limit time.Duration) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		if infrastructure(info.FullMethod) {
			return handler(ctx, req)
		}
		at, ok := ctx.Deadline()
		if !ok {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, limit)
			defer cancel()
		} else if time.Until(at) < minDeadline {
			return nil, fault.New(fault.Timeout, fault.ReasonDeadlineTooShort, "less than %v left; nothing was done", minDeadline)
		}
		return handler(ctx, req)
	}
}

var errStopping = errors.New("the server stops")

// endWithWork ends streams when the loops end: a subscription lives for hours and would otherwise use up the whole
// stop timeout. The client sees Unavailable and opens it again elsewhere.
func (r *runner) endWithWork(srv any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	ctx, cancel := context.WithCancelCause(ss.Context())
	defer cancel(nil)
	defer context.AfterFunc(r.work, func() { cancel(errStopping) })()
	err := handler(srv, withContext{ss, ctx})
	if err != nil && errors.Is(context.Cause(ctx), errStopping) {
		return fault.Wrap(fault.Unavailable, fault.ReasonShuttingDown, err, "the server is stopping")
	}
	return err
}

// validate compares a request with the rules in its contract. The library compiles them on first use, off the path to readiness, and once for all
// servers of the process.
func validate(req any) error {
	msg, ok := req.(proto.Message)
	if !ok {
		return nil
	}
	fields, err := Broken(msg)
	if err != nil {
		return err
	}
	if len(fields) == 0 {
		return nil
	}
	e := fault.New(fault.Invalid, fault.ReasonValidationFailed, "the request is not valid")
	e.Fields = fields
	return e
}

// Broken returns the rules of its contract that a message breaks: what a server refuses a request for.
func Broken(m proto.Message) ([]fault.Field, error) {
	err := protovalidate.Validate(m)
	if err == nil {
		return nil, nil
	}
	broken, ok := errors.AsType[*protovalidate.ValidationError](err)
	if !ok {
		return nil, fmt.Errorf("validate %s: %w", m.ProtoReflect().Descriptor().FullName(), err)
	}
	var fields []fault.Field
	for _, v := range broken.Violations {
		fields = append(fields, fault.Field{
			Path:        protovalidate.FieldPathString(v.Proto.GetField()),
			Reason:      v.Proto.GetRuleId(),
			Description: v.Proto.GetMessage(),
		})
	}
	return fields, nil
}

func validUnary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	if !infrastructure(info.FullMethod) {
		if err := validate(req); err != nil {
			return nil, err
		}
	}
	return handler(ctx, req)
}

func validStream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	if infrastructure(info.FullMethod) {
		return handler(srv, ss)
	}
	return handler(srv, validated{ss})
}

type validated struct{ grpc.ServerStream }

func (s validated) RecvMsg(m any) error {
	if err := s.ServerStream.RecvMsg(m); err != nil {
		return err
	}
	return validate(m)
}
