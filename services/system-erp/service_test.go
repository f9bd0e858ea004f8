package systemerp_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/selfsame-io/selfsame/pkg/conf"
	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/pkg/db/dbtest"
	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/idempotent"
	"github.com/selfsame-io/selfsame/pkg/idempotent/keys"
	"github.com/selfsame-io/selfsame/pkg/serve"
	erpv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/erp/v1"
	systemerp "github.com/selfsame-io/selfsame/services/system-erp"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/store/sqlstore"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// template has the tables of a service already; TestKeys_AreForOperators begins with an empty database.
var template = dbtest.NewTemplate(func(ctx context.Context, d *db.DB) error {
	if _, err := sqlstore.Open(ctx, d, sqlstore.Options{}); err != nil {
		return err
	}
	if _, err := keys.OpenLog(ctx, d, nil); err != nil {
		return err
	}
	_, err := idempotent.NewSQLStore(d, []byte("any secret of a test will do"), nil)
	return err
})

// replica is one running service.
type replica struct {
	customers erpv1.CustomerServiceClient
	contacts  erpv1.ContactServiceClient
	products  erpv1.ProductServiceClient
	orders    erpv1.OrderServiceClient
	changes   erpv1.ChangeServiceClient
	backend   erpv1.BackendServiceClient
	ops       string
	notify    string
	stop      func() error
}

// start runs a service on a database until the test ends.
func start(t *testing.T, dsn string) *replica {
	t.Helper()
	return startWith(t, dsn, func(*systemerp.Config) {})
}

// startWith is start with another configuration.
func startWith(t *testing.T, dsn string, change func(*systemerp.Config)) *replica {
	t.Helper()
	cfg := systemerp.DefaultConfig()
	cfg.Store.DSN = conf.Secret(dsn)
	cfg.Serve.Listen, cfg.Serve.Ops = "127.0.0.1:0", "127.0.0.1:0"
	cfg.Telemetry.LogLevel = "error"
	cfg.Changes.Poll = 20 * time.Millisecond
	change(&cfg)
	started := make(chan serve.Addrs, 1)
	cfg.Started = func(a serve.Addrs) { started <- a }
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- systemerp.Run(ctx, cfg) }()
	var addrs serve.Addrs
	select {
	case addrs = <-started:
	case err := <-ended:
		cancel()
		t.Fatalf("the service did not start: %v", err)
	}
	conn, err := serve.Dial(addrs.GRPC, serve.ClientOptions{CallerName: "test"})
	require.NoError(t, err)
	r := &replica{
		customers: erpv1.NewCustomerServiceClient(conn), contacts: erpv1.NewContactServiceClient(conn),
		products: erpv1.NewProductServiceClient(conn), orders: erpv1.NewOrderServiceClient(conn),
		changes: erpv1.NewChangeServiceClient(conn), backend: erpv1.NewBackendServiceClient(conn), ops: addrs.Ops, notify: addrs.HTTP["notify"],
	}
	stopped := false
	r.stop = func() error {
		if stopped {
			return nil
		}
		stopped = true
		cancel()
		err := <-ended
		return errors.Join(err, conn.Close())
	}
	t.Cleanup(func() { require.NoError(t, r.stop()) })
	return r
}

func engines(t *testing.T, fn func(t *testing.T, dsn string)) {
	t.Helper()
	for _, engine := range []string{"sqlite", "postgres"} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			fn(t, template.DSN(t, engine))
		})
	}
}

func key(v string) *erpv1.Reference {
	return &erpv1.Reference{System: "selfsame", Type: "customer", Value: v}
}

func upsert(ctx context.Context, r *replica, keys ...string) (*erpv1.BatchUpsertCustomersResponse, error) {
	req := &erpv1.BatchUpsertCustomersRequest{}
	for _, k := range keys {
		req.Upserts = append(req.Upserts, &erpv1.CustomerUpsert{Customer: &erpv1.Customer{Name: "Customer " + k}, Key: key(k)})
	}
	return r.customers.BatchUpsertCustomers(ctx, req)
}

// refused checks an error as a caller of the contract sees it.
func refused(t *testing.T, err error, kind fault.Kind, reason, path string) {
	t.Helper()
	f, ok := fault.As(err)
	require.True(t, ok, "%v", err)
	require.Equal(t, kind, f.Kind, "%v", err)
	require.Equal(t, reason, fault.ReasonOf(err))
	if path != "" {
		require.NotEmpty(t, f.Fields)
		require.Equal(t, path, f.Fields[0].Path)
	}
}

