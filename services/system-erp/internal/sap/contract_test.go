package sap_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/selfsame-io/selfsame/pkg/conf"
	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/pkg/db/dbtest"
	"github.com/selfsame-io/selfsame/pkg/retry"
	"github.com/selfsame-io/selfsame/pkg/telemetry"
	"github.com/selfsame-io/selfsame/services/system-erp/backendtest"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/backend"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/erp"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/remote"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/sap"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/sap/odata"
	"github.com/selfsame-io/selfsame/services/system-erp/sandbox"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	lease  = 2 * time.Minute
	settle = 10 * time.Minute
)

// clock is a clock that can be moved.
type clock struct {
	mu    sync.Mutex
	ahead time.Duration
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.ahead)
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ahead += d
}

// line is the network between the back end and SAP.
type line struct {
	next http.RoundTripper

	mu    sync.Mutex
	fault backendtest.Fault
	left  int
	die   func()
	away  bool
}

func (l *line) outage(away bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.away = away
}

func (l *line) isAway() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.away
}

// fires takes one of the armed faults for a write.
func (l *line) fires() backendtest.Fault {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.left == 0 {
		return 0
	}
	l.left--
	return l.fault
}

func (l *line) RoundTrip(r *http.Request) (*http.Response, error) {
	if l.isAway() {
		return nil, &net.OpError{Op: "dial", Err: errors.New("connection refused")}
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	write := r.Method != http.MethodGet && r.Method != http.MethodHead
	if strings.HasSuffix(r.URL.Path, "$batch") {
		write = bytes.Contains(body, []byte("\r\nPOST ")) || bytes.Contains(body, []byte("\r\nPATCH ")) || bytes.Contains(body, []byte("\r\nDELETE "))
	}
	if !write {
		return l.next.RoundTrip(r)
	}
	switch l.fires() {
	case backendtest.LoseAnswer:
		resp, err := l.next.RoundTrip(r)
		if err == nil {
			_ = resp.Body.Close()
		}
		return nil, errors.Join(errors.New("the answer is lost"), err)
	case backendtest.Drop:
		httptrace.ContextClientTrace(r.Context()).WroteHeaders()
		return nil, errors.New("the request is lost on its way")
	case backendtest.Die:
		resp, err := l.next.RoundTrip(r)
		l.mu.Lock()
		defer l.mu.Unlock()
		l.die()
		return resp, err
	}
	return l.next.RoundTrip(r)
}

// desk is somebody who works in SAP.
type desk struct{ *odata.Client }

const (
	partners = "API_BUSINESS_PARTNER"
	sales    = "API_SALES_ORDER_SRV"
)

func (d desk) ids(ctx context.Context, service, set, filter, prop string) ([]string, error) {
	var out []string
	seen := map[string]bool{}
	err := d.Pages(ctx, service, set, url.Values{"$filter": {filter}}, func(rows []json.RawMessage) error {
		for _, row := range rows {
			var fields map[string]any
			if err := json.Unmarshal(row, &fields); err != nil {
				return err
			}
			if id, _ := fields[prop].(string); !seen[id] {
				seen[id] = true
				out = append(out, id)
			}
		}
		return nil
	})
	return out, err
}

// Customers counts by name: the suite's names follow from its references, and a mark says nothing to people.
func (d desk) Customers(ctx context.Context, ref erp.Ref) ([]string, error) {
	return d.ids(ctx, partners, "A_BusinessPartner", "OrganizationBPName1 eq "+odata.Quote("Customer "+ref.Value), "BusinessPartner")
}

func (d desk) Orders(ctx context.Context, clientRef string) ([]string, error) {
	return d.ids(ctx, sales, "A_SalesOrderItem", "PurchaseOrderByCustomer eq "+odata.Quote(clientRef), "SalesOrder")
}

func (d desk) Rename(ctx context.Context, id, name string) error {
	_, err := d.Update(ctx, partners, odata.Key("A_BusinessPartner", id), "*", map[string]any{"OrganizationBPName1": name})
	return err
}

func (d desk) Make(ctx context.Context, name string, ref erp.Ref) (string, error) {
	a, err := d.Create(ctx, partners, "A_BusinessPartner", map[string]any{
		"BusinessPartnerCategory": "2", "OrganizationBPName1": name, "BusinessPartnerIDByExtSystem": ref.Value,
		"to_BuPaIdentification":  []any{map[string]any{"BPIdentificationType": "SELFSM", "BPIdentificationNumber": ref.System + "/" + ref.Type + "/" + ref.Value}},
		"to_BusinessPartnerRole": []any{map[string]any{"BusinessPartnerRole": "FLCU01"}},
		"to_Customer": map[string]any{"to_CustomerSalesArea": []any{
			map[string]any{"SalesOrganization": "1010", "DistributionChannel": "10", "Division": "00"},
		}},
	}, nil)
	if err != nil {
		return "", err
	}
	var made struct{ BusinessPartner string }
	err = json.Unmarshal(a.Body, &made)
	return made.BusinessPartner, err
}

// template has the tables already.
var template = dbtest.NewTemplate(func(ctx context.Context, d *db.DB) error {
	cfg := sap.DefaultConfig()
	cfg.URL = "http://127.0.0.1:0"
	sys, err := sap.New(cfg, sap.Deps{})
	if err != nil {
		return err
	}
	_, err = remote.Open(ctx, d, sys, remote.Options{})
	return err
})

// plan sets the faults of the sandbox itself.
func plan(t *testing.T, base, rules string) {
	t.Helper()
	sap.Console(t, http.MethodPut, base+"/__sandbox__/faults", `{"rules":[`+rules+`]}`)
}

func serve(t *testing.T, cfg sandbox.Config) string {
	t.Helper()
	cfg.Products = append(cfg.Products, sandbox.Product{ID: "P-1", Name: "Pump", Group: "P001", Price: "12.50", Stock: "1000"},
		sandbox.Product{ID: "P-2", Name: "Valve", Price: "3.333", Stock: "20"})
	cfg.Language = "en" // every request is in the logon language, or refused
	s, err := sandbox.New(cfg)
	require.NoError(t, err)
	server := httptest.NewServer(s.Handler())
	t.Cleanup(server.Close)
	return server.URL
}

// peer is a system behind the back end.
type peer struct {
	base, user, password string
	// lock makes the next n writes meet somebody who works on the record; nil where nobody can.
	lock func(t *testing.T, n int)
	// large is how many records are many.
	large int
}

// world is a sandbox behind the back end.
func world(engine string, cfg sandbox.Config) backendtest.Open {
	return func(t *testing.T) *backendtest.World {
		t.Helper()
		base := serve(t, cfg)
		return peer{base: base, large: 2500, lock: func(t *testing.T, n int) {
			t.Helper()
			rules := ""
			if n > 0 {
				rules = fmt.Sprintf(`{"effect":"lock","count":%d}`, n)
			}
			plan(t, base, rules)
		}}.world(t, engine)
	}
}

// config is the back end's configuration for the peer.
func (p peer) config() sap.Config {
	c := sap.DefaultConfig()
	c.URL, c.Client, c.IdentificationType = p.base, "100", "SELFSM"
	c.User, c.Password = p.user, conf.Secret(p.password)
	return c
}

// desk is somebody who works in the peer.
func (p peer) desk(t *testing.T, transport http.RoundTripper) desk {
	t.Helper()
	c, err := odata.New(odata.Options{URL: p.base, User: p.user, Password: p.password, Transport: transport})
	require.NoError(t, err)
	return desk{c}
}

func (p peer) world(t *testing.T, engine string) *backendtest.World {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	wire := &line{next: transport}
	own, c := template.DSN(t, engine), &clock{}
	var open []*db.DB
	wire.die = func() {
		for _, d := range open {
			_ = d.Close()
		}
		open = nil
	}
	sys, err := sap.New(p.config(), sap.Deps{Transport: wire}) // what a new process reads of SAP is the same
	require.NoError(t, err)
	start := func(dsn string) backend.Backend {
		d, err := db.Open(t.Context(), dsn, telemetry.Discard())
		require.NoError(t, err)
		t.Cleanup(func() { _ = d.Close() })
		s, err := remote.Open(t.Context(), d, sys, remote.Options{Now: c.now, Lease: lease, Settle: settle, Locked: retry.Backoff{Min: time.Millisecond, Max: time.Millisecond}})
		require.NoError(t, err)
		wire.mu.Lock()
		defer wire.mu.Unlock()
		open = append(open, d)
		return s
	}
	return &backendtest.World{
		Backend: start(own), Restart: func(*testing.T) backend.Backend { return start(own) }, Advance: c.advance, Lease: lease, Settle: settle,
		Lost: func(t *testing.T) backend.Backend { return start(template.DSN(t, engine)) },
		Sync: func(ctx context.Context, b backend.Backend) error { return b.(*remote.Store).Sync(ctx) },
		Arm: func(f backendtest.Fault, n int) {
			locks := 0
			if f == backendtest.Lock {
				locks, n = n, 0
			}
			if p.lock != nil {
				p.lock(t, locks)
			}
			wire.mu.Lock()
			defer wire.mu.Unlock()
			wire.fault, wire.left = f, n
		},
		Outage: wire.outage, Outside: p.desk(t, transport), SKUs: []string{"P-1", "P-2"}, Large: p.large, Prefix: rand.Text()[:6], Bad: bad(),
	}
}

func bad() []backendtest.Violation {
	long := strings.Repeat("x", 61)
	with := func(a erp.Address) *erp.Customer { return &erp.Customer{Name: "A", Addresses: []erp.Address{a}} }
	return []backendtest.Violation{
		{Name: "a word that fits no line of a name", Customer: &erp.Customer{Name: long}, Path: "customer.name", Reason: backend.ReasonTooLong},
		{Name: "a long phone number", Customer: &erp.Customer{Name: "A", Phone: "0123456789012345678901234567890"}, Path: "customer.phone", Reason: backend.ReasonTooLong},
		{Name: "a long street", Customer: with(erp.Address{Street: long, Country: "DE"}), Path: "customer.addresses[0].street", Reason: backend.ReasonTooLong},
		{Name: "a region that is none", Customer: with(erp.Address{Region: "XX", Country: "DE"}), Path: "customer.addresses[0].region", Reason: backend.ReasonRegion},
		{Name: "an address without a country", Customer: with(erp.Address{City: "Rom"}), Path: "customer.addresses[0].country", Reason: backend.ReasonCountry},
		{Name: "a tax number that is none", Customer: &erp.Customer{Name: "A", TaxIDs: []erp.TaxID{{Scheme: "eu_vat", Value: "DE12"}}}, Path: "customer.tax_ids[0].value", Reason: backend.ReasonTaxID},
		{Name: "a tax scheme without a type", Customer: &erp.Customer{Name: "A", TaxIDs: []erp.TaxID{{Scheme: "moon", Value: "1"}}}, Path: "customer.tax_ids[0].scheme", Reason: backend.ReasonNotMappable},
		{Name: "a language with a region", Customer: &erp.Customer{Name: "A", Language: "de-AT"}, Path: "customer.language", Reason: backend.ReasonNotMappable},
	}
}

func TestContract(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("one of the long ones: make test-full runs it; the fast tests run the suite in package remote")
	}
	for _, engine := range []string{"sqlite", "postgres"} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			if engine == "postgres" {
				dbtest.DSN(t, engine) // skips where there is none
			}
			backendtest.Run(t, backendtest.Options{Parallel: true}, world(engine, sandbox.Config{}))
		})
	}
}
