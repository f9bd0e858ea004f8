package serve_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/caller"
	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/serve"
)

// authority is a CA that issues certificates into files.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test ca"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	a := &authority{t: t, dir: t.TempDir(), cert: cert, key: key}
	a.write(a.ca(), "CERTIFICATE", der)
	return a
}

func (a *authority) ca() string { return filepath.Join(a.dir, "ca.pem") }

func (a *authority) write(name, kind string, der []byte) {
	a.t.Helper()
	require.NoError(a.t, os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
}

// issue writes the files of a service with the SPIFFE id spiffe://test/<name>.
func (a *authority) issue(file, name string) serve.TLS {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(a.t, err)
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	require.NoError(a.t, err)
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		URIs:        []*url.URL{{Scheme: "spiffe", Host: "test", Path: "/" + name}},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		NotBefore:   time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}, a.cert, &key.PublicKey, a.key)
	require.NoError(a.t, err)
	priv, err := x509.MarshalECPrivateKey(key)
	require.NoError(a.t, err)
	files := serve.TLS{CertFile: filepath.Join(a.dir, file+".pem"), KeyFile: filepath.Join(a.dir, file+".key"), ClientCAFile: a.ca()}
	a.write(files.CertFile, "CERTIFICATE", der)
	a.write(files.KeyFile, "EC PRIVATE KEY", priv)
	return files
}

func TestTLS_BothSidesShowCertificates(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	var seen atomic.Value
	cfg := serve.DefaultConfig()
	cfg.TLS = a.issue("server", "server")
	r := start(t, serve.Service{Name: "test", Config: cfg, Register: impl{unary: func(ctx context.Context) error {
		seen.Store(caller.From(ctx))
		return nil
	}}.register(t)})

	require.NoError(t, call(t.Context(), t, r.dial(serve.ClientOptions{TLS: a.issue("client", "mobile"), CallerName: "the admin"}), "Write"))
	require.Equal(t, caller.Identity{Name: "spiffe://test/mobile", Verified: true}, seen.Load(), "the certificate counts, not the claim")

	refused := func(why string, files serve.TLS) {
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		require.True(t, fault.Is(call(ctx, t, r.dial(serve.ClientOptions{TLS: files}), "Write"), fault.Timeout), why)
	}
	refused("no certificate", serve.TLS{ClientCAFile: a.ca()})
	refused("plaintext", serve.TLS{})
	refused("another authority's certificate", newAuthority(t).issue("client", "mobile"))
	wrongName := a.issue("client2", "mobile")
	wrongName.ServerName = "elsewhere.example"
	refused("the server is not who it should be", wrongName)

	code, _ := r.get("/livez")
	require.Equal(t, 200, code, "the operations port stays plaintext")

	// The client's files are replaced while the connection options stay: a new connection shows the new certificate.
	files := a.issue("rotated", "before")
	require.NoError(t, call(t.Context(), t, r.dial(serve.ClientOptions{TLS: files}), "Write"))
	require.Equal(t, "spiffe://test/before", seen.Load().(caller.Identity).Name)
	conn := r.dial(serve.ClientOptions{TLS: files})
	a.issue("rotated", "after")
	future := time.Now().Add(time.Minute)
	require.NoError(t, os.Chtimes(files.CertFile, future, future))
	require.NoError(t, call(t.Context(), t, conn, "Write"))
	require.Equal(t, "spiffe://test/after", seen.Load().(caller.Identity).Name)

	// Broken files do not take a running service down.
	require.NoError(t, os.WriteFile(cfg.TLS.CertFile, []byte("half a file"), 0o600))
	require.NoError(t, call(t.Context(), t, r.dial(serve.ClientOptions{TLS: files}), "Write"))
}

func TestTLS_HTTP(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	files := a.issue("web", "web")
	files.ClientCAFile = "" // browsers have no certificate
	r := start(t, serve.Service{Name: "test", HTTP: []serve.HTTP{{Name: "web", TLS: files, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.Proto)
	})}}})
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: true} //nolint:gosec // test
	defer tr.CloseIdleConnections()
	resp, err := (&http.Client{Transport: tr}).Get("https://" + r.addrs.HTTP["web"]) //nolint:noctx // test
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Equal(t, "HTTP/2.0", string(body))
	require.Equal(t, uint32(100), settingsOf(t, r.addrs.HTTP["web"], pool)[3], "streams of a connection (RFC 9113 section 6.5.2)")
}

// settingsOf returns what an HTTP/2 server says first: its settings, by their numbers.
func settingsOf(t *testing.T, addr string, roots *x509.CertPool) map[uint16]uint32 {
	t.Helper()
	conn, err := (&tls.Dialer{Config: &tls.Config{RootCAs: roots, NextProtos: []string{"h2"}}}).DialContext(t.Context(), "tcp", addr) //nolint:gosec // test
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close()) }()
	_, err = io.WriteString(conn, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")
	require.NoError(t, err)
	head := make([]byte, 9)
	_, err = io.ReadFull(conn, head)
	require.NoError(t, err)
	require.Equal(t, byte(4), head[3], "a frame of settings")
	settings := make([]byte, int(head[1])<<8|int(head[2]))
	_, err = io.ReadFull(conn, settings)
	require.NoError(t, err)
	out := map[uint16]uint32{}
	for ; len(settings) >= 6; settings = settings[6:] {
		out[binary.BigEndian.Uint16(settings)] = binary.BigEndian.Uint32(settings[2:])
	}
	return out
}

func TestTLS_Settings(t *testing.T) {
	t.Parallel()
	require.False(t, serve.TLS{}.Enabled())
	require.Error(t, serve.TLS{CertFile: "x"}.Validate())
	_, err := serve.Dial("127.0.0.1:1", serve.ClientOptions{TLS: serve.TLS{ClientCAFile: "/does/not/exist"}})
	require.ErrorContains(t, err, "does/not/exist")
}
