package experiencemobile_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/selfsame-io/selfsame/pkg/conf"
	"github.com/selfsame-io/selfsame/pkg/serve"
	"github.com/selfsame-io/selfsame/pkg/telemetry"
	mobilev1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/mobile/v1"
	experiencemobile "github.com/selfsame-io/selfsame/services/experience-mobile"
	"github.com/selfsame-io/selfsame/services/experience-mobile/conform"
	"github.com/selfsame-io/selfsame/services/experience-mobile/internal/devissuer"
)

// forge signs claims with a key of the test.
func forge(t *testing.T, alg jose.SignatureAlgorithm, key any, kid string, claims map[string]any) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: jose.JSONWebKey{Key: key, KeyID: kid}}, nil)
	require.NoError(t, err)
	token, err := jwt.Signed(signer).Claims(claims).Serialize()
	require.NoError(t, err)
	return token
}

func segment(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	require.NoError(t, err)
	return base64.RawURLEncoding.EncodeToString(text)
}

func tokens(t *testing.T, _ *world) {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	public := jose.JSONWebKey{Key: private.Public(), KeyID: "k1", Algorithm: "RS256", Use: "sig"}
	set, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{public}})
	require.NoError(t, err)
	keys := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(set) }))
	t.Cleanup(keys.Close)
	const issuer = "https://id.example.com"
	w := setup(t, func(c *experiencemobile.Config) { c.Auth.Issuer, c.Auth.JWKSURL = issuer, keys.URL })

	claims := func(change map[string]any) map[string]any {
		c := map[string]any{"iss": issuer, "aud": audience, "sub": "user-1", "scope": readAll, "iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix()}
		for k, v := range change {
			if v == nil {
				delete(c, k)
			} else {
				c[k] = v
			}
		}
		return c
	}
	call := func(t *testing.T, token string) answer {
		t.Helper()
		return w.do(t, "GET", "/v1/customers/"+known, with("Authorization", "Bearer "+token))
	}
	t.Run("M41 the token that all others differ from is accepted", func(t *testing.T) {
		t.Parallel()
		require.Equal(t, 200, call(t, forge(t, jose.RS256, private, "k1", claims(nil))).status)
		scp := claims(map[string]any{"scope": nil, "scp": []string{"customers.read"}})
		require.Equal(t, 200, call(t, forge(t, jose.RS256, private, "k1", scp)).status, "scopes as a list")
	})
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	der, err := x509.MarshalPKIXPublicKey(private.Public())
	require.NoError(t, err)
	publicPEM := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	confused := segment(t, map[string]string{"alg": "HS256", "kid": "k1"}) + "." + segment(t, claims(nil))
	mac := hmac.New(sha256.New, publicPEM)
	mac.Write([]byte(confused))
	sign := func(change map[string]any) string { return forge(t, jose.RS256, private, "k1", claims(change)) }
	bad := map[string]string{
		"another audience":                     sign(map[string]any{"aud": "someone-else"}),
		"no audience":                          sign(map[string]any{"aud": nil}),
		"another issuer":                       sign(map[string]any{"iss": "https://evil.example.com"}),
		"the issuer with a slash":              sign(map[string]any{"iss": issuer + "/"}),
		"no expiry":                            sign(map[string]any{"exp": nil}),
		"an expiry in the past":                sign(map[string]any{"exp": time.Now().Add(-time.Second).Unix()}),
		"not yet valid":                        sign(map[string]any{"nbf": time.Now().Add(10 * time.Minute).Unix()}),
		"no subject":                           sign(map[string]any{"sub": nil}),
		"a subject that cannot be metadata":    sign(map[string]any{"sub": "jürgen"}),
		"a key that the issuer does not have":  forge(t, jose.RS256, other, "k1", claims(nil)),
		"an unknown key id":                    forge(t, jose.RS256, other, "k9", claims(nil)),
		"another algorithm of the same key":    forge(t, jose.PS256, private, "k1", claims(nil)),
		"an algorithm of another key type":     forge(t, jose.ES256, curve, "k1", claims(nil)),
		"no signature":                         segment(t, map[string]string{"alg": "none"}) + "." + segment(t, claims(nil)) + ".",
		"a signature with the public key":      confused + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil)),
		"another payload under a good signing": tamper(t, sign(nil), claims(map[string]any{"sub": "admin"})),
	}
	for name, token := range bad {
		t.Run("M41 refused: "+name, func(t *testing.T) {
			t.Parallel()
			call(t, token).problem(t, 401, "TOKEN_INVALID")
		})
	}
}

