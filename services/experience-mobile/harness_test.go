package experiencemobile_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/grpc"

	"github.com/selfsame-io/selfsame/pkg/idempotent"
	"github.com/selfsame-io/selfsame/pkg/serve"
	"github.com/selfsame-io/selfsame/pkg/telemetry"
	"github.com/selfsame-io/selfsame/pkg/telemetry/telemetrytest"
	customerv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/customer/v1"
	experiencemobile "github.com/selfsame-io/selfsame/services/experience-mobile"
	"github.com/selfsame-io/selfsame/services/experience-mobile/internal/devissuer"
)

// TestMain runs more cases at once than there are processors: most of them wait for something, not for a processor. The
// collector runs seldom: what a few hundred small services leave behind is little.
func TestMain(m *testing.M) {
	flag.Parse()
	debug.SetGCPercent(400)
	if err := flag.Set("test.parallel", strconv.Itoa(max(4, runtime.GOMAXPROCS(0)))); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

const (
	audience = "selfsame-mobile"
	origin   = "https://app.example.com"
	// publicURL is where clients of the tests think the API is.
	publicURL = "https://api.example.com"
	readAll   = "customers.read customers.write"
)

// provider is an identity provider on loopback.
type provider struct {
	*devissuer.Issuer
	url   string
	stop  func()
	asked atomic.Int64 // requests
	down  atomic.Bool  // none of them is answered
}

func newProvider(t *testing.T) *provider {
	t.Helper()
	var issuer *devissuer.Issuer
	p := &provider{}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.asked.Add(1)
		if p.down.Load() {
			http.Error(w, "back soon", http.StatusServiceUnavailable)
			return
		}
		issuer.Handler().ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	issuer, err := devissuer.New(devissuer.Options{URL: srv.URL, Audience: audience})
	require.NoError(t, err)
	p.Issuer, p.url, p.stop = issuer, srv.URL, srv.Close
	return p
}

// world is experience-mobile over a fake process-customer.
type world struct {
	base   string
	addrs  serve.Addrs
	idp    *provider
	fake   *fakeCustomers
	client *http.Client
	log    *telemetrytest.Log
	stop   func() // stops process-customer
	halt   func() // stops experience-mobile
	below  *below
	target string // of process-customer
	signed sync.Once
	bearer string // of user-1 with all scopes
}

// below is what process-customer keeps keys in.
type below struct {
	idempotent.Store
	options          idempotent.Options
	down             atomic.Bool // the store cannot be reached
	mute             atomic.Bool // what the store is told at the end is lost
	stuck            atomic.Bool // the store does not answer
	deaf             atomic.Bool // what the store says at the end is lost
	begin, complete  flaky       // fail some times before they work
	manual           bool        // nobody may execute again what its owner did not finish
	ending           func()      // called when an answer is about to be stored
	begun, completed atomic.Int64
	now              func() time.Time
}

// flaky fails some times.
type flaky struct {
	left atomic.Int64
	err  error
}

func (f *flaky) next() error {
	if f.left.Load() > 0 && f.left.Add(-1) >= 0 {
		return f.err
	}
	return nil
}

var errStoreDown = errors.New("dial tcp 10.0.0.3:5432: connection refused")

func (b *below) Begin(ctx context.Context, c idempotent.Claim) (idempotent.Result, error) {
	b.begun.Add(1)
	if b.down.Load() {
		return idempotent.Result{}, errStoreDown
	}
	if b.stuck.Load() {
		<-ctx.Done()
		return idempotent.Result{}, ctx.Err()
	}
	if err := b.begin.next(); err != nil {
		return idempotent.Result{}, err
	}
	if b.manual {
		c.Takeover = false
	}
	return b.Store.Begin(ctx, c)
}

func (b *below) Complete(ctx context.Context, g idempotent.Grant, a idempotent.Answer) error {
	if b.mute.Load() {
		return errStoreDown
	}
	if b.ending != nil {
		b.ending()
	}
	if err := b.complete.next(); err != nil {
		return err
	}
	b.completed.Add(1)
	if err := b.Store.Complete(ctx, g, a); err != nil || !b.deaf.Load() {
		return err
	}
	return errStoreDown
}

// newBelow is a store in memory; change may alter how the interceptor treats keys.
func newBelow(change ...func(*below)) *below {
	b := &below{options: idempotent.Options{Wait: 50 * time.Millisecond}, now: time.Now}
	for _, c := range change {
		c(b)
	}
	if b.options.Now == nil {
		b.options.Now = b.now
	}
	if b.Store == nil {
		b.Store = idempotent.NewMemoryStore(b.now)
	}
	return b
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	return l
}

// background runs a service until the test ends.
func background(t *testing.T, run func(ctx context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("service ended with %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

func startFake(t *testing.T, keys *below) (f *fakeCustomers, target string, stop func()) {
	t.Helper()
	f = newFake()
	l := listen(t)
	config := serve.DefaultConfig()
	config.Ops, config.StopTimeout = "", 2*time.Second
	stop = background(t, func(ctx context.Context) error {
		return serve.Run(ctx, serve.Service{
			Name: "process-customer", Config: config, Telemetry: telemetry.Discard(), Listener: l,
			Register: func(r grpc.ServiceRegistrar) {
				customerv1.RegisterCustomerServiceServer(r, f)
				customerv1.RegisterScreenServiceServer(r, f)
			},
			Unary: []grpc.UnaryServerInterceptor{
				f.record, idempotent.UnaryServer(keys, keys.options),
			},
		})
	})
	return f, l.Addr().String(), stop
}

// setup starts a world; change may alter the configuration.
func setup(t *testing.T, change ...func(*experiencemobile.Config)) *world {
	t.Helper()
	return setupOver(t, newBelow(), change...)
}

// released is the world after a release: a process-customer and an experience-mobile of their own, over other keys.
func (w *world) released(t *testing.T, keys *below) *world {
	t.Helper()
	other := &world{idp: w.idp, log: &telemetrytest.Log{}, below: keys}
	other.fake, other.target, other.stop = startFake(t, keys)
	other.serve(t)
	return other
}

// another is one more replica of experience-mobile over the same process-customer.
func (w *world) another(t *testing.T, change ...func(*experiencemobile.Config)) *world {
	t.Helper()
	other := &world{idp: w.idp, log: &telemetrytest.Log{}, below: w.below, fake: w.fake, stop: w.stop, target: w.target}
	other.serve(t, change...)
	return other
}

// setupOver starts a world whose process-customer keeps keys in a store of the test.
func setupOver(t *testing.T, keys *below, change ...func(*experiencemobile.Config)) *world {
	t.Helper()
	w := &world{idp: newProvider(t), log: &telemetrytest.Log{}, below: keys}
	w.fake, w.target, w.stop = startFake(t, keys)
	w.serve(t, change...)
	return w
}

// serve starts experience-mobile.
func (w *world) serve(t *testing.T, change ...func(*experiencemobile.Config)) {
	t.Helper()
	cfg := experiencemobile.DefaultConfig()
	cfg.Customer.Target = w.target
	cfg.Auth.Issuer = w.idp.url
	cfg.Budget = 20 * time.Second // what a test waits for when the machine is busy; M37 has its own
	cfg.Patience, cfg.Streams.Patience = 10*time.Second, 10*time.Second
	cfg.Origins, cfg.PublicURL = []string{origin}, publicURL
	cfg.Telemetry.LogLevel = "debug"
	cfg.TelemetryOptions = []telemetry.Option{telemetry.WithLogWriter(w.log)}
	cfg.Serve.StopTimeout = 2 * time.Second
	if !strings.HasPrefix(t.Name(), "TestBehaviours_AsShipped") {
		cfg.Limits.Shed = false // on a busy machine it would turn requests of tests away; it has a test of its own
		cfg.Replay.Keep = 0     // most cases are about what happens below; those about the edge's own cache set it
	}
	cfg.Streams.Poll, cfg.Streams.Heartbeat = 10*time.Millisecond, 100*time.Millisecond
	cfg.HTTPListener, cfg.Listener, cfg.OpsListener = listen(t), listen(t), listen(t)
	for _, c := range change {
		c(&cfg)
	}
	started := make(chan serve.Addrs, 1)
	cfg.Started = func(a serve.Addrs) { started <- a }
	w.halt = background(t, func(ctx context.Context) error {
		err := experiencemobile.Run(ctx, cfg)
		if err != nil {
			close(started)
		}
		return err
	})
	w.addrs = <-started
	w.base = "http://" + w.addrs.HTTP[experiencemobile.PublicServer]
	transport := &http.Transport{DisableCompression: true}
	w.client = &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	t.Cleanup(transport.CloseIdleConnections)
}

func (w *world) token(t *testing.T, subject, scope string) string {
	t.Helper()
	token, err := w.idp.Token(subject, scope, time.Hour)
	require.NoError(t, err)
	return token
}

// request is one request and how to repeat it by hand.
type request struct {
	method, path string
	header       http.Header
	body         string
	anonymous    bool
}

type option func(*request)

func with(name, value string) option { return func(r *request) { r.header.Add(name, value) } }

func without(name string) option { return func(r *request) { r.header.Del(name) } }

func body(text string) option {
	return func(r *request) {
		r.body = text
		if r.header.Get("Content-Type") == "" {
			r.header.Set("Content-Type", "application/json")
		}
	}
}

// key sends a key; a short name of one is made long enough.
func key(k string) option { return rawKey("a-key-for-the-test:" + k) }

// rawKey sends a line as it is.
func rawKey(line string) option { return with("Idempotency-Key", line) }

func anonymous() option { return func(r *request) { r.anonymous = true } }

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   string
	proto  string
	closed bool // the server ends the connection after this answer
}

// do sends a request as a user with all scopes, unless told otherwise. On failure the test prints the curl command.
func (w *world) do(t *testing.T, method, path string, options ...option) answer {
	t.Helper()
	a := w.send(t, method, path, options...)
	conforms(t, method, path, a)
	return a
}

// send is do for answers that the description does not hold as JSON: compressed ones and streams.
func (w *world) send(t *testing.T, method, path string, options ...option) answer {
	t.Helper()
	r := &request{method: method, path: path, header: http.Header{}}
	for _, o := range options {
		o(r)
	}
	if !r.anonymous && r.header.Get("Authorization") == "" {
		r.header.Set("Authorization", w.user1(t))
	}
	command := w.curl(r)
	t.Cleanup(func() {
		if t.Failed() || shown(t) {
			t.Logf("reproduce with:\n%s", command)
		}
	})
	req, err := http.NewRequestWithContext(t.Context(), method, w.base+path, strings.NewReader(r.body))
	require.NoError(t, err)
	req.Header = r.header
	resp, err := w.client.Do(req)
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	content, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return answer{resp.StatusCode, resp.Header, string(content), resp.Proto, resp.Close}
}

// shown reports whether a case says what it asks although nothing is wrong: one of the table, with -v.
func shown(t *testing.T) bool {
	t.Helper()
	return testing.Verbose() && strings.HasPrefix(t.Name(), "TestBehaviours/")
}

func (w *world) curl(r *request) string {
	var b strings.Builder
	fmt.Fprintf(&b, "curl -si -X %s '%s%s'", r.method, w.base, r.path)
	for name, values := range r.header {
		for _, v := range values {
			if name == "Authorization" {
				v = "Bearer $TOKEN"
			}
			fmt.Fprintf(&b, " \\\n  -H '%s: %s'", name, v)
		}
	}
	if r.body != "" {
		shown := r.body
		if len(shown) > 300 {
			shown = shown[:300] + "…"
		}
		fmt.Fprintf(&b, " \\\n  -d '%s'", shown)
	}
	return b.String()
}

type violation struct {
	Pointer                         *string
	Parameter, Header, Code, Detail string
}

type problemBody struct {
	Type, Title, Detail, Instance, Code, RequestID string
	Status                                         int
	Retryable                                      *bool
	Errors                                         []violation
}

// problem checks the shape that every refusal has (M33) and returns it.
func (a answer) problem(t *testing.T, status int, code string) problemBody {
	t.Helper()
	require.Equal(t, status, a.status, a.body)
	require.Equal(t, "application/problem+json", a.header.Get("Content-Type"))
	var p problemBody
	require.NoError(t, json.Unmarshal([]byte(a.body), &p), a.body)
	require.Equal(t, code, p.Code, a.body)
	require.Equal(t, status, p.Status)
	require.Equal(t, code, a.header.Get("X-Error-Code"))
	require.Equal(t, a.header.Get("X-Request-Id"), p.RequestID)
	for name, v := range map[string]string{"type": p.Type, "title": p.Title, "detail": p.Detail, "instance": p.Instance, "requestId": p.RequestID} {
		require.NotEmpty(t, v, name)
	}
	require.NotNil(t, p.Retryable, "retryable")
	return p
}

// code is the code of a refusal, for checks on goroutines that must not end the test.
func (a answer) code() string { return a.header.Get("X-Error-Code") }

func (p problemBody) pointers() []string {
	var out []string
	for _, e := range p.Errors {
		if e.Pointer != nil {
			out = append(out, *e.Pointer)
		}
	}
	return out
}

func (a answer) json(t *testing.T, status int) map[string]any {
	t.Helper()
	require.Equal(t, status, a.status, a.body)
	require.Equal(t, "application/json", a.header.Get("Content-Type"))
	var v map[string]any
	require.NoError(t, json.Unmarshal([]byte(a.body), &v), a.body)
	return v
}
