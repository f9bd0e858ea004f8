package erp

import (
	"fmt"
	"slices"
	"time"

	"github.com/selfsame-io/selfsame/pkg/fault"
)

// Delivery is what left the warehouse, or is about to, for one order.
type Delivery struct {
	// ID is the number of the delivery in the back end.
	ID, OrderID string
	State       DeliveryState
	// Carrier and Tracking are as the back end has them; often empty.
	Carrier, Tracking string
	// Shipped is when the goods left; zero while they have not.
	Shipped time.Time
	Items   []DeliveryItem
	Version int64
	Updated time.Time
}

// DeliveryState says how far a delivery is. The numbers are stored and equal those of the contract.
type DeliveryState uint8

// The states of a delivery.
const (
	DeliveryPlanned   DeliveryState = 1
	DeliveryShipped   DeliveryState = 2
	DeliveryCancelled DeliveryState = 3
)

// DeliveryItem is what a delivery holds of one line of its order.
type DeliveryItem struct {
	// Line is the line of the order; zero when the back end does not say.
	Line     int32
	SKU      string
	Quantity Decimal
	Unit     string
	// Serials are the serial numbers of the pieces.
	Serials []string
}

// OrderEvent is one step of an order: its facets from At on.
type OrderEvent struct {
	// Sequence counts the steps of one order from 1.
	Sequence            int64
	At                  time.Time
	State               OrderState
	Fulfilment, Billing Progress
	BlockReason         string
}

// Event is the order's present step without sequence and time.
func (o Order) Event() OrderEvent {
	return OrderEvent{State: o.State, Fulfilment: o.Fulfilment, Billing: o.Billing, BlockReason: o.BlockReason}
}

// SameStep tells whether e and o are the same step, whenever they were taken.
func (e OrderEvent) SameStep(o OrderEvent) bool {
	return e.State == o.State && e.Fulfilment == o.Fulfilment && e.Billing == o.Billing && e.BlockReason == o.BlockReason
}

// Deliver returns d as it is to be stored: with its lines checked and completed, its version and times. Before is the delivery
// with its id, if there is one; an equal one is returned unchanged, with its version. What has left the warehouse is added to
// the lines of o. Refusals name the field, with a path that begins at "delivery".
func (o *Order) Deliver(d Delivery, before []Delivery, now time.Time) (Delivery, error) {
	d.State = max(d.State, DeliveryPlanned)
	d.Version, d.Updated, d.Shipped = 1, now, d.Shipped.UTC().Truncate(time.Microsecond)
	if d.State != DeliveryShipped {
		d.Shipped = time.Time{}
	} else if d.Shipped.IsZero() || d.Shipped.Unix() <= 0 {
		d.Shipped = now
		if len(before) > 0 && !before[0].Shipped.IsZero() && before[0].State == DeliveryShipped {
			d.Shipped = before[0].Shipped
		}
	}
	if err := o.lines(&d); err != nil {
		return d, err
	}
	if len(before) > 0 {
		old := before[0]
		if old.OrderID != d.OrderID {
			return d, fault.InvalidField("delivery.order_id", "DELIVERY_OF_ANOTHER_ORDER", "the delivery belongs to another order")
		}
		if old.sameAs(d) {
			return old, nil
		}
		if old.State != DeliveryPlanned {
			return d, fault.New(fault.Precondition, "DELIVERY_CLOSED", "the delivery has left or was called off; it does not change any more")
		}
		d.Version = old.Version + 1
	}
	if d.State != DeliveryShipped {
		return d, nil
	}
	if o.State == OrderCancelled || o.State == OrderCompleted {
		return d, fault.New(fault.Precondition, "ORDER_CLOSED", "the order is closed")
	}
	return d, o.ship(d)
}

// lines completes the items of a delivery from the order's lines.
func (o *Order) lines(d *Delivery) error {
	d.Items = slices.Clone(d.Items)
	if len(d.Items) == 0 {
		return fault.InvalidField("delivery.items", ReasonRequired, "a delivery holds something")
	}
	for i := range d.Items {
		it, path := &d.Items[i], fmt.Sprintf("delivery.items[%d]", i)
		n := slices.IndexFunc(o.Items, func(l Item) bool { return l.Line == it.Line })
		switch {
		case n < 0:
			return fault.InvalidField(path+".line", ReasonUnknownRecord, "the order has no such line")
		case it.SKU != "" && it.SKU != o.Items[n].SKU:
			return fault.InvalidField(path+".sku", ReasonUnknownRecord, "the line of the order is for another product")
		case it.Unit != "" && it.Unit != o.Items[n].Unit:
			return fault.InvalidField(path+".unit", "UNIT_MISMATCH", "the line of the order is in another unit")
		case it.Quantity.Sign() <= 0 || !it.Quantity.Micro().IsInt64():
			return fault.InvalidField(path+".quantity", fault.ReasonValidationFailed, "a quantity is greater than zero")
		}
		it.SKU, it.Unit = o.Items[n].SKU, o.Items[n].Unit
	}
	return nil
}

// ship adds a delivery to what has been delivered.
func (o *Order) ship(d Delivery) error {
	o.Items = slices.Clone(o.Items)
	for i, it := range d.Items {
		n := slices.IndexFunc(o.Items, func(l Item) bool { return l.Line == it.Line })
		sum := o.Items[n].Delivered.Add(it.Quantity)
		if sum.Cmp(o.Items[n].Quantity) > 0 {
			return fault.InvalidField(fmt.Sprintf("delivery.items[%d].quantity", i), "QUANTITY_EXCEEDED", "more than the line has left to deliver")
		}
		o.Items[n].Delivered = sum
	}
	return nil
}

// Shipped is the fulfilment that follows from what has been delivered of the lines.
func (o *Order) Shipped() Progress {
	some, all := false, true
	for _, it := range o.Items {
		some = some || it.Delivered.Sign() > 0
		all = all && it.Delivered.Cmp(it.Quantity) >= 0
	}
	switch {
	case some && all:
		return ProgressFull
	case some:
		return ProgressPartial
	default:
		return ProgressNone
	}
}

func (d Delivery) sameAs(o Delivery) bool {
	return d.State == o.State && d.Carrier == o.Carrier && d.Tracking == o.Tracking && d.Shipped.Equal(o.Shipped) &&
		slices.EqualFunc(d.Items, o.Items, func(a, b DeliveryItem) bool {
			return a.Line == b.Line && a.SKU == b.SKU && a.Quantity.Cmp(b.Quantity) == 0 && a.Unit == b.Unit && slices.Equal(a.Serials, b.Serials)
		})
}