func tamper(t *testing.T, token string, claims map[string]any) string {
	t.Helper()
	parts := strings.Split(token, ".")
	require.Len(t, parts, 3)
	parts[1] = segment(t, claims)
	return strings.Join(parts, ".")
}

func keyRotation(t *testing.T, _ *world) {
	w := setup(t)
	use := func(t *testing.T, token string) answer {
		t.Helper()
		return w.do(t, "GET", "/v1/customers/"+known, with("Authorization", "Bearer "+token))
	}
	// Each token is used once: one that was accepted a moment ago needs no key.
	fresh := func() string { return w.token(t, "user-1", readAll) }
	before, spare, late := fresh(), fresh(), fresh()
	require.Equal(t, 200, use(t, before).status)
	asked := w.idp.asked.Load()
	require.Positive(t, asked)
	for range 10 {
		require.Equal(t, 200, use(t, fresh()).status)
	}
	require.Equal(t, asked, w.idp.asked.Load(), "M44: a key that is known is asked for no more")
	require.NoError(t, w.idp.Rotate())
	require.Equal(t, 200, use(t, fresh()).status, "M44: a new key needs no restart")
	require.Equal(t, asked+1, w.idp.asked.Load(), "and one request")
	require.Equal(t, 200, use(t, w.token(t, "user-2", readAll)).status)

	w.idp.down.Store(true)
	require.Equal(t, 200, use(t, spare).status, "M44: the old key still works")
	require.Equal(t, 200, use(t, fresh()).status, "M44: known keys work while the issuer is down")
	require.Equal(t, asked+1, w.idp.asked.Load())
	cold := w.another(t) // the same, without what is kept
	coldly := func(token string) answer {
		return cold.do(t, "GET", "/v1/customers/"+known, with("Authorization", "Bearer "+token))
	}
	coldly(late).problem(t, 503, "AUTH_UNAVAILABLE")
	require.Greater(t, w.idp.asked.Load(), asked+1)
	require.Equal(t, 200, use(t, late).status)
	w.idp.down.Store(false)
	require.Equal(t, 200, coldly(late).status)

	w.idp.stop()
	require.Equal(t, 200, use(t, fresh()).status, "M44: also when nobody listens there")
	require.NoError(t, w.idp.Rotate())
	a := use(t, fresh())
	a.problem(t, 503, "AUTH_UNAVAILABLE")
	require.NotEmpty(t, a.header.Get("Retry-After"))
}

func TestIssuerStartsLater(t *testing.T) {
	t.Parallel()
	var down atomic.Bool
	down.Store(true)
	var idp *devissuer.Issuer
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if down.Load() {
			http.Error(w, "starting", http.StatusServiceUnavailable)
			return
		}
		idp.Handler().ServeHTTP(w, r)
	}))
	srv.Start()
	t.Cleanup(srv.Close)
	idp, err := devissuer.New(devissuer.Options{URL: srv.URL, Audience: audience})
	require.NoError(t, err)
	w := setup(t, func(c *experiencemobile.Config) { c.Auth.Issuer = srv.URL })
	token, err := idp.Token("user-1", readAll, time.Hour)
	require.NoError(t, err)
	bearer := with("Authorization", "Bearer "+token)
	w.do(t, "GET", "/v1/customers", bearer).problem(t, 503, "AUTH_UNAVAILABLE")
	down.Store(false)
	require.Equal(t, 200, w.do(t, "GET", "/v1/customers", bearer).status, "a failed discovery is forgotten")
}

