package erp

import (
	"cmp"

	"github.com/selfsame-io/selfsame/pkg/fault"
)

// Price is what one unit of a product costs, for everybody or for one customer, from a quantity and a day on.
type Price struct {
	SKU, CustomerID string
	// MinQuantity is the quantity of a line from which the price holds.
	MinQuantity Decimal
	// From and Until are days, both included, "2026-11-30"; empty for always and for ever.
	From, Until string
	Amount      Money
}

// Check tells what makes the i-th price of a request unacceptable.
func (p Price) Check(path string) error {
	switch {
	case blank(p.SKU):
		return fault.InvalidField(path+".sku", ReasonRequired, "a price has a product")
	case !p.Amount.Given():
		return fault.InvalidField(path+".amount", ReasonRequired, "a price has an amount and a currency")
	case p.Amount.Amount.Sign() < 0:
		return fault.InvalidField(path+".amount.amount", fault.ReasonValidationFailed, "a price is not negative")
	case p.MinQuantity.Sign() < 0 || !p.MinQuantity.Micro().IsInt64():
		return fault.InvalidField(path+".min_quantity", fault.ReasonValidationFailed, "not a quantity")
	case p.From != "" && !isDay(p.From):
		return fault.InvalidField(path+".valid_from", fault.ReasonValidationFailed, "not a day of the calendar")
	case p.Until != "" && !isDay(p.Until):
		return fault.InvalidField(path+".valid_until", fault.ReasonValidationFailed, "not a day of the calendar")
	case p.From != "" && p.Until != "" && p.Until < p.From:
		return fault.InvalidField(path+".valid_until", fault.ReasonValidationFailed, "a price ends after it begins")
	}
	return nil
}

// holds tells whether p is valid for a line of a quantity on a day, in a currency (any when empty).
func (p Price) holds(quantity Decimal, day, currency string) bool {
	return quantity.Cmp(p.MinQuantity) >= 0 && (p.From == "" || p.From <= day) && (p.Until == "" || day <= p.Until) &&
		(currency == "" || currency == p.Amount.Currency)
}

// ComparePrices orders prices of one product, best first: the customer's own before everybody's, the greater quantity before
// the smaller, the later day before the earlier, then the currency and the lower amount.
func ComparePrices(a, b Price) int {
	own := func(p Price) int {
		if p.CustomerID != "" {
			return 0
		}
		return 1
	}
	return cmp.Or(cmp.Compare(own(a), own(b)), b.MinQuantity.Cmp(a.MinQuantity), cmp.Compare(b.From, a.From),
		cmp.Compare(a.Amount.Currency, b.Amount.Currency), a.Amount.Amount.Cmp(b.Amount.Amount))
}

// BestPrice returns the first of prices, in the order of ComparePrices, that holds; false when none does.
func BestPrice(prices []Price, quantity Decimal, day, currency string) (Money, bool) {
	var best *Price
	for i, p := range prices {
		if p.holds(quantity, day, currency) && (best == nil || ComparePrices(p, *best) < 0) {
			best = &prices[i]
		}
	}
	if best == nil {
		return Money{}, false
	}
	return best.Amount, true
}
