package serve_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/selfsame-io/selfsame/pkg/caller"
	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/serve"
)

// TestLocal asks of a connection inside the process what TestServer_Interceptors asks of one over a socket.
func TestLocal(t *testing.T) {
	t.Parallel()
	const write = "/servetest.TestService/Write"
	local := func(t *testing.T, handler func(ctx context.Context) error, unary ...grpc.UnaryServerInterceptor) *serve.Local {
		t.Helper()
		l, err := serve.NewLocal(serve.Service{Name: "test", Unary: unary, Register: impl{unary: handler}.register(t)})
		require.NoError(t, err)
		return l
	}
	t.Run("metadata arrives, and none of it goes further by itself", func(t *testing.T) {
		t.Parallel()
		l := local(t, func(ctx context.Context) error {
			require.Equal(t, []string{"key-1"}, metadata.ValueFromIncomingContext(ctx, "idempotency-key"))
			require.Equal(t, caller.Identity{Name: "edge"}, caller.From(ctx))
			out, _ := metadata.FromOutgoingContext(ctx)
			require.Empty(t, out)
			return nil
		})
		ctx := metadata.AppendToOutgoingContext(t.Context(), "idempotency-key", "key-1", "selfsame-caller", "edge")
		require.NoError(t, l.Invoke(ctx, write, request(t, ""), &emptypb.Empty{}))
	})
	t.Run("what the caller received does not arrive", func(t *testing.T) {
		t.Parallel()
		l := local(t, func(ctx context.Context) error {
			require.Empty(t, metadata.ValueFromIncomingContext(ctx, "authorization"))
			return nil
		})
		ctx := metadata.NewIncomingContext(t.Context(), metadata.Pairs("authorization", "Bearer x"))
		require.NoError(t, l.Invoke(ctx, write, request(t, ""), &emptypb.Empty{}))
	})
	t.Run("header and trailer come back", func(t *testing.T) {
		t.Parallel()
		l := local(t, func(ctx context.Context) error {
			require.NoError(t, grpc.SetHeader(ctx, metadata.Pairs("a", "1")))
			require.NoError(t, grpc.SendHeader(ctx, metadata.Pairs("b", "2")))
			require.Error(t, grpc.SetHeader(ctx, metadata.Pairs("c", "3")), "the header was sent")
			require.NoError(t, grpc.SetTrailer(ctx, metadata.Pairs("d", "4")))
			return fault.New(fault.Unavailable, fault.ReasonNotReady, "later").WithRetryAfter(time.Second)
		})
		var header, trailer metadata.MD
		err := l.Invoke(t.Context(), write, request(t, ""), &emptypb.Empty{}, grpc.Header(&header), grpc.Trailer(&trailer))
		require.Equal(t, codes.Unavailable, status.Code(err))
		require.Equal(t, metadata.Pairs("a", "1", "b", "2"), header)
		require.Equal(t, []string{"4"}, trailer.Get("d"))
		require.Equal(t, []string{"1000"}, trailer.Get("grpc-retry-pushback-ms"))
	})
	t.Run("requests are validated and bounded in time", func(t *testing.T) {
		t.Parallel()
		l := local(t, func(ctx context.Context) error {
			at, ok := ctx.Deadline()
			require.True(t, ok)
			require.Greater(t, time.Until(at), time.Second)
			return nil
		})
		require.NoError(t, l.Invoke(t.Context(), write, request(t, "a@example.com"), &emptypb.Empty{}))
		err := l.Invoke(t.Context(), write, request(t, "nobody"), &emptypb.Empty{})
		require.Equal(t, fault.ReasonValidationFailed, fault.ReasonOf(fault.FromStatus(err)))
		short, cancel := context.WithTimeout(t.Context(), 90*time.Millisecond)
		defer cancel()
		require.Equal(t, codes.DeadlineExceeded, status.Code(l.Invoke(short, write, request(t, ""), &emptypb.Empty{})))
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		require.Equal(t, codes.Canceled, status.Code(l.Invoke(gone, write, request(t, ""), &emptypb.Empty{})))
	})
	t.Run("nothing internal is told", func(t *testing.T) {
		t.Parallel()
		for _, handler := range []func(context.Context) error{
			func(context.Context) error { panic("secret") },
			func(context.Context) error { return errors.New("secret") },
		} {
			err := local(t, handler).Invoke(t.Context(), write, request(t, ""), &emptypb.Empty{})
			require.Equal(t, codes.Internal, status.Code(err))
			require.NotContains(t, err.Error(), "secret")
		}
		err := local(t, ok, func(context.Context, any, *grpc.UnaryServerInfo, grpc.UnaryHandler) (any, error) { panic("secret") }).
			Invoke(t.Context(), write, request(t, ""), &emptypb.Empty{})
		require.Equal(t, codes.Internal, status.Code(err))
		require.NotContains(t, err.Error(), "secret")
	})
	t.Run("the service's own interceptors run after the kit's, in their order", func(t *testing.T) {
		t.Parallel()
		var order []string
		step := func(name string) grpc.UnaryServerInterceptor {
			return func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
				order = append(order, name)
				return next(ctx, req)
			}
		}
		l := local(t, func(context.Context) error { order = append(order, "handler"); return nil }, step("first"), step("second"))
		require.NoError(t, l.Invoke(t.Context(), write, request(t, ""), &emptypb.Empty{}))
		require.Equal(t, []string{"first", "second", "handler"}, order)
		order = nil
		require.Error(t, l.Invoke(t.Context(), write, request(t, "nobody"), &emptypb.Empty{}))
		require.Empty(t, order)
	})
	t.Run("it refuses what it does not serve", func(t *testing.T) {
		t.Parallel()
		l := local(t, ok)
		require.Equal(t, codes.Unimplemented, status.Code(l.Invoke(t.Context(), "/servetest.TestService/Other", request(t, ""), &emptypb.Empty{})))
		_, err := l.NewStream(t.Context(), &grpc.StreamDesc{ServerStreams: true}, "/servetest.TestService/Watch")
		require.Equal(t, codes.Unimplemented, status.Code(err))
		_, err = serve.NewLocal(serve.Service{Name: "test"})
		require.Error(t, err)
	})
}