func TestProcessCustomerDown(t *testing.T) {
	t.Parallel()
	w := setup(t, func(c *experiencemobile.Config) { c.Patience = 0 })
	require.Eventually(t, func() bool { return w.do(t, "GET", "/v1/customers/"+known).status == 200 }, time.Minute, 10*time.Millisecond)
	w.stop()
	begin := time.Now()
	for _, path := range []string{"/v1/customers/" + known, "/v1/customers", "/v1/customers/" + known + "/orders"} {
		a := w.do(t, "GET", path)
		require.True(t, *a.problem(t, 503, "UNAVAILABLE").Retryable)
		require.NotEmpty(t, a.header.Get("Retry-After"), "M37: an outage says when to come back")
		require.NotContains(t, a.body, "127.0.0.1")
	}
	w.do(t, "POST", "/v1/customers", body(`{"name":"Down GmbH"}`), key("down-1")).problem(t, 503, "UNAVAILABLE")
	require.Less(t, time.Since(begin), 40*time.Second, "an outage does not take the whole budget, four times")
	require.Equal(t, 200, w.do(t, "GET", "/openapi.json", anonymous()).status)
}

// TestNothingPersonalIsObserved plants values in every place of a request and looks for them in logs, metrics and spans.
func TestNothingPersonalIsObserved(t *testing.T) {
	t.Parallel()
	spans := tracetest.NewInMemoryExporter()
	w := setup(t, func(c *experiencemobile.Config) {
		c.TelemetryOptions = append(c.TelemetryOptions, telemetry.WithSpanExporter(spans))
	})
	token := w.token(t, "canary-subject", readAll)
	bearer := with("Authorization", "Bearer "+token)
	planted := []string{token, "canary-subject", "canary-path", "canary-query", "canary-name", "canary@example.com", "canary-key", "canary-agent", "canary-cookie", "canary-tag", "canary-token", "canary-text", "canary-user"}
	w.do(t, "GET", "/v1/customers/canary-path", bearer, with("User-Agent", "canary-agent"), with("Cookie", "canary-cookie"))
	w.do(t, "GET", "/canary-path/canary@example.com", anonymous())
	w.do(t, "GET", "/v1/customers?namePrefix=canary-query", bearer)
	w.do(t, "GET", "/v1/customers?canary-query=1", bearer)
	w.do(t, "GET", "/v1/customers", with("Authorization", "Bearer canary-token"))
	w.do(t, "POST", "/v1/customers", bearer, key("canary-key"), body(`{"name":"canary-name","email":"canary@example.com"}`))
	w.do(t, "POST", "/v1/customers", bearer, key("canary-key"), body(`{"name":"canary-name","email":"canary@example.com","segment":"x"}`))
	w.do(t, "POST", "/v1/customers", bearer, key("canary-key"), body(`{"canary-name":"canary@example.com"}`))
	w.do(t, "PATCH", "/v1/customers/"+known, bearer, key("canary-key"), with("If-Match", `"canary-tag"`), body(`{"email":"not canary@example.com"}`))
	w.do(t, "GET", "/v1/customers/"+known, bearer)
	w.do(t, "POST", "/v1/cases", bearer, key("canary-key-2"), body(`{"customerId":"`+known+`","subject":"canary-subject","description":"canary-text"}`))
	w.do(t, "GET", "/v1/customers/"+known+"?fields=canary-query", bearer)
	w.do(t, "GET", "/v1/sync/customers?syncToken=canary-token", bearer)
	w.do(t, "GET", "/v1/operations/canary-path", bearer)
	w.do(t, "GET", "/v1/products/canary-path/availability", bearer)
	w.send(t, "GET", "/v1/orders/canary-path/events", bearer, with("Last-Event-ID", "canary-token"))
	w.do(t, "POST", "/v1/sync:apply", bearer, body(`{"mutations":[{"key":"canary-key-of-a-batch","kind":"CREATE_CUSTOMER","customer":{"name":"canary-name","email":"canary@example.com"}}]}`))
	w.do(t, "POST", "/v1/sync:apply", bearer, body(`{"mutations":[{"key":"canary-key-of-a-batch","kind":"canary-text"}]}`))
	w.fake.newOrder(known, "canary-path")
	stream := w.open(t, "canary-path", bearer)
	stream.next(t)
	stream.close()
	kept := w.another(t, func(c *experiencemobile.Config) {
		c.Replay.Keep, c.Replay.Redis = time.Minute, conf.Secret("redis://canary-user:canary-cookie@127.0.0.1:1/0")
		c.TelemetryOptions = append(c.TelemetryOptions, telemetry.WithSpanExporter(spans))
	})
	kept.do(t, "POST", "/v1/customers", bearer, key("canary-key-3"), body(`{"name":"canary-name","email":"canary@example.com"}`))
	require.Contains(t, kept.log.String(), "kept answers cannot be read")
	require.Equal(t, 500, w.do(t, "GET", "/v1/customers/"+refusing, bearer).status)

	resp, err := w.client.Get("http://" + w.addrs.Ops + "/metrics")
	require.NoError(t, err)
	metrics, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Contains(t, string(metrics), `http_route="/v1/customers/{customer_id}"`)
	require.Contains(t, w.log.String(), "request answered")
	var observed strings.Builder
	for _, s := range spans.GetSpans() {
		observed.WriteString(s.Name + " " + s.Status.Description + " ")
		for _, a := range s.Attributes {
			observed.WriteString(string(a.Key) + "=" + a.Value.String() + " ")
		}
		for _, e := range s.Events {
			observed.WriteString(e.Name + " ")
			for _, a := range e.Attributes {
				observed.WriteString(string(a.Key) + "=" + a.Value.String() + " ")
			}
		}
	}
	require.Contains(t, observed.String(), "GET /v1/customers/{customer_id}")
	for _, value := range planted {
		require.NotContains(t, string(metrics), value, "metrics")
		require.NotContains(t, observed.String(), value, "spans")
		require.NotContains(t, w.log.String()+kept.log.String(), value, "log")
	}
}

