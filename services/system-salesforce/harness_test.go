package systemsalesforce_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/selfsame-io/selfsame/pkg/conf"
	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/serve"
	salesforcev1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/salesforce/v1"
	systemsalesforce "github.com/selfsame-io/selfsame/services/system-salesforce"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	clientID = "3MVG9.selfsame.test"
	waitFor  = time.Minute
	tick     = 10 * time.Millisecond
)

var testKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

func keyPEM(t *testing.T) (private, public string) {
	t.Helper()
	pub, err := x509.MarshalPKIXPublicKey(&testKey().PublicKey)
	require.NoError(t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(testKey())})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: pub}))
}

// crm is a running sandbox and, towards it, another client of the org than the service under test.
type crm struct {
	t       *testing.T
	box     *sandbox.Server
	session func() string // logs in once, whoever asks first
	http    http.Client
}

func startSandbox(t *testing.T, change ...func(*sandbox.Config)) *crm {
	t.Helper()
	_, public := keyPEM(t)
	cfg := sandbox.Config{Apps: []sandbox.App{{ClientID: clientID, PublicKeyPEM: public}}, Strict: true, KeepAlive: 200 * time.Millisecond}
	for _, c := range change {
		c(&cfg)
	}
	box, err := sandbox.New(cfg)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := box.Run(ctx); err != nil {
			t.Errorf("sandbox: %v", err)
		}
	})
	c := &crm{t: t, box: box, http: http.Client{Transport: &http.Transport{}}}
	c.session = sync.OnceValue(c.login)
	t.Cleanup(func() { c.http.CloseIdleConnections(); cancel(); wg.Wait() })
	return c
}

func (c *crm) url() string { return "http://" + c.box.HTTPAddr() }

