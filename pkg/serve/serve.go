package serve

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"google.golang.org/grpc"

	"github.com/selfsame-io/selfsame/pkg/telemetry"
)

// Config is what an operator decides. Zero durations and sizes mean the default; see DefaultConfig.
type Config struct {
	// Listen is the address of the gRPC server.
	Listen string `conf:"listen" help:"address of the gRPC server"`
	// Ops is the address of the plaintext operations port: /livez, /readyz, /metrics. Empty means none.
	Ops string `conf:"ops" help:"address of /livez, /readyz and /metrics; empty for none"`
	// TLS protects the gRPC server.
	TLS TLS `conf:"tls"`
	// Operators are the names, with commas, in the certificates of those who may call the services for operators. Empty lets in whoever is
	// on this machine, if the gRPC server is plaintext on a loopback address, and otherwise nobody.
	Operators string `conf:"operators" help:"names in certificates, with commas, that may call services for operators; empty: whoever is on this machine, if nobody else can reach the plaintext port"`
	// MaxConnectionAge is how long a client connection lives, so that clients find new replicas. Default 30m.
	MaxConnectionAge time.Duration `conf:"max_connection_age" help:"life of a client connection"`
	// StopTimeout bounds the wait for calls in progress when the service stops. Default 25s.
	StopTimeout time.Duration `conf:"stop_timeout" help:"how long calls in progress may take when stopping"`
	// DrainDelay is the time between "not ready" and the end of service, for load balancers to notice. Default none.
	DrainDelay time.Duration `conf:"drain_delay" help:"time between not ready and stopping; 5s behind a load balancer"`
	// MaxRecvBytes bounds a request message. Default 4 MiB.
	MaxRecvBytes int `conf:"max_recv_bytes" help:"largest request message"`
	// RequestTimeout is the deadline of a unary call that comes without one. Default 15s.
	RequestTimeout time.Duration `conf:"request_timeout" help:"deadline of a call that has none"`
	// BusyHeap is how far the heap may grow while the process is busy, in bytes; see package heap. Zero or less leaves
	// it to GOGC. It is for programs: Run does not look at it.
	BusyHeap int64 `conf:"busy_heap" help:"bytes the heap may grow to while the service is busy, instead of collecting; 0 for none"`
}

// DefaultConfig returns the defaults; the addresses are free ports of the loopback interface.
func DefaultConfig() Config {
	return Config{
		Listen: "127.0.0.1:0", Ops: "127.0.0.1:0",
		MaxConnectionAge: 30 * time.Minute, StopTimeout: 25 * time.Second,
		MaxRecvBytes: 4 << 20, RequestTimeout: 15 * time.Second, BusyHeap: 32 << 20,
	}
}

func (c Config) withDefaults() Config {
	d := DefaultConfig()
	if c.MaxConnectionAge <= 0 {
		c.MaxConnectionAge = d.MaxConnectionAge
	}
	if c.StopTimeout <= 0 {
		c.StopTimeout = d.StopTimeout
	}
	if c.MaxRecvBytes <= 0 {
		c.MaxRecvBytes = d.MaxRecvBytes
	}
	if c.RequestTimeout <= 0 {
		c.RequestTimeout = d.RequestTimeout
	}
	return c
}

// Validate returns every problem of the configuration.
func (c Config) Validate() error {
	var errs []error
	if c.DrainDelay < 0 {
		errs = append(errs, errors.New("drain_delay: must not be negative"))
	}
	if c.Operators != "" && c.TLS.ClientCAFile == "" {
		errs = append(errs, errors.New("operators: they are known by certificates, which only tls.client_ca_file demands"))
	}
	return errors.Join(append(errs, c.TLS.Validate())...)
}

// Loop is background work that lives as long as the service.
type Loop struct {
	// Name appears in logs and errors.
	Name string
	// Run works until ctx ends. An error, or a panic, ends the service; nil ends only the loop.
	Run func(ctx context.Context) error
}

// Check is a condition of readiness. It should look at what the service owns (its database, its configuration),
// never at the systems below: an outage there must not take this service out of the load balancer.
type Check struct {
	// Name appears on /readyz.
	Name string
	// Ready returns nil when the condition holds; its error text is shown on /readyz. It runs every second and has
	// 900 ms.
	Ready func(ctx context.Context) error
}

// HTTP is an HTTP server beside the gRPC one.
type HTTP struct {
	// Name identifies it in Addrs and in logs.
	Name string
	// Listen is its address, unless Listener is set.
	Listen string
	// Listener is an optional listener that is already bound; Run closes it.
	Listener net.Listener
	// Handler answers.
	Handler http.Handler
	// TLS protects it.
	TLS TLS
}

// Addrs are the bound addresses of a running service.
type Addrs struct {
	// GRPC and Ops are host:port, empty if not served.
	GRPC, Ops string
	// HTTP maps the name of each HTTP server to its host:port.
	HTTP map[string]string
}

// Service is everything Run needs. It must not be changed while it runs.
type Service struct {
	// Name is the name of the service in logs and errors.
	Name string
	// Config is what the operator decided.
	Config Config
	// Telemetry is required; Run does not shut it down.
	Telemetry *telemetry.Telemetry
	// Register adds the service's implementations. Nil without an address means no gRPC server at all.
	Register func(grpc.ServiceRegistrar)
	// Unary and Stream run after identity, deadline and validation, right before the handler.
	Unary  []grpc.UnaryServerInterceptor
	Stream []grpc.StreamServerInterceptor
	// OperatorServices are the full names of gRPC services that only operators may call; see Config.Operators. NewLocal does
	// not look at it.
	OperatorServices []string
	// Loops, Checks and HTTP are optional.
	Loops  []Loop
	Checks []Check
	HTTP   []HTTP
	// Listener and OpsListener are optional listeners that are already bound; Run closes them.
	Listener, OpsListener net.Listener
	// Started, if set, is called once all addresses are bound and served.
	Started func(Addrs)
}

// Run serves until ctx ends or something fails. It returns nil after a clean stop, even if calls had to be cut off
// (that is logged); otherwise the first failure. No goroutine outlives it, unless a loop ignores its context for
// longer than StopTimeout: then the error says which.
func Run(ctx context.Context, s Service) error {
	if s.Telemetry == nil {
		return errors.New("serve: no telemetry")
	}
	s.Config = s.Config.withDefaults()
	if err := s.Config.Validate(); err != nil {
		return fmt.Errorf("serve %s: %w", s.Name, err)
	}
	r, err := newRunner(ctx, s)
	if err != nil {
		return fmt.Errorf("serve %s: %w", s.Name, err)
	}
	log := s.Telemetry.Log
	log.Info("serving", slog.String("grpc", r.addrs.GRPC), slog.String("ops", r.addrs.Ops), slog.Any("http", r.addrs.HTTP))
	if err := r.run(ctx); err != nil {
		return fmt.Errorf("serve %s: %w", s.Name, err)
	}
	log.Info("stopped")
	return nil
}
