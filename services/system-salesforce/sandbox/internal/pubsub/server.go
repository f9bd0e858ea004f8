package pubsub

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/auth"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/event"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/schema"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// The error codes that travel in the trailer "error-code".
const (
	codeAuth        = "sfdc.platform.eventbus.grpc.service.auth.error"
	codeUnavailable = "sfdc.platform.eventbus.grpc.service.unavailable"
	codeReplay      = "sfdc.platform.eventbus.grpc.subscription.fetch.replayid.corrupted"
	codeReplayEmpty = "sfdc.platform.eventbus.grpc.subscription.fetch.replayid.validation.failed"
	codeRequested   = "sfdc.platform.eventbus.grpc.subscription.fetch.requested.events.invalid"
	codeTopic       = "sfdc.platform.eventbus.grpc.topic.notfound"
	codeSchema      = "sfdc.platform.eventbus.grpc.schema.notfound"
	codeClosed      = ""
)

// Options configures a server.
type Options struct {
	OrgID    string
	Sessions *auth.Sessions
	Bus      *event.Bus
	Layouts  map[*schema.Object]*event.Layout
	// KeepAlive is the longest silence on a stream.
	KeepAlive time.Duration
	// Down reports whether everything is unavailable.
	Down func() bool
	Log  *slog.Logger
}

// Server is the gRPC service.
type Server struct {
	opt      Options
	byTopic  map[string]*event.Layout
	bySchema map[string]*event.Layout
}

// New makes a server.
func New(opt Options) *Server {
	s := &Server{opt: opt, byTopic: map[string]*event.Layout{}, bySchema: map[string]*event.Layout{}}
	for _, l := range opt.Layouts {
		s.byTopic[l.Topic()] = l
		s.bySchema[l.SchemaID] = l
	}
	return s
}

// stopTime is how long open streams may take to end.
const stopTime = 3 * time.Second

// Run serves the listener until the context ends.
func (s *Server) Run(ctx context.Context, l net.Listener) error {
	g := grpc.NewServer(grpc.ForceServerCodecV2(codec{}), grpc.MaxRecvMsgSize(4<<20))
	g.RegisterService(s.desc(), s)
	done := make(chan error, 1)
	go func() { done <- g.Serve(l) }()
	select {
	case err := <-done:
		return fmt.Errorf("serve pub/sub: %w", err)
	case <-ctx.Done():
	}
	s.opt.Bus.Close()
	stopped := make(chan struct{})
	go func() { g.GracefulStop(); close(stopped) }()
	timer := time.NewTimer(stopTime)
	defer timer.Stop()
	select {
	case <-stopped:
	case <-timer.C:
		g.Stop()
		<-stopped
	}
	<-done
	return nil
}

func (s *Server) desc() *grpc.ServiceDesc {
	unary := func(name string, call func(*Server, context.Context, []byte) ([]byte, error)) grpc.MethodDesc {
		return grpc.MethodDesc{MethodName: name, Handler: func(_ any, ctx context.Context, dec func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			var in frame
			if err := dec(&in); err != nil {
				return nil, err
			}
			out, err := call(s, ctx, in.b)
			if err != nil {
				return nil, err
			}
			return &frame{out}, nil
		}}
	}
	return &grpc.ServiceDesc{
		ServiceName: "eventbus.v1.PubSub",
		HandlerType: (*any)(nil),
		Methods:     []grpc.MethodDesc{unary("GetTopic", (*Server).getTopic), unary("GetSchema", (*Server).getSchema)},
		Streams: []grpc.StreamDesc{{
			StreamName: "Subscribe", ServerStreams: true, ClientStreams: true,
			Handler: func(_ any, stream grpc.ServerStream) error { return s.subscribe(stream) },
		}},
	}
}

// failure makes a status with the vendor's code, which goes into the trailer.
func failure(c codes.Code, code, rpcID, message string) (metadata.MD, error) {
	md := metadata.Pairs("rpc-id", rpcID)
	if code != "" {
		md.Set("error-code", code)
	}
	return md, status.Error(c, message+" rpcId: "+rpcID)
}

func unaryFailure(ctx context.Context, c codes.Code, code, rpcID, message string) error {
	md, err := failure(c, code, rpcID, message)
	_ = grpc.SetTrailer(ctx, md) // fails only outside an RPC
	return err
}

// newRPCID makes the id that an answer and an error carry.
func newRPCID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails, by its contract
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// token returns the session token if the call's metadata is in order.
func (s *Server) token(ctx context.Context) (string, bool) {
	md, _ := metadata.FromIncomingContext(ctx)
	first := func(key string) string {
		if v := md.Get(key); len(v) > 0 {
			return v[0]
		}
		return ""
	}
	token := first("accesstoken")
	if _, ok := s.opt.Sessions.Check(token); !ok {
		return "", false
	}
	tenant := first("tenantid")
	if tenant != s.opt.OrgID && tenant != s.opt.OrgID[:15] || !strings.HasPrefix(first("instanceurl"), "http") {
		return "", false
	}
	return token, true
}

// admit checks a unary call.
func (s *Server) admit(ctx context.Context, rpcID string) error {
	if s.opt.Down() {
		return unaryFailure(ctx, codes.Unavailable, codeUnavailable, rpcID, "The service is unavailable.")
	}
	if _, ok := s.token(ctx); !ok {
		return unaryFailure(ctx, codes.Unauthenticated, codeAuth, rpcID, authMessage)
	}
	return nil
}

const authMessage = "An authentication exception occurred. Provide valid authorization information."

func (s *Server) getTopic(ctx context.Context, in []byte) ([]byte, error) {
	id := newRPCID()
	if err := s.admit(ctx, id); err != nil {
		return nil, err
	}
	name, err := decodeName(in)
	if err != nil {
		return nil, unaryFailure(ctx, codes.InvalidArgument, "", id, "The request could not be read.")
	}
	schemaID := ""
	if l := s.byTopic[name]; l != nil {
		schemaID = l.SchemaID
	} else if name != allEvents {
		return nil, unaryFailure(ctx, codes.NotFound, codeTopic, id, "The topic does not exist: "+name+".")
	}
	b := putString(nil, 1, name)
	b = putString(b, 2, s.opt.OrgID)
	b = putVarint(b, 4, 1) // can_subscribe; change events cannot be published
	b = putString(b, 5, schemaID)
	return putString(b, 6, id), nil
}

func (s *Server) getSchema(ctx context.Context, in []byte) ([]byte, error) {
	id := newRPCID()
	if err := s.admit(ctx, id); err != nil {
		return nil, err
	}
	name, err := decodeName(in)
	l := s.bySchema[name]
	if err != nil || l == nil {
		return nil, unaryFailure(ctx, codes.NotFound, codeSchema, id, "The schema does not exist.")
	}
	b := putString(nil, 1, l.JSON)
	b = putString(b, 2, l.SchemaID)
	return putString(b, 3, id), nil
}