func TestCustomers(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, dsn string) {
		r, ctx := start(t, dsn), t.Context()
		in := &erpv1.Customer{
			Number: "K1", Refs: []*erpv1.Reference{key("g1")}, Kind: erpv1.CustomerKind_CUSTOMER_KIND_PERSON, Name: "Ä",
			TaxIds: []*erpv1.TaxId{{Scheme: "eu_vat", Value: "DE1"}}, Email: "a@x.example", Phone: "1", Website: "w",
			Addresses: []*erpv1.Address{{Usage: erpv1.AddressUsage_ADDRESS_USAGE_BILL_TO, Street: "S", City: "C", PostalCode: "P", Region: "NW", Country: "DE"}},
			Language:  "de", Currency: "EUR", PaymentTerms: "N30", OrderBlock: true, Extensions: map[string]string{"a": "b"},
		}
		made, err := r.customers.CreateCustomer(ctx, &erpv1.CreateCustomerRequest{Customer: in})
		require.NoError(t, err)
		c := made.GetCustomer()
		require.NotEmpty(t, c.GetId())
		in.Id, in.Version, in.CreateTime, in.UpdateTime = c.GetId(), 1, c.GetCreateTime(), c.GetUpdateTime()
		require.Equal(t, in.String(), c.String())

		found, err := r.customers.LookupCustomer(ctx, &erpv1.LookupCustomerRequest{Ref: key("g1")})
		require.NoError(t, err)
		require.Equal(t, c.String(), found.GetCustomer().String())
		many, err := r.customers.BatchGetCustomers(ctx, &erpv1.BatchGetCustomersRequest{Ids: []string{"x", c.GetId(), "y"}})
		require.NoError(t, err)
		require.Len(t, many.GetCustomers(), 1)
		require.Equal(t, []string{"x", "y"}, many.GetMissingIds())

		updated, err := r.customers.UpdateCustomer(ctx, &erpv1.UpdateCustomerRequest{
			Customer: &erpv1.Customer{Id: c.GetId()}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"email", "order_block"}}, ExpectedVersion: 1,
		})
		require.NoError(t, err)
		require.Equal(t, erpv1.Outcome_OUTCOME_UPDATED, updated.GetOutcome())
		require.Empty(t, updated.GetCustomer().GetEmail())
		_, err = r.customers.UpdateCustomer(ctx, &erpv1.UpdateCustomerRequest{
			Customer: &erpv1.Customer{Id: c.GetId(), Name: "B"}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"name"}}, ExpectedVersion: 1,
		})
		refused(t, err, fault.Conflict, fault.ReasonETagMismatch, "")

		_, err = upsert(ctx, r, "p1", "p2", "p3")
		require.NoError(t, err)
		var ids []string
		for token := ""; ; {
			page, err := r.customers.ListCustomers(ctx, &erpv1.ListCustomersRequest{PageSize: 3, PageToken: token})
			require.NoError(t, err)
			for _, c := range page.GetCustomers() {
				ids = append(ids, c.GetId())
			}
			if token = page.GetNextPageToken(); token == "" {
				break
			}
		}
		require.Len(t, ids, 4)
		require.IsIncreasing(t, ids)

		_, err = r.customers.DeleteCustomer(ctx, &erpv1.DeleteCustomerRequest{Id: c.GetId()})
		require.NoError(t, err)
		got, err := r.customers.GetCustomer(ctx, &erpv1.GetCustomerRequest{Id: c.GetId()})
		require.NoError(t, err)
		require.True(t, got.GetCustomer().GetDeleted())
		require.Empty(t, got.GetCustomer().GetName())
	})
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	r := start(t, template.DSN(t, "sqlite"))
	ctx := t.Context()
	long := strings.Repeat("x", 300)
	_, err := r.products.BatchUpsertProducts(ctx, &erpv1.BatchUpsertProductsRequest{Products: []*erpv1.Product{
		{Sku: "p", Name: "P", Active: true, Price: &erpv1.Money{Amount: "1", Currency: "EUR"}},
	}})
	require.NoError(t, err)
	made, err := upsert(ctx, r, "buyer")
	require.NoError(t, err)
	buyer := made.GetResults()[0].GetCustomer().GetId()
	order := func(change func(o *erpv1.Order)) error {
		o := &erpv1.Order{CustomerId: buyer, Items: []*erpv1.OrderItem{{Sku: "p", Quantity: "1"}}}
		change(o)
		_, err := r.orders.CreateOrder(ctx, &erpv1.CreateOrderRequest{Order: o})
		return err
	}
	customer := func(c *erpv1.Customer) error {
		_, err := r.customers.CreateCustomer(ctx, &erpv1.CreateCustomerRequest{Customer: c})
		return err
	}
	mask := func(paths ...string) error {
		_, err := r.customers.UpdateCustomer(ctx, &erpv1.UpdateCustomerRequest{
			Customer: &erpv1.Customer{Id: buyer, Name: "N"}, UpdateMask: &fieldmaskpb.FieldMask{Paths: paths},
		})
		return err
	}
	for path, err := range map[string]error{
		"customer":                 customer(nil),
		"customer.name":            customer(&erpv1.Customer{}),
		"customer.email":           customer(&erpv1.Customer{Name: "A", Email: long}),
		"customer.phone":           customer(&erpv1.Customer{Name: "A", Phone: "\x00"}),
		"customer.id":              customer(&erpv1.Customer{Name: "A", Id: "mine"}),
		"customer.version":         customer(&erpv1.Customer{Name: "A", Version: 1}),
		"customer.create_time":     customer(&erpv1.Customer{Name: "A", CreateTime: timestamppb.Now()}),
		"customer.refs[0].system":  customer(&erpv1.Customer{Name: "A", Refs: []*erpv1.Reference{{Type: "t", Value: "v"}}}),
		"update_mask":              mask("version"),
		"update_mask ":             mask(),
		"order.items":              order(func(o *erpv1.Order) { o.Items = nil }),
		"order.customer_id":        order(func(o *erpv1.Order) { o.CustomerId = "nobody" }),
		"order.items[0].sku":       order(func(o *erpv1.Order) { o.Items[0].Sku = "none" }),
		"order.items[0].quantity":  order(func(o *erpv1.Order) { o.Items[0].Quantity = "0" }),
		"order.items[0].quantity ": order(func(o *erpv1.Order) { o.Items[0].Quantity = "-1" }),
		"order.state":              order(func(o *erpv1.Order) { o.State = erpv1.OrderState_ORDER_STATE_CONFIRMED }),
		"order.total":              order(func(o *erpv1.Order) { o.Total = &erpv1.Money{Amount: "1", Currency: "EUR"} }),
		"order.items[0].unit_price.currency": order(func(o *erpv1.Order) {
			o.Items[0].UnitPrice = &erpv1.Money{Amount: "1"}
		}),
	} {
		refused(t, err, fault.Invalid, fault.ReasonValidationFailed, strings.TrimSpace(path))
	}
	_, err = r.customers.GetCustomer(ctx, &erpv1.GetCustomerRequest{Id: "nobody"})
	refused(t, err, fault.NotFound, fault.ReasonNotFound, "")
	_, err = r.products.GetProduct(ctx, &erpv1.GetProductRequest{Sku: "none"})
	refused(t, err, fault.NotFound, fault.ReasonNotFound, "")
	_, err = r.customers.ListCustomers(ctx, &erpv1.ListCustomersRequest{PageToken: "garbage"})
	refused(t, err, fault.Invalid, fault.ReasonPageTokenInvalid, "page_token")
	page, err := r.orders.ListOrders(ctx, &erpv1.ListOrdersRequest{CustomerIds: []string{"other"}})
	require.NoError(t, err)
	require.Empty(t, page.GetOrders())
}

