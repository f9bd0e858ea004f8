package systemerp_test

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/selfsame-io/selfsame/pkg/conf"
	"github.com/selfsame-io/selfsame/pkg/fault"
	erpv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/erp/v1"
	systemerp "github.com/selfsame-io/selfsame/services/system-erp"
	"github.com/selfsame-io/selfsame/services/system-erp/adapter"
)

func TestConfig_OfBackends(t *testing.T) {
	t.Parallel()
	cfg := systemerp.DefaultConfig()
	require.NoError(t, cfg.Validate(), "sections of back ends that are not used are not looked at")
	cfg.Backend.Kind = "oracle"
	require.ErrorContains(t, cfg.Validate(), "backend: kind: want embedded, tryton or sap")
	cfg.Backend.Kind = "tryton"
	require.ErrorContains(t, cfg.Validate(), "backend: tryton.url")
	cfg.Backend.Kind, cfg.Backend.ProductTTL = "embedded", time.Minute
	require.ErrorContains(t, cfg.Validate(), "product_ttl: want 1h0m0s to 24h0m0s")
	cfg.Backend.ProductTTL, cfg.Backend.Retention = 0, time.Hour
	require.ErrorContains(t, cfg.Validate(), "retention: want 48h0m0s", "it outlasts every write that may still arrive")
}

// TestSales is an order from its dry run to its last delivery, as a caller of the contract sees it.
func TestSales(t *testing.T) {
	t.Parallel()
	r, ctx := start(t, template.DSN(t, "sqlite")), t.Context()
	euro := func(amount string) *erpv1.Money { return &erpv1.Money{Amount: amount, Currency: "EUR"} }
	_, err := r.products.BatchUpsertProducts(ctx, &erpv1.BatchUpsertProductsRequest{Products: []*erpv1.Product{{Sku: "pump", Name: "Pump", Active: true, Price: euro("10")}}})
	require.NoError(t, err)
	dry, err := r.customers.ValidateCustomer(ctx, &erpv1.ValidateCustomerRequest{Upsert: &erpv1.CustomerUpsert{Key: key("buyer"), Customer: &erpv1.Customer{Name: "Buyer"}}})
	require.NoError(t, err)
	require.Equal(t, erpv1.Outcome_OUTCOME_CREATED, dry.GetResult().GetOutcome())
	made, err := upsert(ctx, r, "buyer", "house")
	require.NoError(t, err)
	buyer, house := made.GetResults()[0].GetCustomer().GetId(), made.GetResults()[1].GetCustomer().GetId()
	found, err := r.customers.FindCandidates(ctx, &erpv1.FindCandidatesRequest{Customer: &erpv1.Customer{Name: "Customer buyer"}})
	require.NoError(t, err)
	require.Equal(t, buyer, found.GetCandidates()[0].GetCustomer().GetId())

	nine := &erpv1.BatchUpsertPricesRequest{Prices: []*erpv1.Price{{Sku: "pump", CustomerId: buyer, MinQuantity: "2", Amount: euro("9")}}}
	for i, outcome := range []erpv1.Outcome{erpv1.Outcome_OUTCOME_CREATED, erpv1.Outcome_OUTCOME_UNCHANGED} {
		changed, err := r.products.BatchUpsertPrices(ctx, nine)
		require.NoError(t, err)
		require.EqualValues(t, 1-i, changed.GetChanged())
		require.Equal(t, []erpv1.Outcome{outcome}, changed.GetOutcomes())
	}
	prices, err := r.products.ListPrices(ctx, &erpv1.ListPricesRequest{Skus: []string{"pump"}, CustomerId: buyer})
	require.NoError(t, err)
	require.Equal(t, []string{"9.00", "10.00"}, []string{prices.GetPrices()[0].GetAmount().GetAmount(), prices.GetPrices()[1].GetAmount().GetAmount()})

	asked := &erpv1.Order{
		ClientRef: "o1", CustomerId: buyer, ShipToId: house, RequestedDate: "2026-12-24", Currency: "EUR", Note: "ring twice",
		Items: []*erpv1.OrderItem{{Sku: "pump", Quantity: "3"}},
	}
	planned, err := r.orders.ValidateOrder(ctx, &erpv1.ValidateOrderRequest{Order: asked})
	require.NoError(t, err)
	require.Equal(t, []string{"", "27.00"}, []string{planned.GetOrder().GetId(), planned.GetOrder().GetTotal().GetAmount()})
	placed, err := r.orders.CreateOrder(ctx, &erpv1.CreateOrderRequest{Order: asked})
	require.NoError(t, err)
	o := placed.GetOrder()
	require.Equal(t, []string{house, "2026-12-24", "EUR", "ring twice", "27.00"},
		[]string{o.GetShipToId(), o.GetRequestedDate(), o.GetCurrency(), o.GetNote(), o.GetTotal().GetAmount()})
	asked.RequestedDate = "2026-12-25"
	_, err = r.orders.CreateOrder(ctx, &erpv1.CreateOrderRequest{Order: asked})
	require.Equal(t, "CLIENT_REF_REUSED", fault.ReasonOf(err), "another day is another order")

	d := &erpv1.Delivery{Id: "D1", OrderId: o.GetId(), State: erpv1.DeliveryState_DELIVERY_STATE_SHIPPED, Carrier: "post", Items: []*erpv1.DeliveryItem{
		{Line: 10, Quantity: "2", SerialNumbers: []string{"S1", "S2"}},
	}}
	for _, outcome := range []erpv1.Outcome{erpv1.Outcome_OUTCOME_CREATED, erpv1.Outcome_OUTCOME_UNCHANGED} {
		shipped, err := r.orders.RecordDelivery(ctx, &erpv1.RecordDeliveryRequest{Delivery: d})
		require.NoError(t, err)
		require.Equal(t, outcome, shipped.GetOutcome())
		require.Equal(t, erpv1.Progress_PROGRESS_PARTIAL, shipped.GetOrder().GetFulfilment())
		require.Equal(t, "2", shipped.GetOrder().GetItems()[0].GetDeliveredQuantity())
	}
	list, err := r.orders.ListDeliveries(ctx, &erpv1.ListDeliveriesRequest{OrderId: o.GetId()})
	require.NoError(t, err)
	require.Equal(t, []string{"S1", "S2"}, list.GetDeliveries()[0].GetItems()[0].GetSerialNumbers())
	events, err := r.orders.ListOrderEvents(ctx, &erpv1.ListOrderEventsRequest{OrderId: o.GetId()})
	require.NoError(t, err)
	require.Len(t, events.GetEvents(), 2)

	caps, err := r.backend.GetCapabilities(ctx, &erpv1.GetCapabilitiesRequest{})
	require.NoError(t, err)
	require.Equal(t, "embedded", caps.GetCapabilities().GetKind())
	today := time.Now().UTC()
	counts, err := r.backend.CountDocuments(ctx, &erpv1.CountDocumentsRequest{
		From: today.AddDate(0, 0, -1).Format(time.DateOnly), Until: today.AddDate(0, 0, 2).Format(time.DateOnly),
	})
	require.NoError(t, err)
	have := map[string]int64{}
	for _, c := range counts.GetCounts() {
		have[c.GetObject()] += c.GetDocuments()
	}
	require.Equal(t, map[string]int64{"customer": 2, "order": 1}, have)
	_, err = r.backend.CountDocuments(ctx, &erpv1.CountDocumentsRequest{From: "2026-02-30", Until: "2026-03-01"})
	require.Equal(t, fault.Invalid, fault.KindOf(err))
}

