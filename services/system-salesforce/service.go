// Package systemsalesforce is the system layer's service for Salesforce: it owns the vendor's protocol, session, quota and
// mapping, and shows accounts, contacts, cases and their changes to the layers above as selfsame.salesforce.v1.
//
// The invariant: a vendor's name stops here. The package stores no records and does not know what a golden customer is; what its
// replicas share is the account of the org's API allowance.
package systemsalesforce

import (
	"context"
	"crypto/rsa"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"go.opentelemetry.io/otel/metric"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/selfsame-io/selfsame/pkg/conf"
	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/pkg/idempotent"
	"github.com/selfsame-io/selfsame/pkg/idempotent/keys"
	"github.com/selfsame-io/selfsame/pkg/serve"
	"github.com/selfsame-io/selfsame/pkg/telemetry"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/auth"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/changes"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/keystore"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/mapping"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/rest"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/rpc"
)

const name = "system-salesforce"

// maxEventBytes bounds one message of the Pub/Sub API: up to 100 events of usually a few kilobytes, at most one megabyte each.
const maxEventBytes = 128 << 20

// Run serves until ctx ends. It starts also while Salesforce is unreachable: then it is not ready, answers Unavailable, and
// goes on trying. So it does while the mapping does not fit the org. It ends with an error when the configuration makes no sense.
func Run(ctx context.Context, cfg Config) (err error) {
	if err := cfg.Validate(); err != nil {
		return fmt.Errorf("configuration of %s: %w", name, err)
	}
	tel, err := telemetry.Start(ctx, name, cfg.Telemetry, cfg.TelemetryOptions...)
	if err != nil {
		return err
	}
	defer shutdown(ctx, tel)
	serving := false
	defer func() { err = serve.Unserved(ctx, tel.Log, serving, err) }()

	m, err := loadMapping(cfg.Salesforce.MappingFile)
	if err != nil {
		return err
	}
	client := httpClient(cfg.Salesforce, tel)
	defer client.CloseIdleConnections()
	sessions, err := newSessions(cfg.Salesforce, client)
	if err != nil {
		return err
	}
	database, err := db.Open(ctx, cfg.Store.DSN.Reveal(), tel)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, database.Close()) }()
	accountant, err := newAccountant(ctx, cfg, database, tel)
	if err != nil {
		return err
	}
	echo := changes.NewEcho(time.Now)
	crm := rest.New(rest.Options{
		Sessions: sessions, HTTP: client, APIVersion: cfg.Salesforce.APIVersion, ClientName: cfg.Salesforce.ClientName,
		MaxConcurrent: cfg.Salesforce.MaxConcurrent, LimitPause: cfg.Salesforce.LimitPause, CircuitPause: cfg.Salesforce.CircuitPause,
		Budget: accountant, Wrote: echo.Wrote, Meter: tel.Meter, Log: tel.Log,
	})
	descriptions := newDescriptions(cfg.Salesforce, crm, tel)
	if err := observeUsage(tel, crm); err != nil {
		return err
	}
	conn, err := dialPubSub(cfg.Salesforce, tel)
	if err != nil {
		return err
	}
	defer conn.Close()
	watcher, err := newWatcher(cfg.Salesforce, conn, sessions, crm, m, descriptions, echo, tel)
	if err != nil {
		return err
	}
	g := newGate(descriptions, m, tel.Log)
	writer, jobs, done, err := newWriter(cfg, crm, accountant, tel)
	if err != nil {
		return err
	}
	defer done()
	g.settle = jobs.EndLeftovers
	old, err := keys.ParseSecrets(cfg.Store.OldKeySecrets.Reveal())
	if err != nil {
		return fmt.Errorf("store.old_key_secrets: %w", err)
	}
	ring, err := keys.ParseRing(cfg.Store.AnswerKeys.Reveal())
	if err != nil {
		return fmt.Errorf("store.answer_keys: %w", err)
	}
	answers, err := keystore.Open(ctx, database, []byte(cfg.Store.KeySecret.Reveal()), old...)
	if err != nil {
		return err
	}
	desk, stop, err := keystore.Desk(ctx, database, answers, tel)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	api := &rpc.Server{CRM: crm, Mapping: m, Describe: descriptions, Writer: writer, Watcher: watcher, Now: time.Now, Log: tel.Log}
	operations := &rpc.Operations{Budget: accountant, Doctor: newDoctor(cfg.Salesforce, sessions, crm, conn, m)}
	register := func(r grpc.ServiceRegistrar) { api.Register(r); operations.Register(r); desk.Register(r) }
	if err := keys.Check(answers, register); err != nil {
		return err
	}
	once := idempotent.UnaryServer(answers, idempotent.Options{Log: tel.Log, Meter: tel.Meter, Keys: ring, Lease: cfg.Store.KeyLease})
	serving = true
	return serve.Run(ctx, serve.Service{
		Name: name, Config: cfg.Serve, Telemetry: tel,
		Register: register, OperatorServices: []string{keys.ServiceName()},
		Unary:  []grpc.UnaryServerInterceptor{g.unary, once},
		Stream: []grpc.StreamServerInterceptor{g.stream},
		Loops: []serve.Loop{
			{Name: "connect", Run: g.run},
			{Name: "bulk leftovers", Run: jobs.Tend},
			{Name: "forget keys", Run: func(ctx context.Context) error { return keystore.Forget(ctx, answers, tel) }},
			{Name: "budget", Run: func(ctx context.Context) error { return accountant.Run(ctx, limits(crm)) }},
		},
		Checks:   []serve.Check{{Name: "salesforce", Ready: func(context.Context) error { return g.ready() }}},
		Listener: cfg.Listener, OpsListener: cfg.OpsListener, Started: cfg.Started,
	})
}

