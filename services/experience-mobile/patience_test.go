package experiencemobile_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/serve"
	experiencemobile "github.com/selfsame-io/selfsame/services/experience-mobile"
)

// TestQuietStream follows an order in which nothing happens for longer than a client has to take what is sent to it.
func TestQuietStream(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it listens to eleven seconds of silence; TestWritesEnd of package edge says the same in no time")
	}
	certFile, keyFile, pool := certificate(t)
	w := setup(t, func(c *experiencemobile.Config) {
		c.TLS = serve.TLS{CertFile: certFile, KeyFile: keyFile}
		c.Streams.Heartbeat = 11 * time.Second
	})
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: true}
	t.Cleanup(transport.CloseIdleConnections)
	w.client = &http.Client{Transport: transport}
	w.base = strings.Replace(w.base, "http://", "https://", 1)
	w.fake.newOrder(known, "quiet-1")
	s := w.open(t, "quiet-1")
	require.Equal(t, "HTTP/2.0", s.resp.Proto)
	require.Equal(t, "RECEIVED", s.next(t).state(t))
	e, err := s.read()
	require.NoError(t, err, "silence is no reason to end a stream")
	require.NotEmpty(t, e.comment)
	w.fake.move("quiet-1", "CONFIRMED")
	require.Equal(t, "CONFIRMED", s.next(t).state(t))
}

// TestSlowHeaders begins a request and never comes to its end.
func TestSlowHeaders(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it waits as long as headers may take")
	}
	w := setup(t)
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(w.base, "http://"))
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	_, err = fmt.Fprint(conn, "GET /v1/customers HTTP/1.1\r\nHost: x\r\nX-Slow: ")
	require.NoError(t, err)
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(2*time.Minute)))
	text, err := io.ReadAll(bufio.NewReader(conn))
	require.NoError(t, err, "the connection is ended by the server")
	require.NotContains(t, string(text), "200 OK")
	require.Empty(t, w.fake.metadata())
}
