package source

import (
	"context"
	"math/big"
	"slices"
	"strings"
	"time"

	"github.com/selfsame-io/selfsame/pkg/fault"
	erpv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/erp/v1"
)

// ReasonCustomerPending means that the ERP does not have the customer (yet): the same call may succeed later.
const ReasonCustomerPending = "CUSTOMER_PENDING"

// reasonClientRef is what system-erp says when a client reference belongs to another order.
const reasonClientRef = "CLIENT_REF_REUSED"

// orderTimeout bounds one try to place an order. It is shorter than a phone waits, so that the phone hears of it.
const orderTimeout = 4 * time.Second

// NewItem is one line of an order to place.
type NewItem struct {
	// SKU is the product.
	SKU string
	// Quantity is a decimal number.
	Quantity string
}

// NewOrder is an order to place.
type NewOrder struct {
	// ClientRef is our name for the order, the same in every try: the ERP makes one order per reference.
	ClientRef string
	// Customer is the ERP's record of the customer.
	Customer string
	// PurchaseOrder is the customer's own number of the order; may be empty.
	PurchaseOrder string
	// Items are the lines.
	Items []NewItem
}

// Pending is the refusal of an order for a customer that the ERP does not have. Nothing was placed.
func Pending() error {
	return fault.New(fault.Conflict, ReasonCustomerPending, "the ERP does not have the customer yet").WithRetryAfter(2 * time.Second)
}

// Place places an order, or finds the one that an earlier try with the same reference placed. That one may be for
// another record of the same customer, because records are merged between tries; with other lines it is refused.
func (e *ERP) Place(ctx context.Context, o NewOrder) (Order, error) {
	ctx, cancel := context.WithTimeout(ctx, orderTimeout)
	defer cancel()
	asked := &erpv1.Order{ClientRef: o.ClientRef, CustomerId: o.Customer, CustomerPo: o.PurchaseOrder}
	for _, it := range o.Items {
		asked.Items = append(asked.Items, &erpv1.OrderItem{Sku: it.SKU, Quantity: it.Quantity})
	}
	resp, err := e.orders.CreateOrder(ctx, &erpv1.CreateOrderRequest{Order: asked})
	if err == nil {
		return orderOf(resp.GetOrder()), nil
	}
	err = fault.FromStatus(err)
	refused, _ := fault.As(err)
	if fault.ReasonOf(err) != reasonClientRef || refused.Meta["record_id"] == "" {
		return Order{}, refusedOrder(err)
	}
	first, readErr := e.orders.GetOrder(ctx, &erpv1.GetOrderRequest{Id: refused.Meta["record_id"]})
	if readErr != nil {
		return Order{}, fault.FromStatus(readErr)
	}
	if !sameLines(first.GetOrder(), asked) {
		return Order{}, err
	}
	return orderOf(first.GetOrder()), nil
}

// Order returns one order and the ERP's record of the customer it belongs to.
func (e *ERP) Order(ctx context.Context, id string) (o Order, customer string, err error) {
	resp, err := e.orders.GetOrder(ctx, &erpv1.GetOrderRequest{Id: id})
	if err != nil {
		return Order{}, "", fault.FromStatus(err)
	}
	return orderOf(resp.GetOrder()), resp.GetOrder().GetCustomerId(), nil
}

// refusedOrder tells a refusal from our caller's view: what it did not send cannot be wrong in what it sent.
func refusedOrder(err error) error {
	e, ok := fault.As(err)
	if !ok || e.Kind != fault.Invalid {
		return err
	}
	out := *e
	out.Fields = slices.Clone(e.Fields)
	for i, f := range out.Fields {
		line, field, _ := strings.Cut(f.Path, "].")
		switch {
		case f.Path == "order.customer_id":
			return Pending()
		case field != "" && field != "sku" && field != "quantity":
			out.Fields[i].Path = line + "].sku" // a price or a unit that the product lacks
		}
	}
	return &out
}

func sameLines(have, asked *erpv1.Order) bool {
	return have.GetCustomerPo() == asked.GetCustomerPo() && slices.EqualFunc(have.GetItems(), asked.GetItems(), func(a, b *erpv1.OrderItem) bool {
		x, okX := new(big.Rat).SetString(a.GetQuantity())
		y, okY := new(big.Rat).SetString(b.GetQuantity())
		return a.GetSku() == b.GetSku() && okX && okY && x.Cmp(y) == 0
	})
}

func orderOf(m *erpv1.Order) Order {
	return Order{
		ID: m.GetId(), OrderTime: timeOf(m.GetOrderTime()), Items: len(m.GetItems()),
		State:       word(m.GetState().String(), "ORDER_STATE_"),
		Fulfilment:  word(m.GetFulfilment().String(), "PROGRESS_"),
		Billing:     word(m.GetBilling().String(), "PROGRESS_"),
		TotalAmount: m.GetTotal().GetAmount(), TotalCurrency: m.GetTotal().GetCurrency(),
		Version: m.GetVersion(), Updated: timeOf(m.GetUpdateTime()),
	}
}