// TestValidateCancellation says of an order in every state what SetOrderStatus then does.
func TestValidateCancellation(t *testing.T) {
	t.Parallel()
	ctx, r := t.Context(), start(t, template.DSN(t, "sqlite"))
	_, err := r.products.BatchUpsertProducts(ctx, &erpv1.BatchUpsertProductsRequest{Products: []*erpv1.Product{{
		Sku: "pump", Name: "Pump", Active: true, Price: &erpv1.Money{Amount: "10", Currency: "EUR"},
	}}})
	require.NoError(t, err)
	made, err := upsert(ctx, r, "buyer")
	require.NoError(t, err)
	buyer := made.GetResults()[0].GetCustomer().GetId()
	for name, c := range map[string]struct {
		state      erpv1.OrderState
		fulfilment erpv1.Progress
		reason     string
	}{
		"received":            {},
		"partially delivered": {erpv1.OrderState_ORDER_STATE_CONFIRMED, erpv1.Progress_PROGRESS_PARTIAL, ""},
		"delivered":           {erpv1.OrderState_ORDER_STATE_CONFIRMED, erpv1.Progress_PROGRESS_FULL, "ORDER_DELIVERED"},
		"completed":           {erpv1.OrderState_ORDER_STATE_COMPLETED, 0, "ORDER_CLOSED"},
		"cancelled already":   {erpv1.OrderState_ORDER_STATE_CANCELLED, 0, ""},
	} {
		placed, err := r.orders.CreateOrder(ctx, &erpv1.CreateOrderRequest{Order: &erpv1.Order{
			ClientRef: name, CustomerId: buyer, Items: []*erpv1.OrderItem{{Sku: "pump", Quantity: "3"}},
		}})
		require.NoError(t, err)
		id := placed.GetOrder().GetId()
		moved, err := r.orders.SetOrderStatus(ctx, &erpv1.SetOrderStatusRequest{Id: id, State: c.state, Fulfilment: c.fulfilment})
		require.NoError(t, err)
		told, refused := r.orders.ValidateCancellation(ctx, &erpv1.ValidateCancellationRequest{Id: id})
		got, err := r.orders.GetOrder(ctx, &erpv1.GetOrderRequest{Id: id})
		require.NoError(t, err)
		require.True(t, proto.Equal(moved.GetOrder(), got.GetOrder()), "%s: nothing is done", name)
		done, err := r.orders.SetOrderStatus(ctx, &erpv1.SetOrderStatusRequest{Id: id, State: erpv1.OrderState_ORDER_STATE_CANCELLED})
		require.Equal(t, c.reason, fault.ReasonOf(err), name)
		require.Equal(t, fault.FromStatus(err), fault.FromStatus(refused), name)
		if err == nil {
			done.Order.Version, done.Order.UpdateTime = told.GetOrder().GetVersion(), told.GetOrder().GetUpdateTime()
			require.True(t, proto.Equal(done.GetOrder(), told.GetOrder()), name)
		}
	}
	_, err = r.orders.ValidateCancellation(ctx, &erpv1.ValidateCancellationRequest{Id: "none"})
	require.Equal(t, fault.NotFound, fault.KindOf(err))
}

