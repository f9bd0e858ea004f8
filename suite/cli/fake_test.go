package cli

import (
	"errors"
	"net"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"

	customerv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/customer/v1"
)

// serveOperations serves a service on a port of its own until the test ends and returns the address.
func serveOperations(t *testing.T, o customerv1.OperationsServiceServer) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := grpc.NewServer()
	customerv1.RegisterOperationsServiceServer(s, o)
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Stop()
		if err := <-done; !errors.Is(err, grpc.ErrServerStopped) { // it may stop before it has begun
			require.NoError(t, err)
		}
	})
	return l.Addr().String()
}
