package rpc

import (
	"context"
	"fmt"
	"net"

	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	"github.com/selfsame-io/selfsame/pkg/serve"
	"github.com/selfsame-io/selfsame/pkg/telemetry"
	mobilev1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/mobile/v1"
)

const (
	insideBuffer = 256 << 10
	insideAnswer = 16 << 20 // a full page of customers is far below
)

// Inside is MobileService on a connection in memory, for the edge. It has the same interceptors as any server of the
// suite; nobody but the edge can reach it, so it believes what the edge says about the caller.
type Inside struct {
	// Conn is the edge's end.
	Conn *grpc.ClientConn

	listener *bufconn.Listener
	service  serve.Service
}

// NewInside connects both ends. Run serves, Close ends the edge's end.
func NewInside(server mobilev1.MobileServiceServer, tel *telemetry.Telemetry, cfg serve.Config) (*Inside, error) {
	in := &Inside{listener: bufconn.Listen(insideBuffer)}
	cfg.Listen, cfg.Ops, cfg.TLS, cfg.DrainDelay = "", "", serve.TLS{}, 0
	in.service = serve.Service{
		Name: "inside", Config: cfg, Telemetry: tel, Listener: in.listener,
		Register: func(r grpc.ServiceRegistrar) { mobilev1.RegisterMobileServiceServer(r, server) },
		Unary:    []grpc.UnaryServerInterceptor{Trusted()},
	}
	var err error
	in.Conn, err = grpc.NewClient("passthrough:///inside",
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return in.listener.DialContext(ctx) }),
		grpc.WithDisableServiceConfig(), grpc.WithDisableRetry(),
		grpc.WithDefaultCallOptions(grpc.WaitForReady(true), grpc.MaxCallRecvMsgSize(insideAnswer)),
		grpc.WithStatsHandler(otelgrpc.NewClientHandler(
			otelgrpc.WithTracerProvider(tel.Tracer), otelgrpc.WithMeterProvider(tel.Meter), otelgrpc.WithPropagators(tel.Propagator))),
	)
	if err != nil {
		return nil, fmt.Errorf("connect edge: %w", err)
	}
	return in, nil
}

// Run serves until ctx ends.
func (in *Inside) Run(ctx context.Context) error { return serve.Run(ctx, in.service) }

// Close ends the edge's end of the connection.
func (in *Inside) Close() error {
	if err := in.Conn.Close(); err != nil {
		return fmt.Errorf("close edge connection: %w", err)
	}
	return nil
}
