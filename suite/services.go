package suite

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/selfsame-io/selfsame/pkg/conf"
	"github.com/selfsame-io/selfsame/pkg/heap"
	"github.com/selfsame-io/selfsame/pkg/serve"
	"github.com/selfsame-io/selfsame/pkg/telemetry"
	experiencemobile "github.com/selfsame-io/selfsame/services/experience-mobile"
	processcustomer "github.com/selfsame-io/selfsame/services/process-customer"
	systemerp "github.com/selfsame-io/selfsame/services/system-erp"
	s4 "github.com/selfsame-io/selfsame/services/system-erp/sandbox"
	systemsalesforce "github.com/selfsame-io/selfsame/services/system-salesforce"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox"
	"github.com/selfsame-io/selfsame/suite/crm"
	"github.com/selfsame-io/selfsame/suite/remote"
	"github.com/selfsame-io/selfsame/suite/seed"
)

// Who may log into the sandbox.
const (
	clientID      = "selfsame-demo"
	integration   = "integration@selfsame.example"
	integrationID = "005000000000001AAA"
	demoUser      = "demo@selfsame.example"
	demoUserID    = "005000000000002AAA"
	mobileScopes  = "customers.read customers.write"
)

// Configs are the services' configurations.
type Configs struct {
	SystemSalesforce systemsalesforce.Config
	SystemERP        systemerp.Config
	ProcessCustomer  processcustomer.Config
	ExperienceMobile experiencemobile.Config
}

// configure makes each service's configuration.
func (s *Suite) configure(key keyPair) (Configs, error) {
	kept, err := keptSecret(filepath.Join(s.o.Dir, "idempotency-secret"))
	if err != nil {
		return Configs{}, err
	}
	issuerKey := filepath.Join(s.o.Dir, "issuer-key.pem")
	if err := keptIssuerKey(issuerKey); err != nil {
		return Configs{}, err
	}
	c := Configs{
		SystemSalesforce: systemsalesforce.DefaultConfig(), SystemERP: systemerp.DefaultConfig(),
		ProcessCustomer: processcustomer.DefaultConfig(), ExperienceMobile: experiencemobile.DefaultConfig(),
	}
	sf := &c.SystemSalesforce
	sf.Serve.Listen, sf.Serve.Ops = s.addrs[SystemSalesforce], s.addrs[SystemSalesforce+opsSuffix]
	sf.Salesforce.LoginURL, sf.Salesforce.ClientID, sf.Salesforce.Username = "http://"+s.addrs[portSandbox], clientID, integration
	sf.Store.DSN = conf.Secret("sqlite:" + filepath.Join(s.o.Dir, "salesforce.db"))
	sf.Salesforce.PrivateKey = conf.Secret(key.private)
	sf.Salesforce.PubSubEndpoint, sf.Salesforce.PubSubPlaintext = s.addrs[portPubSub], true

	erp := &c.SystemERP
	erp.Serve.Listen, erp.Serve.Ops = s.addrs[SystemERP], s.addrs[SystemERP+opsSuffix]
	erp.Store.DSN, erp.Store.KeySecret = conf.Secret("sqlite:"+filepath.Join(s.o.Dir, "erp.db")), conf.Secret(kept)

	if s.o.SAP {
		erp.Backend.Kind, erp.Backend.Poll = "sap", time.Second
		// The references stand in SAP too, and an address without a country is one of this country.
		erp.Backend.SAP.URL, erp.Backend.SAP.IdentificationType, erp.Backend.SAP.DefaultCountry = "http://"+s.addrs[portS4], "SELFSM", "DE"
	}

	pc := &c.ProcessCustomer
	pc.Serve.Listen, pc.Serve.Ops = s.addrs[ProcessCustomer], s.addrs[ProcessCustomer+opsSuffix]
	pc.Store.DSN, pc.Store.KeySecret = conf.Secret("sqlite:"+filepath.Join(s.o.Dir, "process-customer.db")), conf.Secret(kept)
	pc.Salesforce.Target, pc.ERP.Target = s.addrs[SystemSalesforce], s.addrs[portProxy]

	em := &c.ExperienceMobile
	// Here every repetition reaches the service that decides: what an operator expires or erases is gone at once, and what
	// becomes of a key is seen where it is counted.
	em.Replay.Memory = 0
	em.Listen, em.Customer.Target = s.addrs[portREST], s.addrs[ProcessCustomer]
	em.Serve.Listen, em.Serve.Ops = s.addrs[ExperienceMobile], s.addrs[ExperienceMobile+opsSuffix]
	// The issuer keeps its key, so that the demo's token outlives a restart of the service.
	em.Auth.DevIssuer, em.Auth.DevIssuerListen, em.Auth.DevIssuerKeyFile = true, s.addrs[portIssuer], issuerKey
	for _, t := range []*telemetry.Config{&sf.Telemetry, &erp.Telemetry, &pc.Telemetry, &em.Telemetry} {
		t.LogLevel, t.LogFormat = s.o.LogLevel, "text"
	}
	return c, nil
}

