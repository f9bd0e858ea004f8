//go:build linux

package load

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestAnswer(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		text         string
		status, size int
		closes       bool
	}{
		"with a length":           {"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nA: b\r\n\r\nabcde", 200, 5, false},
		"in chunks":               {"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nc\r\n0\r\n\r\nabcdefg\r\n0\r\n\r\n", 201, 15, false},
		"without a body":          {"HTTP/1.1 204 No Content\r\n\r\n", 204, 0, false},
		"that ends a connection":  {"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", 503, 0, true},
		"whose chunks hold lines": {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n\r\n\r\n\r\n0\r\n\r\n", 200, 4, false},
	} {
		t.Run("an answer "+name+" is complete with its last byte", func(t *testing.T) {
			t.Parallel()
			var a answer
			for i := range c.text {
				a.text = append(a.text, c.text[i])
				done, err := a.complete()
				require.NoError(t, err)
				require.Equal(t, i == len(c.text)-1, done, "after %q", c.text[:i+1])
			}
			require.Equal(t, []any{c.status, c.size, c.closes}, []any{a.status, a.size, a.closes})
		})
	}
	for _, text := range []string{
		"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\nuntil the end", "HTTP/1.1 100 Continue\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nab", "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
	} {
		t.Run("what is no answer is an error: "+strconv.Quote(text), func(t *testing.T) {
			t.Parallel()
			a := answer{text: []byte(text)}
			done, err := a.complete()
			require.False(t, done)
			require.ErrorIs(t, err, errAnswer)
		})
	}
}

// recorder is a server that remembers what it was asked.
type recorder struct {
	mu    sync.Mutex
	asked map[string]string // body by key
	paths map[string]int
}

func serveRecorder(t *testing.T, answer http.HandlerFunc) (*recorder, string, *wire) {
	t.Helper()
	r := &recorder{asked: map[string]string{}, paths: map[string]int{}}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		if err != nil || req.Header.Get("Authorization") != "Bearer x" {
			http.Error(w, "no", http.StatusBadRequest)
			return
		}
		r.mu.Lock()
		r.asked[req.Header.Get("Idempotency-Key")] = string(body)
		r.paths[req.RequestURI]++
		r.mu.Unlock()
		answer(w, req)
	}))
	t.Cleanup(srv.Close)
	w := &wire{}
	t.Cleanup(w.close)
	return r, srv.URL, w
}

// connections are those that a server was asked over, ever.
type connections struct {
	mu  sync.Mutex
	all []net.Conn
}

func serveConnections(t *testing.T) (*connections, string, *wire) {
	t.Helper()
	c := &connections{}
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	srv.Config.ConnState = func(conn net.Conn, state http.ConnState) {
		if state == http.StateNew {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.all = append(c.all, conn)
		}
	}
	srv.Start()
	t.Cleanup(srv.Close)
	w := &wire{}
	t.Cleanup(w.close)
	return c, srv.URL, w
}

func (c *connections) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.all)
}

// hangUp closes the server's end of a connection, and waits until the other end has been told.
func (c *connections) hangUp(t *testing.T, l *line) {
	t.Helper()
	addr, err := unix.Getsockname(l.fd)
	require.NoError(t, err)
	at, ok := addr.(*unix.SockaddrInet4)
	require.True(t, ok)
	of := func(conn net.Conn) bool {
		from, ok := conn.RemoteAddr().(*net.TCPAddr)
		return ok && from.Port == at.Port
	}
	require.Eventually(t, func() bool { // one that was just opened the server may not have seen yet
		c.mu.Lock()
		defer c.mu.Unlock()
		i := slices.IndexFunc(c.all, of)
		return i >= 0 && c.all[i].Close() == nil
	}, silence, time.Millisecond)
	for {
		told := []unix.PollFd{{Fd: int32(l.fd), Events: unix.POLLIN}}
		n, err := unix.Poll(told, int(silence.Milliseconds()))
		if errors.Is(err, unix.EINTR) {
			continue
		}
		require.NoError(t, err)
		require.Equal(t, 1, n, "the end of a connection is not told")
		return
	}
}

var bearer = http.Header{"Authorization": {"Bearer x"}}

