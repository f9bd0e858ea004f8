package systemerp_test

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/metadata"

	erpv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/erp/v1"
)

func TestIdempotencyKey_Replicas(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, dsn string) {
		replicas := []*replica{start(t, dsn), start(t, dsn)}
		ctx := metadata.AppendToOutgoingContext(t.Context(), "idempotency-key", "create-acme-from-two-sides")
		req := &erpv1.CreateCustomerRequest{Customer: &erpv1.Customer{Name: "Acme"}}
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() { _, _ = replicas[i%2].customers.CreateCustomer(ctx, req) }) // some may be told to come again
		}
		wg.Wait()
		_, err := replicas[0].customers.CreateCustomer(ctx, req)
		require.NoError(t, err, "no outcome is uncertain")
		page, err := replicas[1].customers.ListCustomers(t.Context(), &erpv1.ListCustomersRequest{})
		require.NoError(t, err)
		require.Len(t, page.GetCustomers(), 1)
	})
}
