package rpc

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	"github.com/selfsame-io/selfsame/pkg/idempotent"
	customerv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/customer/v1"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/engine/enginetest"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store/storetest"
)

// BenchmarkCreateCustomer creates customers over gRPC, with their keys in the transaction and, on another database, with keys
// that are claimed before. It alternates between the two, and reports how much more the first one does in the same time.
func BenchmarkCreateCustomer(b *testing.B) {
	for _, engine := range []string{"sqlite", "postgres"} {
		for _, callers := range []int{1, 64} {
			b.Run(fmt.Sprintf("%s/%d", engine, callers), func(b *testing.B) {
				modes := []func(i int64){creating(b, engine, false), creating(b, engine, true)}
				took := make([]time.Duration, len(modes))
				var n atomic.Int64
				round := func(mode, calls int) {
					begun := time.Now()
					var wg sync.WaitGroup
					for range callers {
						wg.Go(func() {
							for range calls {
								modes[mode](n.Add(1))
							}
						})
					}
					wg.Wait()
					took[mode] += time.Since(begun)
				}
				for mode := range modes {
					round(mode, 4)
				}
				clear(took)
				calls := 0
				for b.Loop() {
					for i := range modes {
						round((i+calls)%len(modes), 4)
					}
					calls += 4 * callers
				}
				b.ReportMetric(float64(calls)/took[0].Seconds(), "together/s")
				b.ReportMetric(float64(calls)/took[1].Seconds(), "claimed/s")
				b.ReportMetric(took[1].Seconds()/took[0].Seconds(), "ratio")
			})
		}
	}
}

// creating returns what creates the i-th customer, in a service of its own.
func creating(b *testing.B, engine string, claimed bool) func(i int64) {
	b.Helper()
	d := storetest.Schema.Open(b, engine)
	w := enginetest.New(b, d)
	keys, err := idempotent.NewSQLStore(d, []byte("a secret of the keys of a test"), nil)
	require.NoError(b, err)
	var asked idempotent.Store = keys
	if claimed {
		asked = struct{ idempotent.Store }{keys} // in the same database, and does not say so
	}
	srv := grpc.NewServer(grpc.UnaryInterceptor(idempotent.UnaryServer(asked, idempotent.Options{Resource: Resource, Subject: Subject})))
	New(Deps{Store: w.Store, Writer: w.Intake, Rules: w.Folder.Rules, Answer: keys.CompleteTx, Now: w.Clock.Now}).Register(srv)
	ln, err := (&net.ListenConfig{}).Listen(b.Context(), "tcp", "127.0.0.1:0")
	require.NoError(b, err)
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(ln) }()
	conn, err := grpc.NewClient(ln.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, conn.Close()); srv.GracefulStop(); require.NoError(b, <-ended) })
	client := customerv1.NewCustomerServiceClient(conn)
	return func(i int64) {
		ctx := metadata.AppendToOutgoingContext(context.Background(), idempotent.Metadata, fmt.Sprintf("bench-0123456789-%d", i))
		if _, err := client.CreateCustomer(ctx, &customerv1.CreateCustomerRequest{Customer: &customerv1.Customer{
			Name: fmt.Sprintf("Customer %d Ltd", i), TaxId: fmt.Sprintf("DE%09d", i), Email: fmt.Sprintf("office@c%d.example", i),
			Address: &customerv1.Address{Street: fmt.Sprintf("Hauptstr. %d", i), City: "Köln", PostalCode: "50667", Country: "DE"},
		}}); err != nil {
			b.Error(err)
		}
	}
}
