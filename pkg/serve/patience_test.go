package serve_test

import (
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/serve"
)

// A service that is restarted refuses connections for a moment, and gRPC then waits before it tries again.
func TestDial_WaitsForAServiceThatIsRestarted(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "serve") //nolint:usetesting // t.TempDir is too long for the address of a socket
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	dial := func(name string, patience time.Duration) *grpc.ClientConn {
		conn, err := serve.Dial("unix://"+filepath.Join(dir, name), serve.ClientOptions{CallerName: "test", Patience: patience})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, conn.Close()) })
		return conn
	}
	t.Run("a call that must not wait for the connection is told at once", func(t *testing.T) {
		err := call(t.Context(), t, dial("nobody", 0), "Write", grpc.WaitForReady(false))
		require.Equal(t, fault.Unavailable, fault.KindOf(err))
	})
	t.Run("with patience it waits, but not longer", func(t *testing.T) {
		begun := time.Now()
		err := call(t.Context(), t, dial("nobody", 20*time.Millisecond), "Write", grpc.WaitForReady(false))
		require.Equal(t, fault.Unavailable, fault.KindOf(err))
		require.GreaterOrEqual(t, time.Since(begun), 20*time.Millisecond)
	})
	t.Run("with patience it reaches a service that is there again", func(t *testing.T) {
		conn := dial("late", time.Minute)
		answered := make(chan error, 1)
		go func() {
			answered <- conn.Invoke(t.Context(), "/servetest.TestService/Write", &emptypb.Empty{}, &emptypb.Empty{}, grpc.WaitForReady(false))
		}()
		require.Error(t, call(t.Context(), t, dial("late", 0), "Write", grpc.WaitForReady(false)), "nobody is there yet")
		ln, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", filepath.Join(dir, "late"))
		require.NoError(t, err)
		start(t, serve.Service{Name: "test", Register: impl{unary: ok}.register(t), Listener: ln})
		require.NoError(t, <-answered)
	})
}
