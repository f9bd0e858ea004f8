package serve

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"

	"google.golang.org/grpc/credentials"

	"github.com/selfsame-io/selfsame/pkg/telemetry"
)

// TLS names the files that protect a connection. The zero value is plaintext. The files are read again when they
// change; a change that cannot be read is logged and the previous state stays in use.
type TLS struct {
	// CertFile and KeyFile are this side's certificate chain and key (PEM). A server needs them; a client shows them
	// when the server asks.
	CertFile string `conf:"cert_file" help:"certificate chain (PEM)"`
	KeyFile  string `conf:"key_file" help:"private key (PEM)"`
	// ClientCAFile holds the CAs that the other side's certificate must come from. On a server it makes client
	// certificates mandatory; on a client, empty means the CAs of the system.
	ClientCAFile string `conf:"client_ca_file" help:"CAs of the peer (PEM); on a server this demands client certificates"`
	// ServerName is the name a client expects in the server's certificate; empty means the host it dials.
	ServerName string `conf:"server_name" help:"name expected in the server's certificate"`
}

// Enabled reports whether the connection is protected at all.
func (t TLS) Enabled() bool { return t != TLS{} }

// Validate reports incomplete settings.
func (t TLS) Validate() error {
	if (t.CertFile == "") != (t.KeyFile == "") {
		return errors.New("tls: cert_file and key_file belong together")
	}
	return nil
}

// tlsSource makes tls.Configs from files that may change.
type tlsSource struct {
	files  TLS
	server bool
	log    *slog.Logger

	mu      sync.Mutex
	stamp   string
	current *tls.Config
}

func newTLSSource(files TLS, server bool, log *slog.Logger) (*tlsSource, error) {
	if err := files.Validate(); err != nil {
		return nil, err
	}
	if server && files.CertFile == "" {
		return nil, errors.New("tls: a server needs cert_file and key_file")
	}
	s := &tlsSource{files: files, server: server, log: log, stamp: stampOf(files)}
	var err error
	s.current, err = s.load()
	return s, err
}

// config returns the state of the files now. The result is shared: clone before changing it.
func (s *tlsSource) config() *tls.Config {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := stampOf(s.files); now != s.stamp {
		s.stamp = now // also after a failure: try again at the next change, not at every handshake
		if fresh, err := s.load(); err == nil {
			s.current = fresh
		} else {
			s.log.Warn("certificate files not usable, keeping the previous ones", slog.String(telemetry.KeyError, err.Error()))
		}
	}
	return s.current
}

func stampOf(t TLS) string {
	stamp := ""
	for _, name := range []string{t.CertFile, t.KeyFile, t.ClientCAFile} {
		if info, err := os.Stat(name); name != "" && err == nil {
			stamp += fmt.Sprintf("%s %d %d;", name, info.Size(), info.ModTime().UnixNano())
		}
	}
	return stamp
}

func (s *tlsSource) load() (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: s.files.ServerName}
	if s.files.CertFile != "" {
		cert, err := tls.LoadX509KeyPair(s.files.CertFile, s.files.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("tls: %w", err)
		}
		c.Certificates = []tls.Certificate{cert}
	}
	if s.files.ClientCAFile != "" {
		pem, err := os.ReadFile(s.files.ClientCAFile)
		if err != nil {
			return nil, fmt.Errorf("tls: %w", err)
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("tls: %s holds no certificate", s.files.ClientCAFile)
		}
		if s.server {
			c.ClientCAs, c.ClientAuth = pool, tls.RequireAndVerifyClientCert
		} else {
			c.RootCAs = pool
		}
	}
	return c, nil
}

// httpConfig returns a config for an HTTP server that follows the files.
func (s *tlsSource) httpConfig() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			c := s.config().Clone()
			c.NextProtos = []string{"h2", "http/1.1"}
			return c, nil
		},
	}
}

// reloading are gRPC credentials that follow the files: every handshake takes their present state.
type reloading struct{ src *tlsSource }

func (r reloading) fresh() credentials.TransportCredentials {
	return credentials.NewTLS(r.src.config())
}

func (r reloading) ClientHandshake(ctx context.Context, authority string, conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return r.fresh().ClientHandshake(ctx, authority, conn)
}

func (r reloading) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return r.fresh().ServerHandshake(conn)
}

func (r reloading) Info() credentials.ProtocolInfo { return r.fresh().Info() }

func (r reloading) Clone() credentials.TransportCredentials { return r }

func (r reloading) OverrideServerName(string) error {
	return errors.New("the server name comes from the configuration")
}

// subject names the owner of a certificate: its SPIFFE id or other URI, its first DNS name, or its common name.
func subject(cert *x509.Certificate) string {
	switch {
	case len(cert.URIs) > 0:
		return cert.URIs[0].String()
	case len(cert.DNSNames) > 0:
		return cert.DNSNames[0]
	default:
		return cert.Subject.CommonName
	}
}