func TestIdempotencyKey(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, dsn string) {
		r := start(t, dsn)
		ctx := metadata.AppendToOutgoingContext(t.Context(), "idempotency-key", "create-acme-1")
		req := &erpv1.CreateCustomerRequest{Customer: &erpv1.Customer{Name: "Acme"}}
		var header metadata.MD
		first, err := r.customers.CreateCustomer(ctx, req, grpc.Header(&header))
		require.NoError(t, err)
		require.Equal(t, []string{"executed"}, header.Get("idempotency-status"))
		again, err := r.customers.CreateCustomer(ctx, req, grpc.Header(&header))
		require.NoError(t, err)
		require.Equal(t, []string{"replayed"}, header.Get("idempotency-status"))
		require.Equal(t, first.String(), again.String())
		_, err = r.customers.CreateCustomer(ctx, &erpv1.CreateCustomerRequest{Customer: &erpv1.Customer{Name: "Other"}})
		require.Equal(t, "IDEMPOTENCY_KEY_REUSED", fault.ReasonOf(err))
		_, err = r.customers.CreateCustomer(t.Context(), req)
		require.NoError(t, err, "without a key the call is not protected")
		// The key outlives the process.
		require.NoError(t, r.stop())
		r = start(t, dsn)
		again, err = r.customers.CreateCustomer(ctx, req)
		require.NoError(t, err)
		require.Equal(t, first.String(), again.String())
		page, err := r.customers.ListCustomers(t.Context(), &erpv1.ListCustomersRequest{})
		require.NoError(t, err)
		require.Len(t, page.GetCustomers(), 2)
	})
}

