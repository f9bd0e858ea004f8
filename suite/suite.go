// Package suite runs the whole of Selfsame on one machine: the Salesforce sandbox, the four services on real loopback
// sockets, and a fault proxy in front of the ERP.
//
// Invariant: what runs here are the services' own Run functions with their own configuration, speaking to each other over
// the network as they do anywhere. Each can be a task of this process or a process of its own; nothing else differs.
//
// It is for demonstrations, stories and load tests. It keeps no secrets worth keeping and listens on loopback only.
package suite

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/selfsame-io/selfsame/suite/data"
	"github.com/selfsame-io/selfsame/suite/faultproxy"
	"github.com/selfsame-io/selfsame/suite/remote"
	"github.com/selfsame-io/selfsame/suite/seed"
)

// The services, in the order in which they start.
const (
	SystemERP        = "system-erp"
	SystemSalesforce = "system-salesforce"
	ProcessCustomer  = "process-customer"
	ExperienceMobile = "experience-mobile"
)

// tokenLife is the longest that the development issuer issues.
const tokenLife = 24 * time.Hour

// Options configures a Suite. The zero value runs in this process on free ports in a directory that must be given.
type Options struct {
	// Dir is where databases, keys and logs go. It is emptied at the start unless Keep is set.
	Dir string
	// StateFile is where the state is written; empty writes none.
	StateFile string
	// Data is loaded into the systems; nil loads nothing.
	Data *data.Set
	// PortBase is the first port; zero takes free ones.
	PortBase int
	// Processes runs each service as a process of its own, started by Command.
	Processes bool
	// Command starts a service when its name and flags are appended; by default this program's hidden command "service".
	Command []string
	// Keep leaves the databases of an earlier start in place. The sandbox is always empty at first: what Selfsame had made
	// there counts as deleted.
	Keep bool
	// LogLevel is the services' log level; empty means warn.
	LogLevel string
	// ERPFaults are set between process-customer and system-erp before process-customer starts.
	ERPFaults []faultproxy.Fault
	// SalesforceDown makes the sandbox refuse everything before the services start.
	SalesforceDown bool
	// SalesforceCalls is how many calls a day the sandbox allows; zero means as many as a real org, 100,000.
	SalesforceCalls int
	// SAP puts a sandbox of S/4HANA behind system-erp, in the place of its own database. It knows the articles of package seed.
	SAP bool
	// Replicas is how many process-customers run beside the first one, which is the only one that others call. They share its
	// database, so Tune has to give it PostgreSQL.
	Replicas int
	// Tune changes the services' configuration before they start.
	Tune func(*Configs)
	// Step is told what was done and how long it took; may be nil.
	Step func(name, detail string, took time.Duration)
}

// Suite is a running suite. Its methods may be called from several goroutines at once.
type Suite struct {
	o       Options
	proxy   *faultproxy.Proxy
	configs Configs
	addrs   map[string]string
	http    *http.Client
	lock    *os.File // held while the directory is in use

	mu    sync.Mutex // guards what follows
	state remote.State
	units []*unit // in the order of starting
	ports ports

	failure chan error
	stopped sync.Once
	stopErr error
}

// Start starts everything and returns when every service accepts connections and the data is loaded. The initial sync is
// then under way. Whatever was started is stopped again when it fails, or when ctx ends before it is done. Stop must be
// called in the end.
func Start(ctx context.Context, o Options) (*Suite, error) {
	s := &Suite{o: o, failure: make(chan error, 1), http: &http.Client{Timeout: time.Minute, Transport: http.DefaultTransport.(*http.Transport).Clone()}}
	if s.o.LogLevel == "" {
		s.o.LogLevel = "warn"
	}
	if s.o.Step == nil {
		s.o.Step = func(string, string, time.Duration) {}
	}
	if err := s.start(ctx); err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	return s, nil
}

func (s *Suite) start(ctx context.Context) error {
	began := time.Now()
	var err error
	var more []string
	if s.o.SAP {
		more = append(more, portS4)
	}
	if s.ports, err = bind(ctx, s.o.PortBase, more...); err != nil {
		return err
	}
	s.addrs = s.ports.addresses()
	s.step("ports free", fmt.Sprintf("%d, the first is %s", len(s.addrs), s.addrs[portREST]), &began)
	key, err := s.prepare()
	if err != nil {
		return err
	}
	s.step("directory", s.o.Dir, &began)
	if s.configs, err = s.configure(key); err != nil {
		return err
	}
	if s.o.Tune != nil {
		s.o.Tune(&s.configs)
	}
	if err := s.startBelow(ctx, key); err != nil {
		return err
	}
	s.step("salesforce sandbox, "+SystemERP, "listening", &began)
	s.state = s.newState()
	if err := s.seed(ctx, &began); err != nil {
		return err
	}
	if err := s.startAbove(ctx); err != nil {
		return err
	}
	s.step("services", "listening", &began)
	token, err := remote.IssueToken(ctx, s.http, s.state.Issuer, "demo", mobileScopes, tokenLife)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.state.Token = token
	s.mu.Unlock()
	if err := s.reached(ctx); err != nil {
		return err
	}
	return s.save()
}