func shutdown(ctx context.Context, tel *telemetry.Telemetry) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := tel.Shutdown(ctx); err != nil {
		tel.Log.Warn("telemetry not shut down cleanly", "error", err.Error())
	}
}

func loadMapping(file string) (*mapping.Mapping, error) {
	if file == "" {
		return mapping.Default()
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read the mapping file: %w", err)
	}
	return mapping.Load(data)
}

func newSessions(cfg Salesforce, client *http.Client) (*auth.Source, error) {
	password, err := cfg.Password.Resolve()
	if err != nil {
		return nil, fmt.Errorf("salesforce.password: %w", err)
	}
	secret, err := cfg.ClientSecret.Resolve()
	if err != nil {
		return nil, fmt.Errorf("salesforce.client_secret: %w", err)
	}
	key := privateKey(cfg.PrivateKey)
	if password == "" {
		if _, err := key(); err != nil {
			return nil, fmt.Errorf("salesforce.private_key: %w", err)
		}
	}
	return auth.New(auth.Config{
		LoginURL: cfg.LoginURL, Audience: cfg.Audience, ClientID: cfg.ClientID, Username: cfg.Username, Key: key, Password: password, ClientSecret: secret,
	}, client, time.Now), nil
}

// privateKey reads the key from where the secret says it is, each time.
func privateKey(secret conf.Secret) func() (*rsa.PrivateKey, error) {
	return func() (*rsa.PrivateKey, error) {
		text, err := secret.Resolve()
		if err != nil {
			return nil, err
		}
		key, err := jwt.ParseRSAPrivateKeyFromPEM([]byte(text))
		if err != nil {
			// The library's error may hold parts of the input.
			return nil, errors.New("not an RSA private key in PEM form")
		}
		return key, nil
	}
}

func httpClient(cfg Salesforce, tel *telemetry.Telemetry) *http.Client {
	transport := &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSClientConfig:       &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:   10 * time.Second,
		MaxIdleConns:          2 * cfg.MaxConcurrent,
		MaxIdleConnsPerHost:   cfg.MaxConcurrent,
		IdleConnTimeout:       90 * time.Second,
		ExpectContinueTimeout: time.Second,
		ForceAttemptHTTP2:     true,
		DisableCompression:    auth.Loopback(cfg.LoginURL), // to this machine bytes cost less than packing them
	}
	return &http.Client{
		Transport: telemetry.HTTPTransport(tel, transport),
		// A redirect would carry the session elsewhere; Salesforce has no need of one.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func dialPubSub(cfg Salesforce, tel *telemetry.Telemetry) (*grpc.ClientConn, error) {
	creds := credentials.NewTLS(&tls.Config{MinVersion: tls.VersionTLS12})
	if cfg.PubSubPlaintext {
		creds = insecure.NewCredentials()
	}
	conn, err := grpc.NewClient(cfg.PubSubEndpoint,
		grpc.WithTransportCredentials(creds),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxEventBytes)),
		grpc.WithStatsHandler(otelgrpc.NewClientHandler(
			otelgrpc.WithTracerProvider(tel.Tracer), otelgrpc.WithMeterProvider(tel.Meter), otelgrpc.WithPropagators(tel.Propagator))))
	if err != nil {
		return nil, fmt.Errorf("salesforce.pubsub_endpoint: %w", err)
	}
	return conn, nil
}

// observeUsage shows the API allowance as metrics.
func observeUsage(tel *telemetry.Telemetry, crm *rest.Client) error {
	meter := tel.Meter.Meter("github.com/selfsame-io/selfsame/services/system-salesforce")
	usage, err1 := meter.Int64ObservableGauge("selfsame.salesforce.api.usage", metric.WithDescription("API calls counted by the org in its rolling window"))
	limit, err2 := meter.Int64ObservableGauge("selfsame.salesforce.api.limit", metric.WithDescription("API calls allowed in the rolling window"))
	own, err3 := meter.Int64ObservableCounter("selfsame.salesforce.api.calls", metric.WithDescription("API calls made by this process"))
	if err := errors.Join(err1, err2, err3); err != nil {
		return fmt.Errorf("usage metrics: %w", err)
	}
	_, err := meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		u := crm.Usage()
		o.ObserveInt64(usage, u.Used)
		o.ObserveInt64(limit, u.Limit)
		o.ObserveInt64(own, u.Own)
		return nil
	}, usage, limit, own)
	if err != nil {
		return fmt.Errorf("usage metrics: %w", err)
	}
	return nil
}
