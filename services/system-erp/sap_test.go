package systemerp_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/selfsame-io/selfsame/pkg/fault"
	erpv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/erp/v1"
	systemerp "github.com/selfsame-io/selfsame/services/system-erp"
	"github.com/selfsame-io/selfsame/services/system-erp/sandbox"
)

// console tells the sandbox what to do.
func console(t *testing.T, method, address, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, address, strings.NewReader(body))
	require.NoError(t, err)
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Less(t, resp.StatusCode, 300)
}

// TestSAP is the story of a customer and an order whose ERP is SAP: nothing of the contract changes, an answer that is lost
// makes no second order, and what happens in SAP comes back.
func TestSAP(t *testing.T) {
	t.Parallel()
	s, err := sandbox.New(sandbox.Config{User: "SELFSAME", Password: "secret", Products: []sandbox.Product{{ID: "PUMP", Name: "Pump", Price: "12.50", Stock: "10"}}})
	require.NoError(t, err)
	server := httptest.NewServer(s.Handler())
	t.Cleanup(server.Close)
	t.Cleanup(http.DefaultTransport.(*http.Transport).CloseIdleConnections)
	r := startWith(t, template.DSN(t, "sqlite"), func(c *systemerp.Config) {
		c.Backend.Kind, c.Backend.Poll = "sap", time.Second
		c.Backend.SAP.URL, c.Backend.SAP.Client, c.Backend.SAP.User, c.Backend.SAP.Password = server.URL, "100", "SELFSAME", "secret"
	})
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	customer := &erpv1.Customer{Name: "Acme GmbH", Addresses: []*erpv1.Address{{Street: "Weg 1", City: "München", PostalCode: "80331", Region: "BY", Country: "DE"}}}
	write := func() *erpv1.CustomerUpsertResult {
		resp, err := r.customers.BatchUpsertCustomers(ctx, &erpv1.BatchUpsertCustomersRequest{Upserts: []*erpv1.CustomerUpsert{{Customer: customer, Key: key("c1")}}})
		require.NoError(t, err)
		return resp.GetResults()[0]
	}
	made := write()
	require.Equal(t, erpv1.Outcome_OUTCOME_CREATED, made.GetOutcome(), "%v", made.GetError())
	require.Equal(t, "BY", made.GetCustomer().GetAddresses()[0].GetRegion(), "SAP calls it 09")
	require.Equal(t, erpv1.Outcome_OUTCOME_UNCHANGED, write().GetOutcome())
	t.Run("what SAP cannot hold is refused with our field", func(t *testing.T) {
		resp, err := r.customers.BatchUpsertCustomers(ctx, &erpv1.BatchUpsertCustomersRequest{Upserts: []*erpv1.CustomerUpsert{
			{Customer: &erpv1.Customer{Name: "B", Addresses: []*erpv1.Address{{Region: "XX", Country: "DE"}}}, Key: key("c2")},
		}})
		require.NoError(t, err)
		require.Equal(t, "customer.addresses[0].region", resp.GetResults()[0].GetError().GetField())
	})
	order := func() (*erpv1.CreateOrderResponse, error) {
		return r.orders.CreateOrder(ctx, &erpv1.CreateOrderRequest{Order: &erpv1.Order{
			ClientRef: "0061x00000AbCdEAAV", CustomerId: made.GetCustomer().GetId(), Items: []*erpv1.OrderItem{{Sku: "PUMP", Quantity: "2"}},
		}})
	}
	var id string
	t.Run("an order whose answer is lost is made once", func(t *testing.T) {
		console(t, http.MethodPut, server.URL+"/__sandbox__/faults", `{"rules":[{"effect":"lose_ack","method":"POST","path":"/A_SalesOrder","count":1}]}`)
		first, err := order()
		if err != nil {
			require.Equal(t, fault.ReasonOutcomeUncertain, fault.ReasonOf(err))
			first, err = order()
		}
		require.NoError(t, err)
		id = first.GetOrder().GetId()
		again, err := order()
		require.NoError(t, err)
		require.Equal(t, id, again.GetOrder().GetId())
		require.Equal(t, "25.00", again.GetOrder().GetTotal().GetAmount())
		resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(get(t, server.URL+"/sap/opu/odata/sap/API_SALES_ORDER_SRV/A_SalesOrder"))
		require.NoError(t, err)
		defer func() { _ = resp.Body.Close() }()
		var body struct{ D struct{ Results []any } }
		require.NoError(t, json.NewDecoder(resp.Body).Decode(&body))
		require.Len(t, body.D.Results, 1, "in SAP itself")
	})
	t.Run("what the warehouse does comes back", func(t *testing.T) {
		console(t, http.MethodPost, server.URL+"/__sandbox__/orders/"+id+"/deliver", `{"items":{"10":"0.5"},"planned":true,"bill":"BL-1"}`)
		got, err := r.orders.GetOrder(ctx, &erpv1.GetOrderRequest{Id: id})
		require.NoError(t, err)
		require.Equal(t, erpv1.Progress_PROGRESS_PARTIAL, got.GetOrder().GetFulfilment())
		console(t, http.MethodPost, server.URL+"/__sandbox__/orders/"+id+"/deliver", "")
		got, err = r.orders.GetOrder(ctx, &erpv1.GetOrderRequest{Id: id})
		require.NoError(t, err)
		require.Equal(t, erpv1.Progress_PROGRESS_FULL, got.GetOrder().GetFulfilment())
		require.Equal(t, "1.5", got.GetOrder().GetItems()[0].GetDeliveredQuantity(), "the rest is only planned")
		list, err := r.orders.ListDeliveries(ctx, &erpv1.ListDeliveriesRequest{OrderId: id})
		require.NoError(t, err)
		planned, shipped := list.GetDeliveries()[0], list.GetDeliveries()[1]
		require.Equal(t, []any{erpv1.DeliveryState_DELIVERY_STATE_PLANNED, erpv1.DeliveryState_DELIVERY_STATE_SHIPPED}, []any{planned.GetState(), shipped.GetState()})
		require.Equal(t, []string{"BL-1", "PUMP", "0.5", "C62", "1.5"}, []string{
			planned.GetTracking(), planned.GetItems()[0].GetSku(), planned.GetItems()[0].GetQuantity(), planned.GetItems()[0].GetUnit(), shipped.GetItems()[0].GetQuantity(),
		})
		require.Nil(t, planned.GetShipTime())
		require.NotNil(t, shipped.GetShipTime())
		steps, err := r.orders.ListOrderEvents(ctx, &erpv1.ListOrderEventsRequest{OrderId: id})
		require.NoError(t, err)
		require.GreaterOrEqual(t, len(steps.GetEvents()), 3, "placed, a part, all of it")
	})
	t.Run("what SAP says beside its success is told by its code", func(t *testing.T) {
		var head metadata.MD
		_, err := r.orders.CreateOrder(ctx, &erpv1.CreateOrderRequest{Order: &erpv1.Order{
			ClientRef: "more than there is", CustomerId: made.GetCustomer().GetId(), Items: []*erpv1.OrderItem{{Sku: "PUMP", Quantity: "900"}},
		}}, grpc.Header(&head))
		require.NoError(t, err)
		require.Equal(t, []string{"V4/117"}, head.Get("selfsame-erp-warning"))
	})
	t.Run("what the release has is told", func(t *testing.T) {
		c, err := r.backend.GetCapabilities(ctx, &erpv1.GetCapabilitiesRequest{})
		require.NoError(t, err)
		require.True(t, c.GetCapabilities().GetDeliveries())
		require.Empty(t, c.GetCapabilities().GetMissing())
	})
}

func get(t *testing.T, address string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	require.NoError(t, err)
	req.SetBasicAuth("SELFSAME", "secret")
	req.Header.Set("Accept", "application/json")
	return req
}