// service is the unit of a service by name, as a task or a process.
func (s *Suite) service(name string) *unit {
	u := &unit{name: name, failed: s.fail}
	ports := []string{name, name + opsSuffix}
	if name == ExperienceMobile {
		ports = append(ports, portREST, portIssuer)
	}
	for _, p := range ports {
		u.addrs = append(u.addrs, s.addrs[p])
	}
	u.launch = func() (running, error) {
		if s.o.Processes {
			return s.launchProcess(name, ports)
		}
		bound := map[string]net.Listener{}
		for _, p := range ports {
			l, err := s.listener(p)
			if err != nil {
				return nil, err
			}
			bound[p] = l
		}
		return runTask(context.Background(), s.run(name, bound)), nil
	}
	return u
}

// replicaName is the name of the n-th process-customer, from 2.
func replicaName(n int) string { return fmt.Sprintf("%s-%d", ProcessCustomer, n) }

// replica is the unit of another process-customer on the same database. Nobody calls it, so any port will do.
func (s *Suite) replica(n int) *unit {
	name := replicaName(n)
	return &unit{name: name, failed: s.fail, launch: func() (running, error) {
		cfg := s.configs.ProcessCustomer
		cfg.Serve.Listen, cfg.Serve.Ops = loopback+":0", loopback+":0"
		if s.o.Processes {
			return s.spawn(ProcessCustomer, name, cfg)
		}
		return runTask(context.Background(), func(ctx context.Context) error { return processcustomer.Run(ctx, cfg) }), nil
	}}
}

// run is the service's own Run with its configuration and bound ports.
func (s *Suite) run(name string, bound map[string]net.Listener) runFunc {
	return func(ctx context.Context) error {
		switch name {
		case SystemSalesforce:
			cfg := s.configs.SystemSalesforce
			cfg.Listener, cfg.OpsListener = bound[name], bound[name+opsSuffix]
			return systemsalesforce.Run(ctx, cfg)
		case SystemERP:
			cfg := s.configs.SystemERP
			cfg.Listener, cfg.OpsListener = bound[name], bound[name+opsSuffix]
			return systemerp.Run(ctx, cfg)
		case ProcessCustomer:
			cfg := s.configs.ProcessCustomer
			cfg.Listener, cfg.OpsListener = bound[name], bound[name+opsSuffix]
			return processcustomer.Run(ctx, cfg)
		default:
			cfg := s.configs.ExperienceMobile
			cfg.Listener, cfg.OpsListener = bound[name], bound[name+opsSuffix]
			cfg.HTTPListener, cfg.DevIssuerListener = bound[portREST], bound[portIssuer]
			return experiencemobile.Run(ctx, cfg)
		}
	}
}

// launchProcess writes the service's configuration and starts it on the ports that were kept for it until now.
func (s *Suite) launchProcess(name string, ports []string) (running, error) {
	for _, p := range ports {
		if l := s.take(p); l != nil {
			if err := l.Close(); err != nil {
				return nil, fmt.Errorf("free port of %s: %w", p, err)
			}
		}
	}
	var cfg any
	switch name {
	case SystemSalesforce:
		cfg = s.configs.SystemSalesforce
	case SystemERP:
		cfg = s.configs.SystemERP
	case ProcessCustomer:
		cfg = s.configs.ProcessCustomer
	default:
		cfg = s.configs.ExperienceMobile
	}
	return s.spawn(name, name, cfg)
}

// spawn writes a configuration of a service and starts it as a process of the given name.
func (s *Suite) spawn(service, name string, cfg any) (running, error) {
	file := filepath.Join(s.o.Dir, name+".yaml")
	if err := writeConfig(file, cfg); err != nil {
		return nil, err
	}
	command := s.o.Command
	if len(command) == 0 {
		self, err := os.Executable()
		if err != nil {
			return nil, fmt.Errorf("find this program: %w", err)
		}
		command = []string{self, "service"}
	}
	command = append(append([]string{}, command...), service, "--config", file)
	return runProcess(command, filepath.Join(s.o.Dir, name+".log"))
}

// RunService runs one service until ctx ends, configured by args. It is what a process of its own does.
func RunService(ctx context.Context, name string, args []string) error {
	switch name {
	case SystemSalesforce:
		return load(ctx, name, args, systemsalesforce.DefaultConfig(), func(c systemsalesforce.Config) serve.Config { return c.Serve }, systemsalesforce.Run)
	case SystemERP:
		return load(ctx, name, args, systemerp.DefaultConfig(), func(c systemerp.Config) serve.Config { return c.Serve }, systemerp.Run)
	case ProcessCustomer:
		return load(ctx, name, args, processcustomer.DefaultConfig(), func(c processcustomer.Config) serve.Config { return c.Serve }, processcustomer.Run)
	case ExperienceMobile:
		return load(ctx, name, args, experiencemobile.DefaultConfig(), func(c experiencemobile.Config) serve.Config { return c.Serve }, experiencemobile.Run)
	}
	return fmt.Errorf("%w: %q", ErrNoService, name)
}

