// Package experiencemobile is the REST API of the mobile apps: one call per screen over process-customer.
//
// It owns no customer data and keeps no state: an instance may be stopped, started and multiplied at will. Whether a
// request was seen before is decided by the idempotency key where the effect happens.
//
// The public port serves HTTP (package edge). The gRPC port serves the same MobileService to internal callers, who
// show the same bearer token. The operations port is apart; nothing of it is on the public one.
package experiencemobile

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"google.golang.org/grpc"

	"github.com/selfsame-io/selfsame/pkg/conf"
	"github.com/selfsame-io/selfsame/pkg/idempotent"
	"github.com/selfsame-io/selfsame/pkg/priority"
	"github.com/selfsame-io/selfsame/pkg/serve"
	"github.com/selfsame-io/selfsame/pkg/telemetry"
	mobilev1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/mobile/v1"
	"github.com/selfsame-io/selfsame/services/experience-mobile/internal/auth"
	"github.com/selfsame-io/selfsame/services/experience-mobile/internal/devissuer"
	"github.com/selfsame-io/selfsame/services/experience-mobile/internal/docs"
	"github.com/selfsame-io/selfsame/services/experience-mobile/internal/edge"
	"github.com/selfsame-io/selfsame/services/experience-mobile/internal/meta"
	"github.com/selfsame-io/selfsame/services/experience-mobile/internal/openapi"
	"github.com/selfsame-io/selfsame/services/experience-mobile/internal/replay"
	"github.com/selfsame-io/selfsame/services/experience-mobile/internal/rpc"
)

// longestKeep bounds how long an answer that was erased below lives on at the edge.
const longestKeep = 10 * time.Minute

// Name is the name of the service in logs, metrics and to other services.
const Name = "experience-mobile"

// patience is how long a request waits for the connection to the process layer, unless Config says otherwise. What takes
// longer is told at once, so that a client can say so; a restart does not.
const patience = time.Second

// Names of the HTTP servers in serve.Addrs.
const (
	PublicServer    = "public"
	DevIssuerServer = "devissuer"
)

// Config is everything an operator decides. Start from DefaultConfig.
type Config struct {
	// Listen is the address of the public HTTP port.
	Listen string `conf:"listen" help:"address of the public HTTP port"`
	// TLS protects the public port; HTTP/2 comes with it.
	TLS serve.TLS `conf:"tls"`
	// Serve is the gRPC and the operations port.
	Serve serve.Config `conf:"serve"`
	// Customer is the process layer.
	Customer Customer `conf:"customer"`
	// Auth says whose tokens are accepted.
	Auth Auth `conf:"auth"`
	// Budget is the time a request may take; a later answer is a 504.
	Budget time.Duration `conf:"budget" help:"time a request may take"`
	// Budgets are the budgets of single routes, each named as the description does: "POST /v1/sync:apply". Those that are not named, or
	// have 0, have Budget.
	Budgets map[string]string `conf:"budgets" help:"time a request of one route may take, for example 'POST /v1/sync:apply=20s'; budget for the others"`
	// MaxBody is the largest request body, in bytes.
	MaxBody int64 `conf:"max_body" help:"largest request body, in bytes"`
	// PublicURL is where clients find the API; it begins the type of every problem.
	PublicURL string `conf:"public_url" help:"scheme and host that clients call, for example https://api.example.com; empty: what each client calls"`
	// WriteLimit bounds the writes of one caller.
	WriteLimit int `conf:"write_limit" help:"writes per second that one caller may send, twice that at once, each of a batch counted; 0 for no limit"`
	// Limits bound what is let in.
	Limits Limits `conf:"limits"`
	// App bounds the versions of the app.
	App App `conf:"app"`
	// RequireIfMatch refuses a change of a customer that is not based on a state.
	RequireIfMatch bool `conf:"require_if_match" help:"refuse a change of a customer without If-Match"`
	// Maintenance refuses everything but documents.
	Maintenance bool `conf:"maintenance" help:"answer everything but documents with 503"`
	// Replay keeps answers of completed keys at the edge.
	Replay Replay `conf:"replay"`
	// Streams bounds event streams.
	Streams Streams `conf:"streams"`
	// Origins are the web origins whose pages may call, for example https://app.example.com.
	Origins []string `conf:"cors_origins" help:"web origins whose pages may call"`
	// Telemetry is logging, tracing and metrics.
	Telemetry telemetry.Config `conf:"telemetry"`

	// HTTPListener, Listener, OpsListener and DevIssuerListener are optional listeners that are already bound, in the
	// place of the addresses. Run closes them.
	HTTPListener      net.Listener `conf:"-"`
	Listener          net.Listener `conf:"-"`
	OpsListener       net.Listener `conf:"-"`
	DevIssuerListener net.Listener `conf:"-"`
	// Patience is how long a request waits for the connection to the process layer; zero means a second. Tests are more patient:
	// what they look at is not how fast a machine connects.
	Patience time.Duration `conf:"-"`
	// Started, if set, is called once all ports are served.
	Started func(serve.Addrs) `conf:"-"`
	// TelemetryOptions change how telemetry is built, for tests.
	TelemetryOptions []telemetry.Option `conf:"-"`
}