func publicTLS(t *testing.T, _ *world) {
	certFile, keyFile, pool := certificate(t)
	w := setup(t, func(c *experiencemobile.Config) { c.TLS = serve.TLS{CertFile: certFile, KeyFile: keyFile} })
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: true}
	t.Cleanup(transport.CloseIdleConnections)
	w.client = &http.Client{Transport: transport}
	w.base = strings.Replace(w.base, "http://", "https://", 1)
	a := w.do(t, "GET", "/v1/customers/"+known)
	require.Equal(t, 200, a.status)
	require.Equal(t, "HTTP/2.0", a.proto, "M52: TLS brings HTTP/2")
	require.NotEmpty(t, a.header.Get("Strict-Transport-Security"))
	old := &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11} //nolint:gosec // to be refused
	conn, err := (&tls.Dialer{Config: old}).DialContext(t.Context(), "tcp", w.addrs.HTTP[experiencemobile.PublicServer])
	if err == nil {
		_ = conn.Close()
	}
	require.Error(t, err, "M52: nothing below TLS 1.2")
}

func certificate(t *testing.T) (certFile, keyFile string, pool *x509.CertPool) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	require.NoError(t, err)
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(t, err)
	certFile, keyFile = filepath.Join(t.TempDir(), "cert.pem"), filepath.Join(t.TempDir(), "key.pem")
	chain := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	require.NoError(t, os.WriteFile(certFile, chain, 0o600))
	require.NoError(t, os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), 0o600))
	pool = x509.NewCertPool()
	pool.AppendCertsFromPEM(chain)
	return certFile, keyFile, pool
}

