package suite

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"

	"github.com/selfsame-io/selfsame/pkg/telemetry"
	"github.com/selfsame-io/selfsame/pkg/telemetry/telemetrytest"
	erpv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/erp/v1"
	"github.com/selfsame-io/selfsame/suite/remote"
)

// spans is a collector of traces: it keeps what services export over OTLP.
type spans struct {
	collector.UnimplementedTraceServiceServer

	mu  sync.Mutex
	got []span
}

type span struct {
	service string
	*tracev1.Span
}

func (c *spans) Export(_ context.Context, req *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range req.GetResourceSpans() {
		service := ""
		for _, a := range r.GetResource().GetAttributes() {
			if a.GetKey() == "service.name" {
				service = a.GetValue().GetStringValue()
			}
		}
		for _, s := range r.GetScopeSpans() {
			for _, sp := range s.GetSpans() {
				c.got = append(c.got, span{service, sp})
			}
		}
	}
	return &collector.ExportTraceServiceResponse{}, nil
}

// of returns the spans that a filter takes.
func (c *spans) of(take func(span) bool) []span {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []span
	for _, s := range c.got {
		if take(s) {
			out = append(out, s)
		}
	}
	return out
}

func startCollector(t *testing.T) (*spans, string) {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	c := &spans{}
	server := grpc.NewServer()
	collector.RegisterTraceServiceServer(server, c)
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	t.Cleanup(func() {
		server.Stop()
		require.NoError(t, <-done)
	})
	return c, l.Addr().String()
}