// Customer says how to reach process-customer.
type Customer struct {
	// Target is host:port or any gRPC target.
	Target string `conf:"target" help:"address of process-customer"`
	// TLS protects the connection and shows who we are.
	TLS serve.TLS `conf:"tls"`
}

// Auth says whose tokens are accepted.
type Auth struct {
	// Issuer is the exact claim iss. With the development issuer, empty means its own address.
	Issuer string `conf:"issuer" help:"OpenID Connect issuer of the tokens"`
	// Audience must be among a token's audiences.
	Audience string `conf:"audience" help:"audience that a token must be for"`
	// JWKSURL is where the issuer's keys are; empty asks its discovery document.
	JWKSURL string `conf:"jwks_url" help:"address of the issuer's keys; empty for discovery"`
	// Renew is how old the issuer's keys may become.
	Renew time.Duration `conf:"renew" help:"how often the issuer's keys are read again; a withdrawn one is good for that long and a minute"`
	// OwnerClaim is the claim that lists the customers a token is for; such a token sees no other.
	OwnerClaim string `conf:"owner_claim" help:"claim that lists the customers a token is restricted to; empty for none"`
	// OwnerRequired restricts a token without that claim to nothing.
	OwnerRequired bool `conf:"owner_required" help:"a token without the owner claim sees no customer"`
	// DevIssuer starts an issuer that gives a token to whoever asks. Never in production.
	DevIssuer bool `conf:"dev_issuer" help:"start an issuer for development that gives tokens to whoever asks"`
	// DevIssuerListen is the development issuer's own address.
	DevIssuerListen string `conf:"dev_issuer_listen" help:"address of the development issuer"`
	// DevIssuerKeyFile is its private key (PEM); empty makes one at every start.
	DevIssuerKeyFile string `conf:"dev_issuer_key_file" help:"private key of the development issuer (PEM); empty makes one"`
}

// Limits bound what is let in.
type Limits struct {
	// CallerPerMinute is how many requests one caller may send in a minute; zero for no limit.
	CallerPerMinute int `conf:"caller_per_minute" help:"requests per minute of one caller; 0 for no limit"`
	// TotalPerSecond is how many requests all callers together may send; zero for no limit.
	TotalPerSecond int `conf:"total_per_second" help:"requests per second of all callers together; 0 for no limit"`
	// Shed turns requests away before the service collapses under them.
	Shed bool `conf:"shed" help:"turn requests away when more are under way than can be done"`
}

// App bounds the versions of the app.
type App struct {
	// Minimum is the oldest version that is served, Current the newest there is, Store where it is found.
	Minimum string `conf:"minimum" help:"oldest version of the app that is served, as 1.2.3; empty for every one"`
	Current string `conf:"current" help:"newest version of the app; empty when nobody says"`
	Store   string `conf:"store" help:"where a newer version of the app is found"`
}

// Replay keeps answers of completed keys at the edge.
type Replay struct {
	// Memory is the most that is kept in this process; zero keeps nothing.
	Memory int `conf:"memory" help:"bytes of answers kept in memory; 0 keeps none"`
	// Redis keeps answers for all replicas instead.
	Redis conf.Secret `conf:"redis" help:"redis:// URL of a server that keeps answers for all replicas; empty keeps them in memory"`
	// Keep is how long.
	Keep time.Duration `conf:"keep" help:"how long an answer is kept at the edge, 10m at most; below it is kept for days"`
	// Join is how long a request waits for an identical one that is under way here.
	Join time.Duration `conf:"join" help:"how long a request waits for an identical one that is under way"`
}

