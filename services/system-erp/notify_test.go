package systemerp_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/conf"
	erpv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/erp/v1"
	systemerp "github.com/selfsame-io/selfsame/services/system-erp"
	"github.com/selfsame-io/selfsame/services/system-erp/sandbox"
)

const (
	notifySecret = "a secret of sixteen or more"
	saidByERP    = `{"type":"sap.s4.beh.businesspartner.v1.BusinessPartner.Changed.v1","data":{"BusinessPartner":"made up"}}`
)

// TestNotify has SAP say that something has changed: it is read at once although the next poll is an hour away, and what the
// notification says is not believed.
func TestNotify(t *testing.T) {
	t.Parallel()
	s, err := sandbox.New(sandbox.Config{User: "SELFSAME", Password: "secret"})
	require.NoError(t, err)
	server := httptest.NewServer(s.Handler())
	t.Cleanup(server.Close)
	t.Cleanup(http.DefaultTransport.(*http.Transport).CloseIdleConnections)
	onSAP := func(c *systemerp.Config) {
		c.Backend.Kind, c.Backend.Poll = "sap", time.Hour
		c.Backend.SAP.URL, c.Backend.SAP.Client, c.Backend.SAP.User, c.Backend.SAP.Password = server.URL, "100", "SELFSAME", "secret"
	}
	others := startWith(t, template.DSN(t, "sqlite"), onSAP) // somebody else who works in the same SAP
	r := startWith(t, template.DSN(t, "sqlite"), func(c *systemerp.Config) {
		onSAP(c)
		c.Backend.Notify.Listen, c.Backend.Notify.Secret = "127.0.0.1:0", conf.Secret(notifySecret)
	})
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	notify := func(change func(*http.Request)) int {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+r.notify+"/changes", strings.NewReader(saidByERP))
		require.NoError(t, err)
		change(req)
		resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		return resp.StatusCode
	}
	bearer := func(secret string) func(*http.Request) {
		return func(req *http.Request) { req.Header.Set("Authorization", "Bearer "+secret) }
	}
	require.Equal(t, http.StatusUnauthorized, notify(func(*http.Request) {}))
	require.Equal(t, http.StatusUnauthorized, notify(bearer("a secret of somebody else's")))
	require.Equal(t, http.StatusUnauthorized, notify(func(req *http.Request) { req.SetBasicAuth("sap", "") }))

	require.Eventually(t, func() bool { // the first reading of everything is over, so the next one has a reason
		_, err := r.customers.ListCustomers(ctx, &erpv1.ListCustomersRequest{})
		return err == nil
	}, time.Minute, 10*time.Millisecond)
	stream, err := r.changes.WatchChanges(ctx, &erpv1.WatchChangesRequest{})
	require.NoError(t, err)
	_, err = stream.Recv()
	require.NoError(t, err)
	made, err := others.customers.CreateCustomer(ctx, &erpv1.CreateCustomerRequest{Customer: &erpv1.Customer{
		Name: "Made by others", Addresses: []*erpv1.Address{{Street: "Weg 1", City: "Bonn", PostalCode: "53111", Country: "DE"}},
	}})
	require.NoError(t, err)
	id := made.GetCustomer().GetId()
	require.Equal(t, http.StatusNoContent, notify(bearer(notifySecret)))
	for told := false; !told; {
		next, err := stream.Recv()
		require.NoError(t, err)
		for _, c := range next.GetChanges() {
			require.NotEqual(t, "made up", c.GetCustomer().GetId())
			told = told || c.GetCustomer().GetId() == id
		}
	}
	require.Equal(t, http.StatusNoContent, notify(func(req *http.Request) { req.SetBasicAuth("sap", notifySecret) }), "as SAP's event services do it")

	ask, err := http.NewRequestWithContext(ctx, http.MethodOptions, "http://"+r.notify+"/changes", nil)
	require.NoError(t, err)
	ask.Header.Set("WebHook-Request-Origin", "eventmesh.example")
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(ask)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, "eventmesh.example", resp.Header.Get("WebHook-Allowed-Origin"))
}

func TestNotify_Configuration(t *testing.T) {
	t.Parallel()
	for want, change := range map[string]func(*systemerp.Config){
		"backend: notify.listen: the embedded back end": func(c *systemerp.Config) { c.Backend.Notify.Listen = "127.0.0.1:0" },
		"backend: notify.secret: want at least 16": func(c *systemerp.Config) {
			c.Backend.Kind, c.Backend.Notify.Listen, c.Backend.Notify.Secret = "tryton", "127.0.0.1:0", "short"
		},
	} {
		cfg := systemerp.DefaultConfig()
		change(&cfg)
		require.ErrorContains(t, cfg.Validate(), want)
	}
	cfg := systemerp.DefaultConfig()
	cfg.Backend.System, cfg.Backend.Notify.Listen, cfg.Backend.Notify.Secret = memo{}, "127.0.0.1:0", notifySecret
	require.NoError(t, cfg.Validate(), "an adapter of another module is a foreign ERP whatever the kind says")
}