// memo is an adapter of another module, as far as this test asks it.
type memo struct{ adapter.System }

func (memo) Kind() string                                { return "memo" }
func (memo) Ping(context.Context) error                  { return nil }
func (memo) Customers() adapter.Source[adapter.Customer] { return memos{} }
func (memo) Contacts() adapter.Source[adapter.Contact]   { return nil }
func (memo) Capabilities(context.Context) (adapter.Capabilities, error) {
	return adapter.Capabilities{Kind: "memo", Release: "1"}, nil
}

func (memo) ChangedOrders(context.Context, time.Time, func([]adapter.Order) error) error { return nil }

func (memo) Products(_ context.Context, skus []string) ([]adapter.Product, error) {
	return []adapter.Product{{SKU: skus[0], Name: "Of another module", Unit: adapter.Piece, Active: true}}, nil
}

type memos struct {
	adapter.Source[adapter.Customer]
}

func (memos) Fields() []string { return []string{"name"} }

func (memos) Changed(context.Context, time.Time, func([]adapter.Snapshot[adapter.Customer]) error) error {
	return nil
}

// TestSystem_OfAnotherModule serves an adapter that this module does not know.
func TestSystem_OfAnotherModule(t *testing.T) {
	t.Parallel()
	r := startWith(t, template.DSN(t, "sqlite"), func(cfg *systemerp.Config) { cfg.Backend.System = memo{} })
	caps, err := r.backend.GetCapabilities(t.Context(), &erpv1.GetCapabilitiesRequest{})
	require.NoError(t, err)
	require.Equal(t, []string{"memo", "1"}, []string{caps.GetCapabilities().GetKind(), caps.GetCapabilities().GetRelease()})
	got, err := r.products.GetProduct(t.Context(), &erpv1.GetProductRequest{Sku: "X"})
	require.NoError(t, err)
	require.Equal(t, "Of another module", got.GetProduct().GetName())
	_, err = r.products.SetInventory(t.Context(), &erpv1.SetInventoryRequest{Inventory: &erpv1.Inventory{Sku: "X", Site: "s", OnHand: "1"}})
	require.Equal(t, "CAPABILITY_MISSING", fault.ReasonOf(err), "what its capabilities do not name is not asked of it")
	_, err = r.orders.ValidateCancellation(t.Context(), &erpv1.ValidateCancellationRequest{Id: "1"})
	require.Equal(t, "CAPABILITY_MISSING", fault.ReasonOf(err))
}

// TestTryton runs the whole service on a real Tryton: the suite of the back end has the cases, this is the wiring.
func TestTryton(t *testing.T) {
	t.Parallel()
	address := os.Getenv("SELFSAME_TEST_TRYTON")
	if address == "" {
		if os.Getenv("CI") == "true" {
			t.Fatal("SELFSAME_TEST_TRYTON is not set")
		}
		t.Skip("SELFSAME_TEST_TRYTON is not set")
	}
	r := startWith(t, template.DSN(t, "sqlite"), func(cfg *systemerp.Config) {
		cfg.Backend.Kind = "tryton"
		cfg.Backend.Tryton.URL, cfg.Backend.Tryton.User, cfg.Backend.Tryton.Password = address, "selfsame", conf.Secret("Tr7-xq9Zk2")
	})
	caps, err := r.backend.GetCapabilities(t.Context(), &erpv1.GetCapabilitiesRequest{})
	require.NoError(t, err)
	require.Equal(t, "tryton", caps.GetCapabilities().GetKind())
	require.Contains(t, caps.GetCapabilities().GetCurrencies(), "EUR")
	_, err = r.products.BatchUpsertPrices(t.Context(), &erpv1.BatchUpsertPricesRequest{Prices: []*erpv1.Price{{Sku: "SELF-1", Amount: &erpv1.Money{Amount: "1", Currency: "EUR"}}}})
	require.Equal(t, "CAPABILITY_MISSING", fault.ReasonOf(err))
	got, err := r.products.GetProduct(t.Context(), &erpv1.GetProductRequest{Sku: "SELF-1"})
	require.NoError(t, err)
	require.Equal(t, []string{"C62", "12.50"}, []string{got.GetProduct().GetUnit(), got.GetProduct().GetPrice().GetAmount()})
}
