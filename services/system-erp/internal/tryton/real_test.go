package tryton

import (
	"bytes"
	"context"
	"crypto/rand"
	"database/sql"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/pkg/db/dbtest"
	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/telemetry"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/backend"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/erp"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/remote"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/store"
)

// wire shows what is said between us and a real server, and lets something happen just before a write arrives there.
type wire struct {
	below http.RoundTripper

	mu      sync.Mutex
	before  func(req *http.Request) // called once
	answers []string                // to writes: the status and the beginning of the body
	logins  int
}

func (w *wire) hook(fn func(req *http.Request)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.before = fn
}

func (w *wire) take() func(req *http.Request) {
	w.mu.Lock()
	defer w.mu.Unlock()
	fn := w.before
	w.before = nil
	return fn
}

func (w *wire) said() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Join(w.answers, "\n")
}

// RoundTrip implements http.RoundTripper.
func (w *wire) RoundTrip(req *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	req.Body = io.NopCloser(bytes.NewReader(body))
	if bytes.Contains(body, []byte(`"common.db.login"`)) {
		w.mu.Lock()
		w.logins++
		w.mu.Unlock()
	}
	if !writes.Match(body) {
		return w.below.RoundTrip(req)
	}
	if fn := w.take(); fn != nil {
		fn(req)
	}
	resp, err := w.below.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	answer, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if err != nil {
		return nil, err
	}
	resp.Body = io.NopCloser(bytes.NewReader(answer))
	w.mu.Lock()
	defer w.mu.Unlock()
	w.answers = append(w.answers, resp.Status+" "+string(answer[:min(len(answer), 200)]))
	return resp, nil
}

// shop is the back end over a real Tryton, with its wire and somebody who works there.
type shop struct {
	*remote.Store
	sys  *System
	wire *wire
	desk outside
}

func openShop(t *testing.T, change func(*Config)) *shop {
	t.Helper()
	cfg := real(t)
	change(&cfg)
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	w := &wire{below: transport}
	sys, err := New(cfg, w)
	require.NoError(t, err)
	clean, err := New(real(t), transport)
	require.NoError(t, err)
	d, err := db.Open(t.Context(), dbtest.DSN(t, "sqlite"), telemetry.Discard())
	require.NoError(t, err)
	t.Cleanup(func() { _ = d.Close() })
	s, err := remote.Open(t.Context(), d, sys, remote.Options{Lease: 5 * time.Minute})
	require.NoError(t, err)
	_, err = clean.data(t.Context())
	require.NoError(t, err)
	return &shop{Store: s, sys: sys, wire: w, desk: outside{clean}}
}

func (s *shop) write(t *testing.T, key string, c erp.Customer) store.Result[erp.Customer] {
	t.Helper()
	res, err := s.Customers().Upsert(t.Context(), []store.Upsert[erp.Customer]{{Key: erp.Ref{System: "selfsame", Type: "customer", Value: key}, Record: c}})
	require.NoError(t, err)
	return res[0]
}

func (s *shop) buyer(t *testing.T) string {
	t.Helper()
	key := rand.Text()
	res := s.write(t, key, erp.Customer{Name: "Customer " + key, Addresses: []erp.Address{{Street: "Weg 1", City: "Köln", Country: "DE"}}})
	require.NoError(t, res.Err)
	return res.Record.ID
}

// TestReal_SessionEndsInTheMiddle ends our session between the call before a write and the write.
func TestReal_SessionEndsInTheMiddle(t *testing.T) {
	s := openShop(t, func(*Config) {})
	key := rand.Text()
	s.wire.hook(func(req *http.Request) {
		out, err := http.NewRequestWithContext(req.Context(), http.MethodPost, req.URL.String(), strings.NewReader(`{"id":1,"method":"common.db.logout","params":[]}`))
		if err != nil {
			return
		}
		out.Header.Set("Content-Type", "application/json")
		out.Header.Set("Authorization", req.Header.Get("Authorization"))
		resp, err := s.wire.below.RoundTrip(out)
		if err == nil {
			_ = resp.Body.Close()
		}
	})
	res := s.write(t, key, erp.Customer{Name: "Customer " + key})
	require.NoError(t, res.Err)
	require.Equal(t, erp.Created, res.Outcome)
	require.Contains(t, s.wire.said(), "401", "the server refused the session that had ended")
	require.Equal(t, 2, s.wire.logins)
	there, err := s.desk.Customers(t.Context(), erp.Ref{System: "selfsame", Type: "customer", Value: key})
	require.NoError(t, err)
	require.Equal(t, []string{res.Record.ID}, there, "the write was executed once")
}

