package idempotent

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/selfsame-io/selfsame/pkg/fault"
)

// UnaryClient keeps a call to a method that requires a key from leaving without one. If the caller gave none, the key is
// derived from the key of the current call with the method as its step; without a current key the call fails with
// Invalid, IDEMPOTENCY_KEY_MISSING. Whoever calls the same method twice for one key must use Child with different items:
// the derived keys would be equal, and the server would refuse the second request as a reuse.
func UnaryClient() grpc.UnaryClientInterceptor {
	p := &policies{}
	return func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		md, _ := metadata.FromOutgoingContext(ctx)
		keys := md.Get(Metadata)
		switch {
		case len(keys) == 1:
			if _, err := ParseKey(keys[0]); err != nil {
				return err
			}
		case len(keys) > 1:
			return invalidKey("must be given once")
		case p.of(method).required:
			if _, ok := callFrom(ctx); !ok {
				return fault.New(fault.Invalid, ReasonKeyMissing, "the method needs an idempotency key and the call has none to derive it from")
			}
			ctx = Child(ctx, method, "")
		}
		return invoke(ctx, method, req, reply, cc, opts...)
	}
}