func TestGRPCPort(t *testing.T) {
	t.Parallel()
	w := setup(t)
	conn, err := grpc.NewClient(w.addrs.GRPC, grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	client := mobilev1.NewMobileServiceClient(conn)
	as := func(scope string, pairs ...string) context.Context {
		return metadata.AppendToOutgoingContext(t.Context(), append([]string{"authorization", "Bearer " + w.token(t, "user-1", scope)}, pairs...)...)
	}
	get := func(ctx context.Context) error {
		_, err := client.GetCustomer(ctx, &mobilev1.GetCustomerRequest{CustomerId: known})
		return err
	}
	create := func(ctx context.Context) error {
		_, err := client.CreateCustomer(ctx, &mobilev1.CreateCustomerRequest{Customer: &mobilev1.Customer{Name: "Direct GmbH"}})
		return err
	}
	require.NoError(t, get(as("customers.read")))
	spoofed := metadata.AppendToOutgoingContext(t.Context(), "selfsame-principal", "admin")
	require.Equal(t, codes.Unauthenticated, status.Code(get(spoofed)), "a name in metadata is no proof here")
	require.Equal(t, codes.PermissionDenied, status.Code(create(as("customers.read", "idempotency-key", "direct-1"))))
	require.Equal(t, codes.InvalidArgument, status.Code(create(as(readAll))), "a write needs a key here too")
	require.Equal(t, codes.InvalidArgument, status.Code(create(as(readAll, "idempotency-key", "a", "idempotency-key", "b"))))
	require.NoError(t, create(as(readAll, "idempotency-key", "direct-1")))
	require.NoError(t, create(as(readAll, "idempotency-key", "direct-1")))
	require.Equal(t, 1, w.fake.created("Direct GmbH"))
	_, err = client.CreateCustomer(as(readAll, "idempotency-key", "direct-2"), &mobilev1.CreateCustomerRequest{Customer: &mobilev1.Customer{Name: " "}})
	require.Equal(t, codes.InvalidArgument, status.Code(err))
}

func TestDevIssuer(t *testing.T) {
	t.Parallel()
	w := setup(t, func(c *experiencemobile.Config) {
		c.Auth.Issuer, c.Auth.DevIssuer = "", true
		c.DevIssuerListener = listen(t)
	})
	at := "http://" + w.addrs.HTTP[experiencemobile.DevIssuerServer]
	post := func(query url.Values) (int, map[string]any) {
		resp, err := w.client.Post(at+"/token?"+query.Encode(), "", nil)
		require.NoError(t, err)
		defer func() { _ = resp.Body.Close() }()
		var v map[string]any
		require.NoError(t, json.NewDecoder(resp.Body).Decode(&v))
		return resp.StatusCode, v
	}
	code, v := post(url.Values{"sub": {"dev"}, "scope": {readAll}})
	require.Equal(t, 200, code)
	require.Equal(t, "Bearer", v["token_type"])
	token, ok := v["access_token"].(string)
	require.True(t, ok)
	require.Equal(t, 200, w.do(t, "GET", "/v1/customers/"+known, with("Authorization", "Bearer "+token)).status)
	code, _ = post(url.Values{"scope": {readAll}})
	require.Equal(t, 400, code, "a token needs a subject")
	code, _ = post(url.Values{"sub": {"dev"}, "ttl": {"100h"}})
	require.Equal(t, 400, code, "no token for ever")
	w.do(t, "POST", "/token?sub=dev", anonymous()).problem(t, 404, "ROUTE_NOT_FOUND")
	require.Contains(t, w.log.String(), "gives tokens to whoever asks")
}

func TestConfig(t *testing.T) {
	t.Parallel()
	good := func() experiencemobile.Config {
		c := experiencemobile.DefaultConfig()
		c.Auth.Issuer = "https://id.example.com"
		return c
	}
	require.NoError(t, good().Validate())
	require.Error(t, experiencemobile.DefaultConfig().Validate(), "whom to trust is a decision")
	cases := map[string]func(*experiencemobile.Config){
		"the development issuer is not started by accident": func(c *experiencemobile.Config) {
			c.Auth.DevIssuer, c.Auth.JWKSURL = true, "https://id.example.com/jwks"
		},
		"a budget is bounded":            func(c *experiencemobile.Config) { c.Budget = 0 },
		"a budget of a route is bounded": func(c *experiencemobile.Config) { c.Budgets = map[string]string{"POST /v1/orders": "2m"} },
		"a budget of a route has a unit": func(c *experiencemobile.Config) { c.Budgets = map[string]string{"POST /v1/orders": "2"} },
		"a stream has no budget of its own": func(c *experiencemobile.Config) {
			c.Budgets = map[string]string{"GET /v1/orders/{order_id}/events": "2s"}
		},
		"who waits for the first waits for half of the shortest budget at most": func(c *experiencemobile.Config) {
			c.Budgets, c.Replay.Join = map[string]string{"POST /v1/orders": "1s"}, 600*time.Millisecond
		},
		"a body is bounded":                     func(c *experiencemobile.Config) { c.MaxBody = 1 << 30 },
		"every origin is not an origin":         func(c *experiencemobile.Config) { c.Origins = []string{"*"} },
		"an origin has no path":                 func(c *experiencemobile.Config) { c.Origins = []string{"https://app.example.com/"} },
		"an audience is needed":                 func(c *experiencemobile.Config) { c.Auth.Audience = "" },
		"a process layer is needed":             func(c *experiencemobile.Config) { c.Customer.Target = "" },
		"a certificate does not go without key": func(c *experiencemobile.Config) { c.TLS.CertFile = "cert.pem" },
	}
	for name, change := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := good()
			change(&c)
			require.Error(t, c.Validate())
			require.Error(t, experiencemobile.Run(t.Context(), c))
		})
	}
	c := good()
	c.Budget, c.Auth.Audience, c.Customer.Target = 0, "", ""
	c.Budgets = map[string]string{"POST /v1/nothing": "2s"}
	err := c.Validate()
	for _, key := range []string{"budget", "auth.audience", "customer.target", `budgets: "POST /v1/nothing" is no route`} {
		require.ErrorContains(t, err, key, "all problems at once")
	}
}

