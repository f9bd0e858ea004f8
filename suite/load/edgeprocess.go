package load

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime/pprof"
	"strconv"
	"time"

	tracev1 "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/selfsame-io/selfsame/pkg/heap"
	"github.com/selfsame-io/selfsame/pkg/telemetry"
	customerv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/customer/v1"
	experiencemobile "github.com/selfsame-io/selfsame/services/experience-mobile"
)

// edgeAudience is whom the tokens of the measured edge are for.
const edgeAudience = "selfsame-mobile"

// layer is a process layer that does nothing but take its time, for so many calls at once as it is given places.
type layer struct {
	customerv1.UnimplementedCustomerServiceServer
	tracev1.UnimplementedTraceServiceServer
	takes  time.Duration
	places chan struct{} // nil: as many as come
}

// CreateCustomer answers with what it was sent.
func (l *layer) CreateCustomer(ctx context.Context, req *customerv1.CreateCustomerRequest) (*customerv1.CreateCustomerResponse, error) {
	if l.places != nil {
		select {
		case l.places <- struct{}{}:
			defer func() { <-l.places }()
		case <-ctx.Done():
			return nil, status.FromContextError(ctx.Err()).Err()
		}
	}
	if l.takes > 0 && !sleepUntil(ctx, time.Now().Add(l.takes)) {
		return nil, status.FromContextError(ctx.Err()).Err()
	}
	c := req.GetCustomer()
	c.Id, c.Etag = "c_aaaaaaaaaaaaaaaaaaaaaaaaaa", "1"
	c.CreateTime, c.UpdateTime = timestamppb.New(time.Unix(1_800_000_000, 0)), timestamppb.New(time.Unix(1_800_000_000, 0))
	return &customerv1.CreateCustomerResponse{Customer: c}, nil
}

// Export takes spans and forgets them.
func (*layer) Export(context.Context, *tracev1.ExportTraceServiceRequest) (*tracev1.ExportTraceServiceResponse, error) {
	return &tracev1.ExportTraceServiceResponse{}, nil
}

// serveLayer serves the process layer: layer DURATION PLACES.
func serveLayer(ctx context.Context, lis net.Listener, args []string) error {
	takes, err := time.ParseDuration(args[0])
	if err != nil {
		return errors.Join(fmt.Errorf("layer: %w", err), lis.Close())
	}
	places, err := strconv.Atoi(args[1])
	if err != nil {
		return errors.Join(fmt.Errorf("layer: %w", err), lis.Close())
	}
	l := &layer{takes: takes}
	if places > 0 {
		l.places = make(chan struct{}, places)
	}
	srv := grpc.NewServer()
	healthpb.RegisterHealthServer(srv, health.NewServer())
	customerv1.RegisterCustomerServiceServer(srv, l)
	tracev1.RegisterTraceServiceServer(srv, l)
	defer context.AfterFunc(ctx, srv.Stop)()
	return srv.Serve(lis)
}

// The calls of which a customer screen is made, and so of the fan-out that is measured.
const (
	callOrders     = "/selfsame.erp.v1.OrderService/ListOrders"
	callWarranties = "/selfsame.erp.v1.ProductService/ListWarranties"
	callCases      = "/selfsame.salesforce.v1.CaseService/ListCases"
)

// serveSystems serves both systems as far as a screen asks them: systems DURATION HANGING. Each of the three calls answers
// with nothing after the duration, the one that is named never. Everything else is out of order.
func serveSystems(ctx context.Context, lis net.Listener, args []string) error {
	takes, err := time.ParseDuration(args[0])
	if err != nil {
		return errors.Join(fmt.Errorf("systems: %w", err), lis.Close())
	}
	srv := grpc.NewServer(grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error {
		method, _ := grpc.MethodFromServerStream(stream)
		switch method {
		case args[1]:
			<-stream.Context().Done()
			return status.FromContextError(stream.Context().Err()).Err()
		case callOrders, callWarranties, callCases:
		default:
			return status.Error(codes.Unavailable, "out of order")
		}
		// Empty fits every message: what is sent is not looked at, what is answered has nothing in it.
		if err := stream.RecvMsg(&emptypb.Empty{}); err != nil {
			return err
		}
		if !sleepUntil(stream.Context(), time.Now().Add(takes)) {
			return status.FromContextError(stream.Context().Err()).Err()
		}
		return stream.SendMsg(&emptypb.Empty{})
	}))
	healthpb.RegisterHealthServer(srv, health.NewServer())
	defer context.AfterFunc(ctx, srv.Stop)()
	return srv.Serve(lis)
}

