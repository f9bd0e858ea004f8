package sap

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/selfsame-io/selfsame/services/system-erp/internal/erp"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/remote"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/sap/odata"
)

// Names of SAP that are used in more than one place.
const (
	externalID   = "BusinessPartnerIDByExtSystem"
	archived     = "IsMarkedForArchiving"
	defaultUsage = "XXDEFAULT"
	partnerSet   = "A_BusinessPartner"
	addressSet   = "A_BusinessPartnerAddress"
)

// partnerExpand is what is read with a partner.
const partnerExpand = "to_BusinessPartnerAddress/to_AddressUsage,to_BusinessPartnerAddress/to_EmailAddress,to_BusinessPartnerAddress/to_PhoneNumber," +
	"to_BusinessPartnerAddress/to_URLAddress,to_BusinessPartnerTax,to_Customer/to_CustomerSalesArea"

// expand is what is read with a partner of this system.
func (s *System) expand() string {
	if s.cfg.IdentificationType == "" {
		return partnerExpand
	}
	return partnerExpand + ",to_BuPaIdentification"
}

// identification is a reference as an identification number: "system/type/value".
func identification(r erp.Ref) string { return r.System + "/" + r.Type + "/" + r.Value }

// refs are the references among the identification numbers of a partner.
func (s *System) refs(p *partner) []erp.Ref {
	var out []erp.Ref
	for _, n := range items(p.Idents) {
		parts := strings.SplitN(n.Number, "/", 3)
		if s.cfg.IdentificationType != "" && n.Type == s.cfg.IdentificationType && len(parts) == 3 && parts[0] != "" && parts[1] != "" && parts[2] != "" {
			out = append(out, erp.Ref{System: parts[0], Type: parts[1], Value: parts[2]})
		}
	}
	slices.SortFunc(out, erp.Ref.Compare)
	return slices.Compact(out)
}

// snapshot is a partner as a customer. Its tag covers children too: a change of an address need not change SAP's own tag.
func (s *System) snapshot(entity json.RawMessage) (remote.Snapshot[erp.Customer], *partner, error) {
	p, err := readPartner(entity)
	if err != nil {
		return remote.Snapshot[erp.Customer]{}, nil, err
	}
	return remote.Snapshot[erp.Customer]{Record: s.customer(p), Tag: p.tag()}, p, nil
}

// etag is SAP's own tag. A system without tags asks for any state to be named by a star.
func (p *partner) etag() string {
	if p.Metadata == nil || p.Metadata.ETag == "" {
		return "*"
	}
	return p.Metadata.ETag
}

// tag is SAP's tag and a sum of everything that was read.
func (p *partner) tag() string {
	tag := p.etag()
	plain := *p
	plain.Metadata = nil
	text, err := json.Marshal(plain)
	if err != nil { // texts and lists always marshal
		return tag
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:12]) + " " + tag
}

// customer translates a partner.
func (s *System) customer(p *partner) erp.Customer {
	c := erp.Customer{
		Head:   erp.Head{ID: p.ID, Refs: s.refs(p), Deleted: p.Archived, Created: moment(p.Created, p.CreatedAt), Updated: moment(p.Changed, p.ChangedAt)},
		Number: p.ID, Kind: erp.Organization, Language: strings.ToLower(p.Language), OrderBlock: p.Blocked,
	}
	if c.Updated.IsZero() { // never changed since it was created
		c.Updated = c.Created
	}
	if p.Category == "1" {
		c.Kind, c.Name = erp.Person, strings.TrimSpace(p.FirstName+" "+p.LastName)
	} else {
		c.Name = strings.Join(slices.DeleteFunc([]string{p.Name1, p.Name2, p.Name3, p.Name4}, func(n string) bool { return n == "" }), " ")
	}
	for _, t := range items(p.Taxes) {
		scheme, ok := s.codes.scheme(t.Type, t.value())
		if ok && !slices.ContainsFunc(c.TaxIDs, func(x erp.TaxID) bool { return x.Scheme == scheme }) {
			c.TaxIDs = append(c.TaxIDs, erp.TaxID{Scheme: scheme, Value: t.value()})
		}
	}
	slices.SortFunc(c.TaxIDs, erp.TaxID.Compare)
	if main := p.main(); main != nil {
		c.Email, c.Phone, c.Website = main.email().Address, main.phone().full(), main.url().URL
	}
	for _, u := range []erp.Usage{erp.UsageDefault, erp.UsageBillTo, erp.UsageShipTo} {
		if a := p.used(s, u); a != nil && !s.empty(*a) {
			c.Addresses = append(c.Addresses, s.address(*a, u))
		}
	}
	if p.Debtor != nil {
		c.OrderBlock = c.OrderBlock || p.Debtor.Block != ""
		if area := s.area(p.Debtor); area != nil {
			c.Currency, c.PaymentTerms = area.Currency, area.Terms
		}
	}
	return c
}

