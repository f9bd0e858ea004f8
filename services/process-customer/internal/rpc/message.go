package rpc

import (
	"context"
	"slices"
	"strconv"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/selfsame-io/selfsame/pkg/fault"
	customerv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/customer/v1"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
)

// reader is what store.Reader and store.Tx have in common.
type reader interface {
	Goldens(ctx context.Context, ids []golden.ID) ([]*store.Golden, error)
	LinksOf(ctx context.Context, ids []golden.ID) (map[golden.ID][]store.Link, error)
	Marked(ctx context.Context, ids []golden.ID) (map[golden.ID][]string, error)
}

func stamp(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

func etag(version int64) string { return strconv.FormatInt(version, 10) }

func versionOf(tag string) (int64, error) {
	if tag == "" {
		return 0, nil
	}
	v, err := strconv.ParseInt(tag, 10, 64)
	if err != nil || v <= 0 {
		return 0, fault.InvalidField("customer.etag", "", "is not one that this service gave out")
	}
	return v, nil
}

// messages returns customers with their sources, in the order of goldens.
func messages(ctx context.Context, r reader, goldens []*store.Golden) ([]*customerv1.Customer, error) {
	ids := make([]golden.ID, len(goldens))
	for i, g := range goldens {
		ids[i] = g.ID
	}
	links, err := r.LinksOf(ctx, ids)
	if err != nil {
		return nil, err
	}
	marked, err := r.Marked(ctx, ids)
	if err != nil {
		return nil, err
	}
	out := make([]*customerv1.Customer, len(goldens))
	for i, g := range goldens {
		out[i] = customer(g, links[g.ID], marked[g.ID])
	}
	return out, nil
}

// customer returns a golden customer as a message. A system that has no record yet but waits for one is listed without
// a record id.
func customer(g *store.Golden, links []store.Link, marked []string) *customerv1.Customer {
	v := g.Values
	c := &customerv1.Customer{
		Id: string(g.ID), Name: v[golden.Name], TaxId: v[golden.TaxID], Email: v[golden.Email], Phone: v[golden.Phone], Website: v[golden.Website],
		Segment: v[golden.Segment], ErpNumber: v[golden.ERPNumber], Etag: etag(g.Version), CreateTime: stamp(g.Created), UpdateTime: stamp(g.Updated),
		Deleted: g.Deleted,
	}
	if address := (&customerv1.Address{
		Street: v[golden.Street], City: v[golden.City], PostalCode: v[golden.PostalCode], Region: v[golden.Region], Country: country(v[golden.Country]),
	}); address.Street+address.City+address.PostalCode+address.Region+address.Country != "" {
		c.Address = address
	}
	has := map[string]bool{}
	for _, l := range links {
		if l.Deleted || golden.Own(l.Ref.System) {
			continue
		}
		has[l.Ref.System] = true
		c.Sources = append(c.Sources, &customerv1.SourceRecord{
			System: l.Ref.System, RecordId: l.Ref.RecordID, Pending: slices.Contains(marked, l.Ref.System),
		})
	}
	for _, system := range marked {
		if !has[system] {
			c.Sources = append(c.Sources, &customerv1.SourceRecord{System: system, Pending: true})
		}
	}
	return c
}

// country leaves out what is no country code: systems keep other texts there, too.
func country(value string) string {
	if len(value) == 2 {
		return value
	}
	return ""
}

func contact(g *store.Golden) *customerv1.Contact {
	v := g.Values
	return &customerv1.Contact{
		Id: string(g.ID), CustomerId: v[golden.Parent], FirstName: v[golden.FirstName], LastName: v[golden.LastName], Title: v[golden.Title],
		Department: v[golden.Department], Email: v[golden.Email], Phone: v[golden.Phone], Mobile: v[golden.Mobile], Etag: etag(g.Version),
		UpdateTime: stamp(g.Updated),
	}
}

func orderSummary(o source.Order) *customerv1.OrderSummary {
	return &customerv1.OrderSummary{
		Id: o.ID, OrderTime: stamp(o.OrderTime), State: o.State, Fulfilment: o.Fulfilment, Billing: o.Billing, TotalAmount: o.TotalAmount,
		TotalCurrency: o.TotalCurrency, ItemCount: int32(o.Items), //nolint:gosec // an order has no two thousand million lines
		Version: o.Version, UpdateTime: stamp(o.Updated),
	}
}

// valuesOf returns the canonical values that a message has for the named fields.
func valuesOf(c *customerv1.Customer, fields []string) golden.Values {
	a := c.GetAddress()
	all := golden.Values{
		golden.Name: c.GetName(), golden.TaxID: c.GetTaxId(), golden.Email: c.GetEmail(), golden.Phone: c.GetPhone(), golden.Website: c.GetWebsite(),
		golden.Segment: c.GetSegment(), golden.Street: a.GetStreet(), golden.City: a.GetCity(), golden.PostalCode: a.GetPostalCode(),
		golden.Region: a.GetRegion(), golden.Country: a.GetCountry(),
	}
	out := golden.Values{}
	for _, f := range fields {
		if value, ok := all[f]; ok {
			out[f] = golden.Canonical(golden.Customer, f, value)
		}
	}
	return out
}

var addressFields = [...]string{golden.Street, golden.City, golden.PostalCode, golden.Region, golden.Country}

// masked returns the fields that a mask names.
func masked(paths []string) ([]string, error) {
	plain := map[string]bool{
		golden.Name: true, golden.TaxID: true, golden.Email: true, golden.Phone: true, golden.Website: true, golden.Segment: true,
	}
	var out []string
	for _, p := range paths {
		part := ""
		if len(p) > len("address.") && p[:len("address.")] == "address." {
			part = p[len("address."):]
		}
		switch {
		case plain[p]:
			out = append(out, p)
		case p == "address":
			out = append(out, addressFields[:]...)
		case slices.Contains(addressFields[:], part):
			out = append(out, part)
		case p == golden.ERPNumber:
			return nil, fault.New(fault.Precondition, "FIELD_MASTERED", "the ERP assigns %s", p).WithMeta("field", p)
		default:
			return nil, fault.InvalidField("update_mask", "", "names a field that cannot be changed")
		}
	}
	if len(out) == 0 {
		return nil, fault.InvalidField("update_mask", "", "names no field")
	}
	return out, nil
}