// startPatience is how long the first request waits for the connection to what stands below; later ones find it there.
const startPatience = 10 * time.Second

// serveEdge serves experience-mobile as it is in production, but for a development issuer: edge TARGET RATIO PROFILE.
// Target is the process layer and collector of traces, ratio the share of them that is recorded; "none" exports none.
// With a profile directory, a processor profile is written there at the end.
func serveEdge(ctx context.Context, lis, issuer net.Listener, args []string) (err error) {
	cfg := experiencemobile.DefaultConfig()
	cfg.HTTPListener, cfg.DevIssuerListener = lis, issuer
	cfg.Auth.DevIssuer, cfg.Auth.Audience = true, edgeAudience
	cfg.Customer.Target, cfg.Serve.Ops, cfg.Patience = args[0], "", startPatience
	cfg.Telemetry.LogLevel = "error"
	if cfg.Listener, err = (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0"); err != nil {
		return errors.Join(fmt.Errorf("edge: %w", err), lis.Close(), issuer.Close())
	}
	if args[1] != noTraces {
		if cfg.Telemetry.TraceSampleRatio, err = strconv.ParseFloat(args[1], 64); err != nil {
			return errors.Join(fmt.Errorf("edge: %w", err), lis.Close(), issuer.Close(), cfg.Listener.Close())
		}
		cfg.Telemetry.OTLPEndpoint, cfg.Telemetry.OTLPInsecure = args[0], true
	}
	stop, err := profile(args[2])
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	defer heap.Lend(cfg.Serve.BusyHeap)()
	return experiencemobile.Run(ctx, cfg)
}

// noTraces is the ratio of an edge without a collector.
const noTraces = "none"

// profile writes a processor profile of this process into a directory; without one it does nothing.
func profile(dir string) (stop func() error, err error) {
	if dir == "" {
		return func() error { return nil }, nil
	}
	f, err := os.Create(filepath.Join(dir, fmt.Sprintf("edge-%d.cpu.pprof", os.Getpid())))
	if err != nil {
		return nil, fmt.Errorf("profile: %w", err)
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, errors.Join(fmt.Errorf("profile: %w", err), f.Close())
	}
	return func() error { pprof.StopCPUProfile(); return f.Close() }, nil
}

// serveHTTP serves a handler until ctx ends.
func serveHTTP(ctx context.Context, lis net.Listener, h http.Handler) error {
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	defer context.AfterFunc(ctx, func() { _ = srv.Close() })()
	if err := srv.Serve(lis); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("baseline: %w", err)
	}
	return nil
}

// withKey sends the key of a request on, as every side of the comparison does.
func withKey(ctx context.Context, r *http.Request) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "idempotency-key", r.Header.Get("Idempotency-Key"))
}

var errNoTelemetry = errors.New("baseline: no telemetry")

// traced starts the telemetry of a baseline that is traced.
func traced(ctx context.Context, collector, ratio string) (*telemetry.Telemetry, error) {
	share, err := strconv.ParseFloat(ratio, 64)
	if err != nil {
		return nil, errors.Join(errNoTelemetry, err)
	}
	t, err := telemetry.Start(ctx, "stock", telemetry.Config{LogLevel: "error", OTLPEndpoint: collector, OTLPInsecure: true, TraceSampleRatio: share})
	if err != nil {
		return nil, errors.Join(errNoTelemetry, err)
	}
	return t, nil
}
