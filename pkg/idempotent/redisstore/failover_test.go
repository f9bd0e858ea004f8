package redisstore_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/selfsame-io/selfsame/pkg/idempotent"
	"github.com/selfsame-io/selfsame/pkg/idempotent/redisstore"
	customerv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/customer/v1"
)

// pair starts a primary with a replica that has caught up.
func pair(t *testing.T) (primary, replica *server) {
	t.Helper()
	primary = startServer(t)
	replica = startServer(t, "--replicaof", strings.Replace(primary.addr, ":", " ", 1))
	require.Eventually(t, func() bool {
		info, _ := replica.c.Info(t.Context(), "replication").Result()
		return strings.Contains(info, "master_link_status:up")
	}, 2*time.Minute, 20*time.Millisecond)
	return primary, replica
}

// A fail-over loses what the replica had not received: the call is executed again. What it does below must carry the very
// key that the first execution used, so that the target has one effect.
func failOver(t *testing.T) {
	t.Parallel()
	primary, replica := pair(t)
	// The literal is not computed here. It is
	//   printf 'idem/v1\0\0\0lost-with-the-primary\0/selfsame.customer.v1.CustomerService/PlaceOrder\0erp.order.create\0' |
	//     openssl dgst -sha256 -binary | basenc --base64url | tr -d =
	const childKey = "k1wNXwI426y6eAhyQwrozRcxp9TQ1AiMoPJVOAA7Qto"
	asked := map[string]int{}     // what reached the target
	orders := map[string]string{} // what it made: the key is unique there
	place := func(store idempotent.Store, key string) (string, string) {
		t.Helper()
		ctx := metadata.NewIncomingContext(t.Context(), metadata.Pairs(idempotent.Metadata, key))
		said := &status{}
		resp, err := idempotent.UnaryServer(store, idempotent.Options{})(grpc.NewContextWithServerTransportStream(ctx, said),
			&customerv1.PlaceOrderRequest{Order: &customerv1.NewOrder{CustomerId: "c_1"}}, &grpc.UnaryServerInfo{FullMethod: customerv1.CustomerService_PlaceOrder_FullMethodName},
			func(ctx context.Context, _ any) (any, error) {
				md, _ := metadata.FromOutgoingContext(idempotent.Child(ctx, "erp.order.create", ""))
				require.Len(t, md.Get(idempotent.Metadata), 1)
				k := md.Get(idempotent.Metadata)[0]
				asked[k]++
				if _, known := orders[k]; !known {
					orders[k] = "order of " + key
				}
				return &customerv1.PlaceOrderResponse{CustomerId: orders[k]}, nil
			})
		require.NoError(t, err)
		return resp.(*customerv1.PlaceOrderResponse).GetCustomerId(), said.of(idempotent.StatusMetadata)
	}
	waiting := primary.store(redisstore.Options{WaitReplicas: 1, WaitTimeout: 30 * time.Second})
	id, said := place(waiting, "kept-by-the-replica")
	require.Equal(t, []string{"order of kept-by-the-replica", idempotent.StatusExecuted}, []string{id, said})

	require.NoError(t, replica.c.ReplicaOf(t.Context(), "NO", "ONE").Err()) // promoted, while the old primary still takes writes
	_, said = place(primary.store(redisstore.Options{}), "lost-with-the-primary")
	require.Equal(t, idempotent.StatusExecuted, said)

	now := replica.store(redisstore.Options{})
	id, said = place(now, "kept-by-the-replica")
	require.Equal(t, []string{"order of kept-by-the-replica", idempotent.StatusReplayed}, []string{id, said})
	id, said = place(now, "lost-with-the-primary")
	require.Equal(t, []string{"order of lost-with-the-primary", idempotent.StatusExecuted}, []string{id, said}, "nobody knows of the first execution")
	require.Equal(t, 2, asked[childKey], "both executions reach the target, under one key: %v", asked)
	require.Len(t, orders, 2, "one order per call of the client")
}

// The forgotten owner must stay stale although fences begin anew.
func forgottenOwner(t *testing.T) {
	t.Parallel()
	primary, replica := pair(t)
	require.NoError(t, replica.c.ReplicaOf(t.Context(), "NO", "ONE").Err())
	lost := granted(t, primary.store(redisstore.Options{}), claim("lost"))
	now := replica.store(redisstore.Options{})
	c := claim("lost")
	c.Owner = []byte("the next attempt")
	next := granted(t, now, c)
	require.Equal(t, lost.Fence, next.Fence, "the fence is given out again")
	require.ErrorIs(t, now.Complete(t.Context(), lost, answer("late")), idempotent.ErrStale)
	require.ErrorIs(t, now.Heartbeat(t.Context(), lost, time.Minute), idempotent.ErrStale)
	require.NoError(t, now.Complete(t.Context(), next, answer("next")))
}

// status is the transport of a call: it hears what the server says.
type status struct{ md metadata.MD }

func (s *status) of(name string) string { return strings.Join(s.md.Get(name), ",") }

func (*status) Method() string { return customerv1.CustomerService_PlaceOrder_FullMethodName }

func (s *status) SetHeader(md metadata.MD) error { s.md = metadata.Join(s.md, md); return nil }

func (s *status) SendHeader(md metadata.MD) error { return s.SetHeader(md) }

func (s *status) SetTrailer(md metadata.MD) error { return s.SetHeader(md) }
