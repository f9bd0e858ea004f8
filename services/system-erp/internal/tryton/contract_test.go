package tryton

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
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
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// real returns the Tryton that testdata/setup.py has set up; without one the test is skipped, in CI it fails.
func real(t *testing.T) Config {
	t.Helper()
	address := os.Getenv("SELFSAME_TEST_TRYTON")
	if address == "" {
		if os.Getenv("CI") == "true" {
			t.Fatal("SELFSAME_TEST_TRYTON is not set")
		}
		t.Skip("SELFSAME_TEST_TRYTON is not set: http://127.0.0.1:PORT/DATABASE of a Tryton set up by testdata/setup.py")
	}
	cfg := DefaultConfig()
	cfg.URL, cfg.User, cfg.Password, cfg.Timeout = address, "selfsame", conf.Secret("Tr7-xq9Zk2"), time.Minute
	return cfg
}

// reach returns the client of a server.
func reach(t *testing.T, cfg Config) *System {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	sys, err := New(cfg, transport)
	require.NoError(t, err)
	return sys
}

// unreliable is a wire with faults on writes.
type unreliable struct {
	below http.RoundTripper
	mu    sync.Mutex
	fault backendtest.Fault
	left  int
	die   func()
	away  bool
}

func (u *unreliable) outage(away bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.away = away
}

func (u *unreliable) isAway() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.away
}

var writes = regexp.MustCompile(`"method":"model\.[a-z._]+\.(create|write|delete|quote|confirm|process|cancel)"`)

func (u *unreliable) arm(f backendtest.Fault, n int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.fault, u.left = f, n
}

func (u *unreliable) take() backendtest.Fault {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.left == 0 {
		return 0
	}
	u.left--
	return u.fault
}

var errCut = errors.New("connection reset by peer")

// RoundTrip implements http.RoundTripper.
func (u *unreliable) RoundTrip(req *http.Request) (*http.Response, error) {
	if u.isAway() {
		return nil, &net.OpError{Op: "dial", Err: errors.New("connection refused")}
	}
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	req.Body = io.NopCloser(bytes.NewReader(body))
	if !writes.Match(body) {
		return u.below.RoundTrip(req)
	}
	switch f := u.take(); f {
	case backendtest.Drop:
		return nil, errCut
	case backendtest.Lock:
		return &http.Response{
			StatusCode: http.StatusOK, Header: http.Header{}, Request: req,
			Body: io.NopCloser(bytes.NewReader([]byte(`{"id":1,"error":["could not obtain lock on row in relation",""]}`))),
		}, nil
	case backendtest.LoseAnswer, backendtest.Die:
		resp, err := u.below.RoundTrip(req)
		if err != nil {
			return nil, err
		}
		answer, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || f == backendtest.LoseAnswer {
			return nil, errCut
		}
		u.die()
		resp.Body = io.NopCloser(bytes.NewReader(answer))
		return resp, nil
	}
	return u.below.RoundTrip(req)
}

// outside works in Tryton by itself.
type outside struct{ *System }

func (o outside) Customers(ctx context.Context, ref erp.Ref) ([]string, error) {
	found, err := o.find(ctx, "party.identifier", []any{clause("code", "=", refCode(ref))}, 0, "party")
	var out []string
	for _, r := range found {
		out = append(out, name(r.id("party")))
	}
	return out, err
}

func (o outside) Orders(ctx context.Context, clientRef string) ([]string, error) {
	ids, err := o.search(ctx, "sale.sale", []any{clause("reference", "=", clientRef)}, 0)
	var out []string
	for _, id := range ids {
		out = append(out, name(id))
	}
	return out, err
}

func (o outside) Rename(ctx context.Context, id, to string) error {
	n, _ := number(id)
	return o.client.call(ctx, true, nil, "model.party.party.write", []int64{n}, map[string]any{"name": to}, o.context(ctx, nil))
}

func (o outside) Make(ctx context.Context, of string, ref erp.Ref) (string, error) {
	ids, err := parties(o).create(ctx, []any{map[string]any{
		"name": of, "code": rand.Text(), "identifiers": []any{[]any{"create", []any{map[string]any{"type": nil, "code": refCode(ref)}}}},
	}})
	if err != nil {
		return "", err
	}
	return name(ids[0]), nil
}

func amount(s string) erp.Decimal {
	d, err := erp.ParseDecimal(s)
	if err != nil {
		panic(err)
	}
	return d
}