// Streams bounds event streams.
type Streams struct {
	// Poll is how often the state behind a stream is looked at.
	Poll time.Duration `conf:"poll" help:"how often the state behind a stream is looked at"`
	// Heartbeat is the longest silence.
	Heartbeat time.Duration `conf:"heartbeat" help:"longest silence on a stream"`
	// Most are the streams of this process, PerCaller those of one caller.
	Most      int `conf:"most" help:"streams of this process"`
	PerCaller int `conf:"per_caller" help:"streams of one caller"`
	// Patience is how long the answer waits for the order before it begins without; zero means 100 ms. Tests are more patient, as in Config.
	Patience time.Duration `conf:"-"`
}

// DefaultConfig returns the defaults. The issuer has none: whom to trust is a decision.
func DefaultConfig() Config {
	s := serve.DefaultConfig()
	s.Listen, s.Ops = "127.0.0.1:9401", "127.0.0.1:9402"
	s.BusyHeap = 96 << 20 // of which kept answers may be 32: they are not to be looked through again and again
	return Config{
		Listen: "127.0.0.1:8080", Serve: s,
		Customer: Customer{Target: "127.0.0.1:9301"},
		Auth:     Auth{Audience: "selfsame-mobile", DevIssuerListen: "127.0.0.1:8081", OwnerClaim: "customers", Renew: 5 * time.Minute},
		Budget:   5 * time.Second, MaxBody: 1 << 20,
		Limits:    Limits{Shed: true},
		Replay:    Replay{Memory: 32 << 20, Keep: time.Minute, Join: 500 * time.Millisecond},
		Streams:   Streams{Poll: 2 * time.Second, Heartbeat: 15 * time.Second, Most: 2000, PerCaller: 10},
		Telemetry: telemetry.DefaultConfig(),
	}
}

// Validate returns every problem of the configuration.
func (c Config) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if c.Customer.Target == "" {
		bad("customer.target: must not be empty")
	}
	if c.Auth.Audience == "" {
		bad("auth.audience: must not be empty")
	}
	if c.Auth.Renew < time.Second || c.Auth.Renew > 24*time.Hour {
		bad("auth.renew: must be between 1s and 24h")
	}
	switch {
	case c.Auth.DevIssuer && c.Auth.JWKSURL != "":
		bad("auth.jwks_url: the development issuer serves its own keys")
	case !c.Auth.DevIssuer && c.Auth.Issuer == "":
		bad("auth.issuer: must not be empty unless auth.dev_issuer is true")
	}
	if c.Budget < time.Second || c.Budget > time.Minute {
		bad("budget: must be between 1s and 1m")
	}
	budgets, budgetsErr := c.budgets()
	errs = append(errs, budgetsErr)
	shortest := c.Budget
	for _, own := range budgets {
		shortest = min(shortest, own)
	}
	if c.MaxBody < 1<<10 || c.MaxBody > 16<<20 {
		bad("max_body: must be between 1 KiB and 16 MiB")
	}
	if c.PublicURL != "" && !isOrigin(c.PublicURL) {
		bad("public_url: want scheme://host or scheme://host:port")
	}
	if c.WriteLimit < 0 {
		bad("write_limit: must not be negative")
	}
	if c.Limits.CallerPerMinute < 0 || c.Limits.TotalPerSecond < 0 {
		bad("limits: must not be negative")
	}
	if c.Auth.OwnerRequired && c.Auth.OwnerClaim == "" {
		bad("auth.owner_required: needs auth.owner_claim")
	}
	if c.Replay.Memory < 0 || c.Replay.Keep < 0 || c.Replay.Keep > longestKeep || c.Replay.Join < 0 || c.Replay.Join > shortest/2 {
		bad("replay: memory must not be negative, keep at most 10m, join at most half of the shortest budget")
	}
	if s := c.Streams; s.Poll < 10*time.Millisecond || s.Heartbeat < time.Second/10 || s.Heartbeat > 15*time.Second || s.Most < 1 || s.PerCaller < 1 {
		bad("streams: poll must be at least 10ms, heartbeat between 100ms and 15s, most and per_caller at least 1")
	}
	for _, o := range c.Origins {
		if !isOrigin(o) {
			bad("cors_origins: %q is no origin, which is scheme://host or scheme://host:port", o)
		}
	}
	return errors.Join(append(errs, c.TLS.Validate(), c.Customer.TLS.Validate(), c.Serve.Validate(), c.Telemetry.Validate())...)
}

