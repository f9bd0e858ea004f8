package erp

import (
	"time"
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
