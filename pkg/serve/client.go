package serve

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	_ "google.golang.org/grpc/health" // client-side health checking works only with it
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/telemetry"
)

const (
	defaultCallTimeout = 10 * time.Second
	hopMargin          = 20 * time.Millisecond // kept back from the caller's deadline for the way home
)

// ClientOptions says how to call a service.
type ClientOptions struct {
	// TLS protects the connection; the zero value is plaintext.
	TLS TLS
	// Telemetry traces and measures the calls; nil means not.
	Telemetry *telemetry.Telemetry
	// Services are the descriptors of the services that will be called. A method that they declare NO_SIDE_EFFECTS or
	// IDEMPOTENT is repeated up to twice when the service is unavailable; no other method ever is.
	Services []protoreflect.ServiceDescriptor
	// Unary interceptors run before the call leaves; they see *fault.Error.
	Unary []grpc.UnaryClientInterceptor
	// Timeout is the deadline of a unary call whose context has none; zero means 10 s.
	Timeout time.Duration
	// CallerName is the name this process gives itself where no certificate does.
	CallerName string
	// Patience is how long a unary call waits for the connection even if it asks not to (grpc.WaitForReady(false)): a service
	// that is restarted is back before a person has noticed. Zero does not wait.
	Patience time.Duration
}

// A client asks so often whether its connection lives; a server sends away who asks more often than it allows.
const (
	pingEvery   = 30 * time.Second
	pingAllowed = 20 * time.Second
)

// Dial returns a connection to target (host:port, or any gRPC target). It does no I/O: a unary call waits for the
// connection until its deadline. Errors of calls are *fault.Error. The caller closes the connection.
func Dial(target string, o ClientOptions) (*grpc.ClientConn, error) {
	if o.Telemetry == nil {
		o.Telemetry = telemetry.Discard()
	}
	if o.Timeout <= 0 {
		o.Timeout = defaultCallTimeout
	}
	creds, err := clientCredentials(o.TLS, o.Telemetry.Log)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", target, err)
	}
	config, err := serviceConfig(o.Services)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", target, err)
	}
	observe, err := observed(o)
	if err != nil {
		return nil, fmt.Errorf("dial %s: metrics: %w", target, err)
	}
	unary := append([]grpc.UnaryClientInterceptor{prepared(o)}, o.Unary...)
	conn, err := grpc.NewClient(target, append([]grpc.DialOption{
		grpc.WithTransportCredentials(creds),
		grpc.WithDisableServiceConfig(), // none from DNS: the contract decides what is repeated
		grpc.WithDefaultServiceConfig(config),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: reconnect(), MinConnectTimeout: 5 * time.Second}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: pingEvery, Timeout: 10 * time.Second, PermitWithoutStream: true}),
		grpc.WithChainUnaryInterceptor(append(unary, fault.UnaryClient())...),
		grpc.WithChainStreamInterceptor(nameStream(o.CallerName), fault.StreamClient()),
	}, observe...)...)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", target, err)
	}
	return conn, nil
}

func clientCredentials(t TLS, log *slog.Logger) (credentials.TransportCredentials, error) {
	if !t.Enabled() {
		return insecure.NewCredentials(), nil
	}
	src, err := newTLSSource(t, false, log)
	if err != nil {
		return nil, err
	}
	return reloading{src}, nil
}

// withinKey is the deadline that [Within] set.
type withinKey struct{}

// Within bounds several calls of other services that are made at once by one deadline: d from now, or the caller's if that is sooner; inside a
// server's call less what a call keeps back by itself. The calls then need none of their own.
func Within(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	at := time.Now().Add(d)
	if grpc.ServerTransportStreamFromContext(ctx) != nil {
		if outer, ok := ctx.Deadline(); ok && outer.Before(at) {
			at = outer
		}
		at = at.Add(-hopMargin)
	}
	return context.WithDeadline(context.WithValue(ctx, withinKey{}, at), at)
}

// isWithin reports whether the deadline is one that Within set.
func isWithin(ctx context.Context, at time.Time) bool {
	set, ok := ctx.Value(withinKey{}).(time.Time)
	return ok && set.Equal(at)
}

