package adapter

import (
	"math/big"

	"github.com/selfsame-io/selfsame/services/system-erp/internal/erp"
)

type (
	// Customer is a business partner that buys.
	Customer = erp.Customer
	// CustomerKind tells organisations from people.
	CustomerKind = erp.CustomerKind
	// Contact is a person who works for a customer.
	Contact = erp.Contact
	// Head is what customers and contacts have in common.
	Head = erp.Head
	// Ref is the id of a record in another system.
	Ref = erp.Ref
	// Address is one postal address.
	Address = erp.Address
	// Usage is what an address is for.
	Usage = erp.Usage
	// TaxID is a tax or register number.
	TaxID = erp.TaxID
	// Order is a sales order with its three facets.
	Order = erp.Order
	// OrderState is the commercial facet.
	OrderState = erp.OrderState
	// Progress is how far a facet has come.
	Progress = erp.Progress
	// Item is one line of an order.
	Item = erp.Item
	// OrderEvent is one step of an order.
	OrderEvent = erp.OrderEvent
	// Delivery is what left the warehouse for an order.
	Delivery = erp.Delivery
	// DeliveryItem is what a delivery holds of one line.
	DeliveryItem = erp.DeliveryItem
	// DeliveryState is how far a delivery is.
	DeliveryState = erp.DeliveryState
	// Product is something that is sold.
	Product = erp.Product
	// Price is what one unit of a product costs.
	Price = erp.Price
	// Stock is what is on hand of a product at a site.
	Stock = erp.Stock
	// Warranty covers one piece.
	Warranty = erp.Warranty
	// Money is an amount in a currency.
	Money = erp.Money
	// Decimal is an exact number.
	Decimal = erp.Decimal
	// Outcome is what a write did.
	Outcome = erp.Outcome
)

// The values of their closed lists.
const (
	Organization = erp.Organization
	Person       = erp.Person

	UsageDefault = erp.UsageDefault
	UsageBillTo  = erp.UsageBillTo
	UsageShipTo  = erp.UsageShipTo

	OrderReceived  = erp.OrderReceived
	OrderConfirmed = erp.OrderConfirmed
	OrderCompleted = erp.OrderCompleted
	OrderCancelled = erp.OrderCancelled

	ProgressNone    = erp.ProgressNone
	ProgressPartial = erp.ProgressPartial
	ProgressFull    = erp.ProgressFull

	DeliveryPlanned   = erp.DeliveryPlanned
	DeliveryShipped   = erp.DeliveryShipped
	DeliveryCancelled = erp.DeliveryCancelled

	Refused       = erp.Refused
	Created       = erp.Created
	Updated       = erp.Updated
	Unchanged     = erp.Unchanged
	Matched       = erp.Matched
	AlreadyExists = erp.AlreadyExists

	// Piece is the unit of things that are counted, in UN/ECE Recommendation 20.
	Piece = erp.Piece

	ReasonRequired      = erp.ReasonRequired
	ReasonUnknownRecord = erp.ReasonUnknownRecord
	ReasonDeleted       = erp.ReasonDeleted
)

// ParseDecimal reads an exact number with at most 15 digits before the point and 6 after it: "1299.90".
func ParseDecimal(s string) (Decimal, error) { return erp.ParseDecimal(s) }

// Micro is the number of so many millionths.
func Micro(n *big.Int) Decimal { return erp.Micro(n) }

// MinorDigits is how many digits after the point a currency has in ISO 4217.
func MinorDigits(currency string) int { return erp.MinorDigits(currency) }
