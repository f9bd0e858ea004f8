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

// TestBodiesThatNeverCome announces a body and keeps it back: the answer does not wait for it, and the connection ends.
func TestBodiesThatNeverCome(t *testing.T) {
	t.Parallel()
	w := setup(t, func(c *experiencemobile.Config) { c.Budget = time.Second })
	for request, status := range map[string]int{
		"POST /v1/customers": http.StatusUnauthorized, "POST /nope": http.StatusNotFound, "GET /v1/meta": http.StatusOK,
		"DELETE /v1/customers": http.StatusMethodNotAllowed, "OPTIONS /v1/customers": http.StatusNoContent,
		"GET /v1/orders/1/events": http.StatusUnauthorized,
	} {
		t.Run(request, func(t *testing.T) {
			t.Parallel()
			conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(w.base, "http://"))
			require.NoError(t, err)
			defer func() { _ = conn.Close() }()
			_, err = fmt.Fprintf(conn, "%s HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{", request)
			require.NoError(t, err)
			require.NoError(t, conn.SetReadDeadline(time.Now().Add(time.Minute)))
			in := bufio.NewReader(conn)
			resp, err := http.ReadResponse(in, nil)
			require.NoError(t, err, "the answer comes without the body")
			require.Equal(t, status, resp.StatusCode)
			require.True(t, resp.Close)
			_, err = io.Copy(io.Discard, resp.Body)
			require.NoError(t, err)
			require.NoError(t, resp.Body.Close())
			_, err = in.ReadByte()
			require.ErrorIs(t, err, io.EOF, "and the connection is ended by the server")
		})
	}
}