// prepared makes a unary call wait for the connection, but never without a deadline, nor beyond what the service has the patience for. Inside
// a server's call it keeps some of the caller's time back, so that the answer still arrives. It says who calls.
func prepared(o ClientOptions) grpc.UnaryClientInterceptor {
	return func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		var cancel context.CancelFunc = func() {}
		if at, ok := ctx.Deadline(); !ok {
			ctx, cancel = context.WithTimeout(ctx, o.Timeout)
		} else if !isWithin(ctx, at) && grpc.ServerTransportStreamFromContext(ctx) != nil {
			ctx, cancel = context.WithDeadline(ctx, at.Add(-hopMargin))
		}
		defer cancel()
		if o.Patience > 0 {
			await(ctx, cc, o.Patience)
		}
		return invoke(named(ctx, o.CallerName), method, req, reply, cc, append([]grpc.CallOption{grpc.WaitForReady(true)}, opts...)...)
	}
}

// reconnect is how often a service that is away is tried again. gRPC's own waits grow to two minutes: so long a service that is
// back would not be called. These are few machines on one network, and an attempt costs nothing.
func reconnect() backoff.Config {
	return backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 500 * time.Millisecond}
}

// await makes a call wait for the connection, at most so long.
func await(ctx context.Context, cc *grpc.ClientConn, limit time.Duration) {
	state := cc.GetState()
	if state == connectivity.Ready {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for ; state != connectivity.Ready && state != connectivity.Shutdown; state = cc.GetState() {
		if state == connectivity.Idle {
			cc.Connect()
		}
		if !cc.WaitForStateChange(ctx, state) {
			return
		}
	}
}

func nameStream(name string) grpc.StreamClientInterceptor {
	return func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, streamer grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
		return streamer(named(ctx, name), desc, cc, method, opts...)
	}
}

func named(ctx context.Context, name string) context.Context {
	if name == "" {
		return ctx
	}
	if metadata.ValueFromOutgoingContext(ctx, callerKey) == nil {
		return metadata.AppendToOutgoingContext(ctx, callerKey, name)
	}
	md, _ := metadata.FromOutgoingContext(ctx)
	md.Set(callerKey, name)
	return metadata.NewOutgoingContext(ctx, md)
}

// The service config, as gRPC's JSON wants it.
type (
	configJSON struct {
		LoadBalancing []map[string]struct{} `json:"loadBalancingConfig"`
		Health        healthJSON            `json:"healthCheckConfig"`
		Throttling    throttlingJSON        `json:"retryThrottling"`
		Methods       []methodJSON          `json:"methodConfig,omitempty"`
	}
	healthJSON struct {
		Service string `json:"serviceName"`
	}
	throttlingJSON struct {
		MaxTokens  int     `json:"maxTokens"`
		TokenRatio float64 `json:"tokenRatio"`
	}
	methodJSON struct {
		Name  []nameJSON `json:"name"`
		Retry retryJSON  `json:"retryPolicy"`
	}
	nameJSON struct {
		Service string `json:"service"`
		Method  string `json:"method"`
	}
	retryJSON struct {
		MaxAttempts    int      `json:"maxAttempts"`
		InitialBackoff string   `json:"initialBackoff"`
		MaxBackoff     string   `json:"maxBackoff"`
		Multiplier     float64  `json:"backoffMultiplier"`
		Codes          []string `json:"retryableStatusCodes"`
	}
)

// serviceConfig lists by name the methods that may be repeated. A service-wide policy would also repeat writes whose
// connection broke after the effect.
func serviceConfig(services []protoreflect.ServiceDescriptor) (string, error) {
	c := configJSON{
		LoadBalancing: []map[string]struct{}{{"round_robin": {}}},
		Throttling:    throttlingJSON{MaxTokens: 20, TokenRatio: 0.1}, // ten failures in a row, and nothing is repeated any more
	}
	var names []nameJSON
	for _, s := range services {
		methods := s.Methods()
		for i := range methods.Len() {
			if m := methods.Get(i); repeatable(m) {
				names = append(names, nameJSON{Service: string(s.FullName()), Method: string(m.Name())})
			}
		}
	}
	if len(names) > 0 {
		c.Methods = []methodJSON{{Name: names, Retry: retryJSON{
			MaxAttempts: 3, InitialBackoff: "0.05s", MaxBackoff: "1s", Multiplier: 2, Codes: []string{"UNAVAILABLE"},
		}}}
	}
	b, err := json.Marshal(c)
	return string(b), err
}

func repeatable(m protoreflect.MethodDescriptor) bool {
	opts, ok := m.Options().(*descriptorpb.MethodOptions)
	if !ok {
		return false
	}
	switch opts.GetIdempotencyLevel() {
	case descriptorpb.MethodOptions_NO_SIDE_EFFECTS, descriptorpb.MethodOptions_IDEMPOTENT:
		return true
	default:
		return false
	}
}