// oneTrace follows a customer that a phone makes: the phone's trace goes through the REST edge and process-customer to the
// database; what is written to the systems later, from the stored marks, links back to it. An order's trace goes on into the ERP
// by itself. TestConformance/M-07 runs it.
func oneTrace(t *testing.T) {
	got, endpoint := startCollector(t)
	dir := t.TempDir()
	log := &telemetrytest.Log{}
	s, err := Start(t.Context(), Options{Dir: dir + "/demo", LogLevel: "debug", Tune: func(c *Configs) {
		for _, tel := range []*telemetry.Config{&c.SystemSalesforce.Telemetry, &c.SystemERP.Telemetry, &c.ProcessCustomer.Telemetry, &c.ExperienceMobile.Telemetry} {
			tel.OTLPEndpoint, tel.OTLPInsecure = endpoint, true
		}
		for _, o := range []*[]telemetry.Option{
			&c.SystemSalesforce.TelemetryOptions, &c.SystemERP.TelemetryOptions, &c.ProcessCustomer.TelemetryOptions, &c.ExperienceMobile.TelemetryOptions,
		} {
			*o = append(*o, telemetry.WithLogWriter(log))
		}
	}})
	require.NoError(t, err)
	stopped := false
	defer func() {
		if !stopped {
			require.NoError(t, s.Stop())
		}
	}()
	demo, err := remote.Open(t.Context(), s.State())
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()

	const phone = "0af7651916cd43dd8448eb211c80319c"
	var answer *remote.Answer
	for answer == nil || answer.Status == http.StatusServiceUnavailable { // the services have just started: a phone tries again
		answer, err = demo.Mobile(ctx, http.MethodPost, "/v1/customers", http.Header{
			"Traceparent": {"00-" + phone + "-b7ad6b7169203331-01"}, "Idempotency-Key": {"traced-from-the-phone"}, "Content-Type": {"application/json"},
		}, []byte(`{"name":"Traced GmbH","phone":"+49 30 55501995501","email":"canary@traced.example","address":{"street":"Canary-Gasse 7","city":"Bonn"}}`))
		require.NoError(t, err)
	}
	require.Equal(t, http.StatusCreated, answer.Status, string(answer.Body))
	_, err = demo.Settle(ctx, nil)
	require.NoError(t, err)

	// An order is placed in the ERP before the phone has its answer: that call is in the phone's own trace.
	const ordering = "4bf92f3577b34da6a3ce929d0e0e4736"
	products := erpv1.NewProductServiceClient(demo.ERP)
	offered, err := products.BatchUpsertProducts(ctx, &erpv1.BatchUpsertProductsRequest{Products: []*erpv1.Product{{
		Sku: "TRACED-1", Name: "Traced", Unit: "C62", Price: &erpv1.Money{Amount: "1.00", Currency: "EUR"}, Active: true,
	}}})
	require.NoError(t, err)
	require.Nil(t, offered.GetResults()[0].GetError())
	_, err = products.SetInventory(ctx, &erpv1.SetInventoryRequest{Inventory: &erpv1.Inventory{Sku: "TRACED-1", Site: "main", OnHand: "5", Unit: "C62"}})
	require.NoError(t, err)
	var made struct {
		CustomerID string `json:"customerId"`
	}
	require.NoError(t, json.Unmarshal(answer.Body, &made))
	for answer = nil; answer == nil || answer.Status == http.StatusServiceUnavailable; {
		answer, err = demo.Mobile(ctx, http.MethodPost, "/v1/orders", http.Header{
			"Traceparent": {"00-" + ordering + "-00f067aa0ba902b7-01"}, "Idempotency-Key": {"ordered-from-the-phone"}, "Content-Type": {"application/json"},
		}, []byte(`{"customerId":"`+made.CustomerID+`","items":[{"sku":"TRACED-1","quantity":"2"}]}`))
		require.NoError(t, err)
	}
	require.Equal(t, http.StatusCreated, answer.Status, string(answer.Body))
	metrics := measured(t, s.State().Ops)
	require.NoError(t, demo.Close())
	stopped = true
	require.NoError(t, s.Stop(), "stopping exports what is left")

	inTrace := func(trace, service, part string) []span {
		return got.of(func(sp span) bool {
			return hex.EncodeToString(sp.GetTraceId()) == trace && sp.service == service && strings.Contains(sp.GetName(), part)
		})
	}
	require.NotEmpty(t, inTrace(phone, ExperienceMobile, "/v1/customers"), "the REST request is in the phone's trace")
	require.NotEmpty(t, inTrace(phone, ProcessCustomer, "CustomerService/CreateCustomer"), "so is the call below it")
	require.NotEmpty(t, inTrace(ordering, ExperienceMobile, "/v1/orders"))
	require.NotEmpty(t, inTrace(ordering, ProcessCustomer, "PlaceOrder"))
	require.NotEmpty(t, got.of(func(sp span) bool {
		return hex.EncodeToString(sp.GetTraceId()) == ordering && sp.service == SystemERP && sp.GetKind() == tracev1.Span_SPAN_KIND_SERVER && strings.Contains(sp.GetName(), "OrderService/CreateOrder")
	}), "and the call of the ERP, in the same trace")
	require.NotEmpty(t, got.of(func(sp span) bool {
		if hex.EncodeToString(sp.GetTraceId()) != phone || sp.service != ProcessCustomer {
			return false
		}
		for _, a := range sp.GetAttributes() {
			if a.GetKey() == "db.system.name" {
				return true
			}
		}
		return false
	}), "and the database")

	for target, below := range map[string]string{"erp": SystemERP, "salesforce": SystemSalesforce} {
		sends := got.of(func(sp span) bool {
			if sp.service != ProcessCustomer || sp.GetName() != "send "+target {
				return false
			}
			for _, l := range sp.GetLinks() {
				if hex.EncodeToString(l.GetTraceId()) == phone {
					return true
				}
			}
			return false
		})
		require.NotEmpty(t, sends, "the delivery to %s links to the request that caused it", target)
		deliveries := map[string]bool{} // the first may have failed on its way, of services that have just started
		for _, s := range sends {
			deliveries[hex.EncodeToString(s.GetTraceId())] = true
		}
		require.NotEmpty(t, got.of(func(sp span) bool {
			return sp.service == below && deliveries[hex.EncodeToString(sp.GetTraceId())]
		}), "the trace of the delivery goes on in %s", below)
		if target == "salesforce" {
			require.NotEmpty(t, got.of(func(sp span) bool {
				return sp.service == below && deliveries[hex.EncodeToString(sp.GetTraceId())] && sp.GetKind() == tracev1.Span_SPAN_KIND_CLIENT
			}), "and out to Salesforce over HTTP")
		}
	}
	var exported strings.Builder
	for _, sp := range got.of(func(span) bool { return true }) {
		exported.WriteString(sp.String() + "\n")
	}
	require.Contains(t, log.String(), "request answered")
	for _, planted := range []string{"Traced GmbH", "55501995501", "canary@traced.example", "Canary-Gasse", "traced-from-the-phone", "ordered-from-the-phone"} {
		require.NotContains(t, exported.String(), planted, "no personal data and no keys in spans")
		require.NotContains(t, metrics, planted, "nor in metrics of any service")
		require.NotContains(t, log.String(), planted, "nor in logs of any service, at any level")
	}
}

// measured reads the metrics of every service.
func measured(t *testing.T, ops map[string]string) string {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	var all strings.Builder
	require.Len(t, ops, 4)
	for service, addr := range ops {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+addr+"/metrics", nil)
		require.NoError(t, err)
		res, err := client.Do(req)
		require.NoError(t, err, service)
		n, err := io.Copy(&all, res.Body)
		require.NoError(t, err, service)
		require.Positive(t, n, service)
		require.NoError(t, res.Body.Close())
	}
	return all.String()
}
