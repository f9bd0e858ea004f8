package seed_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"net"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/selfsame-io/selfsame/pkg/conf"
	erpv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/erp/v1"
	systemerp "github.com/selfsame-io/selfsame/services/system-erp"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox"
	"github.com/selfsame-io/selfsame/suite/crm"
	"github.com/selfsame-io/selfsame/suite/data"
	"github.com/selfsame-io/selfsame/suite/seed"
	"github.com/selfsame-io/selfsame/suite/verify"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// setup runs an empty sandbox and an empty system-erp.
func setup(t *testing.T) (*crm.Client, *grpc.ClientConn) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	require.NoError(t, err)
	box, err := sandbox.New(sandbox.Config{
		Apps:  []sandbox.App{{ClientID: "app", PublicKeyPEM: string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))}},
		Users: []sandbox.User{{Username: "loader@example.org"}},
	})
	require.NoError(t, err)
	lis, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	cfg := systemerp.DefaultConfig()
	cfg.Store.DSN = conf.Secret("sqlite:" + filepath.Join(t.TempDir(), "erp.db"))
	cfg.Telemetry.LogLevel = "error"
	cfg.Listener = lis

	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var g errgroup.Group
	g.Go(func() error { return box.Run(ctx) })
	g.Go(func() error { return systemerp.Run(ctx, cfg) })
	conn, err := grpc.NewClient(lis.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDefaultCallOptions(grpc.WaitForReady(true)))
	require.NoError(t, err)
	client := crm.New(crm.Options{URL: "http://" + box.HTTPAddr(), ClientID: "app", Username: "loader@example.org", Key: key})
	t.Cleanup(func() {
		client.Close()
		require.NoError(t, conn.Close())
		cancel()
		require.NoError(t, g.Wait())
	})
	return client, conn
}

func TestSeed(t *testing.T) {
	t.Parallel()
	client, conn := setup(t)
	set, err := data.Sample()
	require.NoError(t, err)

	sf, err := seed.Salesforce(t.Context(), client, set)
	require.NoError(t, err)
	require.Empty(t, sf.Refused)
	require.Equal(t, 300, sf.Customers)
	erp, err := seed.ERP(t.Context(), conn, set)
	require.NoError(t, err)
	require.Empty(t, erp.Refused)
	require.Equal(t, 250, erp.Customers)
	require.Equal(t, 500, sf.Contacts+erp.Contacts)
	require.Positive(t, erp.Orders)
	require.Positive(t, sf.Cases)

	t.Run("nothing of what was seeded counts as made by Selfsame, and nothing is linked", func(t *testing.T) {
		report, err := verify.Check(t.Context(), verify.Systems{Salesforce: client, Integration: "somebody else", ERP: conn, Foreign: seed.Legacy}, false)
		require.NoError(t, err)
		require.Equal(t, verify.Count{Salesforce: 300, ERP: 250}, report.Customers)
		require.Len(t, report.Differences, 300+250+500)
		for _, d := range report.Differences {
			require.Equal(t, verify.Unlinked, d.Kind)
		}
	})

	t.Run("seeding the ERP again changes nothing", func(t *testing.T) {
		again, err := seed.ERP(t.Context(), conn, set)
		require.NoError(t, err)
		require.Equal(t, erp, again)
		res, err := erpv1.NewCustomerServiceClient(conn).ListCustomers(t.Context(), &erpv1.ListCustomersRequest{PageSize: 1000})
		require.NoError(t, err)
		require.Len(t, res.GetCustomers(), 250)
		for _, c := range res.GetCustomers() {
			require.EqualValues(t, 1, c.GetVersion())
		}
	})

	t.Run("a row that Salesforce refuses is reported and the others are loaded", func(t *testing.T) {
		bad := &data.Set{Contacts: []data.Contact{
			{Source: data.Salesforce, RecordID: "1", LastName: "Good", Email: "good@example.org"},
			{Source: data.Salesforce, RecordID: "2", LastName: "Bad", Email: "no address"},
		}}
		res, err := seed.Salesforce(t.Context(), client, bad)
		require.NoError(t, err)
		require.Equal(t, 1, res.Contacts)
		require.Equal(t, []seed.Refused{{Source: data.Salesforce, RecordID: "2", Reason: "INVALID_EMAIL_ADDRESS", Field: "Email"}}, res.Refused)
	})
}
