package sandbox_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	clientID = "test-app"
	orgID    = "00D000000000062EAA"
	v62      = "/services/data/v62.0"
)

// key is made once: generating RSA keys is slow.
var key = sync.OnceValue(func() *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return k
})

func publicPEM() string {
	b, err := x509.MarshalPKIXPublicKey(key().Public())
	if err != nil {
		panic(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: b}))
}

// clock is a time that only the test moves.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func newClock() *clock { return &clock{t: time.Date(2026, 5, 14, 10, 0, 0, 0, time.UTC)} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// org is a running sandbox and a client of it.
type org struct {
	t      testing.TB
	server *sandbox.Server
	base   string
	token  string
	client *http.Client
	clock  *clock
}

// setup runs a sandbox until the test ends and logs in.
func setup(t testing.TB, change ...func(*sandbox.Config)) *org {
	t.Helper()
	c := newClock()
	cfg := sandbox.Config{
		Apps: []sandbox.App{{ClientID: clientID, PublicKeyPEM: publicPEM()}},
		Users: []sandbox.User{
			{Username: "robot@example.com", ID: "005000000000001AAA", IntegrationUser: true},
			{Username: "stranger@example.com", Refusal: "unapproved"},
			{Username: "outsider@example.com", Refusal: "not_admin_approved"},
			{Username: "gone@example.com", Refusal: "inactive"},
		},
		Seed: 7, Now: c.now,
	}
	for _, f := range change {
		f(&cfg)
	}
	s, err := sandbox.New(cfg)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	transport := &http.Transport{}
	o := &org{t: t, server: s, base: "http://" + s.HTTPAddr(), client: &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}, clock: c}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		cancel()
		require.NoError(t, <-done)
	})
	o.login()
	return o
}

func (o *org) login() {
	o.t.Helper()
	status, body := o.grant(o.assertion(nil))
	require.Equal(o.t, http.StatusOK, status, body)
	o.token = body["access_token"].(string)
}

// assertion signs claims; the given ones replace the usual.
func (o *org) assertion(claims map[string]any) string {
	all := map[string]any{"iss": clientID, "sub": "robot@example.com", "aud": "https://login.salesforce.com", "exp": o.clock.now().Add(3 * time.Minute).Unix()}
	for k, v := range claims {
		all[k] = v
	}
	return sign(all)
}

func sign(claims map[string]any) string {
	part := func(v any) string {
		b, _ := json.Marshal(v)
		return base64.RawURLEncoding.EncodeToString(b)
	}
	text := part(map[string]string{"alg": "RS256"}) + "." + part(claims)
	sum := sha256.Sum256([]byte(text))
	sig, err := rsa.SignPKCS1v15(rand.Reader, key(), crypto.SHA256, sum[:])
	if err != nil {
		panic(err)
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(sig)
}

func (o *org) grant(assertion string) (int, map[string]any) {
	o.t.Helper()
	form := url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:jwt-bearer"}, "assertion": {assertion}}
	resp, err := o.client.PostForm(o.base+"/services/oauth2/token", form)
	require.NoError(o.t, err)
	defer resp.Body.Close()
	var body map[string]any
	require.NoError(o.t, json.NewDecoder(resp.Body).Decode(&body))
	return resp.StatusCode, body
}

// result is an answer, decoded.
type result struct {
	t      testing.TB
	status int
	header http.Header
	text   string
}

func (r result) object() map[string]any {
	r.t.Helper()
	var v map[string]any
	require.NoError(r.t, json.Unmarshal([]byte(r.text), &v), r.text)
	return v
}

func (r result) array() []map[string]any {
	r.t.Helper()
	var v []map[string]any
	require.NoError(r.t, json.Unmarshal([]byte(r.text), &v), r.text)
	return v
}

func (r result) code() string {
	r.t.Helper()
	return r.array()[0]["errorCode"].(string)
}

func (r result) id() string {
	r.t.Helper()
	id, _ := r.object()["id"].(string)
	require.Len(r.t, id, 18, r.text)
	return id
}

// try sends a request; headers come in pairs.
func (o *org) try(method, path, body string, headers ...string) (result, error) {
	req, err := http.NewRequest(method, o.base+path, strings.NewReader(body))
	if err != nil {
		return result{}, err
	}
	req.Header.Set("Authorization", "Bearer "+o.token)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := o.client.Do(req)
	if err != nil {
		return result{}, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return result{o.t, resp.StatusCode, resp.Header, string(b)}, err
}

func (o *org) do(method, path, body string, headers ...string) result {
	o.t.Helper()
	r, err := o.try(method, path, body, headers...)
	require.NoError(o.t, err)
	return r
}

// want is do with an expected status.
func (o *org) want(status int, method, path, body string, headers ...string) result {
	o.t.Helper()
	r := o.do(method, path, body, headers...)
	require.Equal(o.t, status, r.status, "%s %s: %s", method, path, r.text)
	return r
}

func (o *org) account(fields string) string {
	o.t.Helper()
	return o.want(http.StatusCreated, "POST", v62+"/sobjects/Account", fields).id()
}

func (o *org) soql(q string) map[string]any {
	o.t.Helper()
	return o.want(http.StatusOK, "GET", v62+"/query?q="+url.QueryEscape(q), "").object()
}

// names runs a query and returns the Name of each row.
func (o *org) names(q string) []string {
	o.t.Helper()
	out := []string{}
	for _, r := range o.soql(q)["records"].([]any) {
		name, _ := r.(map[string]any)["Name"].(string)
		out = append(out, name)
	}
	return out
}

func (o *org) fault(plan string) {
	o.t.Helper()
	o.want(http.StatusOK, "PUT", "/__sandbox__/faults", plan)
}

func mustJSON(v any) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(err)
	}
	return b.String()
}
