package dbtest

import (
	"encoding/binary"
	"io"
	"net"
	"net/url"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// Line is what lies between a process and its PostgreSQL. It breaks when told to: between two round trips, or behind a row, the
// connection is gone, without a word from the server, which has done what it was asked before. It is safe for concurrent use.
type Line struct {
	server string

	mu    sync.Mutex
	armed bool
	rows  bool // what left counts
	left  int  // round trips, or rows, until it breaks
	conns []net.Conn
	wg    sync.WaitGroup
}

// NewLine returns a line to a database on PostgreSQL, and the name that the database has behind it.
func NewLine(t testing.TB, dsn string) (*Line, string) {
	t.Helper()
	u, err := url.Parse(dsn)
	require.NoError(t, err)
	port := u.Port()
	if port == "" {
		port = "5432"
	}
	l := &Line{server: net.JoinHostPort(u.Hostname(), port)}
	var lc net.ListenConfig
	in, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	accepting := make(chan struct{})
	t.Cleanup(func() {
		_ = in.Close()
		<-accepting
		l.mu.Lock()
		for _, c := range l.conns {
			_ = c.Close()
		}
		l.mu.Unlock()
		l.wg.Wait()
	})
	go func() {
		defer close(accepting)
		for {
			c, err := in.Accept()
			if err != nil {
				return
			}
			l.connect(c)
		}
	}()
	q := u.Query()
	q.Set("sslmode", "disable") // it reads what passes
	u.Host, u.RawQuery = in.Addr().String(), q.Encode()
	return l, u.String()
}

// BreakAfter has the line break once, after so many round trips; zero is before the first.
func (l *Line) BreakAfter(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.armed, l.rows, l.left = true, false, n
}

// BreakAfterRow has the line break once, behind so many rows of whatever answers; at least one.
func (l *Line) BreakAfterRow(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.armed, l.rows, l.left = true, true, n
}

// Spare has it break no more, and reports whether it did.
func (l *Line) Spare() (broken bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	broken, l.armed = !l.armed, false
	return broken
}

// broken reports whether the line breaks before a request, or before an answer that is the end of a round trip.
func (l *Line) broken(answered bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.armed && !l.rows && answered {
		l.left--
	}
	return l.breaks(!l.rows)
}

// brokenRow reports whether the line breaks behind a row.
func (l *Line) brokenRow() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.armed && l.rows {
		l.left--
	}
	return l.breaks(l.rows)
}

// breaks ends the counting if this is the place; mu must be held.
func (l *Line) breaks(counted bool) bool {
	broken := l.armed && counted && l.left == 0
	l.armed = l.armed && !broken
	return broken
}

func (l *Line) connect(client net.Conn) {
	server, err := net.Dial("tcp", l.server) //nolint:noctx // what comes of it ends with the test
	if err != nil {
		_ = client.Close()
		return
	}
	l.mu.Lock()
	l.conns = append(l.conns, client, server)
	l.mu.Unlock()
	for _, pass := range []func(client, server net.Conn){l.ask, l.answer} {
		l.wg.Go(func() {
			pass(client, server)
			_ = client.Close()
			_ = server.Close()
		})
	}
}

// ask passes on what the client says.
func (l *Line) ask(client, server net.Conn) {
	text, err := message(client, 0) // the only one without a kind
	for err == nil {
		if _, err := server.Write(text); err != nil {
			return
		}
		text, err = message(client, 1)
		if err == nil && (text[0] == 'Q' || text[0] == 'S') && l.broken(false) {
			return
		}
	}
}

// answer passes on what the server says: from when it is ready for the first time, each round trip as a whole.
func (l *Line) answer(client, server net.Conn) {
	var held []byte
	for ready := false; ; {
		text, err := message(server, 1)
		if err != nil {
			return
		}
		held = append(held, text...)
		over := text[0] == 'Z'
		if ready && over && l.broken(true) {
			return
		}
		if text[0] == 'D' && l.brokenRow() {
			_, _ = client.Write(held)
			return
		}
		ready = ready || over
		if ready && !over {
			continue
		}
		if _, err := client.Write(held); err != nil {
			return
		}
		held = held[:0]
	}
}

// message reads one whose length follows so many bytes.
func message(from io.Reader, kind int) ([]byte, error) {
	head := make([]byte, kind+4)
	if _, err := io.ReadFull(from, head); err != nil {
		return nil, err
	}
	rest := make([]byte, binary.BigEndian.Uint32(head[kind:])-4)
	_, err := io.ReadFull(from, rest)
	return slices.Concat(head, rest), err
}
