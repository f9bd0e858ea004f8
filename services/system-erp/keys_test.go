package systemerp_test

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/metadata"

	"github.com/selfsame-io/selfsame/pkg/conf"
	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/idempotent"
	"github.com/selfsame-io/selfsame/pkg/serve"
	erpv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/erp/v1"
	idempotencyv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/idempotency/v1"
	systemerp "github.com/selfsame-io/selfsame/services/system-erp"
)

func TestConfig_OfKeys(t *testing.T) {
	t.Parallel()
	cfg := systemerp.DefaultConfig()
	require.Equal(t, 30*time.Second, cfg.Store.KeyLease)
	require.NoError(t, cfg.Validate())
	cfg.Store.OldKeySecrets, cfg.Store.AnswerKeys, cfg.Store.KeyLease = "short", "no ring", time.Millisecond
	err := cfg.Validate()
	for _, name := range []string{"store.old_key_secrets", "store.answer_keys", "store.key_lease"} {
		require.ErrorContains(t, err, name)
	}
}

// wide is a listener that claims to be reachable from other machines, as 0.0.0.0 is.
type wide struct{ net.Listener }

func (wide) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4zero, Port: 9} }

func TestKeys_AreForOperators(t *testing.T) {
	t.Parallel()
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	cfg := systemerp.DefaultConfig()
	cfg.Store.DSN, cfg.Telemetry.LogLevel, cfg.Serve.Ops = conf.Secret("sqlite:"+t.TempDir()+"/erp.db"), "error", ""
	cfg.Listener = wide{ln}
	started := make(chan serve.Addrs, 1)
	cfg.Started = func(a serve.Addrs) { started <- a }
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- systemerp.Run(ctx, cfg) }()
	defer func() { cancel(); require.NoError(t, <-ended) }()
	<-started
	conn, err := serve.Dial(ln.Addr().String(), serve.ClientOptions{CallerName: "ops"})
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close()) }()
	_, err = idempotencyv1.NewKeysServiceClient(conn).ListKeys(t.Context(), &idempotencyv1.ListKeysRequest{})
	require.Equal(t, serve.ReasonOperatorRequired, fault.ReasonOf(err))
	_, err = erpv1.NewCustomerServiceClient(conn).ListCustomers(t.Context(), &erpv1.ListCustomersRequest{})
	require.NoError(t, err)
}

// What was answered about a record is kept no longer than the record.
func TestIdempotencyKey_GoesWithTheRecord(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, dsn string) {
		r := start(t, dsn)
		customer := func(key string) (string, error) {
			ctx := metadata.AppendToOutgoingContext(t.Context(), "idempotency-key", key)
			resp, err := r.customers.CreateCustomer(ctx, &erpv1.CreateCustomerRequest{Customer: &erpv1.Customer{Name: "Acme " + key}})
			return resp.GetCustomer().GetId(), err
		}
		ids := map[string]string{}
		for _, k := range []string{"stays", "deleted", "merged", "employs"} {
			id, err := customer(k)
			require.NoError(t, err)
			ids[k] = id
		}
		contact := func() (string, error) {
			ctx := metadata.AppendToOutgoingContext(t.Context(), "idempotency-key", "contact")
			resp, err := r.contacts.CreateContact(ctx, &erpv1.CreateContactRequest{Contact: &erpv1.Contact{LastName: "Doe", CustomerId: ids["employs"]}})
			return resp.GetContact().GetId(), err
		}
		person, err := contact()
		require.NoError(t, err)

		_, err = r.customers.DeleteCustomer(t.Context(), &erpv1.DeleteCustomerRequest{Id: ids["deleted"]})
		require.NoError(t, err)
		_, err = r.customers.MergeCustomers(t.Context(), &erpv1.MergeCustomersRequest{Id: ids["merged"], Into: ids["stays"]})
		require.NoError(t, err)
		_, err = r.contacts.DeleteContact(t.Context(), &erpv1.DeleteContactRequest{Id: person})
		require.NoError(t, err)
		for _, k := range []string{"deleted", "merged"} {
			_, err = customer(k)
			refused(t, err, fault.Precondition, idempotent.ReasonResultGone, "")
		}
		_, err = contact()
		refused(t, err, fault.Precondition, idempotent.ReasonResultGone, "")
		for _, k := range []string{"stays", "employs"} {
			id, err := customer(k)
			require.NoError(t, err)
			require.Equal(t, ids[k], id, "the answer about a record that stays is kept")
		}
	})
}

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
