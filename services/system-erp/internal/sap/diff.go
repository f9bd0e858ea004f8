package sap

import (
	"net/http"
	"slices"
	"strings"

	"github.com/selfsame-io/selfsame/services/system-erp/internal/erp"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/sap/odata"
)

// changes collects the operations of one change set.
type changes struct {
	id  string
	ops odata.Part
}

func (ch *changes) patch(path string, fields map[string]any) {
	ch.ops = append(ch.ops, odata.Op{Method: http.MethodPatch, Path: path, Body: fields})
}

func (ch *changes) post(path string, body any) {
	ch.ops = append(ch.ops, odata.Op{Method: http.MethodPost, Path: path, Body: body})
}

func (ch *changes) remove(path string) {
	ch.ops = append(ch.ops, odata.Op{Method: http.MethodDelete, Path: path})
}

// diff are the operations that make new out of old; p is old as SAP has it. Every change set begins with the partner itself
// under its tag, also when only children change: so two writers meet there, and SAP's stamp moves.
func (c customers) diff(p *partner, old, want erp.Customer) odata.Part {
	ch := &changes{id: p.ID}
	head := c.head(p, old, want)
	c.diffDebtor(ch, p, old, want)
	c.diffTaxes(ch, p, old, want)
	c.diffAddresses(ch, p, old, want)
	for _, ref := range want.Refs {
		if c.cfg.IdentificationType != "" && !slices.Contains(old.Refs, ref) {
			ch.post(odata.Key(partnerSet, p.ID)+"/to_BuPaIdentification", ident{c.cfg.IdentificationType, identification(ref)})
		}
	}
	if len(head) == 0 && len(ch.ops) == 0 {
		return nil
	}
	if len(head) == 0 {
		if head = map[string]any{"OrganizationBPName1": p.Name1}; p.Category == "1" {
			head = map[string]any{"LastName": p.LastName}
		}
	}
	first := odata.Op{Method: http.MethodPatch, Path: odata.Key(partnerSet, p.ID), IfMatch: p.etag(), Body: head}
	return append(odata.Part{first}, ch.ops...)
}

func (c customers) head(p *partner, old, want erp.Customer) map[string]any {
	fields := map[string]any{}
	if old.Name != want.Name {
		if p.Category == "1" {
			fields["FirstName"], fields["LastName"] = personName(want.Name)
		} else {
			for i, line := range c.nameLines(want.Name) {
				fields["OrganizationBPName"+string(rune('1'+i))] = line
			}
		}
	}
	if old.Language != want.Language {
		fields["CorrespondenceLanguage"] = strings.ToUpper(want.Language)
	}
	if p.Blocked && !want.OrderBlock {
		fields["BusinessPartnerIsBlocked"] = false
	}
	return fields
}

func (c customers) diffDebtor(ch *changes, p *partner, old, want erp.Customer) {
	if p.Debtor == nil {
		return
	}
	if blocked := p.Debtor.Block != ""; blocked != want.OrderBlock && old.OrderBlock != want.OrderBlock {
		code := ""
		if want.OrderBlock {
			code = c.cfg.OrderBlock
		}
		ch.patch(odata.Key("A_Customer", p.Customer), map[string]any{"OrderIsBlockedForCustomer": code})
	}
	if old.Currency == want.Currency && old.PaymentTerms == want.PaymentTerms {
		return
	}
	if c.area(p.Debtor) == nil {
		ch.post("A_CustomerSalesArea", map[string]any{
			"Customer": p.Customer, "SalesOrganization": c.cfg.SalesOrganization, "DistributionChannel": c.cfg.DistributionChannel, "Division": c.cfg.Division,
			"Currency": want.Currency, "CustomerPaymentTerms": want.PaymentTerms,
		})
		return
	}
	ch.patch(odata.Key("A_CustomerSalesArea", "Customer", p.Customer, "SalesOrganization", c.cfg.SalesOrganization, "DistributionChannel", c.cfg.DistributionChannel,
		"Division", c.cfg.Division), map[string]any{"Currency": want.Currency, "CustomerPaymentTerms": want.PaymentTerms})
}

func (c customers) diffTaxes(ch *changes, p *partner, old, want erp.Customer) {
	find := func(list []erp.TaxID, scheme string) string {
		i := slices.IndexFunc(list, func(t erp.TaxID) bool { return t.Scheme == scheme })
		if i < 0 {
			return ""
		}
		return list[i].Value
	}
	path := func(kind string) string {
		return odata.Key("A_BusinessPartnerTaxNumber", "BusinessPartner", p.ID, "BPTaxType", kind)
	}
	for _, t := range old.TaxIDs {
		now := find(want.TaxIDs, t.Scheme)
		kind, _ := c.codes.taxType(t.Scheme, t.Value)
		if next, _ := c.codes.taxType(t.Scheme, now); now == "" || next != kind {
			ch.remove(path(kind))
		}
	}
	for _, t := range want.TaxIDs {
		before := find(old.TaxIDs, t.Scheme)
		kind, _ := c.codes.taxType(t.Scheme, t.Value)
		was, _ := c.codes.taxType(t.Scheme, before)
		switch {
		case before == t.Value:
		case before != "" && was == kind:
			ch.patch(path(kind), map[string]any{"BPTaxNumber": t.Value, "BPTaxLongNumber": ""})
		default:
			ch.post(odata.Key(partnerSet, p.ID)+"/to_BusinessPartnerTax", taxRow{Type: kind, Number: t.Value})
		}
	}
}