// reached waits until the edge serves, for a minute at most: until it has reached the service below it answers 503, and whoever
// starts a demo wants to use it. What does not serve by then is said, and left running to be looked at.
func (s *Suite) reached(ctx context.Context) error {
	within, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	began := time.Now()
	for within.Err() == nil {
		req, err := http.NewRequestWithContext(within, http.MethodGet, s.state.REST+"/v1/customers?pageSize=1", nil)
		if err != nil {
			return fmt.Errorf("ask the mobile API: %w", err)
		}
		req.Header.Set("Authorization", "Bearer "+s.state.Token)
		if res, err := s.http.Do(req); err == nil {
			_ = res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-within.Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
	if ctx.Err() == nil {
		s.step("mobile API", "does not serve yet: see the logs", &began)
	}
	return ctx.Err()
}

func (s *Suite) step(name, detail string, began *time.Time) {
	now := time.Now()
	s.o.Step(name, detail, now.Sub(*began))
	*began = now
}

// prepare empties the directory and makes the key.
func (s *Suite) prepare() (keyPair, error) {
	if s.o.Dir == "" {
		return keyPair{}, errors.New("the directory of the suite is not given")
	}
	abs, err := filepath.Abs(s.o.Dir)
	if err != nil {
		return keyPair{}, fmt.Errorf("directory of the suite: %w", err)
	}
	s.o.Dir = abs
	if s.lock, err = lock(abs + ".lock"); err != nil {
		return keyPair{}, err
	}
	if !s.o.Keep {
		if err := empty(s.o.Dir); err != nil {
			return keyPair{}, err
		}
	}
	if err := os.MkdirAll(s.o.Dir, 0o755); err != nil {
		return keyPair{}, fmt.Errorf("directory of the suite: %w", err)
	}
	if err := os.WriteFile(filepath.Join(s.o.Dir, marker), nil, 0o644); err != nil {
		return keyPair{}, fmt.Errorf("directory of the suite: %w", err)
	}
	key, err := newKeyPair()
	if err != nil {
		return keyPair{}, err
	}
	if err := os.WriteFile(s.keyFile(), []byte(key.private), 0o600); err != nil {
		return keyPair{}, fmt.Errorf("write key: %w", err)
	}
	return key, nil
}

// lock makes sure that no other demo uses the directory: it would lose its databases under its feet.
func lock(path string) (*os.File, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("lock the directory of the suite: %w", err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the directory of the suite: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("a demo is running in %s: stop it, or give another --dir", strings.TrimSuffix(path, ".lock")), f.Close())
	}
	return f, nil
}

// marker is the file by which a directory is known to be the suite's.
const marker = ".selfsame-demo"

// empty removes an earlier suite's directory, and refuses to remove anything else: the directory comes from a flag.
func empty(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) || (err == nil && len(entries) == 0) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("directory of the suite: %w", err)
	}
	if !slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() == marker }) {
		return fmt.Errorf("%s is not empty and not of an earlier demo: it is left alone; give another --dir", dir)
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("empty the directory of the suite: %w", err)
	}
	return nil
}

func (s *Suite) keyFile() string { return filepath.Join(s.o.Dir, "salesforce-key.pem") }

// startBelow starts the two systems: the sandbox and system-erp, with what is behind it.
func (s *Suite) startBelow(ctx context.Context, key keyPair) error {
	sandbox, err := s.sandbox(key)
	if err != nil {
		return err
	}
	units := []*unit{sandbox}
	if s.o.SAP {
		s4, err := s.s4()
		if err != nil {
			return err
		}
		units = append(units, s4)
	}
	for _, u := range append(units, s.service(SystemERP)) {
		if err := s.add(ctx, u); err != nil {
			return err
		}
	}
	return nil
}

// startAbove starts what looks at them.
func (s *Suite) startAbove(ctx context.Context) error {
	if s.o.SalesforceDown {
		if err := s.put(ctx, s.state.Salesforce+"/__sandbox__/faults", `{"down":true}`); err != nil {
			return err
		}
	}
	proxy, err := faultproxy.New(faultproxy.Options{Target: s.addrs[SystemERP], Faults: s.o.ERPFaults})
	if err != nil {
		return err
	}
	s.proxy = proxy
	lis, control := s.take(portProxy), s.take(portControl)
	units := []*unit{
		s.task("erp-proxy", []string{s.addrs[portProxy]}, func(ctx context.Context) error { return proxy.Run(ctx, lis, nil) }),
		s.task("control", []string{s.addrs[portControl]}, func(ctx context.Context) error { return s.serveControl(ctx, control) }),
		s.service(SystemSalesforce), s.service(ProcessCustomer),
	}
	for n := range s.o.Replicas {
		units = append(units, s.replica(n+2))
	}
	units = append(units, s.service(ExperienceMobile))
	for _, u := range units {
		if err := s.add(ctx, u); err != nil {
			return err
		}
	}
	return nil
}