func (c *crm) login() string {
	c.t.Helper()
	claims := jwt.MapClaims{"iss": clientID, "sub": sandbox.DefaultUser, "aud": c.url(), "exp": time.Now().Add(time.Minute).Unix()}
	assertion, err := jwt.NewWithClaims(jwt.SigningMethodRS256, claims).SignedString(testKey())
	require.NoError(c.t, err)
	resp, err := c.http.PostForm(c.url()+"/services/oauth2/token", url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:jwt-bearer"}, "assertion": {assertion}})
	require.NoError(c.t, err)
	defer resp.Body.Close()
	var answer struct {
		AccessToken string `json:"access_token"`
	}
	require.NoError(c.t, json.NewDecoder(resp.Body).Decode(&answer))
	return answer.AccessToken
}

// do makes a call as another client and returns the answer.
func (c *crm) do(method, path string, body any) string {
	c.t.Helper()
	raw, err := json.Marshal(body)
	require.NoError(c.t, err)
	req, err := http.NewRequest(method, c.url()+path, bytes.NewReader(raw))
	require.NoError(c.t, err)
	req.Header.Set("Content-Type", "application/json")
	if !strings.HasPrefix(path, "/__sandbox__/") {
		req.Header.Set("Authorization", "Bearer "+c.session())
	}
	resp, err := c.http.Do(req)
	require.NoError(c.t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(c.t, err)
	require.Less(c.t, resp.StatusCode, 300, "%s %s: %s", method, path, text)
	return string(text)
}

func (c *crm) faults(plan map[string]any) { c.t.Helper(); c.do("PUT", "/__sandbox__/faults", plan) }

func (c *crm) create(object string, fields map[string]any) string {
	c.t.Helper()
	var answer struct {
		ID string `json:"id"`
	}
	require.NoError(c.t, json.Unmarshal([]byte(c.do("POST", "/services/data/v66.0/sobjects/"+object, fields)), &answer))
	return answer.ID
}

func (c *crm) live(object string) int {
	c.t.Helper()
	var answer struct {
		Records map[string]int `json:"records"`
	}
	require.NoError(c.t, json.Unmarshal([]byte(c.do("GET", "/__sandbox__/stats", nil)), &answer))
	return answer.Records[object]
}

// service is a running system-salesforce.
type service struct {
	accounts salesforcev1.AccountServiceClient
	contacts salesforcev1.ContactServiceClient
	cases    salesforcev1.CaseServiceClient
	changes  salesforcev1.ChangeServiceClient
	health   grpc_health_v1.HealthClient
	addrs    serve.Addrs
	stop     func() error // ends the service and returns what Run returned
}

func config(t *testing.T, c *crm) systemsalesforce.Config {
	t.Helper()
	private, _ := keyPEM(t)
	cfg := systemsalesforce.DefaultConfig()
	cfg.Serve.Listen, cfg.Serve.Ops = "127.0.0.1:0", "127.0.0.1:0"
	cfg.Store.DSN = conf.Secret("sqlite:" + filepath.Join(t.TempDir(), "salesforce.db"))
	cfg.Telemetry.LogLevel = "error"
	cfg.Salesforce.SwiftTo = 0 // how a load goes is not to depend on how busy the machine is
	cfg.Salesforce.ClientID, cfg.Salesforce.Username = clientID, sandbox.DefaultUser
	cfg.Salesforce.PrivateKey, cfg.Salesforce.PubSubPlaintext = conf.Secret(private), true
	if c != nil {
		cfg.Salesforce.LoginURL, cfg.Salesforce.PubSubEndpoint = c.url(), c.box.PubSubAddr()
	}
	return cfg
}

// startService starts the service and returns once it listens.
func startService(t *testing.T, cfg systemsalesforce.Config) *service {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	started := make(chan serve.Addrs, 1)
	cfg.Started = func(a serve.Addrs) { started <- a }
	ended := make(chan error, 1)
	go func() { ended <- systemsalesforce.Run(ctx, cfg) }()
	s := &service{}
	select {
	case s.addrs = <-started:
	case err := <-ended:
		cancel()
		require.NoError(t, err, "the service ended at once")
	}
	conn, err := serve.Dial(s.addrs.GRPC, serve.ClientOptions{CallerName: "test"})
	require.NoError(t, err)
	s.stop = sync.OnceValue(func() error {
		_ = conn.Close()
		cancel()
		return <-ended
	})
	t.Cleanup(func() { _ = s.stop() })
	s.accounts, s.contacts = salesforcev1.NewAccountServiceClient(conn), salesforcev1.NewContactServiceClient(conn)
	s.cases, s.changes = salesforcev1.NewCaseServiceClient(conn), salesforcev1.NewChangeServiceClient(conn)
	s.health = grpc_health_v1.NewHealthClient(conn)
	return s
}

// startReady also waits until the service has reached the sandbox.
func startReady(t *testing.T, cfg systemsalesforce.Config) *service {
	t.Helper()
	s := startService(t, cfg)
	s.waitReady(t)
	return s
}

func (s *service) waitReady(t *testing.T) {
	t.Helper()
	require.Eventually(t, func() bool {
		_, err := s.changes.GetUsage(t.Context(), &salesforcev1.GetUsageRequest{})
		return err == nil
	}, waitFor, tick)
}

// metrics returns what a scraper reads.
func (s *service) metrics(t *testing.T) string {
	t.Helper()
	resp, err := http.Get("http://" + s.addrs.Ops + "/metrics")
	require.NoError(t, err)
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	http.DefaultClient.CloseIdleConnections()
	return string(text)
}

// tells waits until the metrics hold every text: a number may be counted after the answer it is about was sent.
func (s *service) tells(t *testing.T, texts ...string) {
	t.Helper()
	for _, text := range texts {
		require.Eventually(t, func() bool { return strings.Contains(s.metrics(t), text) }, waitFor, tick, text)
	}
}

// watch is an open stream whose messages are collected as they come.
type watch struct {
	t      *testing.T
	cancel context.CancelFunc
	in     chan *salesforcev1.WatchChangesResponse
	err    chan error
	token  string // of the last message taken
}

func (s *service) watch(t *testing.T, token string, objects ...string) *watch {
	t.Helper()
	w := s.open(t, token, objects...)
	w.token = w.next().GetResumeToken() // the first message comes at once
	require.NotEmpty(t, w.token)
	return w
}

// open is watch without taking the first message.
func (s *service) open(t *testing.T, token string, objects ...string) *watch {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	stream, err := s.changes.WatchChanges(ctx, &salesforcev1.WatchChangesRequest{ResumeToken: token, Objects: objects})
	require.NoError(t, err)
	w := &watch{t: t, cancel: cancel, in: make(chan *salesforcev1.WatchChangesResponse, 1000), err: make(chan error, 1)}
	go func() {
		for {
			m, err := stream.Recv()
			if err != nil {
				w.err <- fault.FromStatus(err)
				return
			}
			w.in <- m
		}
	}()
	t.Cleanup(cancel)
	return w
}

func (w *watch) next() *salesforcev1.WatchChangesResponse {
	w.t.Helper()
	select {
	case m := <-w.in:
		return m
	case err := <-w.err:
		require.NoError(w.t, err, "the stream ended")
	case <-time.After(waitFor):
		require.Fail(w.t, "no message came")
	}
	return nil
}

// changes takes messages until n changes with different ids have come.
func (w *watch) changes(n int) []*salesforcev1.Change {
	w.t.Helper()
	var out []*salesforcev1.Change
	seen := map[string]bool{}
	for len(out) < n {
		m := w.next()
		for _, c := range m.GetChanges() {
			if !seen[c.GetId()] {
				seen[c.GetId()] = true
				out = append(out, c)
			}
		}
		w.token = m.GetResumeToken()
	}
	return out
}

func (w *watch) end() error {
	w.t.Helper()
	select {
	case err := <-w.err:
		return err
	case <-time.After(waitFor):
		require.Fail(w.t, "the stream did not end")
	}
	return nil
}

// away is an address at which nobody answers: connections are closed at once. back ends that, and whoever gets the listener answers.
func away(t *testing.T) (l *net.TCPListener, back func()) {
	t.Helper()
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_ = c.Close()
		}
	}()
	return l, func() {
		require.NoError(t, l.SetDeadline(time.Now()))
		<-done
		require.NoError(t, l.SetDeadline(time.Time{}))
	}
}

func account(externalID, name string) *salesforcev1.AccountUpsert {
	return &salesforcev1.AccountUpsert{Account: &salesforcev1.Account{ExternalId: externalID, Name: name}}
}

func (s *service) upsert(t *testing.T, upserts ...*salesforcev1.AccountUpsert) []*salesforcev1.WriteResult {
	t.Helper()
	resp, err := s.accounts.BatchUpsertAccounts(t.Context(), &salesforcev1.BatchUpsertAccountsRequest{Upserts: upserts}, grpc.WaitForReady(true))
	require.NoError(t, err)
	require.Len(t, resp.GetResults(), len(upserts))
	return resp.GetResults()
}
