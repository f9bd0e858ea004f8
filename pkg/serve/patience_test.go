package serve_test

import (
	"context"
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

func TestWithin(t *testing.T) {
	t.Parallel()
	const margin = 20 * time.Millisecond
	lower := start(t, serve.Service{Name: "lower", Register: impl{unary: ok}.register(t)})
	deadlines := make(chan time.Time, 1) // of the call that leaves
	down := lower.dial(serve.ClientOptions{Unary: []grpc.UnaryClientInterceptor{
		func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
			at, _ := ctx.Deadline()
			deadlines <- at
			return invoke(ctx, method, req, reply, cc, opts...)
		},
	}})
	inside := func(t *testing.T, do func(ctx context.Context, at time.Time) error) {
		t.Helper()
		upper := start(t, serve.Service{Name: "upper", Register: impl{unary: func(ctx context.Context) error {
			at, _ := ctx.Deadline()
			return do(ctx, at)
		}}.register(t)})
		require.NoError(t, call(t.Context(), t, upper.dial(serve.ClientOptions{Timeout: time.Minute}), "Read"))
	}
	t.Run("inside a call the caller's deadline counts, less what is kept back once", func(t *testing.T) {
		inside(t, func(ctx context.Context, at time.Time) error {
			limited, cancel := serve.Within(ctx, time.Hour)
			defer cancel()
			err := call(limited, t, down, "Read")
			require.Equal(t, at.Add(-margin).UnixNano(), (<-deadlines).UnixNano())
			return err
		})
	})
	t.Run("what is shortened afterwards is a deadline like any other", func(t *testing.T) {
		inside(t, func(ctx context.Context, at time.Time) error {
			limited, cancel := serve.Within(ctx, time.Hour)
			defer cancel()
			sooner, cancel := context.WithDeadline(limited, at.Add(-time.Second))
			defer cancel()
			err := call(sooner, t, down, "Read")
			require.Equal(t, at.Add(-time.Second-margin).UnixNano(), (<-deadlines).UnixNano())
			return err
		})
	})
	t.Run("outside of a call nothing is kept back", func(t *testing.T) {
		before := time.Now()
		limited, cancel := serve.Within(t.Context(), time.Hour)
		defer cancel()
		require.NoError(t, call(limited, t, down, "Read"))
		at := <-deadlines
		require.WithinRange(t, at, before.Add(time.Hour), time.Now().Add(time.Hour))
	})
}
