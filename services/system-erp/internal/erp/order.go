package erp

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/selfsame-io/selfsame/pkg/fault"
)

// OrderState is the commercial facet of an order. The numbers are stored and equal those of the contract.
type OrderState uint8

// The commercial states of an order.
const (
	OrderReceived  OrderState = 1
	OrderConfirmed OrderState = 2
	OrderCompleted OrderState = 3
	OrderCancelled OrderState = 4
)

// Progress is how far a facet has come. The numbers are stored and equal those of the contract.
type Progress uint8

// The steps of a facet.
const (
	ProgressNone    Progress = 1
	ProgressPartial Progress = 2
	ProgressFull    Progress = 3
)

// Item is one line of an order.
type Item struct {
	Line     int32
	SKU      string
	Quantity Decimal
	Unit     string
	Price    Money
	Name     string
	// Requested is the day the customer wants it, "2026-11-30"; empty for that of the order.
	Requested string
	// Delivered is how much has left the warehouse; only ever set by the back end.
	Delivered Decimal
}

// Order is a sales order with its three facets.
type Order struct {
	ID, ClientRef, CustomerID, CustomerPO string
	// ShipToID, BillToID and PayerID are the customers who get the goods, the invoice and pay; empty means CustomerID.
	ShipToID, BillToID, PayerID string
	// Ordered is when the order was placed; zero means now.
	Ordered time.Time
	// Requested is the day the customer wants the goods, "2026-11-30"; empty when not said.
	Requested string
	// Currency is the one all prices are in; empty for that of the first price.
	Currency string
	// Note is free text for the people who handle the order.
	Note                string
	Items               []Item
	State               OrderState
	Fulfilment, Billing Progress
	BlockReason         string
	Total               Money
	Version             int64
	Updated             time.Time
	// Warnings are the codes of what the ERP said beside its success, in its own words; only in the answer to the write that
	// they are about, and never stored.
	Warnings []string
}

// Open tells whether the order still needs stock. The SQL that sums reservations says the same.
func (o Order) Open() bool {
	return o.State != OrderCompleted && o.State != OrderCancelled && o.Fulfilment != ProgressFull
}

// Fingerprint identifies what a caller asked for, so that a repeated order with the same client reference is told from a
// different one. It covers what was sent, before any default is filled in; equal numbers written differently are equal.
func (o Order) Fingerprint() [sha256.Size]byte {
	h := sha256.New()
	put := func(parts ...string) {
		for _, p := range parts {
			h.Write(binary.AppendUvarint(nil, uint64(len(p))))
			h.Write([]byte(p))
		}
	}
	placed := ""
	if !o.Ordered.IsZero() {
		placed = o.Ordered.UTC().Format(time.RFC3339Nano)
	}
	put("order/v1", o.CustomerID, o.CustomerPO, placed, o.BlockReason, fmt.Sprint(len(o.Items)))
	for _, it := range o.Items {
		put(fmt.Sprint(it.Line), it.SKU, it.Quantity.String(), it.Unit, it.Price.Currency, it.Price.Amount.String(), it.Name)
	}
	// Fields that came later are covered only when they are used: what was stored before must still be recognised.
	for _, f := range [][2]string{
		{"ship_to", o.ShipToID}, {"bill_to", o.BillToID}, {"payer", o.PayerID}, {"requested", o.Requested}, {"currency", o.Currency}, {"note", o.Note},
	} {
		if f[1] != "" {
			put(f[0], f[1])
		}
	}
	for i, it := range o.Items {
		if it.Requested != "" {
			put("requested", fmt.Sprint(i), it.Requested)
		}
	}
	return [sha256.Size]byte(h.Sum(nil))
}

// Place fills in lines, units, names, prices and the total from the products, and starts the facets. It refuses with the
// path of the offending field, which begins at "order".
func (o *Order) Place(products map[string]Product) error {
	if err := o.number(); err != nil {
		return err
	}
	if err := o.dates(); err != nil {
		return err
	}
	o.State, o.Fulfilment, o.Billing = OrderReceived, ProgressNone, ProgressNone
	o.Total = Money{Currency: o.Currency}
	for i := range o.Items {
		if err := o.price(i, products); err != nil {
			return err
		}
	}
	if !o.Total.Amount.Fits() {
		return fault.InvalidField("order.items", "AMOUNT_TOO_LARGE", "the total has too many digits")
	}
	return nil
}

