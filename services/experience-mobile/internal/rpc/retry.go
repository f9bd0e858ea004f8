package rpc

import (
	"context"
	"math/rand/v2"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/retry"
	customerv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/customer/v1"
)

// RetryReads repeats a read once when the process layer is unavailable for a moment. It is used in place of gRPC's own
// retries, which would sit out a server's request to wait until the deadline: somebody is looking at a screen, so a
// wait of more than a second is told at once. Writes are never repeated here; the client does that with its key.
func RetryReads() grpc.UnaryClientInterceptor {
	reads := map[string]bool{}
	for _, file := range []protoreflect.FileDescriptor{
		customerv1.File_selfsame_customer_v1_customer_service_proto, customerv1.File_selfsame_customer_v1_screen_service_proto,
	} {
		service := file.Services().Get(0)
		for i := range service.Methods().Len() {
			m := service.Methods().Get(i)
			reads["/"+string(service.FullName())+"/"+string(m.Name())] = readOnly(m)
		}
	}
	policy := retry.Policy{
		MaxAttempts: 2,
		Backoff:     retry.Backoff{Min: 50 * time.Millisecond, Max: time.Second, Jitter: 0.5, Rand: rand.Float64},
	}
	return func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		if !reads[method] {
			return invoke(ctx, method, req, reply, cc, opts...)
		}
		var last error
		err := retry.Do(ctx, policy, func(ctx context.Context) error {
			last = invoke(ctx, method, req, reply, cc, opts...)
			if fault.Is(last, fault.Unavailable) && fault.RetryAfter(last) <= policy.Backoff.Max {
				return last
			}
			return nil // anything else is the answer, and so is a wait that a screen would show
		})
		if err != nil {
			return err
		}
		return last
	}
}

func readOnly(m protoreflect.MethodDescriptor) bool {
	o, ok := m.Options().(*descriptorpb.MethodOptions)
	return ok && o.GetIdempotencyLevel() == descriptorpb.MethodOptions_NO_SIDE_EFFECTS
}
