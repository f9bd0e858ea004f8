package sap

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/conf"
	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/erp"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/sap/odata"
	"github.com/selfsame-io/selfsame/services/system-erp/sandbox"
)

// gate is an SAP system with an authorization server beside it: only its newest token is let in.
type gate struct {
	mu     sync.Mutex
	token  string
	issued int
	closed bool
}

func (g *gate) revoke() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.token = "revoked"
}

func (g *gate) count() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.issued
}

func (g *gate) handler(sap http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /oauth/token", func(w http.ResponseWriter, r *http.Request) {
		id, secret, _ := r.BasicAuth()
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.closed || id != "client" || secret != "s%26cret" || r.FormValue("grant_type") != "client_credentials" {
			http.Error(w, `{"error":"invalid_client"}`, http.StatusUnauthorized)
			return
		}
		g.issued++
		g.token = rand.Text()
		_, _ = w.Write([]byte(`{"access_token":"` + g.token + `","token_type":"Bearer","expires_in":3600}`))
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		g.mu.Lock()
		in := r.Header.Get("Authorization") == "Bearer "+g.token
		g.mu.Unlock()
		if !in {
			http.Error(w, "who are you", http.StatusUnauthorized)
			return
		}
		sap.ServeHTTP(w, r)
	})
	return mux
}

func TestOAuth(t *testing.T) {
	t.Parallel()
	box, err := sandbox.New(sandbox.Config{})
	require.NoError(t, err)
	g := &gate{}
	server := httptest.NewServer(g.handler(box.Handler()))
	t.Cleanup(server.Close)
	cfg := DefaultConfig()
	cfg.URL, cfg.TokenURL, cfg.OAuthClient, cfg.OAuthSecret = server.URL, server.URL+"/oauth/token", "client", "s&cret"
	var later atomic.Int64
	sys, err := New(cfg, Deps{Now: func() time.Time { return time.Now().Add(time.Duration(later.Load())) }})
	require.NoError(t, err)
	t.Cleanup(sys.Close)
	require.NoError(t, sys.Ping(t.Context()))
	first := insert(t, sys, erp.Customer{Kind: erp.Organization, Name: "A"})
	require.NoError(t, first[0].Err)
	require.Equal(t, 1, g.count(), "one token for all requests")

	later.Add(int64(time.Minute))
	g.revoke()
	out, err := sys.Customers().Insert(t.Context(), []draft{{Key: key(2), Record: erp.Customer{Kind: erp.Organization, Name: "B"}}})
	require.NoError(t, err)
	require.NoError(t, out[0].Err, "a token that ends in the middle is renewed, and the write is sent once more: it was refused at the door")
	found, err := sys.Customers().Similar(t.Context(), erp.Customer{Name: "B"}, 10)
	require.NoError(t, err)
	require.Len(t, found, 1)

	later.Add(int64(time.Minute))
	g.mu.Lock()
	g.closed, g.token = true, "revoked"
	g.mu.Unlock()
	_, err = sys.Customers().Insert(t.Context(), []draft{{Key: key(3), Record: erp.Customer{Kind: erp.Organization, Name: "C"}}})
	require.Equal(t, []any{fault.Unavailable, odata.ReasonLogon}, []any{fault.KindOf(err), fault.ReasonOf(err)}, "nothing was executed")
	require.NotContains(t, err.Error(), "cret")
}

// person makes a certificate that its key signs.
func person(t *testing.T) (certificate, key []byte, parsed *x509.Certificate) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "SELFSAME"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, &x509.Certificate{Subject: pkix.Name{CommonName: "SELFSAME"}}, &private.PublicKey, private)
	require.NoError(t, err)
	parsed, err = x509.ParseCertificate(der)
	require.NoError(t, err)
	text, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: text}), parsed
}

func TestX509(t *testing.T) {
	t.Parallel()
	box, err := sandbox.New(sandbox.Config{})
	require.NoError(t, err)
	certificate, private, known := person(t)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if len(r.TLS.PeerCertificates) != 1 || !r.TLS.PeerCertificates[0].Equal(known) {
			http.Error(w, "who are you", http.StatusUnauthorized)
			return
		}
		box.Handler().ServeHTTP(w, r)
	}))
	server.TLS = &tls.Config{ClientAuth: tls.RequestClientCert, MinVersion: tls.VersionTLS12}
	server.StartTLS()
	t.Cleanup(server.Close)
	ping := func(c Config) error {
		transport := Transport(c)
		if transport.TLSClientConfig == nil {
			transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
		}
		transport.TLSClientConfig.RootCAs = x509.NewCertPool()
		transport.TLSClientConfig.RootCAs.AddCert(server.Certificate())
		sys, err := New(c, Deps{Transport: transport})
		require.NoError(t, err)
		defer sys.Close()
		return sys.Ping(t.Context())
	}
	cfg := DefaultConfig()
	cfg.URL = server.URL
	require.Equal(t, odata.ReasonLogon, fault.ReasonOf(ping(cfg)))
	cfg.Certificate, cfg.Key = conf.Secret(certificate), conf.Secret(private)
	require.NoError(t, ping(cfg))
}

func TestConfig_Logon(t *testing.T) {
	t.Parallel()
	certificate, private, _ := person(t)
	for name, c := range map[string]struct {
		change func(*Config)
		want   string
	}{
		"a token endpoint without a client":   {func(c *Config) { c.TokenURL = "https://a.example/token" }, "token_url"},
		"a client without a token endpoint":   {func(c *Config) { c.OAuthClient = "x" }, "token_url"},
		"a secret sent in the clear":          {func(c *Config) { c.TokenURL, c.OAuthClient, c.OAuthSecret = "http://a.example/token", "x", "y" }, "token_url"},
		"a token endpoint of another kind":    {func(c *Config) { c.TokenURL, c.OAuthClient, c.OAuthSecret = "ftp://127.0.0.1/token", "x", "y" }, "token_url"},
		"two ways to log on":                  {func(c *Config) { c.TokenURL, c.OAuthClient, c.OAuthSecret, c.User = "https://a.example", "x", "y", "z" }, "token_url"},
		"a certificate without a key":         {func(c *Config) { c.Certificate = conf.Secret(certificate) }, "certificate"},
		"a key that is not the certificate's": {func(c *Config) { c.Certificate, c.Key = conf.Secret(certificate), "x" }, "certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := DefaultConfig()
			cfg.URL = "https://s4.example.com"
			require.NoError(t, cfg.Validate())
			c.change(&cfg)
			require.ErrorContains(t, cfg.Validate(), c.want)
		})
	}
	cfg := DefaultConfig()
	cfg.URL, cfg.Certificate, cfg.Key = "https://s4.example.com", conf.Secret(certificate), conf.Secret(private)
	require.NoError(t, cfg.Validate())
}