// area is our sales area of a customer; nil when it has none.
func (s *System) area(d *debtor) *salesArea {
	for i, a := range items(d.Areas) {
		if a.Organization == s.cfg.SalesOrganization && a.Channel == s.cfg.DistributionChannel && a.Division == s.cfg.Division {
			return &d.Areas.Items[i]
		}
	}
	return nil
}

// usages are the names of our usages in SAP.
func (s *System) usage(u erp.Usage) string {
	switch u {
	case erp.UsageBillTo:
		return s.cfg.BillToUsage
	case erp.UsageShipTo:
		return s.cfg.ShipToUsage
	default:
		return defaultUsage
	}
}

func (a *postal) has(name string) bool {
	return slices.ContainsFunc(items(a.Usages), func(u usage) bool { return u.Usage == name })
}

// main is the address that communication hangs on: the default one, else the first.
func (p *partner) main() *postal {
	for i := range items(p.Addresses) {
		if p.Addresses.Items[i].has(defaultUsage) {
			return &p.Addresses.Items[i]
		}
	}
	if len(items(p.Addresses)) > 0 {
		return &p.Addresses.Items[0]
	}
	return nil
}

// used is the address of a usage; nil when there is none. An address that SAP made the default because there was no other is
// not one: it was given for something else.
func (p *partner) used(s *System, u erp.Usage) *postal {
	for i := range items(p.Addresses) {
		a := &p.Addresses.Items[i]
		if !a.has(s.usage(u)) {
			continue
		}
		if u == erp.UsageDefault && (a.has(s.cfg.BillToUsage) || a.has(s.cfg.ShipToUsage)) {
			continue
		}
		return a
	}
	return nil
}

// empty tells whether an address holds nothing but the country that every address must have.
func (s *System) empty(a postal) bool {
	return a.Street+a.House+a.Line2+a.Line3+a.Line4+a.Line5+a.City+a.PostalCode+a.Region == "" && a.Country == s.cfg.DefaultCountry
}

func (s *System) address(a postal, u erp.Usage) erp.Address {
	lines := []string{joinStreet(a.Street, a.House, a.Country), a.Line2, a.Line3, a.Line4, a.Line5}
	for len(lines) > 0 && lines[len(lines)-1] == "" {
		lines = lines[:len(lines)-1]
	}
	return erp.Address{
		Usage: u, Street: strings.Join(lines, "\n"), City: a.City, PostalCode: a.PostalCode, Region: s.codes.subdivision(a.Country, a.Region), Country: a.Country,
	}
}

// postal translates an address; it passed check.
func (s *System) postal(a erp.Address) postal {
	var lines [5]string
	copy(lines[:], strings.Split(a.Street, "\n"))
	out := postal{Line2: lines[1], Line3: lines[2], Line4: lines[3], Line5: lines[4], City: a.City, PostalCode: a.PostalCode, Country: a.Country}
	if out.Country == "" {
		out.Country = s.cfg.DefaultCountry
	}
	out.Street, out.House = splitStreet(lines[0], out.Country)
	out.Region, _ = s.codes.region(out.Country, a.Region)
	return out
}

// first returns the default of some, else the first, else the zero value.
func first[T any](l *list[T], preferred func(T) bool) T {
	for _, v := range items(l) {
		if preferred(v) {
			return v
		}
	}
	if len(items(l)) > 0 {
		return l.Items[0]
	}
	var none T
	return none
}

func (a *postal) email() email { return first(a.Emails, func(e email) bool { return e.Default }) }
func (a *postal) phone() phone { return first(a.Phones, func(e phone) bool { return e.Default }) }
func (a *postal) url() webURL  { return first(a.URLs, func(e webURL) bool { return e.Default }) }

// full is a number with its extension, as it is dialled.
func (p phone) full() string {
	if p.Extension == "" {
		return p.Number
	}
	return p.Number + " " + p.Extension
}

// moment puts a day and a time of SAP together; zero when there is no day.
func moment(day, clock *string) time.Time {
	if day == nil {
		return time.Time{}
	}
	at, err := odata.ParseDate(*day)
	if err != nil {
		return time.Time{}
	}
	if clock != nil {
		if d, err := odata.ParseClock(*clock); err == nil {
			at = at.Add(d)
		}
	}
	return at
}
