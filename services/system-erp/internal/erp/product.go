package erp

import (
	"cmp"
	"time"

	"github.com/selfsame-io/selfsame/pkg/fault"
)

// Piece is the unit of a product that names none: UN/ECE Recommendation 20 "C62".
const Piece = "C62"

// Product is something that is sold, identified by its SKU.
type Product struct {
	SKU, Name, Description, Unit, GTIN, Group string
	Price                                     Money
	Serialised, Active                        bool
	WarrantyMonths                            int32
	Version                                   int64
	Updated                                   time.Time
}

// Tidy fills in defaults and tells what makes p unacceptable, with a path that begins at "product".
func (p *Product) Tidy() error {
	p.Unit = cmp.Or(p.Unit, Piece)
	if blank(p.SKU) {
		return fault.InvalidField("product.sku", ReasonRequired, "a product has a SKU")
	}
	if blank(p.Name) {
		return fault.InvalidField("product.name", ReasonRequired, "a product has a name")
	}
	if p.Price.Amount.Sign() < 0 {
		return fault.InvalidField("product.price.amount", fault.ReasonValidationFailed, "a price is not negative")
	}
	return nil
}

// Same tells whether p and o differ in nothing but version and time.
func (p Product) Same(o Product) bool {
	if !p.Price.Equal(o.Price) {
		return false
	}
	o.Price, o.Version, o.Updated = p.Price, p.Version, p.Updated
	return p == o
}

// Stock is what is on hand of a product at a site.
type Stock struct {
	SKU, Site string
	OnHand    Decimal
	// Reserved and Available are computed by Reserve.
	Reserved, Available Decimal
	Unit                string
	AsOf                time.Time
}

// Reserve spreads a product's reserved quantity over its sites: each site in order gives what it has, the last one carries
// the rest. So the reserved quantities add up to the whole, and what can be promised is never counted twice.
func Reserve(sites []Stock, reserved Decimal) {
	for i := range sites {
		s := &sites[i]
		share := reserved
		if has := s.positive(); i < len(sites)-1 && share.Cmp(has) > 0 {
			share = has
		}
		s.Reserved = share
		reserved = reserved.Sub(share)
		s.Available = Decimal{}
		if free := s.OnHand.Sub(share); free.Sign() > 0 {
			s.Available = free
		}
	}
}

func (s *Stock) positive() Decimal {
	if s.OnHand.Sign() > 0 {
		return s.OnHand
	}
	return Decimal{}
}

// WarrantyStatus is derived from the dates of a warranty. The numbers equal those of the contract.
type WarrantyStatus uint8

// The states of a warranty.
const (
	WarrantyPending WarrantyStatus = 1
	WarrantyActive  WarrantyStatus = 2
	WarrantyExpired WarrantyStatus = 3
)

// Warranty covers one piece with a serial number, from Start until just before End.
type Warranty struct {
	Serial, SKU, CustomerID, OrderID string
	Start, End                       time.Time
	Terms                            string
}

// Same tells whether w and o say the same.
func (w Warranty) Same(o Warranty) bool {
	return w.Serial == o.Serial && w.SKU == o.SKU && w.CustomerID == o.CustomerID && w.OrderID == o.OrderID && w.Terms == o.Terms &&
		w.Start.Equal(o.Start) && w.End.Equal(o.End)
}

// Status is the state of the warranty at a moment.
func (w Warranty) Status(at time.Time) WarrantyStatus {
	switch {
	case at.Before(w.Start):
		return WarrantyPending
	case at.Before(w.End):
		return WarrantyActive
	default:
		return WarrantyExpired
	}
}