// add starts a unit and remembers it for stopping.
func (s *Suite) add(ctx context.Context, u *unit) error {
	s.mu.Lock()
	s.units = append(s.units, u)
	s.mu.Unlock()
	return u.start(ctx)
}

// task is a unit that always runs in this process and is not started again.
func (s *Suite) task(name string, addrs []string, run runFunc) *unit {
	return &unit{name: name, addrs: addrs, failed: s.fail, launch: func() (running, error) {
		return runTask(context.Background(), run), nil
	}}
}

// fail keeps the first failure.
func (s *Suite) fail(err error) {
	select {
	case s.failure <- err:
	default:
	}
}

// seed loads the data set into both systems.
func (s *Suite) seed(ctx context.Context, began *time.Time) error {
	if s.o.Data == nil {
		return nil
	}
	return withDirect(s.state, func(d direct) error {
		sf, err := seed.Salesforce(ctx, d.crm, s.o.Data)
		if err != nil {
			return err
		}
		s.step("salesforce data", fmt.Sprintf("%d accounts, %d contacts, %d cases", sf.Customers, sf.Contacts, sf.Cases), began)
		erp, err := seed.ERP(ctx, d.erp, s.o.Data)
		if err != nil {
			return err
		}
		s.step("erp data", fmt.Sprintf("%d customers, %d contacts, %d orders", erp.Customers, erp.Contacts, erp.Orders), began)
		for _, r := range append(sf.Refused, erp.Refused...) {
			s.o.Step("row left out", fmt.Sprintf("%s %s: %s %s", r.Source, r.RecordID, r.Reason, r.Field), 0)
		}
		return nil
	})
}

// State is where everything listens.
func (s *Suite) State() remote.State {
	s.mu.Lock()
	st, units := s.state, slices.Clone(s.units)
	s.mu.Unlock()
	st.PIDs = nil
	for _, u := range units {
		if pid := u.pid(); pid != 0 {
			if st.PIDs == nil {
				st.PIDs = map[string]int{}
			}
			st.PIDs[u.name] = pid
		}
	}
	return st
}

func (s *Suite) save() error {
	if s.o.StateFile == "" {
		return nil
	}
	return s.State().Save(s.o.StateFile)
}

// Failed receives the first service that ended without having been asked to.
func (s *Suite) Failed() <-chan error { return s.failure }

// Proxy is the fault proxy between process-customer and system-erp.
func (s *Suite) Proxy() *faultproxy.Proxy { return s.proxy }

// Kill ends a service as a power failure would: SIGKILL. The suite must run with Processes.
func (s *Suite) Kill(name string) error { return s.with(name, (*unit).kill) }

// StopService stops a service in order.
func (s *Suite) StopService(name string) error { return s.with(name, (*unit).stop) }

// StartService starts a service that was killed or stopped.
func (s *Suite) StartService(ctx context.Context, name string) error {
	return s.with(name, func(u *unit) error { return u.start(ctx) })
}

// ErrNoService means that a name is not that of a service of the suite.
var ErrNoService = errors.New("no such service")

func (s *Suite) with(name string, do func(*unit) error) error {
	services := []string{SystemERP, SystemSalesforce, ProcessCustomer, ExperienceMobile}
	for n := range s.o.Replicas {
		services = append(services, replicaName(n+2))
	}
	s.mu.Lock()
	units := slices.Clone(s.units)
	s.mu.Unlock()
	i := slices.IndexFunc(units, func(u *unit) bool { return u.name == name })
	if i < 0 || !slices.Contains(services, name) {
		return fmt.Errorf("%w: %q; there are %v", ErrNoService, name, services)
	}
	return errors.Join(do(units[i]), s.save())
}

// Stop stops everything, the last started first, and removes the state file. It may be called more than once.
func (s *Suite) Stop() error {
	s.stopped.Do(func() {
		var errs []error
		for _, u := range slices.Backward(s.units) {
			errs = append(errs, u.stop())
		}
		for _, u := range s.units {
			u.watched.Wait()
		}
		errs = append(errs, s.ports.close())
		s.http.CloseIdleConnections()
		if s.lock != nil {
			if err := os.Remove(s.lock.Name()); !errors.Is(err, fs.ErrNotExist) { // somebody may have tidied up
				errs = append(errs, err)
			}
			errs = append(errs, s.lock.Close())
		}
		if s.o.StateFile != "" && s.state.Instance != "" {
			if have, err := remote.Load(s.o.StateFile); err == nil && have.Instance == s.state.Instance {
				errs = append(errs, os.Remove(s.o.StateFile))
			}
		}
		s.stopErr = errors.Join(errs...)
	})
	return s.stopErr
}

// take returns the listener bound at the start; nil when it was taken before.
func (s *Suite) take(name string) net.Listener {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ports.take(name)
}

// listener returns a port's listener: the one bound at the start, or a new one when the service is started again.
func (s *Suite) listener(name string) (net.Listener, error) {
	if l := s.take(name); l != nil {
		return l, nil
	}
	l, err := net.Listen("tcp", s.addrs[name])
	if err != nil {
		return nil, fmt.Errorf("listen again for %s: %w", name, err)
	}
	return l, nil
}
