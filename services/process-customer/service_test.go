package processcustomer_test

import (
	"context"
	"io"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/selfsame-io/selfsame/pkg/conf"
	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/idempotent"
	"github.com/selfsame-io/selfsame/pkg/serve"
	"github.com/selfsame-io/selfsame/pkg/telemetry"
	customerv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/customer/v1"
	processcustomer "github.com/selfsame-io/selfsame/services/process-customer"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start runs the service over a database file, with systems that do not answer, and returns a connection to it.
func start(t *testing.T, file string) (*grpc.ClientConn, serve.Addrs, func()) {
	t.Helper()
	cfg := processcustomer.DefaultConfig()
	cfg.Serve.Listen, cfg.Serve.Ops = "127.0.0.1:0", "127.0.0.1:0"
	cfg.Store.DSN = conf.Secret("sqlite:" + file)
	cfg.Salesforce.Target, cfg.ERP.Target = "127.0.0.1:1", "127.0.0.1:1"
	cfg.TelemetryOptions = []telemetry.Option{telemetry.WithLogWriter(io.Discard)}
	started := make(chan serve.Addrs, 1)
	cfg.Started = func(a serve.Addrs) { started <- a }
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- processcustomer.Run(ctx, cfg) }()
	var addrs serve.Addrs
	select {
	case addrs = <-started:
	case err := <-ended:
		require.NoError(t, err)
	}
	conn, err := serve.Dial(addrs.GRPC, serve.ClientOptions{CallerName: "test", Services: []protoreflect.ServiceDescriptor{
		customerv1.File_selfsame_customer_v1_customer_service_proto.Services().ByName("CustomerService"),
	}})
	require.NoError(t, err)
	stopped := false
	stop := func() {
		if stopped {
			return
		}
		stopped = true
		require.NoError(t, conn.Close())
		cancel()
		require.NoError(t, <-ended)
	}
	t.Cleanup(stop)
	return conn, addrs, stop
}

func withKey(t *testing.T, key string) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return metadata.AppendToOutgoingContext(ctx, idempotent.Metadata, key)
}

func TestRun(t *testing.T) {
	t.Parallel()
	t.Run("asked to stop while it opens its database, it has not failed", func(t *testing.T) {
		t.Parallel()
		cfg := processcustomer.DefaultConfig()
		cfg.Salesforce.Target, cfg.ERP.Target = "127.0.0.1:1", "127.0.0.1:1"
		cfg.Store.DSN = conf.Secret("sqlite:" + filepath.Join(t.TempDir(), "customer.db"))
		cfg.TelemetryOptions = []telemetry.Option{telemetry.WithLogWriter(io.Discard)}
		stopped, stop := context.WithCancel(t.Context())
		stop()
		require.NoError(t, processcustomer.Run(stopped, cfg))
	})
	t.Run("it serves while no system answers, and keeps what it was told across a restart", func(t *testing.T) {
		t.Parallel()
		file := filepath.Join(t.TempDir(), "customer.db")
		conn, addrs, stop := start(t, file)
		customers := customerv1.NewCustomerServiceClient(conn)
		req := &customerv1.CreateCustomerRequest{Customer: &customerv1.Customer{Name: "Acme", TaxId: "DE100000001"}}
		var header metadata.MD
		first, err := customers.CreateCustomer(withKey(t, "key-1"), req, grpc.Header(&header))
		require.NoError(t, err)
		require.Equal(t, []string{idempotent.StatusExecuted}, header.Get(idempotent.StatusMetadata))

		ready, err := http.Get("http://" + addrs.Ops + "/readyz") //nolint:noctx // a test
		require.NoError(t, err)
		require.NoError(t, ready.Body.Close())
		require.Equal(t, http.StatusOK, ready.StatusCode, "a system that is away does not take the service out")

		operations := customerv1.NewOperationsServiceClient(conn)
		require.Eventually(t, func() bool {
			status, err := operations.GetStatus(t.Context(), &customerv1.GetStatusRequest{})
			return err == nil && len(status.GetFeeds()) == 2 && status.GetFeeds()[0].GetState() == "FAILING"
		}, 2*time.Minute, 50*time.Millisecond)
		page, err := http.Get("http://" + addrs.Ops + "/metrics") //nolint:noctx // a test
		require.NoError(t, err)
		text, err := io.ReadAll(page.Body)
		require.NoError(t, err)
		require.NoError(t, page.Body.Close())
		require.Regexp(t, `(?m)^selfsame_sync_pending.*selfsame_system="erp".* 1$`, string(text))
		require.Regexp(t, `(?m)^selfsame_dead_letter_count.*selfsame_direction="deliver".*selfsame_system="salesforce".* 0$`, string(text), "nothing is shown as zero")
		require.NotRegexp(t, `(?m)^selfsame_feed_position_age_seconds`, string(text), "no feed has a position yet")
		stop()

		conn, _, _ = start(t, file)
		customers = customerv1.NewCustomerServiceClient(conn)
		header = nil
		again, err := customers.CreateCustomer(withKey(t, "key-1"), req, grpc.Header(&header))
		require.NoError(t, err)
		require.Equal(t, []string{idempotent.StatusReplayed}, header.Get(idempotent.StatusMetadata))
		require.Equal(t, first.GetCustomer().GetId(), again.GetCustomer().GetId())
		_, err = customers.CreateCustomer(withKey(t, "key-1"), &customerv1.CreateCustomerRequest{Customer: &customerv1.Customer{Name: "Other"}})
		require.Equal(t, idempotent.ReasonKeyReused, fault.ReasonOf(err))
		_, err = customers.CreateCustomer(t.Context(), req)
		require.Equal(t, idempotent.ReasonKeyMissing, fault.ReasonOf(err))
		got, err := customers.GetCustomer(t.Context(), &customerv1.GetCustomerRequest{Id: first.GetCustomer().GetId()})
		require.NoError(t, err)
		require.Len(t, got.GetCustomer().GetSources(), 2, "both systems wait for it")
		ledger, err := customerv1.NewOperationsServiceClient(conn).GetLedger(t.Context(), &customerv1.GetLedgerRequest{})
		require.NoError(t, err)
		require.True(t, ledger.GetBalanced())
		require.EqualValues(t, 1, ledger.GetLines()[0].GetRetrying())
	})
	t.Run("a configuration that is wrong is refused with everything that is wrong", func(t *testing.T) {
		t.Parallel()
		cfg := processcustomer.DefaultConfig()
		cfg.Store.DSN, cfg.ERP.Target, cfg.Deliver.Lease = "mysql://x", "", time.Second
		err := processcustomer.Run(t.Context(), cfg)
		require.ErrorContains(t, err, "store.dsn")
		require.ErrorContains(t, err, "erp.target")
		require.ErrorContains(t, err, "deliver.lease")
		require.NoError(t, processcustomer.DefaultConfig().Validate())
		cfg = processcustomer.DefaultConfig()
		cfg.RulesFile = filepath.Join(t.TempDir(), "none.yaml")
		require.ErrorContains(t, processcustomer.Run(t.Context(), cfg), "rules")
	})
}