func TestFire(t *testing.T) {
	t.Parallel()
	t.Run("each request is sent once, with its own key and body", func(t *testing.T) {
		t.Parallel()
		r, base, w := serveRecorder(t, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusCreated)
			_, _ = io.WriteString(w, "made")
		})
		s := shot{
			urls: []string{base + "/a"}, header: bearer, requests: 50, connections: 4,
			body: func(i int) string { return strings.Repeat("b", i) }, key: strconv.Itoa,
		}
		h, err := s.fire(t.Context(), w)
		require.NoError(t, err)
		require.Equal(t, []int64{50, 0, 200}, []int64{int64(h.done), int64(h.refused), h.bytes})
		r.mu.Lock() // of the answers that came over the wire the race detector knows nothing
		defer r.mu.Unlock()
		require.Len(t, r.asked, 50)
		for i := range 50 {
			require.Equal(t, strings.Repeat("b", i), r.asked[strconv.Itoa(i)])
		}
	})
	t.Run("addresses are asked in turn, not before a request is due, over connections that are kept", func(t *testing.T) {
		t.Parallel()
		r, base, w := serveRecorder(t, func(w http.ResponseWriter, req *http.Request) {
			if req.URL.Query().Get("n") == "2" {
				w.Header().Set("Connection", "close")
			}
			_, _ = io.WriteString(w, strings.Repeat("x", 9000)) // in chunks
		})
		s := shot{urls: []string{base + "/a?n=1", base + "/a?n=2"}, header: bearer, requests: 20, connections: 2, rate: 1000}
		for range 2 {
			h, err := s.fire(t.Context(), w)
			require.NoError(t, err)
			require.GreaterOrEqual(t, h.took, 19*time.Millisecond)
			require.Equal(t, int64(20*9000), h.bytes)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		require.Equal(t, map[string]int{"/a?n=1": 20, "/a?n=2": 20}, r.paths)
	})
	t.Run("refusals count only where they may be", func(t *testing.T) {
		t.Parallel()
		_, base, w := serveRecorder(t, func(w http.ResponseWriter, req *http.Request) {
			if req.URL.Path == "/busy" {
				w.Header().Set("Connection", "close")
				w.WriteHeader(http.StatusServiceUnavailable)
			}
		})
		s := shot{urls: []string{base + "/", base + "/busy"}, header: bearer, requests: 10, connections: 3, sheds: true}
		h, err := s.fire(t.Context(), w)
		require.NoError(t, err)
		require.Equal(t, []int{5, 5}, []int{h.done, h.refused})
		s.sheds = false
		_, err = s.fire(t.Context(), w)
		require.ErrorContains(t, err, "answered 503")
	})
	t.Run("a connection that the server closed meanwhile is opened again", func(t *testing.T) {
		t.Parallel()
		_, base, w := serveRecorder(t, func(http.ResponseWriter, *http.Request) {})
		s := shot{urls: []string{base}, header: bearer, requests: 4, connections: 2}
		_, err := s.fire(t.Context(), w)
		require.NoError(t, err)
		for _, l := range w.idle[strings.TrimPrefix(base, "http://")] {
			require.NoError(t, unix.Shutdown(l.fd, unix.SHUT_RDWR))
		}
		_, err = s.fire(t.Context(), w)
		require.NoError(t, err)
	})
	t.Run("a connection that the server closes before it was told of a request is opened again, one that was idle for long anyway", func(t *testing.T) {
		t.Parallel()
		conns, base, w := serveConnections(t)
		s := shot{urls: []string{base}, header: bearer, requests: 2, connections: 2, key: strconv.Itoa, body: func(int) string { return "" }}
		_, err := s.fire(t.Context(), w)
		require.NoError(t, err)
		lines := w.idle[strings.TrimPrefix(base, "http://")]
		before := conns.count()
		require.GreaterOrEqual(t, before, 2)
		s.body = func(i int) string {
			if i == 0 { // which goes over the second, so the next request goes over the first
				conns.hangUp(t, lines[0])
			}
			return ""
		}
		h, err := s.fire(t.Context(), w)
		require.NoError(t, err)
		require.Equal(t, 2, h.done)
		require.GreaterOrEqual(t, conns.count(), before+1, "or more, if this machine has slept for long enough")
		before = conns.count()
		for _, l := range lines {
			l.used = l.used.Add(-idleLimit)
		}
		s.body = func(int) string { return "" }
		_, err = s.fire(t.Context(), w)
		require.NoError(t, err)
		require.GreaterOrEqual(t, conns.count(), before+2)
	})
	t.Run("a server that hangs up is an error, as is one that is not there", func(t *testing.T) {
		t.Parallel()
		_, base, w := serveRecorder(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
		s := shot{urls: []string{base}, header: bearer, requests: 1, connections: 1}
		_, err := s.fire(t.Context(), w)
		require.ErrorContains(t, err, "closed the connection")
		s.urls = []string{"http://127.0.0.1:1"}
		_, err = s.fire(t.Context(), w)
		require.ErrorContains(t, err, "connect to 127.0.0.1:1")
		s.urls = []string{base, "http://127.0.0.1:1"}
		_, err = s.fire(t.Context(), w)
		require.ErrorContains(t, err, "not the same")
	})
}