// budgets returns the budgets of the routes that have one of their own.
func (c Config) budgets() (map[string]time.Duration, error) {
	if len(c.Budgets) == 0 {
		return nil, nil
	}
	routes, err := edge.Routes()
	if err != nil {
		return nil, fmt.Errorf("budgets: %w", err)
	}
	var errs []error
	own := map[string]time.Duration{}
	for _, name := range slices.Sorted(maps.Keys(c.Budgets)) {
		budget, err := time.ParseDuration(c.Budgets[name])
		switch {
		case !slices.Contains(routes, name):
			errs = append(errs, fmt.Errorf("budgets: %q is no route that can have one; there are %s", name, strings.Join(routes, ", ")))
		case err != nil:
			errs = append(errs, fmt.Errorf("budgets: %s: want a duration with a unit, such as 2s", name))
		case budget == 0:
		case budget < time.Second || budget > time.Minute:
			errs = append(errs, fmt.Errorf("budgets: %s: must be between 1s and 1m, or 0 for the common one", name))
		default:
			own[name] = budget
		}
	}
	return own, errors.Join(errs...)
}

func isOrigin(o string) bool {
	u, err := url.Parse(o)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && u.Scheme+"://"+u.Host == o
}

// Run serves until ctx ends. It returns nil after a clean stop.
func Run(ctx context.Context, cfg Config) (err error) {
	if err := cfg.Validate(); err != nil {
		return fmt.Errorf("%s: configuration: %w", Name, err)
	}
	tel, err := telemetry.Start(ctx, Name, cfg.Telemetry, cfg.TelemetryOptions...)
	if err != nil {
		return fmt.Errorf("%s: %w", Name, err)
	}
	defer func() {
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		err = errors.Join(err, tel.Shutdown(stop))
	}()

	issuer, err := startIssuer(ctx, &cfg, tel.Log)
	if err != nil {
		return fmt.Errorf("%s: %w", Name, err)
	}
	renewed, err := countRenewals(tel)
	if err != nil {
		return fmt.Errorf("%s: %w", Name, err)
	}
	tokens := auth.New(auth.Config{
		Issuer: cfg.Auth.Issuer, Audience: cfg.Auth.Audience, JWKSURL: cfg.Auth.JWKSURL, Renew: cfg.Auth.Renew, Renewed: renewed,
		OwnerClaim: cfg.Auth.OwnerClaim, OwnerRequired: cfg.Auth.OwnerRequired, Within: cfg.Budget,
	})
	defer tokens.Close()

	customers, err := serve.Dial(cfg.Customer.Target, serve.ClientOptions{
		TLS: cfg.Customer.TLS, Telemetry: tel, CallerName: Name, Timeout: cfg.Budget, Patience: cmp.Or(cfg.Patience, patience),
		// Somebody holds the phone: what the edge asks for goes first.
		Unary: []grpc.UnaryClientInterceptor{idempotent.UnaryClient(), rpc.RetryReads(), priority.UnaryClient(priority.Interactive)},
	})
	if err != nil {
		return fmt.Errorf("%s: %w", Name, err)
	}
	defer func() { err = errors.Join(err, customers.Close()) }()
	server := rpc.New(customers)

	inside, err := rpc.NewInside(server, tel, cfg.Serve)
	if err != nil {
		return fmt.Errorf("%s: %w", Name, err)
	}
	server.Through(inside)
	answers, closeAnswers, err := openReplay(cfg.Replay)
	if err != nil {
		return fmt.Errorf("%s: %w", Name, err)
	}
	defer func() { err = errors.Join(err, closeAnswers()) }()
	public, err := publicHandler(ctx, cfg, tel, inside, tokens, answers)
	if err != nil {
		return fmt.Errorf("%s: %w", Name, err)
	}

	return serve.Run(ctx, serve.Service{
		Name: Name, Config: cfg.Serve, Telemetry: tel,
		Register: func(r grpc.ServiceRegistrar) { mobilev1.RegisterMobileServiceServer(r, server) },
		Unary:    []grpc.UnaryServerInterceptor{rpc.Bearer(tokens)},
		HTTP: append(issuer, serve.HTTP{
			Name: PublicServer, Listen: cfg.Listen, Listener: cfg.HTTPListener, Handler: public, TLS: cfg.TLS,
		}),
		Listener: cfg.Listener, OpsListener: cfg.OpsListener, Started: cfg.Started,
	})
}

