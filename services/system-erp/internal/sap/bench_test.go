package sap_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/pkg/retry"
	"github.com/selfsame-io/selfsame/pkg/telemetry"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/erp"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/remote"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/sap"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/sap/odata"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/store"
	"github.com/selfsame-io/selfsame/services/system-erp/sandbox"
)

// tape is a network that writes down how orders were sent, and may hold one of them back.
type tape struct {
	next http.RoundTripper

	mu   sync.Mutex
	sent []http.Header
	// hold makes the next order wait on its way; held is that order, to be sent by late.
	hold bool
	held *http.Request
}

func (w *tape) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method != http.MethodPost || !strings.HasSuffix(r.URL.Path, "/A_SalesOrder") {
		return w.next.RoundTrip(r)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	w.mu.Lock()
	w.sent = append(w.sent, r.Header.Clone())
	hold := w.hold
	if w.hold = false; hold {
		w.held = r.Clone(context.WithoutCancel(r.Context()))
		w.held.Body = io.NopCloser(bytes.NewReader(body))
	}
	w.mu.Unlock()
	if hold {
		httptrace.ContextClientTrace(r.Context()).WroteHeaders()
		return nil, errors.New("no answer in time")
	}
	return w.next.RoundTrip(r)
}

// late sends the order that was held back and returns SAP's answer.
func (w *tape) late(t *testing.T) (status int, header http.Header, number string) {
	t.Helper()
	resp, err := w.next.RoundTrip(w.held)
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	var made struct{ D struct{ SalesOrder string } }
	require.NoError(t, json.NewDecoder(resp.Body).Decode(&made))
	return resp.StatusCode, resp.Header, made.D.SalesOrder
}

func (w *tape) headers(name string) (out []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, h := range w.sent {
		out = append(out, h.Get(name))
	}
	return out
}

// bench is a back end on a sandbox that has the same clock, with a database of its own.
type bench struct {
	*remote.Store
	sys   *sap.System
	desk  desk
	wire  *tape
	clock *clock
	url   string
}

// long leaves a test to the full run: what it is about is tested fast in package remote or without a database.
func long(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("one of the long ones: make test-full runs it")
	}
}

func newBench(t *testing.T, box sandbox.Config, change func(*sap.Config)) *bench {
	t.Helper()
	long(t)
	b := &bench{clock: &clock{}}
	box.Now = b.clock.now
	b.url = serve(t, box)
	return b.open(t, change)
}

// open is the back end on a system whose address is known.
func (b *bench) open(t *testing.T, change func(*sap.Config)) *bench {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	b.wire = &tape{next: transport}
	cfg := sap.DefaultConfig()
	cfg.URL = b.url
	if change != nil {
		change(&cfg)
	}
	var err error
	b.sys, err = sap.New(cfg, sap.Deps{Transport: b.wire, Now: b.clock.now})
	require.NoError(t, err)
	d, err := db.Open(t.Context(), template.DSN(t, "sqlite"), telemetry.Discard())
	require.NoError(t, err)
	t.Cleanup(func() { _ = d.Close() })
	b.Store, err = remote.Open(t.Context(), d, b.sys, remote.Options{
		Now: b.clock.now, Lease: lease, Settle: settle, Poll: 10 * time.Millisecond, Locked: retry.Backoff{Min: time.Millisecond, Max: time.Millisecond},
	})
	require.NoError(t, err)
	b.desk = peer{base: b.url}.desk(t, transport)
	return b
}

func (b *bench) customer(t *testing.T, name string) erp.Customer {
	t.Helper()
	res, err := b.Customers().Upsert(t.Context(), []store.Upsert[erp.Customer]{{
		Key: erp.Ref{System: "selfsame", Type: "customer", Value: name}, Record: erp.Customer{Kind: erp.Organization, Name: name},
	}})
	require.NoError(t, err)
	require.NoError(t, res[0].Err)
	return res[0].Record
}

// ref is one that is long enough to be believed in an order of others.
const ref = "0061x00000AbCdEAAV"

func order(customer string) erp.Order {
	quantity, _ := erp.ParseDecimal("2")
	return erp.Order{ClientRef: ref, CustomerID: customer, Items: []erp.Item{{SKU: "P-1", Quantity: quantity}}}
}

// orders are the numbers of all orders in SAP.
func (b *bench) orders(t *testing.T) []string {
	t.Helper()
	ids, err := b.desk.ids(t.Context(), sales, "A_SalesOrder", "SalesOrder ne ''", "SalesOrder")
	require.NoError(t, err)
	return ids
}

// elsewhere makes an order as somebody else does, with a reference of ours in it.
func (b *bench) elsewhere(t *testing.T, customer, line string) string {
	t.Helper()
	item := map[string]any{"Material": "P-1", "RequestedQuantity": "1", "PurchaseOrderByCustomer": ref}
	if line != "" {
		item["UnderlyingPurchaseOrderItem"] = line
	}
	a, err := b.desk.Create(t.Context(), sales, "A_SalesOrder", map[string]any{
		"SalesOrderType": "OR", "SalesOrganization": "1010", "DistributionChannel": "10", "OrganizationDivision": "00", "SoldToParty": customer,
		"PurchaseOrderByCustomer": ref, "to_Item": []any{item},
	}, nil)
	require.NoError(t, err)
	var made struct{ SalesOrder string }
	require.NoError(t, json.Unmarshal(a.Body, &made))
	return made.SalesOrder
}

// TestProtocol is the system seen by a client that knows no business: what SAP's own server code is asked, the sandbox is asked too.
func TestProtocol(t *testing.T) {
	t.Parallel()
	long(t)
	base := serve(t, sandbox.Config{PageSize: 50})
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	for _, c := range protocolCases() {
		t.Run(c.name, func(t *testing.T) { c.run(t, peer{base: base}.desk(t, transport)) })
	}
	t.Run("another language is refused, and so is none", func(t *testing.T) {
		c, err := odata.New(odata.Options{URL: base, Language: "de", Transport: transport})
		require.NoError(t, err)
		_, err = c.Get(t.Context(), partners, "", nil)
		require.Error(t, err)
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base+"/sap/opu/odata/sap/"+partners+"/", nil)
		require.NoError(t, err)
		resp, err := transport.RoundTrip(req)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, http.StatusBadRequest, resp.StatusCode)
		answers, err := peer{base: base}.desk(t, transport).Batch(t.Context(), partners, []odata.Part{{{Method: http.MethodGet, Path: "A_BusinessPartner", Query: url.Values{"sap-language": {"DE"}}}}})
		require.NoError(t, err)
		require.Error(t, answers[0].Err, "inside a batch too")
	})
}