// TestReal_Rules are those of a Tryton that nobody here wrote.
func TestReal_Rules(t *testing.T) {
	real(t)
	if testing.Short() {
		t.Skip("one of the long ones: make test-full runs it; the fast tests run the session and a part of the suite on the same server")
	}
	t.Run("a change by somebody else between our reading and our writing is refused there and merged here", func(t *testing.T) {
		s := openShop(t, func(*Config) {})
		key := rand.Text()
		made := s.write(t, key, erp.Customer{Name: "Customer " + key, Phone: "+49 30 1"})
		require.NoError(t, made.Err)
		s.wire.hook(func(req *http.Request) { _ = s.desk.Rename(req.Context(), made.Record.ID, "Renamed "+key) })
		res := s.write(t, key, erp.Customer{Phone: "+49 30 2"})
		require.NoError(t, res.Err)
		require.Contains(t, s.wire.said(), "ConcurrencyException", "the server compared its stamps")
		require.Equal(t, []string{"Renamed " + key, "+49 30 2"}, []string{res.Record.Name, res.Record.Phone})
		s.wire.hook(func(req *http.Request) { _ = s.desk.Rename(req.Context(), made.Record.ID, "Again "+key) })
		res, err := s.Customers().Update(t.Context(), store.Upsert[erp.Customer]{
			Record: erp.Customer{Head: erp.Head{ID: made.Record.ID}, Phone: "+49 30 3"}, Expected: res.Record.Version,
		})
		require.Equal(t, fault.ReasonETagMismatch, fault.ReasonOf(err), "who names a version is told: %v", res)
	})
	t.Run("the database refuses a second party of one code, whoever makes it", func(t *testing.T) {
		s := openShop(t, func(*Config) {})
		mark := rand.Text()[:20]
		var g errgroup.Group
		errs := make([]error, 4)
		for i := range errs {
			g.Go(func() error {
				reply, err := parties{s.sys}.Insert(t.Context(), []remote.Draft[erp.Customer]{{Record: erp.Customer{Name: "Same"}, Key: remote.Key{Mark: mark}}})
				if err == nil {
					err = reply[0].Err
				}
				errs[i] = err
				return nil
			})
		}
		require.NoError(t, g.Wait())
		made := 0
		for _, err := range errs {
			if err == nil {
				made++
				continue
			}
			require.Equal(t, fault.AlreadyExists, fault.KindOf(err), "%v", err)
			require.Equal(t, store.ReasonNumberTaken, fault.ReasonOf(err))
		}
		require.Equal(t, 1, made)
		number := "N" + rand.Text()[:12]
		require.NoError(t, s.write(t, rand.Text(), erp.Customer{Name: "First", Number: number}).Err)
		res := openShop(t, func(*Config) {}).write(t, rand.Text(), erp.Customer{Name: "Second", Number: number})
		f, ok := fault.As(res.Err)
		require.True(t, ok, "%v", res.Err)
		require.Equal(t, []string{store.ReasonNumberTaken, "customer.number"}, []string{fault.ReasonOf(f), f.Fields[0].Path})
	})
	t.Run("what was written reads back equal", readsBack)
	t.Run("amounts are rounded as Tryton rounds them", rounds)
	t.Run("a row that somebody has locked is told, and the same call later goes through", locked)
}

// readsBack writes what a border likes to change: leading zeros, the case of letters, spaces, long texts, other alphabets.
func readsBack(t *testing.T) {
	s := openShop(t, func(*Config) {})
	zeros := "000" + rand.Text()[:8]
	in := erp.Customer{
		Number: zeros, Name: strings.Repeat("Ärzte & Söhne 株式会社 ", 12) + "GmbH", Email: "Info@Customer.Example", Phone: "0049 (0)30 / 00 12",
		Website: "https://customer.example/Ä?a=b&c=%20", TaxIDs: []erp.TaxID{{Scheme: "be_vat", Value: "0428759497"}},
		Addresses: []erp.Address{
			{Usage: erp.UsageDefault, Street: "Weg 1\nHinterhaus  2", City: "Dresden", PostalCode: "01067", Country: "DE"},
			{Usage: erp.UsageBillTo, Street: "Ring 007", City: "Köln", PostalCode: "00100", Region: "NW", Country: "DE"},
		},
		Head: erp.Head{Refs: []erp.Ref{{System: "old", Type: "a:b", Value: "0000" + zeros + ":x"}}},
	}
	res := s.write(t, zeros, in)
	require.NoError(t, res.Err)
	again := s.write(t, zeros, in)
	require.NoError(t, again.Err)
	require.Equal(t, erp.Unchanged, again.Outcome, "nothing came back otherwise")
	found, err := parties{s.desk.System}.Read(t.Context(), []string{res.Record.ID})
	require.NoError(t, err)
	have := found[0].Record
	require.Equal(t, []any{in.Number, in.Name, in.Email, in.Phone, in.Website}, []any{have.Number, have.Name, have.Email, have.Phone, have.Website})
	require.Equal(t, in.TaxIDs, have.TaxIDs)
	require.Equal(t, in.Addresses, have.Addresses)
	require.Subset(t, have.Refs, in.Refs)
}

