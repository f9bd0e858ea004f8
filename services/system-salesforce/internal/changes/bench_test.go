package changes

import (
	"context"
	"fmt"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	salesforcev1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/salesforce/v1"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/rpc"
)

// serveWatch serves WatchChanges over the loopback interface and returns a client of it.
func (x *world) serveWatch() salesforcev1.ChangeServiceClient {
	x.t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(x.t, err)
	server := grpc.NewServer()
	(&rpc.Server{Watcher: x.watcher}).Register(server)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	conn, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(x.t, err)
	x.t.Cleanup(func() { _ = conn.Close(); server.Stop(); <-served })
	return salesforcev1.NewChangeServiceClient(conn)
}

// BenchmarkCommitToChange writes one record at a time and waits for its change on WatchChanges, over loopback connections. The
// time begins before the write is sent, so it includes the call that commits. The target is 50 ms for 99 of 100.
func BenchmarkCommitToChange(b *testing.B) {
	x := begin(b, settings{})
	id := x.accounts(1, "a ")[0]
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	stream, err := x.serveWatch().WatchChanges(ctx, &salesforcev1.WatchChangesRequest{})
	require.NoError(b, err)
	next := func(want string) {
		for {
			m, err := stream.Recv()
			require.NoError(b, err)
			for _, c := range m.GetChanges() {
				if c.GetAccount().GetName() == want {
					return
				}
			}
		}
	}
	next("a 0")
	var took []time.Duration
	for i := 0; b.Loop(); i++ {
		name := fmt.Sprint("b ", i)
		began := time.Now()
		x.do("PATCH", "/services/data/v66.0/sobjects/Account/"+id, map[string]any{"Name": name}, nil)
		next(name)
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	at := func(q float64) float64 { return float64(took[int(q*float64(len(took)-1))]) / float64(time.Millisecond) }
	b.ReportMetric(at(0.5), "p50-ms")
	b.ReportMetric(at(0.99), "p99-ms")
	b.ReportMetric(at(1), "max-ms")
}

// BenchmarkBackfill loses the position of 20,000 changed accounts and reads them again. It reports how many records a call of the
// org's allowance brings.
func BenchmarkBackfill(b *testing.B) {
	const n = 20_000
	x := begin(b, settings{})
	c := newConsumer()
	require.ErrorIs(b, x.follow(c, func() bool { return true }), errStop)
	x.accounts(n, "a ")
	x.advance(80 * time.Hour)
	x.accounts(1, "later ")
	token := c.token
	calls := x.calls.Load()
	for b.Loop() {
		c := newConsumer()
		c.token = token
		require.ErrorIs(b, x.follow(c, func() bool { return len(c.records) == n+1 }), errStop)
	}
	b.ReportMetric(float64(n*b.N)/b.Elapsed().Seconds(), "records/s")
	b.ReportMetric(float64(n*b.N)/float64(x.calls.Load()-calls), "records/call")
}