func load[T any](ctx context.Context, name string, args []string, defaults T, served func(T) serve.Config, run func(context.Context, T) error) error {
	cfg, err := conf.Load(conf.Options{Program: name, Args: args}, defaults)
	if err != nil {
		return err
	}
	defer heap.Lend(served(cfg).BusyHeap)()
	return run(ctx, cfg)
}

// sandbox is the unit of the Salesforce sandbox.
func (s *Suite) sandbox(key keyPair) (*unit, error) {
	server, err := sandbox.New(sandbox.Config{
		HTTPListener: s.take(portSandbox), PubSubListener: s.take(portPubSub), DailyAPILimit: s.o.SalesforceCalls,
		// A login is good for minutes of the org's clock: sessions must last when it is put forward by a day.
		SessionTTL: 72 * time.Hour,
		Apps:       []sandbox.App{{ClientID: clientID, PublicKeyPEM: key.public}},
		Users: []sandbox.User{
			{Username: integration, ID: integrationID, Name: "Selfsame", IntegrationUser: true},
			{Username: demoUser, ID: demoUserID, Name: "Demo User"},
		},
	})
	if err != nil {
		return nil, fmt.Errorf("salesforce sandbox: %w", err)
	}
	return s.task("salesforce-sandbox", []string{s.addrs[portSandbox], s.addrs[portPubSub]}, server.Run), nil
}

// s4 is the unit of the S/4HANA sandbox, with the articles of the catalogue.
func (s *Suite) s4() (*unit, error) {
	var articles []s4.Product
	for _, a := range seed.Articles() {
		articles = append(articles, s4.Product{ID: a.SKU, Name: a.Name, Price: a.Price, Stock: a.OnHand})
	}
	server, err := s4.New(s4.Config{Listener: s.take(portS4), Products: articles})
	if err != nil {
		return nil, fmt.Errorf("s/4 sandbox: %w", err)
	}
	return s.task("s4-sandbox", []string{s.addrs[portS4]}, server.Run), nil
}

// newState says where everything listens.
func (s *Suite) newState() remote.State {
	st := remote.State{
		Instance: secret(8), PID: os.Getpid(), Processes: s.o.Processes, Started: time.Now().UTC(), Dir: s.o.Dir,
		REST: "http://" + s.addrs[portREST], Issuer: "http://" + s.addrs[portIssuer],
		Salesforce: "http://" + s.addrs[portSandbox], PubSub: s.addrs[portPubSub],
		ClientID: clientID, Username: demoUser, KeyFile: s.keyFile(), Integration: integrationID,
		Control: "http://" + s.addrs[portControl],
		GRPC:    map[string]string{portProxy: s.addrs[portProxy]}, Ops: map[string]string{},
	}
	if s.o.SAP {
		st.S4 = "http://" + s.addrs[portS4]
	}
	st.OpenAPI, st.Docs = st.REST+"/openapi.json", st.REST+"/docs"
	for _, name := range []string{SystemSalesforce, SystemERP, ProcessCustomer, ExperienceMobile} {
		st.GRPC[name], st.Ops[name] = s.addrs[name], s.addrs[name+opsSuffix]
	}
	return st
}

// direct are connections to the two systems before anything else runs.
type direct struct {
	crm *crm.Client
	erp *grpc.ClientConn
}

func withDirect(st remote.State, do func(direct) error) (err error) {
	key, err := remote.ReadKey(st.KeyFile)
	if err != nil {
		return err
	}
	conn, err := grpc.NewClient(st.GRPC[SystemERP], grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.WaitForReady(true)))
	if err != nil {
		return fmt.Errorf("connect to %s: %w", SystemERP, err)
	}
	d := direct{crm: crm.New(crm.Options{URL: st.Salesforce, ClientID: st.ClientID, Username: st.Username, Key: key}), erp: conn}
	defer func() {
		d.crm.Close()
		if closeErr := conn.Close(); err == nil {
			err = closeErr
		}
	}()
	return do(d)
}

// serveControl serves the control API: the fault proxy's, the instance id, and the services' switches.
func (s *Suite) serveControl(ctx context.Context, lis net.Listener) error {
	web := &http.Server{Handler: s.control(), ReadHeaderTimeout: 5 * time.Second}
	stop := context.AfterFunc(ctx, func() { _ = web.Close() })
	defer stop()
	if err := web.Serve(lis); ctx.Err() == nil {
		return fmt.Errorf("control api: %w", err)
	}
	return nil
}