func addressPath(id, address string) string {
	return odata.Key(addressSet, "BusinessPartner", id, "AddressID", address)
}

func usedFor(list []erp.Address, u erp.Usage) *erp.Address {
	for i := range list {
		if max(list[i].Usage, erp.UsageDefault) == u {
			return &list[i]
		}
	}
	return nil
}

// diffAddresses changes, adds and removes addresses, and what hangs on the one for communication. A communication address
// that goes takes e-mail, phone and web site with it: they move to the one that follows.
func (c customers) diffAddresses(ch *changes, p *partner, old, want erp.Customer) {
	main := p.main()
	removed := false
	var added []postal
	for _, u := range []erp.Usage{erp.UsageDefault, erp.UsageBillTo, erp.UsageShipTo} {
		have, next := p.used(c.System, u), usedFor(want.Addresses, u)
		before := usedFor(old.Addresses, u)
		switch {
		case have != nil && next != nil:
			if before == nil || *before != *next {
				ch.patch(addressPath(p.ID, have.ID), patchOf(c.postal(*next)))
			}
		case have != nil && before != nil:
			if have == main {
				removed = true
			}
			ch.remove(addressPath(p.ID, have.ID))
		case next != nil:
			added = append(added, c.newPostal(*next))
		}
	}
	stays := main != nil && !removed
	if !stays && want.Email+want.Phone+want.Website != "" {
		if keep := c.follower(p, want, main); keep != nil {
			c.moveTo(ch, p.ID, keep, want)
		} else {
			if len(added) == 0 {
				added = append(added, c.newPostal(erp.Address{Usage: erp.UsageDefault}))
			}
			c.communicate(&added[0], want)
		}
	} else if stays {
		c.diffCommunication(ch, p.ID, main, old, want)
	}
	for _, a := range added {
		ch.post(odata.Key(partnerSet, p.ID)+"/to_BusinessPartnerAddress", a)
	}
}

// follower is the address that remains when the one for communication goes; nil when none does.
func (c customers) follower(p *partner, want erp.Customer, gone *postal) *postal {
	for _, u := range []erp.Usage{erp.UsageDefault, erp.UsageBillTo, erp.UsageShipTo} {
		if a := p.used(c.System, u); a != nil && a != gone && usedFor(want.Addresses, u) != nil {
			return a
		}
	}
	return nil
}

func (c customers) moveTo(ch *changes, id string, to *postal, want erp.Customer) {
	empty := *to
	empty.Emails, empty.Phones, empty.URLs = nil, nil, nil
	c.diffCommunication(ch, id, &empty, erp.Customer{}, want)
	if !to.has(defaultUsage) {
		ch.post(addressPath(id, to.ID)+"/to_AddressUsage", usage{defaultUsage})
	}
}

func patchOf(a postal) map[string]any {
	return map[string]any{
		"StreetName": a.Street, "HouseNumber": a.House, "StreetPrefixName": a.Line2, "AdditionalStreetPrefixName": a.Line3, "StreetSuffixName": a.Line4,
		"AdditionalStreetSuffixName": a.Line5, "CityName": a.City, "PostalCode": a.PostalCode, "Region": a.Region, "Country": a.Country,
	}
}

func (c customers) diffCommunication(ch *changes, id string, a *postal, old, want erp.Customer) {
	at := addressPath(id, a.ID)
	mail, call, web := a.email(), a.phone(), a.url()
	for _, f := range []struct {
		set, nav, old, want, person, ordinal string
		fields                               map[string]any
		made                                 any
	}{
		{
			"A_AddressEmailAddress", "to_EmailAddress", old.Email, want.Email, mail.Person, mail.Ordinal,
			map[string]any{"EmailAddress": want.Email},
			email{Address: want.Email, Default: true},
		},
		{
			"A_AddressPhoneNumber", "to_PhoneNumber", old.Phone, want.Phone, call.Person, call.Ordinal,
			map[string]any{"PhoneNumber": want.Phone, "PhoneNumberExtension": ""},
			phone{Number: want.Phone, Type: "1", Default: true},
		},
		{
			"A_AddressHomePageURL", "to_URLAddress", old.Website, want.Website, web.Person, web.Ordinal,
			map[string]any{"WebsiteURL": want.Website},
			webURL{URL: want.Website, Default: true},
		},
	} {
		key := odata.Key(f.set, "AddressID", a.ID, "Person", f.person, "OrdinalNumber", f.ordinal)
		switch {
		case f.old == f.want:
		case f.ordinal == "" && f.want != "":
			ch.post(at+"/"+f.nav, f.made)
		case f.want == "":
			ch.remove(key)
		default:
			ch.patch(key, f.fields)
		}
	}
}
