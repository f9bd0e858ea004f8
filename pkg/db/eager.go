package db

import (
	"context"
	"crypto/tls"
	"net"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

const (
	// eagerFor is how long at most an answer is watched for. A server that is near has read a few rows by then; longer than this
	// it takes no less to go to sleep and be woken.
	eagerFor = 250 * time.Microsecond
	// maxSkipped is how many answers at most are waited for asleep after one that took longer.
	maxSkipped = 256
)

// eager is the network connection to a PostgreSQL server. Who waits for an answer sleeps, and to be woken, across processors
// and often through a hypervisor, takes as long as to find a row. So for an answer that is due at once it looks again and
// again instead, letting others run meanwhile, as a lock does before it sleeps. It stops to do so for longer and longer where
// answers turn out to take their time, as those of a server elsewhere.
//
// Nothing depends on it: what has not come is waited for as always, and so are deadlines and the end of the connection.
type eager struct {
	net.Conn
	raw syscall.RawConn

	watching atomic.Bool
	// Of whoever reads, one at a time.
	skip, skipped int
}

// eagerly dials connections that can be watched.
func eagerly(dial pgconn.DialFunc) pgconn.DialFunc {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		c, ok := conn.(syscall.Conn)
		if !ok || runtime.GOMAXPROCS(0) == 1 { // whoever is watched for needs a processor too
			return conn, nil
		}
		raw, err := c.SyscallConn()
		if err != nil {
			return conn, nil //nolint:nilerr // it can do without
		}
		return &eager{Conn: conn, raw: raw}, nil
	}
}

// watch makes the connection expect answers at once until the returned function is called.
func watch(conn net.Conn) (end func()) {
	if t, ok := conn.(*tls.Conn); ok {
		conn = t.NetConn()
	}
	e, ok := conn.(*eager)
	if !ok {
		return func() {}
	}
	e.watching.Store(true)
	return func() { e.watching.Store(false) }
}

// Read implements net.Conn.
func (e *eager) Read(b []byte) (int, error) {
	if len(b) == 0 || !e.watching.Load() {
		return e.Conn.Read(b)
	}
	if e.skip > 0 {
		e.skip--
		return e.Conn.Read(b)
	}
	n, found, err := e.look(b)
	if found {
		e.skipped = 0
		return n, err
	}
	e.skipped = min(max(2*e.skipped, 1), maxSkipped)
	e.skip = e.skipped
	return e.Conn.Read(b)
}

// look reads what comes soon. It reports whether something did: data, or the end of the connection.
func (e *eager) look(b []byte) (n int, found bool, err error) {
	begun := time.Now()
	// An error of the connection itself, as a deadline, is met again by whoever waits.
	_ = e.raw.Read(func(fd uintptr) bool {
		for {
			if n, found, err = readNow(fd, b); found || time.Since(begun) > eagerFor {
				return true
			}
			runtime.Gosched()
		}
	})
	return n, found, err
}
