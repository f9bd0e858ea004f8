package erp

import (
	"cmp"
	"maps"
	"slices"

	"github.com/selfsame-io/selfsame/pkg/fault"
)

// CustomerKind tells organisations from people. The numbers are stored and equal those of the contract.
type CustomerKind uint8

// The kinds of customers.
const (
	Organization CustomerKind = 1
	Person       CustomerKind = 2
)

// TaxID is a tax or register number; a customer has one per scheme.
type TaxID struct{ Scheme, Value string }

// Usage says what an address is used for. The numbers are stored and equal those of the contract; zero means UsageDefault.
type Usage uint8

// The usages of an address.
const (
	UsageDefault Usage = 1
	UsageBillTo  Usage = 2
	UsageShipTo  Usage = 3
)

// Address is one postal address of a customer; a customer has one per usage.
type Address struct {
	Usage                                     Usage
	Street, City, PostalCode, Region, Country string
}

// Customer is a business partner that buys from us.
type Customer struct {
	Head
	// Number is what people see; unique, the id when nothing else was given.
	Number       string
	Kind         CustomerKind
	Name         string
	TaxIDs       []TaxID // sorted by scheme
	Email        string
	Phone        string
	Website      string
	Addresses    []Address // sorted by usage
	Language     string
	Currency     string
	PaymentTerms string
	// OrderBlock is true while no order may be taken.
	OrderBlock bool
	// Extensions are codes without a canonical field. A write without a mask adds to them, a masked one replaces them.
	Extensions map[string]string
	// MergedInto is the id of the customer that a merge put in this one's place; only a tombstone has one.
	MergedInto string
}

// Limits of extensions, which the contract leaves to the back end.
const (
	maxExtensions     = 50
	maxExtensionKey   = 64
	maxExtensionValue = 1024
)

// Customers returns the schema of customers.
func Customers() *Schema[Customer] {
	return &Schema[Customer]{
		name: "customer",
		head: func(c *Customer) *Head { return &c.Head },
		fields: []field[Customer]{
			value("number", func(c *Customer) *string { return &c.Number }),
			value("kind", func(c *Customer) *CustomerKind { return &c.Kind }),
			value("name", func(c *Customer) *string { return &c.Name }),
			list("tax_ids", func(c *Customer) *[]TaxID { return &c.TaxIDs }),
			value("email", func(c *Customer) *string { return &c.Email }),
			value("phone", func(c *Customer) *string { return &c.Phone }),
			value("website", func(c *Customer) *string { return &c.Website }),
			list("addresses", func(c *Customer) *[]Address { return &c.Addresses }),
			value("language", func(c *Customer) *string { return &c.Language }),
			value("currency", func(c *Customer) *string { return &c.Currency }),
			value("payment_terms", func(c *Customer) *string { return &c.PaymentTerms }),
			value("order_block", func(c *Customer) *bool { return &c.OrderBlock }),
			extensions(),
		},
		tidy:  tidyCustomer,
		check: checkCustomer,
		bury: func(c *Customer) {
			*c = Customer{Head: c.Head, Number: c.Number, Kind: c.Kind}
		},
		heir: func(c *Customer) *string { return &c.MergedInto },
	}
}

func extensions() field[Customer] {
	return field[Customer]{
		name: "extensions",
		set:  func(c *Customer) bool { return len(c.Extensions) > 0 },
		copy: func(dst, src *Customer) { dst.Extensions = maps.Clone(src.Extensions) },
		add: func(dst, src *Customer) {
			sum := maps.Clone(dst.Extensions)
			if sum == nil {
				sum = make(map[string]string, len(src.Extensions))
			}
			maps.Copy(sum, src.Extensions)
			dst.Extensions = sum
		},
		same: func(a, b *Customer) bool { return maps.Equal(a.Extensions, b.Extensions) },
	}
}

// tidyCustomer brings a customer into the one form in which it is stored and compared. A kind that is not given stays
// zero in a partial write; checkCustomer sees only whole records and settles it there.
func tidyCustomer(c *Customer) {
	c.TaxIDs = slices.Clone(c.TaxIDs)
	slices.SortStableFunc(c.TaxIDs, TaxID.Compare)
	c.Addresses = slices.Clone(c.Addresses)
	for i := range c.Addresses {
		c.Addresses[i].Usage = max(c.Addresses[i].Usage, UsageDefault)
	}
	slices.SortStableFunc(c.Addresses, func(a, b Address) int { return cmp.Compare(a.Usage, b.Usage) })
	if c.ID != "" && c.Version > 0 {
		c.Kind = max(c.Kind, Organization)
		c.Number = cmp.Or(c.Number, c.ID)
	}
}

func checkCustomer(c *Customer) error {
	if blank(c.Name) {
		return fault.InvalidField("customer.name", ReasonRequired, "a customer has a name")
	}
	for i := 1; i < len(c.TaxIDs); i++ {
		if c.TaxIDs[i].Scheme == c.TaxIDs[i-1].Scheme {
			return fault.InvalidField("customer.tax_ids", ReasonDuplicate, "a customer has one number per scheme")
		}
	}
	for i := 1; i < len(c.Addresses); i++ {
		if c.Addresses[i].Usage == c.Addresses[i-1].Usage {
			return fault.InvalidField("customer.addresses", ReasonDuplicate, "a customer has one address per usage")
		}
	}
	if len(c.Extensions) > maxExtensions {
		return fault.InvalidField("customer.extensions", ReasonTooMany, "a customer has at most %d extensions", maxExtensions)
	}
	for k, v := range c.Extensions {
		if k == "" || len(k) > maxExtensionKey || len(v) > maxExtensionValue {
			return fault.InvalidField("customer.extensions", fault.ReasonValidationFailed,
				"an extension has a key of 1 to %d bytes and a value of at most %d bytes", maxExtensionKey, maxExtensionValue)
		}
	}
	return nil
}

// Compare orders tax numbers by scheme.
func (t TaxID) Compare(o TaxID) int { return cmp.Compare(t.Scheme, o.Scheme) }