func publicHandler(
	ctx context.Context, cfg Config, tel *telemetry.Telemetry, conn grpc.ClientConnInterface, tokens edge.Verifier, answers replay.Store,
) (http.Handler, error) {
	page, err := docs.Handler()
	if err != nil {
		return nil, err
	}
	about, err := meta.Handler(meta.Info{
		MinimumApp: cfg.App.Minimum, CurrentApp: cfg.App.Current, StoreURL: cfg.App.Store, MaxBody: cfg.MaxBody, RequireIfMatch: cfg.RequireIfMatch,
	})
	if err != nil {
		return nil, err
	}
	budgets, err := cfg.budgets()
	if err != nil {
		return nil, err
	}
	return edge.New(edge.Options{
		Telemetry: tel, Service: conn, Tokens: tokens, Origins: cfg.Origins, Budget: cfg.Budget, Budgets: budgets, MaxBody: cfg.MaxBody,
		Secure: cfg.TLS.Enabled(), PublicURL: cfg.PublicURL, WriteLimit: cfg.WriteLimit,
		Load:           edge.Load{CallerPerMinute: cfg.Limits.CallerPerMinute, TotalPerSecond: cfg.Limits.TotalPerSecond, Shed: cfg.Limits.Shed},
		App:            edge.App{Minimum: cfg.App.Minimum, Current: cfg.App.Current, Store: cfg.App.Store},
		RequireIfMatch: cfg.RequireIfMatch, Maintenance: cfg.Maintenance,
		Replay: edge.Replay{Store: answers, For: cfg.Replay.Keep, Join: cfg.Replay.Join},
		Streams: edge.Streams{
			Poll: cfg.Streams.Poll, Heartbeat: cfg.Streams.Heartbeat, Patience: cfg.Streams.Patience, Most: cfg.Streams.Most, PerCaller: cfg.Streams.PerCaller, Draining: ctx.Done(),
		},
		Pages: map[string]http.Handler{"/openapi.json": openapi.Handler(), "/docs": page, "/v1/meta": about},
	})
}

// countRenewals tells how it went whenever the issuer was asked for its keys.
func countRenewals(tel *telemetry.Telemetry) (func(context.Context, error), error) {
	reads, err := tel.Meter.Meter("github.com/selfsame-io/selfsame/services/experience-mobile").Int64Counter("selfsame.edge.key_reads",
		metric.WithUnit("{read}"), metric.WithDescription("Reads of the issuer's keys, by whether they failed."))
	if err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	return func(ctx context.Context, err error) {
		reads.Add(ctx, 1, metric.WithAttributes(attribute.Bool("selfsame.failed", err != nil)))
		if err != nil {
			tel.Log.LogAttrs(ctx, slog.LevelWarn, "the issuer's keys cannot be read", slog.String(telemetry.KeyError, err.Error()))
		}
	}, nil
}

// openReplay opens what keeps answers at the edge; none when nothing is to be kept.
func openReplay(c Replay) (replay.Store, func() error, error) {
	nothing := func() error { return nil }
	switch {
	case c.Keep == 0:
		return nil, nothing, nil
	case c.Redis.Reveal() != "":
		r, err := replay.OpenRedis(c.Redis.Reveal())
		if err != nil {
			return nil, nil, fmt.Errorf("replay.redis: %w", err)
		}
		return r, r.Close, nil
	case c.Memory > 0:
		return replay.NewMemory(c.Memory, nil), nothing, nil
	}
	return nil, nothing, nil
}

// startIssuer prepares the development issuer, if it is enabled. Its port is bound here, because tokens name it.
func startIssuer(ctx context.Context, cfg *Config, log *slog.Logger) ([]serve.HTTP, error) {
	if !cfg.Auth.DevIssuer {
		return nil, nil
	}
	listener := cfg.DevIssuerListener
	if listener == nil {
		var err error
		if listener, err = (&net.ListenConfig{}).Listen(ctx, "tcp", cfg.Auth.DevIssuerListen); err != nil {
			return nil, fmt.Errorf("development issuer: %w", err)
		}
	}
	if cfg.Auth.Issuer == "" {
		cfg.Auth.Issuer = "http://" + listener.Addr().String()
	}
	cfg.Auth.Issuer = strings.TrimSuffix(cfg.Auth.Issuer, "/")
	issuer, err := devissuer.New(devissuer.Options{URL: cfg.Auth.Issuer, Audience: cfg.Auth.Audience, KeyFile: cfg.Auth.DevIssuerKeyFile})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("development issuer: %w", err), listener.Close())
	}
	log.Warn("development issuer gives tokens to whoever asks", slog.String("listen", listener.Addr().String()))
	return []serve.HTTP{{Name: DevIssuerServer, Listener: listener, Handler: issuer.Handler()}}, nil
}
