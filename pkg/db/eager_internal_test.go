package db

import (
	"context"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// eagerPair returns a connection that can be watched, and its other end.
func eagerPair(t *testing.T) (*eager, net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	conn, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	other, err := l.Accept()
	require.NoError(t, err)
	t.Cleanup(func() { _ = other.Close() })
	tcp, ok := conn.(*net.TCPConn)
	require.True(t, ok)
	raw, err := tcp.SyscallConn()
	require.NoError(t, err)
	return &eager{Conn: conn, raw: raw}, other
}

func TestEager(t *testing.T) {
	t.Parallel()
	// byteAfter reads one byte of two that have come together, so that the other is there already.
	byteAfter := func(t *testing.T, e *eager, other net.Conn) byte {
		t.Helper()
		_, err := other.Write([]byte{1, 2})
		require.NoError(t, err)
		e.watching.Store(false)
		b := make([]byte, 1)
		_, err = e.Read(b)
		require.NoError(t, err)
		e.watching.Store(true)
		n, err := e.Read(b)
		require.NoError(t, err)
		require.Equal(t, 1, n)
		return b[0]
	}
	t.Run("what is there is read, and nothing more", func(t *testing.T) {
		t.Parallel()
		e, other := eagerPair(t)
		require.EqualValues(t, 2, byteAfter(t, e, other))
		require.Zero(t, e.skipped)
		require.NoError(t, other.Close())
		_, err := e.Read(make([]byte, 1))
		require.ErrorIs(t, err, io.EOF)
	})
	t.Run("what comes later is waited for", func(t *testing.T) {
		t.Parallel()
		e, other := eagerPair(t)
		defer watch(e)()
		late := time.AfterFunc(5*time.Millisecond, func() { _, _ = other.Write([]byte{7}) })
		defer late.Stop()
		b := make([]byte, 8)
		n, err := e.Read(b)
		require.NoError(t, err)
		require.Equal(t, []byte{7}, b[:n])
	})
	t.Run("a deadline is met, and what takes its time is watched for less and less", func(t *testing.T) {
		t.Parallel()
		e, other := eagerPair(t)
		e.watching.Store(true)
		var skips []int
		for range 8 {
			require.NoError(t, e.SetReadDeadline(time.Now().Add(time.Millisecond)))
			_, err := e.Read(make([]byte, 1))
			require.ErrorIs(t, err, os.ErrDeadlineExceeded)
			skips = append(skips, e.skip)
		}
		require.Equal(t, []int{1, 0, 2, 1, 0, 4, 3, 2}, skips)
		require.NoError(t, e.SetReadDeadline(time.Time{}))
		for e.skip > 0 {
			require.EqualValues(t, 2, byteAfter(t, e, other))
		}
		require.EqualValues(t, 2, byteAfter(t, e, other))
		require.Zero(t, e.skipped, "it is near after all")
	})
	t.Run("a connection that was closed is an error", func(t *testing.T) {
		t.Parallel()
		e, _ := eagerPair(t)
		e.watching.Store(true)
		require.NoError(t, e.Close())
		_, err := e.Read(make([]byte, 1))
		require.ErrorIs(t, err, net.ErrClosed)
	})
	t.Run("what cannot be watched stays as it is", func(t *testing.T) {
		t.Parallel()
		one, two := net.Pipe()
		defer two.Close()
		conn, err := eagerly(func(context.Context, string, string) (net.Conn, error) { return one, nil })(t.Context(), "tcp", "")
		require.NoError(t, err)
		require.Same(t, one, conn)
		watch(conn)()
		_, err = eagerly(func(context.Context, string, string) (net.Conn, error) { return nil, io.ErrUnexpectedEOF })(t.Context(), "tcp", "")
		require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	})
}
