package rpc

import (
	"google.golang.org/grpc"

	"github.com/selfsame-io/selfsame/pkg/serve"
	"github.com/selfsame-io/selfsame/pkg/telemetry"
	mobilev1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/mobile/v1"
)

// NewInside returns a connection to MobileService for the edge. It has the same interceptors as any server of the suite;
// nobody but who holds it can reach it, so it believes what the edge says about the caller.
func NewInside(server mobilev1.MobileServiceServer, tel *telemetry.Telemetry, cfg serve.Config) (grpc.ClientConnInterface, error) {
	return serve.NewLocal(serve.Service{
		Name: "inside", Config: cfg, Telemetry: tel,
		Register: func(r grpc.ServiceRegistrar) { mobilev1.RegisterMobileServiceServer(r, server) },
		Unary:    []grpc.UnaryServerInterceptor{Trusted()},
	})
}
