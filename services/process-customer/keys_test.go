package processcustomer_test

import (
	"context"
	"io"
	"net"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/selfsame-io/selfsame/pkg/conf"
	"github.com/selfsame-io/selfsame/pkg/db/dbtest"
	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/idempotent"
	"github.com/selfsame-io/selfsame/pkg/serve"
	"github.com/selfsame-io/selfsame/pkg/telemetry"
	"github.com/selfsame-io/selfsame/pkg/telemetry/telemetrytest"
	customerv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/customer/v1"
	idempotencyv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/idempotency/v1"
	processcustomer "github.com/selfsame-io/selfsame/services/process-customer"
)

// wide is a listener that claims to be reachable from other machines, as 0.0.0.0 is.
type wide struct{ net.Listener }

func (wide) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4zero, Port: 9} }

// config is that of a service alone.
func config(t *testing.T) processcustomer.Config {
	t.Helper()
	cfg := processcustomer.DefaultConfig()
	cfg.Store.DSN, cfg.Serve.Ops = conf.Secret("sqlite:"+t.TempDir()+"/customer.db"), ""
	cfg.Salesforce.Target, cfg.ERP.Target = "127.0.0.1:1", "127.0.0.1:1"
	cfg.TelemetryOptions = []telemetry.Option{telemetry.WithLogWriter(io.Discard)}
	return cfg
}

func TestWhatIsForOperators(t *testing.T) {
	t.Parallel()
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	cfg := config(t)
	cfg.Listener = wide{ln}
	started := make(chan serve.Addrs, 1)
	cfg.Started = func(a serve.Addrs) { started <- a }
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- processcustomer.Run(ctx, cfg) }()
	defer func() { cancel(); require.NoError(t, <-ended) }()
	<-started
	conn, err := serve.Dial(ln.Addr().String(), serve.ClientOptions{CallerName: "ops"})
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close()) }()
	_, err = idempotencyv1.NewKeysServiceClient(conn).ListKeys(t.Context(), &idempotencyv1.ListKeysRequest{})
	require.Equal(t, serve.ReasonOperatorRequired, fault.ReasonOf(err))
	operations := customerv1.NewOperationsServiceClient(conn)
	_, err = operations.GetStatus(t.Context(), &customerv1.GetStatusRequest{})
	require.Equal(t, serve.ReasonOperatorRequired, fault.ReasonOf(err), "%v", err)
	_, err = operations.Resync(t.Context(), &customerv1.ResyncRequest{System: "erp"})
	require.Equal(t, serve.ReasonOperatorRequired, fault.ReasonOf(err), "%v", err)
	_, err = customerv1.NewCustomerServiceClient(conn).ListCustomers(t.Context(), &customerv1.ListCustomersRequest{})
	require.NoError(t, err, "what everybody may")
}

func TestKeys_InRedis(t *testing.T) {
	t.Parallel()
	t.Run("what is no store of keys is refused", func(t *testing.T) {
		t.Parallel()
		cfg := config(t)
		cfg.Store.Keys = "memcached://x"
		require.ErrorContains(t, cfg.Validate(), "store.keys")
		cfg.Store.Keys = "redis://canary:canary@127.0.0.1:1/0"
		err := processcustomer.Run(t.Context(), cfg)
		require.ErrorContains(t, err, "store.keys")
		require.NotContains(t, err.Error(), "canary")
	})
	t.Run("a call is executed once, also across a restart", func(t *testing.T) {
		t.Parallel()
		url := dbtest.Redis(t)
		cfg := config(t)
		cfg.Store.Keys, cfg.Serve.Listen = conf.Secret(url), "127.0.0.1:0"
		made := map[string]bool{}
		log := &telemetrytest.Log{}
		cfg.TelemetryOptions = []telemetry.Option{telemetry.WithLogWriter(log)}
		for try := range 2 {
			started := make(chan serve.Addrs, 1)
			cfg.Started = func(a serve.Addrs) { started <- a }
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- processcustomer.Run(ctx, cfg) }()
			addrs := <-started
			conn, err := serve.Dial(addrs.GRPC, serve.ClientOptions{CallerName: "test"})
			require.NoError(t, err)
			var header metadata.MD
			resp, err := customerv1.NewCustomerServiceClient(conn).CreateCustomer(withKey(t, "kept-in-redis-0001"),
				&customerv1.CreateCustomerRequest{Customer: &customerv1.Customer{Name: "Kept Ltd"}}, grpc.Header(&header))
			require.NoError(t, err)
			made[resp.GetCustomer().GetId()] = true
			require.Equal(t, []string{[]string{idempotent.StatusExecuted, idempotent.StatusReplayed}[try]}, header.Get(idempotent.StatusMetadata))
			stats, err := idempotencyv1.NewKeysServiceClient(conn).GetKeyStats(t.Context(), &idempotencyv1.GetKeyStatsRequest{})
			require.NoError(t, err)
			require.Positive(t, stats.GetRecords())
			require.NoError(t, conn.Close())
			cancel()
			require.NoError(t, <-ended)
		}
		require.Len(t, made, 1)
		said := log.With("idempotency keys are not in the database of the customers")
		require.Len(t, said, 2, "once per start")
		for _, method := range []string{"CustomerService.CreateCustomer", "CustomerService.UpdateCustomer", "ScreenService.QueueOrder"} {
			require.Contains(t, said[0], "selfsame.customer.v1."+method)
		}
		require.NotContains(t, said[0], "PlaceOrder", "it claims its key wherever that is")
	})
}