// TestBudgetsAreNamedAsDescribed gives a budget to everything that the description has, in every way there is.
func TestBudgetsAreNamedAsDescribed(t *testing.T) {
	t.Parallel()
	doc, err := conform.Document()
	require.NoError(t, err)
	paths, ok := doc["paths"].(object)
	require.True(t, ok)
	c := experiencemobile.DefaultConfig()
	c.Auth.Issuer = "https://id.example.com"
	for path, item := range paths {
		for verb := range item.(object) {
			name := strings.ToUpper(verb) + " " + path
			c.Budgets = map[string]string{name: "2s"}
			if path == "/v1/meta" || strings.HasSuffix(path, "/events") {
				require.ErrorContains(t, c.Validate(), name)
			} else {
				require.NoError(t, c.Validate(), name)
			}
		}
	}
	c.Budgets = nil
	file := filepath.Join(t.TempDir(), "edge.yaml")
	require.NoError(t, os.WriteFile(file, []byte("budgets:\n  POST /v1/sync:apply: 20s\n"), 0o600))
	for name, from := range map[string]conf.Options{
		"file": {Args: []string{"--config=" + file}}, "flag": {Args: []string{"--budgets=POST /v1/sync:apply=20s"}},
		"environment": {EnvPrefix: "SELFSAME", Environ: []string{"SELFSAME_BUDGETS=POST /v1/sync:apply=20s"}},
	} {
		got, err := conf.Load(from, c)
		require.NoError(t, err, name)
		require.Equal(t, map[string]string{"POST /v1/sync:apply": "20s"}, got.Budgets, name)
	}
}