// dates refuses what is not a day of the calendar.
func (o *Order) dates() error {
	if o.Requested != "" && !isDay(o.Requested) {
		return fault.InvalidField("order.requested_date", fault.ReasonValidationFailed, "not a day of the calendar")
	}
	for i, it := range o.Items {
		if it.Requested != "" && !isDay(it.Requested) {
			return fault.InvalidField(itemPath(i, "requested_date"), fault.ReasonValidationFailed, "not a day of the calendar")
		}
	}
	return nil
}

func isDay(s string) bool {
	_, err := time.Parse(time.DateOnly, s)
	return err == nil
}

// number gives lines without a position the next multiple of ten.
func (o *Order) number() error {
	seen := make(map[int32]bool, len(o.Items))
	var last int32
	for i, it := range o.Items {
		if it.Line != 0 && seen[it.Line] {
			return fault.InvalidField(itemPath(i, "line"), ReasonDuplicate, "a line number is used once")
		}
		seen[it.Line] = true
		last = max(last, it.Line)
	}
	for i := range o.Items {
		if o.Items[i].Line == 0 {
			last = last/10*10 + 10
			o.Items[i].Line = last
		}
	}
	return nil
}

func (o *Order) price(i int, products map[string]Product) error {
	it := &o.Items[i]
	p, ok := products[it.SKU]
	switch {
	case !ok:
		return fault.InvalidField(itemPath(i, "sku"), ReasonUnknownRecord, "no product has this SKU")
	case !p.Active:
		return fault.InvalidField(itemPath(i, "sku"), "PRODUCT_INACTIVE", "the product is not sold")
	case !it.Quantity.Micro().IsInt64():
		return fault.InvalidField(itemPath(i, "quantity"), "AMOUNT_TOO_LARGE", "the quantity has too many digits")
	case it.Quantity.Sign() <= 0:
		return fault.InvalidField(itemPath(i, "quantity"), fault.ReasonValidationFailed, "a quantity is greater than zero")
	case it.Unit != "" && it.Unit != p.Unit:
		return fault.InvalidField(itemPath(i, "unit"), "UNIT_MISMATCH", "the product is sold in another unit")
	case it.Price.Amount.Sign() < 0:
		return fault.InvalidField(itemPath(i, "unit_price.amount"), fault.ReasonValidationFailed, "a price is not negative")
	}
	it.Unit, it.Name = p.Unit, cmp.Or(it.Name, p.Name)
	if !it.Price.Given() {
		it.Price = p.Price
	}
	if !it.Price.Given() {
		return fault.InvalidField(itemPath(i, "unit_price"), "PRICE_MISSING", "the product has no list price")
	}
	if o.Total.Currency == "" {
		o.Total.Currency = it.Price.Currency
	}
	if it.Price.Currency != o.Total.Currency {
		return fault.InvalidField(itemPath(i, "unit_price.currency"), "CURRENCY_MISMATCH", "an order has one currency")
	}
	amount := it.Quantity.Mul(it.Price.Amount, MinorDigits(it.Price.Currency))
	o.Total.Amount, o.Currency = o.Total.Amount.Add(amount), o.Total.Currency
	return nil
}

// Move sets facets (zero leaves one alone) and tells whether anything changed. Facets only move forward; a completed or
// cancelled order is closed, a delivered one cannot be cancelled.
func (o *Order) Move(state OrderState, fulfilment, billing Progress) (bool, error) {
	state = cmp.Or(state, o.State)
	fulfilment = cmp.Or(fulfilment, o.Fulfilment)
	billing = cmp.Or(billing, o.Billing)
	if state == o.State && fulfilment == o.Fulfilment && billing == o.Billing {
		return false, nil
	}
	switch {
	case o.State == OrderCancelled || o.State == OrderCompleted && state != OrderCompleted:
		return false, fault.New(fault.Precondition, "ORDER_CLOSED", "the order is closed")
	case state == OrderCancelled && o.Fulfilment == ProgressFull:
		return false, fault.New(fault.Precondition, "ORDER_DELIVERED", "a delivered order cannot be cancelled")
	case state < o.State || fulfilment < o.Fulfilment || billing < o.Billing:
		return false, fault.New(fault.Precondition, "ORDER_STATUS_BACKWARD", "the facets of an order only move forward")
	}
	o.State, o.Fulfilment, o.Billing = state, fulfilment, billing
	return true, nil
}

func itemPath(i int, field string) string { return fmt.Sprintf("order.items[%d].%s", i, field) }
