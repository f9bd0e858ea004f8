package pubsub

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/auth"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/event"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/faults"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/managed"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/schema"
)

// The error codes that travel in the trailer "error-code".
const (
	codeAuth        = "sfdc.platform.eventbus.grpc.service.auth.error"
	codeAuthRefresh = "sfdc.platform.eventbus.grpc.service.auth.refresh.invalid"
	codeClients     = "sfdc.platform.eventbus.grpc.concurrent.client.limit.exceeded"
	codeDeliveries  = "sfdc.platform.eventbus.grpc.subscription.limit.exceeded"
	codePublish     = "sfdc.platform.eventbus.grpc.publish.validation.failed"
	codeManaged     = "sfdc.platform.eventbus.grpc.managed.subscription.notfound"
	codeStopped     = "sfdc.platform.eventbus.grpc.managed.subscription.stopped"
	codeUnavailable = "sfdc.platform.eventbus.grpc.service.unavailable"
	codeReplay      = "sfdc.platform.eventbus.grpc.subscription.fetch.replayid.corrupted"
	codeReplayEmpty = "sfdc.platform.eventbus.grpc.subscription.fetch.replayid.validation.failed"
	codeRequested   = "sfdc.platform.eventbus.grpc.subscription.fetch.requested.events.invalid"
	codeTopic       = "sfdc.platform.eventbus.grpc.topic.notfound"
	codeAccess      = "sfdc.platform.eventbus.grpc.topic.access.denied"
	codeSchema      = "sfdc.platform.eventbus.grpc.schema.notfound"
	codeClosed      = ""
)

// Options configures a server. All fields but DeliveryLimit and Rights are needed.
type Options struct {
	Sessions *auth.Sessions
	Bus      *event.Bus
	Schema   *schema.Schema
	Layouts  map[*schema.Object]*event.Layout
	Managed  *managed.Registry
	Faults   *faults.Faults
	// KeepAlive is the longest silence on a stream.
	KeepAlive time.Duration
	// PublishSilence is how long a publish stream may be silent.
	PublishSilence time.Duration
	// MaxClients is how many subscriptions may be open at once, MaxEventBytes
	// the size of a published event.
	MaxClients    int
	MaxEventBytes int
	// DeliveryLimit is how many events a rolling day delivers; 0 means that
	// they are only counted.
	DeliveryLimit int
	// Rights tells whether a user may publish and subscribe to a topic; nil
	// lets everybody do both.
	Rights func(username, topic string) (publish, subscribe bool)
	// Down reports whether everything is unavailable.
	Down func() bool
	Now  func() time.Time
	Log  *slog.Logger
}

// Server is the gRPC service.
type Server struct {
	opt      Options
	byTopic  map[string]*topic
	bySchema map[string]*event.Layout
	clients  atomic.Int64
	stopping chan struct{}
}

// New makes a server.
func New(opt Options) *Server {
	s := &Server{opt: opt, byTopic: topics(opt.Layouts, opt.Schema), bySchema: map[string]*event.Layout{}, stopping: make(chan struct{})}
	for _, l := range opt.Layouts {
		s.bySchema[l.SchemaID] = l
	}
	return s
}

// stopTime is how long open streams may take to end.
const stopTime = 3 * time.Second

// The limits of a connection, as documented: the size of a message and the
// number of streams. Clients may ping more often than gRPC allows by itself.
const (
	maxMessage = 4 << 20
	maxStreams = 100
	minPing    = 10 * time.Second
)

// Clients is the number of open subscriptions.
func (s *Server) Clients() int { return int(s.clients.Load()) }

// Run serves plain text on one listener and TLS on the other until the context
// ends. It is called once.
func (s *Server) Run(ctx context.Context, plain, secure net.Listener, cert tls.Certificate) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.serve(ctx, plain, insecure.NewCredentials()) })
	g.Go(func() error { return s.serve(ctx, secure, credentials.NewServerTLSFromCert(&cert)) })
	g.Go(func() error {
		<-ctx.Done()
		s.opt.Bus.Close()
		close(s.stopping)
		return nil
	})
	return g.Wait()
}

func (s *Server) serve(ctx context.Context, l net.Listener, creds credentials.TransportCredentials) error {
	g := grpc.NewServer(grpc.Creds(creds), grpc.ForceServerCodecV2(codec{}), grpc.MaxRecvMsgSize(maxMessage), grpc.MaxConcurrentStreams(maxStreams),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: minPing, PermitWithoutStream: true}))
	g.RegisterService(s.desc(), s)
	done := make(chan error, 1)
	go func() { done <- g.Serve(l) }()
	select {
	case err := <-done:
		return fmt.Errorf("serve pub/sub: %w", err)
	case <-ctx.Done():
	}
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
	if err := <-done; err != nil && !errors.Is(err, grpc.ErrServerStopped) {
		return fmt.Errorf("stop serving pub/sub: %w", err)
	}
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
	both := func(name string, serve func(grpc.ServerStream) error) grpc.StreamDesc {
		return grpc.StreamDesc{
			StreamName: name, ServerStreams: true, ClientStreams: true,
			Handler: func(_ any, stream grpc.ServerStream) error { return serve(stream) },
		}
	}
	return &grpc.ServiceDesc{
		ServiceName: "eventbus.v1.PubSub",
		HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{
			unary("GetTopic", (*Server).getTopic), unary("GetSchema", (*Server).getSchema), unary("Publish", (*Server).publish),
		},
		Streams: []grpc.StreamDesc{
			both("Subscribe", s.subscribe), both("ManagedSubscribe", s.managedSubscribe), both("PublishStream", s.publishStream),
		},
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
	tenant, org := first("tenantid"), s.opt.Sessions.Org()
	if tenant != org && tenant != org[:15] || !strings.HasPrefix(first("instanceurl"), "http") {
		return "", false
	}
	return token, true
}

// admit checks a unary call and returns its session token.
func (s *Server) admit(ctx context.Context, rpcID string) (string, error) {
	if s.opt.Down() {
		return "", unaryFailure(ctx, codes.Unavailable, codeUnavailable, rpcID, "The service is unavailable.")
	}
	token, ok := s.token(ctx)
	if !ok {
		return "", unaryFailure(ctx, codes.Unauthenticated, codeAuth, rpcID, authMessage)
	}
	return token, nil
}

// may tells what the user of a session may do with a topic.
func (s *Server) may(token string, t *topic) (publish, subscribe bool) {
	publish, subscribe = true, true
	if s.opt.Rights != nil {
		session, _ := s.opt.Sessions.Check(token)
		publish, subscribe = s.opt.Rights(session.User.Username, t.name)
	}
	return publish && t.publishable(), subscribe
}

func unavailable() *refusal {
	return &refusal{codes.Unavailable, codeUnavailable, "The service is unavailable."}
}

func unauthenticated() *refusal { return &refusal{codes.Unauthenticated, codeAuth, authMessage} }

const authMessage = "An authentication exception occurred. Provide valid authorization information."
