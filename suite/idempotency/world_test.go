package idempotency_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/selfsame-io/selfsame/pkg/conf"
	customerv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/customer/v1"
	erpv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/erp/v1"
	idempotencyv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/idempotency/v1"
	"github.com/selfsame-io/selfsame/suite"
	"github.com/selfsame-io/selfsame/suite/cli"
	"github.com/selfsame-io/selfsame/suite/remote"
)

func TestMain(m *testing.M) {
	// With a process per service the suite starts this program again as "… service NAME --config FILE".
	if len(os.Args) > 1 && os.Args[1] == "service" {
		app := &cli.App{Out: os.Stdout, Err: os.Stderr}
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		code := app.Main(ctx, os.Args[1:])
		stop()
		os.Exit(code)
	}
	if len(os.Args) > 3 && os.Args[1] == mortal {
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		err := runMortal(ctx, os.Args[2], os.Args[3], os.Args[4:])
		stop()
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// patience bounds every wait. A test that meets it has failed.
const patience = 3 * time.Minute

// lease is how long a killed call blocks its key here; 30 s in production.
const lease = 2 * time.Second

// sku is the product that every order is about.
const sku = "PUMP-40"

// world is a running suite with products and customers to order for.
type world struct {
	suite  *suite.Suite
	demo   *remote.Demo
	http   *http.Client
	buyers []buyer
	serial atomic.Int64
}

// buyer is a customer whom both systems have.
type buyer struct{ golden, erp string }

func setup(t *testing.T, processes bool) *world {
	t.Helper()
	return start(t, processes, nil, asTheyAre)
}

// setupMortal starts services that stop where they are told to, configured as tune says.
func setupMortal(t *testing.T, tune func(*suite.Configs)) (*world, stops) {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	s := stops{t.TempDir()}
	return start(t, true, []string{self, mortal, s.dir}, func(c *suite.Configs) {
		c.ProcessCustomer.Store.KeyLease = time.Second // the shortest there is: a killed call blocks its key for so long, at many points
		tune(c)
	}), s
}

func asTheyAre(*suite.Configs) {}

func start(t *testing.T, processes bool, command []string, tune func(*suite.Configs)) *world {
	t.Helper()
	s, err := suite.Start(t.Context(), suite.Options{
		Dir: t.TempDir() + "/demo", Processes: processes, Command: command, LogLevel: "error",
		Tune: func(c *suite.Configs) {
			c.ProcessCustomer.Store.KeyLease = lease
			c.ProcessCustomer.Store.AnswerKeys = conf.Secret("k1:" + base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, 32)))
			tune(c)
		},
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Stop()) })
	demo, err := remote.Open(t.Context(), s.State())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, demo.Close()) })
	transport := &http.Transport{MaxIdleConnsPerHost: 64}
	t.Cleanup(transport.CloseIdleConnections)
	w := &world{suite: s, demo: demo, http: &http.Client{Transport: transport, Timeout: 15 * time.Second}}
	_, err = erpv1.NewProductServiceClient(demo.ERP).BatchUpsertProducts(t.Context(), &erpv1.BatchUpsertProductsRequest{
		Products: []*erpv1.Product{{Sku: sku, Name: "Pump", Unit: "C62", Price: &erpv1.Money{Amount: "10.00", Currency: "EUR"}, Active: true}},
	})
	require.NoError(t, err)
	for i := range 4 {
		w.buyers = append(w.buyers, w.newBuyer(t, fmt.Sprintf("Buyer %d", i)))
	}
	return w
}

// newBuyer makes a customer and waits until the ERP has it.
func (w *world) newBuyer(t *testing.T, name string) buyer {
	t.Helper()
	a := w.until(t, w.newIntent("/v1/customers", map[string]any{"name": name}))
	var c struct{ CustomerID string }
	require.NoError(t, json.Unmarshal(a.body, &c))
	var b buyer
	require.Eventually(t, func() bool {
		got, err := w.demo.Customers.GetCustomer(t.Context(), &customerv1.GetCustomerRequest{Id: c.CustomerID})
		b = buyer{c.CustomerID, got.GetCustomer().GetErpNumber()}
		return err == nil && b.erp != ""
	}, patience, 10*time.Millisecond)
	return b
}

// intent is what somebody means to happen once.
type intent struct {
	key, path string
	body      []byte
	name      string // of the customer, or the purchase order number
	token     string // of another user than that of the demo
	trace     string // of every call, 32 hexadecimal digits; empty: none
	later     bool   // an order may be placed later, if it cannot be placed now
}

// newIntent makes one with a key of its own. A body without a name gets a purchase order number.
func (w *world) newIntent(path string, body map[string]any) intent {
	n := w.serial.Add(1)
	in := intent{key: fmt.Sprintf("intent-%08d-%016x", n, rand.Uint64()), path: path}
	if name, ok := body["name"].(string); ok {
		in.name = name
	} else {
		in.name = fmt.Sprintf("PO-%d", n)
		body["purchaseOrder"] = in.name
	}
	in.body, _ = json.Marshal(body) // strings only
	return in
}

func (w *world) order(b buyer) intent {
	return w.newIntent("/v1/orders", map[string]any{"customerId": b.golden, "items": []any{map[string]any{"sku": sku, "quantity": "2"}}})
}

func (w *world) customer(prefix string) intent {
	return w.newIntent("/v1/customers", map[string]any{"name": fmt.Sprintf("%s %d", prefix, w.serial.Load()+1)})
}

// answer is what came back.
type answer struct {
	status   int
	code     string // of a refusal
	replayed bool
	retry    bool
	location string
	body     []byte
}

