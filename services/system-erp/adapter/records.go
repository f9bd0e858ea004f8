package adapter

import (
	"math/big"

	"github.com/selfsame-io/selfsame/services/system-erp/internal/erp"
)

// The records of the contract.
type (
	Customer     = erp.Customer
	CustomerKind = erp.CustomerKind
	Contact      = erp.Contact
	Head         = erp.Head
	Ref          = erp.Ref
	Address      = erp.Address
	Usage        = erp.Usage
	TaxID        = erp.TaxID
	Order        = erp.Order
	OrderState   = erp.OrderState
	Progress     = erp.Progress
	Item         = erp.Item
	OrderEvent   = erp.OrderEvent
	Delivery     = erp.Delivery
	DeliveryItem = erp.DeliveryItem
	// DeliveryState says how far a delivery is.
	DeliveryState = erp.DeliveryState
	Product       = erp.Product
	Price         = erp.Price
	Stock         = erp.Stock
	Warranty      = erp.Warranty
	Money         = erp.Money
	Decimal       = erp.Decimal
	Outcome       = erp.Outcome
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
