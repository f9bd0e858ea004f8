// Package view shapes customers for screens, and what a screen sends for the process layer. It is pure: no I/O, no
// clock, no state.
//
// The invariant: what a client may write arrives unchanged, of an address what it names, and an entity tag changes
// exactly when what the client sees of the customer changes.
package view

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	customerv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/customer/v1"
	mobilev1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/mobile/v1"
)

// Customer shapes a customer without sections, as lists and answers to writes show it.
func Customer(c *customerv1.Customer) *mobilev1.Customer {
	out := shape(c)
	out.Etag = tag(c.GetEtag(), out)
	return out
}

// Screen shapes the customer screen. Without sections asked for, it equals Customer.
func Screen(v *customerv1.GetCustomerViewResponse) *mobilev1.Customer {
	out := shape(v.GetCustomer())
	for _, o := range v.GetOrders() {
		out.Orders = append(out.Orders, Order(o))
	}
	for _, c := range v.GetCases() {
		out.Cases = append(out.Cases, Case(c))
	}
	for _, w := range v.GetWarranties() {
		out.Warranties = append(out.Warranties, warranty(w))
	}
	out.Sources = appendSource(out.Sources, "orders", v.GetOrdersStatus())
	out.Sources = appendSource(out.Sources, "cases", v.GetCasesStatus())
	out.Sources = appendSource(out.Sources, "warranties", v.GetWarrantiesStatus())
	out.Etag = tag(v.GetCustomer().GetEtag(), out)
	return out
}

// appendSource adds where a section comes from, unless it was not asked for.
func appendSource(to []*mobilev1.Source, section string, s *customerv1.SectionStatus) []*mobilev1.Source {
	if s.GetState() == customerv1.SectionState_SECTION_STATE_UNSPECIFIED {
		return to
	}
	return append(to, &mobilev1.Source{
		Section: section, Name: s.GetSystem(), State: strings.TrimPrefix(s.GetState().String(), "SECTION_STATE_"),
		AsOf: s.GetAsOf(), Reason: s.GetReason(),
	})
}

func shape(c *customerv1.Customer) *mobilev1.Customer {
	out := &mobilev1.Customer{
		CustomerId: c.GetId(), Name: c.GetName(), TaxId: c.GetTaxId(), Email: c.GetEmail(), Phone: c.GetPhone(),
		Website: c.GetWebsite(), Segment: c.GetSegment(), ErpNumber: c.GetErpNumber(),
		CreateTime: c.GetCreateTime(), UpdateTime: c.GetUpdateTime(),
	}
	if a := c.GetAddress(); a != nil {
		out.Address = &mobilev1.Address{
			Street: a.GetStreet(), City: a.GetCity(), PostalCode: a.GetPostalCode(), Region: a.GetRegion(), Country: a.GetCountry(),
		}
	}
	for _, s := range c.GetSources() {
		if s.GetPending() && !slices.Contains(out.PendingSystems, s.GetSystem()) {
			out.PendingSystems = append(out.PendingSystems, s.GetSystem())
		}
	}
	slices.Sort(out.PendingSystems)
	return out
}

// Order shapes an order.
func Order(o *customerv1.OrderSummary) *mobilev1.Order {
	return &mobilev1.Order{
		OrderId: o.GetId(), OrderTime: o.GetOrderTime(), State: o.GetState(), Fulfilment: o.GetFulfilment(), Billing: o.GetBilling(),
		Total: &mobilev1.Money{Amount: o.GetTotalAmount(), Currency: o.GetTotalCurrency()}, ItemCount: o.GetItemCount(),
		UpdateTime: o.GetUpdateTime(),
	}
}

// NewOrder takes an order to place.
func NewOrder(o *mobilev1.NewOrder) *customerv1.NewOrder {
	out := &customerv1.NewOrder{CustomerId: o.GetCustomerId(), PurchaseOrder: o.GetPurchaseOrder()}
	for _, it := range o.GetItems() {
		out.Items = append(out.Items, &customerv1.NewOrderItem{Sku: it.GetSku(), Quantity: it.GetQuantity()})
	}
	return out
}

// Contact shapes a contact.
func Contact(c *customerv1.Contact) *mobilev1.Contact {
	return &mobilev1.Contact{
		ContactId: c.GetId(), FirstName: c.GetFirstName(), LastName: c.GetLastName(), Title: c.GetTitle(),
		Email: c.GetEmail(), Phone: c.GetPhone(), Mobile: c.GetMobile(),
	}
}

// Writable takes what a client may write.
func Writable(c *mobilev1.Customer) *customerv1.Customer {
	out := &customerv1.Customer{
		Name: c.GetName(), TaxId: c.GetTaxId(), Email: c.GetEmail(), Phone: c.GetPhone(), Website: c.GetWebsite(), Segment: c.GetSegment(),
	}
	if a := c.GetAddress(); a != nil {
		out.Address = &customerv1.Address{
			Street: a.GetStreet(), City: a.GetCity(), PostalCode: a.GetPostalCode(), Region: a.GetRegion(), Country: a.GetCountry(),
		}
	}
	return out
}

// Mask turns the paths of a body into those of the process layer: each once, in the order of their names, and no part of an
// address beside the whole. The second result holds paths that a client may not write.
func Mask(paths []string) (mask, refused []string) {
	whole := slices.Contains(paths, "address")
	for _, p := range paths {
		switch {
		case !writable(p):
			refused = append(refused, p)
		case !whole || !strings.HasPrefix(p, "address."):
			mask = append(mask, p)
		}
	}
	slices.Sort(mask)
	return slices.Compact(mask), refused
}

func writable(path string) bool {
	switch path {
	case "name", "tax_id", "email", "phone", "website", "address", "segment",
		"address.street", "address.city", "address.postal_code", "address.region", "address.country":
		return true
	}
	return false
}

const (
	tagMark = "~"
	tagSize = 12
)

// tag returns the entity tag: the customer's version and a digest of what is shown. The version alone would let a
// client keep a screen whose orders have changed. When a section was read does not count. Shown has no tag yet.
func tag(version string, shown *mobilev1.Customer) string {
	if version == "" {
		return ""
	}
	asOf := make([]*timestamppb.Timestamp, len(shown.GetSources()))
	for i, s := range shown.GetSources() {
		asOf[i], s.AsOf = s.AsOf, nil
	}
	content, err := proto.MarshalOptions{Deterministic: true}.Marshal(shown)
	for i, s := range shown.GetSources() {
		s.AsOf = asOf[i]
	}
	if err != nil {
		// Only text that is not UTF-8 cannot be written, and then the answer cannot be either.
		return version
	}
	sum := sha256.Sum256(content)
	return version + tagMark + hex.EncodeToString(sum[:])[:tagSize]
}

// Version returns the customer's version in an entity tag that Customer or Screen made; any other text is returned
// as it is.
func Version(tag string) string {
	i := strings.LastIndex(tag, tagMark)
	if i < 0 || len(tag)-i-1 != tagSize || strings.Trim(tag[i+1:], "0123456789abcdef") != "" {
		return tag
	}
	return tag[:i]
}