// rounds places orders whose lines end on a half.
func rounds(t *testing.T) {
	s := openShop(t, func(c *Config) { c.Confirm = false })
	buyer := s.buyer(t)
	for _, c := range []struct{ quantity, price, want string }{
		{"1", "0.125", "0.12"}, {"1", "0.135", "0.14"}, {"3", "0.015", "0.04"}, {"7", "1.2345", "8.64"},
	} {
		o := erp.Order{ClientRef: rand.Text(), CustomerID: buyer, Items: []erp.Item{
			{SKU: "SELF-1", Quantity: amount(c.quantity), Price: erp.Money{Amount: amount(c.price), Currency: "EUR"}},
		}}
		dry, err := s.ValidateOrder(t.Context(), o)
		require.NoError(t, err)
		placed, _, err := s.CreateOrder(t.Context(), o)
		require.NoError(t, err)
		require.Equal(t, []string{c.want, c.want}, []string{dry.Total.Text(), placed.Total.Text()}, "%s × %s: said before, and in the ERP", c.quantity, c.price)
	}
}

// locked holds the row of a sale in Tryton's own database, as a colleague's transaction there would.
func locked(t *testing.T) {
	s := openShop(t, func(c *Config) { c.Confirm = false })
	placed, _, err := s.CreateOrder(t.Context(), erp.Order{ClientRef: rand.Text(), CustomerID: s.buyer(t), Items: []erp.Item{{SKU: "SELF-1", Quantity: amount("1")}}})
	require.NoError(t, err)
	id, ok := number(placed.ID)
	require.True(t, ok)
	people := staff{s.desk.System, t}
	people.do("model.sale.sale.quote", []int64{id})
	people.do("model.sale.sale.confirm", []int64{id})

	server, err := url.Parse(os.Getenv(dbtest.PostgresEnv))
	require.NoError(t, err)
	address, err := url.Parse(os.Getenv("SELFSAME_TEST_TRYTON"))
	require.NoError(t, err)
	if server.Host == "" {
		dbtest.DSN(t, "postgres") // says what is missing
	}
	server.Path = address.Path
	theirs, err := sql.Open("pgx", server.String()) // a driver that dbtest brings
	require.NoError(t, err)
	t.Cleanup(func() { _ = theirs.Close() })
	tx, err := theirs.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	defer func() { _ = tx.Rollback() }()
	_, err = tx.ExecContext(t.Context(), "SELECT 1 FROM sale_sale WHERE id = $1 FOR UPDATE", id)
	require.NoError(t, err)

	// The last of AdvanceOrder's steps: it takes the row or gives up at once.
	process := func() error {
		return s.sys.client.call(t.Context(), true, nil, "model.sale.sale.process", []int64{id}, s.sys.context(t.Context(), nil))
	}
	err = process()
	require.Equal(t, fault.Conflict, fault.KindOf(err), "%v", err)
	require.Equal(t, backend.ReasonLocked, fault.ReasonOf(err), "%v", err)
	require.Contains(t, s.wire.said(), "could not obtain lock", "these are the server's own words")
	require.NoError(t, tx.Rollback())
	require.NoError(t, process())
	o, err := s.sys.AdvanceOrder(t.Context(), placed.ID)
	require.NoError(t, err)
	require.Equal(t, erp.OrderConfirmed, o.State)
	deliveries, err := s.sys.Deliveries(context.WithoutCancel(t.Context()), placed.ID)
	require.NoError(t, err)
	require.Len(t, deliveries, 1, "the step was taken once")
}
