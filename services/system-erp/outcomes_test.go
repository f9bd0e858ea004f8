package systemerp_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	erpv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/erp/v1"
)

// TestOutcomes_OfEveryWrite sends each kind of write as something new or changed, and the same message once more: each call
// tells what it did, and the second delivery did nothing.
func TestOutcomes_OfEveryWrite(t *testing.T) {
	t.Parallel()
	r, ctx := start(t, template.DSN(t, "sqlite")), t.Context()
	const (
		made      = erpv1.Outcome_OUTCOME_CREATED
		changed   = erpv1.Outcome_OUTCOME_UPDATED
		unchanged = erpv1.Outcome_OUTCOME_UNCHANGED
	)
	euro := &erpv1.Money{Amount: "2.50", Currency: "EUR"}
	name := &fieldmaskpb.FieldMask{Paths: []string{"name"}}
	products := &erpv1.BatchUpsertProductsRequest{Products: []*erpv1.Product{{Sku: "pump", Name: "Pump", Active: true, Price: euro}}}
	_, err := r.products.BatchUpsertProducts(ctx, products)
	require.NoError(t, err)
	buyer, err := r.customers.CreateCustomer(ctx, &erpv1.CreateCustomerRequest{Customer: &erpv1.Customer{Name: "Buyer"}})
	require.NoError(t, err)
	require.Equal(t, made, buyer.GetOutcome())
	person, err := r.contacts.CreateContact(ctx, &erpv1.CreateContactRequest{Contact: &erpv1.Contact{LastName: "Who"}})
	require.NoError(t, err)
	require.Equal(t, made, person.GetOutcome())
	id, who := buyer.GetCustomer().GetId(), person.GetContact().GetId()
	placed, err := r.orders.CreateOrder(ctx, &erpv1.CreateOrderRequest{Order: &erpv1.Order{
		ClientRef: "first", CustomerId: id, Items: []*erpv1.OrderItem{{Sku: "pump", Quantity: "1"}},
	}})
	require.NoError(t, err)
	first := placed.GetOrder().GetId()
	from := timestamppb.New(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
	until := timestamppb.New(time.Date(2028, 3, 1, 12, 0, 0, 0, time.UTC))

	for what, c := range map[string]struct {
		want erpv1.Outcome
		do   func(ctx context.Context) (interface{ GetOutcome() erpv1.Outcome }, error)
	}{
		"a customer": {made, func(ctx context.Context) (interface{ GetOutcome() erpv1.Outcome }, error) {
			resp, err := upsert(ctx, r, "new")
			return resp.GetResults()[0], err
		}},
		"a changed customer": {changed, func(ctx context.Context) (interface{ GetOutcome() erpv1.Outcome }, error) {
			return r.customers.UpdateCustomer(ctx, &erpv1.UpdateCustomerRequest{Customer: &erpv1.Customer{Id: id, Name: "New"}, UpdateMask: name})
		}},
		"a deleted contact": {changed, func(ctx context.Context) (interface{ GetOutcome() erpv1.Outcome }, error) {
			return r.contacts.DeleteContact(ctx, &erpv1.DeleteContactRequest{Id: who})
		}},
		"an order": {made, func(ctx context.Context) (interface{ GetOutcome() erpv1.Outcome }, error) {
			return r.orders.CreateOrder(ctx, &erpv1.CreateOrderRequest{Order: &erpv1.Order{
				ClientRef: "second", CustomerId: id, Items: []*erpv1.OrderItem{{Sku: "pump", Quantity: "1"}},
			}})
		}},
		"what was invoiced": {changed, func(ctx context.Context) (interface{ GetOutcome() erpv1.Outcome }, error) {
			return r.orders.SetOrderStatus(ctx, &erpv1.SetOrderStatusRequest{Id: first, Billing: erpv1.Progress_PROGRESS_FULL})
		}},
		"a delivery": {made, func(ctx context.Context) (interface{ GetOutcome() erpv1.Outcome }, error) {
			return r.orders.RecordDelivery(ctx, &erpv1.RecordDeliveryRequest{Delivery: &erpv1.Delivery{
				Id: "D", OrderId: first, Items: []*erpv1.DeliveryItem{{Line: 10, Quantity: "1"}},
			}})
		}},
		"stock": {made, func(ctx context.Context) (interface{ GetOutcome() erpv1.Outcome }, error) {
			return r.products.SetInventory(ctx, &erpv1.SetInventoryRequest{Inventory: &erpv1.Inventory{Sku: "pump", Site: "s", OnHand: "3"}})
		}},
		"a warranty": {made, func(ctx context.Context) (interface{ GetOutcome() erpv1.Outcome }, error) {
			return r.products.UpsertWarranty(ctx, &erpv1.UpsertWarrantyRequest{Warranty: &erpv1.Warranty{
				SerialNumber: "S", Sku: "pump", CustomerId: id, StartTime: from, EndTime: until,
			}})
		}},
		"a price": {made, func(ctx context.Context) (interface{ GetOutcome() erpv1.Outcome }, error) {
			resp, err := r.products.BatchUpsertPrices(ctx, &erpv1.BatchUpsertPricesRequest{Prices: []*erpv1.Price{{Sku: "pump", CustomerId: id, Amount: euro}}})
			return firstOf(resp.GetOutcomes()), err
		}},
	} {
		for i, want := range []erpv1.Outcome{c.want, unchanged} {
			resp, err := c.do(ctx)
			require.NoError(t, err, what)
			require.Equal(t, want, resp.GetOutcome(), "%s, delivery %d", what, i+1)
		}
	}
	again, err := r.products.BatchUpsertProducts(ctx, products)
	require.NoError(t, err)
	require.Equal(t, unchanged, again.GetResults()[0].GetOutcome())
	for _, want := range []erpv1.Outcome{changed, unchanged} {
		gone, err := r.customers.DeleteCustomer(ctx, &erpv1.DeleteCustomerRequest{Id: id})
		require.NoError(t, err)
		require.Equal(t, want, gone.GetOutcome())
	}

	stock, err := r.products.ListInventory(ctx, &erpv1.ListInventoryRequest{Skus: []string{"pump"}})
	require.NoError(t, err)
	require.NotNil(t, stock.GetInventory()[0].GetAge(), "figures say how old they are")
	require.GreaterOrEqual(t, stock.GetInventory()[0].GetAge().AsDuration(), time.Duration(0))
	steps, err := r.orders.ListOrderEvents(ctx, &erpv1.ListOrderEventsRequest{OrderId: first})
	require.NoError(t, err)
	require.Equal(t, erpv1.Progress_PROGRESS_FULL, steps.GetEvents()[len(steps.GetEvents())-1].GetBilling(), "the billing facet is a step of the order")
}

// firstOf is the outcome of the first record of a batch.
type firstOf []erpv1.Outcome

func (o firstOf) GetOutcome() erpv1.Outcome {
	if len(o) == 0 {
		return erpv1.Outcome_OUTCOME_UNSPECIFIED
	}
	return o[0]
}