// send sends an intent once.
func (w *world) send(ctx context.Context, in intent) (answer, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.demo.State.REST+in.path, bytes.NewReader(in.body))
	if err != nil {
		return answer{}, err
	}
	bearer := w.demo.State.Token
	if in.token != "" {
		bearer = in.token
	}
	req.Header = http.Header{"Authorization": {"Bearer " + bearer}, "Content-Type": {"application/json"}, "Idempotency-Key": {in.key}}
	if in.trace != "" {
		req.Header.Set("Traceparent", "00-"+in.trace+"-00f067aa0ba902b7-01")
	}
	if in.later {
		req.Header.Set("Prefer", "respond-async")
	}
	resp, err := w.http.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return answer{}, err
	}
	var problem struct{ Retryable bool }
	if resp.StatusCode >= 400 {
		_ = json.Unmarshal(body, &problem) // what is no problem is not retryable
	}
	return answer{
		resp.StatusCode, resp.Header.Get("X-Error-Code"), resp.Header.Get("Idempotent-Replayed") == "true", problem.Retryable,
		resp.Header.Get("Location"), body,
	}, nil
}

// until sends an intent with the same key until it is answered, as a phone does. A refusal that stays fails the test.
func (w *world) until(t *testing.T, in intent) answer {
	t.Helper()
	a, _, err := w.persist(t.Context(), in, nil)
	require.NoError(t, err)
	return a
}

// persist sends until answered, and says how many tries were interrupted. With abandon set the client itself goes away
// from some tries before they are answered.
func (w *world) persist(ctx context.Context, in intent, abandon func() time.Duration) (answer, int, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	interrupted := 0
	var last error
	for pause := 20 * time.Millisecond; ; pause = min(2*pause, 500*time.Millisecond) {
		once, leave := ctx, context.CancelFunc(func() {})
		if abandon != nil {
			if d := abandon(); d > 0 {
				once, leave = context.WithTimeout(ctx, d)
			}
		}
		a, err := w.send(once, in)
		left := once.Err() != nil
		leave()
		switch {
		case err == nil && a.status < 300:
			return a, interrupted, nil
		case err == nil && !a.retry && a.status < 500:
			return a, interrupted, fmt.Errorf("%s refused for good: %d %s", in.name, a.status, a.body)
		case err != nil:
			if !left {
				interrupted++
			}
			last = err
		default:
			if a.status >= 500 {
				interrupted++
			}
			last = fmt.Errorf("%d %s", a.status, a.code)
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return answer{}, interrupted, errors.Join(fmt.Errorf("%s was never answered", in.name), last)
		}
	}
}

// orders counts the orders of the buyers in the ERP itself, by purchase order number.
func (w *world) orders(t *testing.T) map[string]int {
	t.Helper()
	count := map[string]int{}
	client := erpv1.NewOrderServiceClient(w.demo.ERP)
	for _, b := range w.buyers {
		for token := ""; ; {
			page, err := client.ListOrders(t.Context(), &erpv1.ListOrdersRequest{CustomerIds: []string{b.erp}, PageSize: 200, PageToken: token})
			require.NoError(t, err)
			for _, o := range page.GetOrders() {
				count[o.GetCustomerPo()]++
			}
			if token = page.GetNextPageToken(); token == "" {
				break
			}
		}
	}
	return count
}

// customers counts the customers in the ERP itself, by name.
func (w *world) customers(t *testing.T) map[string]int {
	t.Helper()
	count := map[string]int{}
	for token := ""; ; {
		page, err := w.demo.ERPCustomers.ListCustomers(t.Context(), &erpv1.ListCustomersRequest{PageSize: 1000, PageToken: token})
		require.NoError(t, err)
		for _, c := range page.GetCustomers() {
			count[c.GetName()]++
		}
		if token = page.GetNextPageToken(); token == "" {
			return count
		}
	}
}

// settle waits until both systems agree, and proves that nothing was made twice in either.
func (w *world) settle(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_, err := w.demo.Settle(ctx, nil)
	require.NoError(t, err)
}

// again kills a service as a power failure would, and starts it.
func (w *world) again(t *testing.T, service string) {
	t.Helper()
	require.NoError(t, w.suite.Kill(service))
	require.NoError(t, w.suite.StartService(t.Context(), service))
}

// newest returns the newest record of process-customer about a method.
func (w *world) newest(t *testing.T, method string) *idempotencyv1.Key {
	t.Helper()
	got, err := idempotencyv1.NewKeysServiceClient(w.demo.Process).ListKeys(t.Context(), &idempotencyv1.ListKeysRequest{
		Method: "/selfsame.customer.v1.CustomerService/" + method, PageSize: 1000,
	})
	if err != nil {
		return nil
	}
	var out *idempotencyv1.Key
	for _, k := range got.GetKeys() {
		if out == nil || k.GetClaimTime().AsTime().After(out.GetClaimTime().AsTime()) {
			out = k
		}
	}
	return out
}

// fault sets a fault between process-customer and the ERP and returns a function that says how often it hit.
func (w *world) fault(t *testing.T, f remote.Fault) (hits func() int) {
	t.Helper()
	id, err := w.demo.SetERPFault(t.Context(), f)
	require.NoError(t, err)
	return func() int {
		list, err := w.demo.ERPFaults(t.Context())
		if err != nil {
			return -1 // asked again, perhaps by a goroutine that outlives the test
		}
		for _, have := range list {
			if have.ID == id {
				return have.Hits
			}
		}
		return 0
	}
}