func TestOrders(t *testing.T) {
	t.Parallel()
	r, ctx := start(t, template.DSN(t, "sqlite")), t.Context()
	_, err := r.products.BatchUpsertProducts(ctx, &erpv1.BatchUpsertProductsRequest{Products: []*erpv1.Product{
		{Sku: "pump", Name: "Pump", Active: true, Price: &erpv1.Money{Amount: "1299.90", Currency: "EUR"}, WarrantyMonths: 24},
	}})
	require.NoError(t, err)
	_, err = r.products.SetInventory(ctx, &erpv1.SetInventoryRequest{Inventory: &erpv1.Inventory{Sku: "pump", Site: "s", OnHand: "10"}})
	require.NoError(t, err)
	made, err := upsert(ctx, r, "buyer")
	require.NoError(t, err)
	buyer := made.GetResults()[0].GetCustomer().GetId()
	req := &erpv1.CreateOrderRequest{Order: &erpv1.Order{
		ClientRef: "o1", CustomerId: buyer, Items: []*erpv1.OrderItem{{Sku: "pump", Quantity: "2.5"}},
	}}
	placed, err := r.orders.CreateOrder(ctx, req)
	require.NoError(t, err)
	require.Equal(t, erpv1.Outcome_OUTCOME_CREATED, placed.GetOutcome())
	o := placed.GetOrder()
	require.Equal(t, "3249.75", o.GetTotal().GetAmount())
	require.Equal(t, "1299.90", o.GetItems()[0].GetUnitPrice().GetAmount())
	again, err := r.orders.CreateOrder(ctx, req)
	require.NoError(t, err)
	require.Equal(t, erpv1.Outcome_OUTCOME_UNCHANGED, again.GetOutcome())
	require.Equal(t, o.String(), again.GetOrder().String())
	req.Order.Items[0].Quantity = "3"
	_, err = r.orders.CreateOrder(ctx, req)
	refused(t, err, fault.AlreadyExists, "CLIENT_REF_REUSED", "")
	stock, err := r.products.ListInventory(ctx, &erpv1.ListInventoryRequest{Skus: []string{"pump"}})
	require.NoError(t, err)
	require.Equal(t, []string{"10", "2.5", "7.5"},
		[]string{stock.GetInventory()[0].GetOnHand(), stock.GetInventory()[0].GetReserved(), stock.GetInventory()[0].GetAvailable()})
	moved, err := r.orders.SetOrderStatus(ctx, &erpv1.SetOrderStatusRequest{Id: o.GetId(), Fulfilment: erpv1.Progress_PROGRESS_FULL})
	require.NoError(t, err)
	require.Equal(t, erpv1.OrderState_ORDER_STATE_RECEIVED, moved.GetOrder().GetState())
	list, err := r.orders.ListOrders(ctx, &erpv1.ListOrdersRequest{CustomerIds: []string{buyer}})
	require.NoError(t, err)
	require.Equal(t, moved.GetOrder().String(), list.GetOrders()[0].String())
	w := &erpv1.Warranty{
		SerialNumber: "S1", Sku: "pump", CustomerId: buyer, OrderId: o.GetId(),
		StartTime: timestamppb.New(time.Now().Add(-time.Hour)), EndTime: timestamppb.New(time.Now().Add(time.Hour)),
	}
	_, err = r.products.UpsertWarranty(ctx, &erpv1.UpsertWarrantyRequest{Warranty: w})
	require.NoError(t, err)
	warranties, err := r.products.ListWarranties(ctx, &erpv1.ListWarrantiesRequest{CustomerId: buyer})
	require.NoError(t, err)
	require.Equal(t, erpv1.WarrantyStatus_WARRANTY_STATUS_ACTIVE, warranties.GetWarranties()[0].GetStatus())
}

func TestOps(t *testing.T) {
	t.Parallel()
	r := start(t, template.DSN(t, "sqlite"))
	_, err := upsert(t.Context(), r, "a", "b")
	require.NoError(t, err)
	_, err = upsert(t.Context(), r, "a", "c")
	require.NoError(t, err)
	body := fetch(t, "http://"+r.ops+"/metrics")
	for _, want := range []string{"selfsame_erp_records", `outcome="created"} 3`, `outcome="unchanged"} 1`, "selfsame_erp_feed_position", "selfsame_erp_feed_lag"} {
		require.Contains(t, body, want)
	}
	require.NotContains(t, body, "Customer a")
	require.Contains(t, fetch(t, "http://"+r.ops+"/readyz"), "database")
}

func fetch(t *testing.T, url string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	require.NoError(t, err)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	require.NoError(t, err)
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, errors.Join(err, resp.Body.Close()))
	return string(body)
}

func TestConfig(t *testing.T) {
	t.Parallel()
	require.NoError(t, systemerp.DefaultConfig().Validate())
	bad := systemerp.DefaultConfig()
	bad.Store.DSN, bad.Store.KeySecret = "mysql://user:hunter2@x", "short"
	bad.Changes = systemerp.Changes{Retention: -1, Heartbeat: time.Minute}
	err := systemerp.Run(t.Context(), bad)
	for _, key := range []string{"store.dsn", "store.key_secret", "changes.retention", "changes.poll", "changes.heartbeat"} {
		require.ErrorContains(t, err, key)
	}
	require.NotContains(t, err.Error(), "hunter2")
}