func TestContract(t *testing.T) {
	cfg := real(t)
	// Long enough for a server that shares a slow machine with all other tests.
	const lease, settle = 5 * time.Minute, 10 * time.Minute
	o := backendtest.Options{Shared: true}
	if testing.Short() {
		// The whole suite takes a minute of the server's time; make check runs it.
		o.Only = func(name string) bool {
			return name == "a customer is made, read back, changed and left alone" || name == "a process that dies before it could note an order"
		}
	}
	backendtest.Run(t, o, func(t *testing.T) *backendtest.World {
		t.Helper()
		transport := &http.Transport{}
		t.Cleanup(transport.CloseIdleConnections)
		wire := &unreliable{below: transport}
		own := dbtest.DSN(t, "sqlite")
		var ahead time.Duration
		var mu sync.Mutex
		now := func() time.Time {
			mu.Lock()
			defer mu.Unlock()
			return time.Now().Add(ahead)
		}
		var open []*db.DB
		start := func(dsn string) backend.Backend {
			d, err := db.Open(t.Context(), dsn, telemetry.Discard())
			require.NoError(t, err)
			t.Cleanup(func() { _ = d.Close() })
			open = append(open, d)
			sys, err := New(cfg, wire)
			require.NoError(t, err)
			s, err := remote.Open(t.Context(), d, sys, remote.Options{
				Now: now, Lease: lease, Settle: settle, Wait: time.Minute, Locked: retry.Backoff{Min: time.Millisecond, Max: time.Millisecond},
			})
			require.NoError(t, err)
			return s
		}
		wire.die = func() {
			for _, d := range open {
				_ = d.Close()
			}
		}
		sys, err := New(cfg, transport)
		require.NoError(t, err)
		return &backendtest.World{
			Backend: start(own), Restart: func(*testing.T) backend.Backend { return start(own) },
			Lost: func(t *testing.T) backend.Backend { return start(dbtest.DSN(t, "sqlite")) },
			Sync: func(ctx context.Context, b backend.Backend) error { return b.(*remote.Store).Sync(ctx) },
			Advance: func(d time.Duration) {
				mu.Lock()
				defer mu.Unlock()
				ahead += d
			},
			Lease: lease, Settle: settle, Arm: wire.arm, Outage: wire.outage, Outside: outside{sys}, SKUs: []string{"SELF-1", "SELF-2"}, Large: 2500,
			Prefix: rand.Text()[:8] + "-",
			Bad: []backendtest.Violation{
				{Name: "country", Customer: &erp.Customer{Addresses: []erp.Address{{City: "X", Country: "ZZ"}}}, Path: "customer.addresses[0].country", Reason: backend.ReasonCountry},
				{Name: "region", Customer: &erp.Customer{Addresses: []erp.Address{{City: "X", Country: "DE", Region: "XX"}}}, Path: "customer.addresses[0].region", Reason: backend.ReasonRegion},
				{Name: "scheme", Customer: &erp.Customer{TaxIDs: []erp.TaxID{{Scheme: "xx_vat", Value: "1"}}}, Path: "customer.tax_ids[0].scheme", Reason: backend.ReasonTaxID},
				{Name: "tax", Customer: &erp.Customer{TaxIDs: []erp.TaxID{{Scheme: "eu_vat", Value: "DE1"}}}, Path: "customer.tax_ids[0].value", Reason: backend.ReasonTaxID},
				{
					Name: "second tax", Customer: &erp.Customer{TaxIDs: []erp.TaxID{{Scheme: "de_vat", Value: "136695976"}, {Scheme: "eu_vat", Value: "DE1"}}},
					Path: "customer.tax_ids[1].value", Reason: backend.ReasonTaxID,
				},
				{Name: "region without a country", Customer: &erp.Customer{Addresses: []erp.Address{{City: "X", Region: "NW"}}}, Path: "customer.addresses[0].region", Reason: backend.ReasonRegion},
				{Name: "half a piece", Item: &erp.Item{SKU: "SELF-1", Quantity: amount("1.5")}, Path: "order.items[0].quantity", Reason: backend.ReasonPrecision},
				{Name: "digits of a price", Item: &erp.Item{SKU: "SELF-1", Quantity: amount("1"), Price: erp.Money{Amount: amount("0.00001"), Currency: "EUR"}}, Path: "order.items[0].unit_price.amount", Reason: backend.ReasonPrecision},
				{Name: "currency", Item: &erp.Item{SKU: "SELF-1", Quantity: amount("1"), Price: erp.Money{Amount: amount("1"), Currency: "USD"}}, Path: "order.currency", Reason: backend.ReasonCurrency},
				{Name: "unit", Item: &erp.Item{SKU: "SELF-1", Quantity: amount("1"), Unit: "KGM"}, Path: "order.items[0].unit", Reason: "UNIT_MISMATCH"},
				{Name: "day of a line", Item: &erp.Item{SKU: "SELF-1", Quantity: amount("1"), Requested: "2026-12-24"}, Path: "order.items[0].requested_date", Reason: backend.ReasonNotMappable},
			},
		}
	})
}
