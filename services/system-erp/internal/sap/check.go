package sap

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/backend"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/erp"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/sap/odata"
)

// addressFields pairs our fields with SAP's.
func addressFields() []struct{ path, prop string } {
	return []struct{ path, prop string }{{"street", "StreetName"}, {"city", "CityName"}, {"postal_code", "PostalCode"}, {"region", "Region"}, {"country", "Country"}}
}

// field leads from SAP's properties to ours, for errors of SAP.
func customerField(prop string) string {
	switch prop {
	case "OrganizationBPName1", "OrganizationBPName2", "OrganizationBPName3", "OrganizationBPName4", "FirstName", "LastName":
		return "customer.name"
	case "BPTaxNumber", "BPTaxLongNumber", "BPTaxType":
		return "customer.tax_ids"
	case "EmailAddress":
		return "customer.email"
	case "PhoneNumber":
		return "customer.phone"
	case "WebsiteURL":
		return "customer.website"
	case "CorrespondenceLanguage", "Language":
		return "customer.language"
	case "Currency":
		return "customer.currency"
	case "CustomerPaymentTerms", "PaymentTerms":
		return "customer.payment_terms"
	case "StreetPrefixName", "AdditionalStreetPrefixName", "StreetSuffixName", "AdditionalStreetSuffixName", "HouseNumber":
		return "customer.addresses.street"
	}
	for _, f := range addressFields() {
		if f.prop == prop {
			return "customer.addresses." + f.path
		}
	}
	return ""
}

var germanPostal = regexp.MustCompile(`^\d{5}$`)

var vatNumber = regexp.MustCompile(`^[A-Z]{2}[0-9A-Z+*]{2,18}$`)

// rule refuses what SAP cannot hold; the first refusal counts.
type rule struct{ err error }

func (r *rule) refuse(path, reason, format string, args ...any) {
	if r.err == nil {
		r.err = fault.InvalidField(path, reason, format, args...)
	}
}

// fits refuses a text that is longer than the system's own metadata allows, and one that SAP would store differently.
func (r *rule) fits(path, value string, f odata.Field) {
	if n := utf8.RuneCountInString(value); f.MaxLength > 0 && n > f.MaxLength {
		r.refuse(path, backend.ReasonTooLong, "SAP holds %d characters here, this has %d", f.MaxLength, n)
	}
	if strings.TrimRight(value, " ") != value {
		r.refuse(path, backend.ReasonNotMappable, "SAP drops spaces at the end")
	}
}

// Check implements remote.Source.
func (c customers) Check(ctx context.Context, r erp.Customer) error {
	f, err := c.know(ctx)
	if err != nil {
		return err
	}
	var v rule
	meta := f.partner
	c.checkName(&v, meta, r)
	if r.Number != "" && r.Number != r.ID {
		v.refuse("customer.number", backend.ReasonNotMappable, "SAP gives customers their numbers")
	}
	for i, ref := range r.Refs {
		if c.cfg.IdentificationType != "" && utf8.RuneCountInString(identification(ref)) > maxIdentification {
			v.refuse(fmt.Sprintf("customer.refs[%d]", i), backend.ReasonTooLong, "SAP holds references of %d characters with system and type", maxIdentification)
		}
	}
	if r.Language != "" && len(r.Language) != 2 {
		v.refuse("customer.language", backend.ReasonNotMappable, "SAP holds a language of two letters, without a region")
	}
	v.fits("customer.email", r.Email, meta.Field("A_AddressEmailAddress", "EmailAddress"))
	v.fits("customer.phone", r.Phone, meta.Field("A_AddressPhoneNumber", "PhoneNumber"))
	v.fits("customer.website", r.Website, meta.Field("A_AddressHomePageURL", "WebsiteURL"))
	if r.Website != "" && !meta.Has(addressSet, "to_URLAddress") {
		v.refuse("customer.website", backend.ReasonNotMappable, "this SAP release has no place for a web site")
	}
	if r.Currency != "" && len(r.Currency) != 3 {
		v.refuse("customer.currency", backend.ReasonCurrency, "not a currency")
	}
	v.fits("customer.payment_terms", r.PaymentTerms, meta.Field("A_CustomerSalesArea", "CustomerPaymentTerms"))
	if strings.ToUpper(r.PaymentTerms) != r.PaymentTerms {
		v.refuse("customer.payment_terms", backend.ReasonNotMappable, "SAP holds payment terms in upper case")
	}
	for i, t := range r.TaxIDs {
		c.checkTax(&v, fmt.Sprintf("customer.tax_ids[%d]", i), t, meta)
	}
	for i, a := range r.Addresses {
		c.checkAddress(&v, fmt.Sprintf("customer.addresses[%d].", i), a, meta)
	}
	if len(r.Addresses) == 0 && r.Email+r.Phone+r.Website != "" && c.cfg.DefaultCountry == "" {
		v.refuse("customer.addresses", erp.ReasonRequired, "SAP hangs e-mail, phone and web site on an address")
	}
	return v.err
}

func (c customers) checkName(v *rule, meta *odata.Metadata, r erp.Customer) {
	length := meta.Field(partnerSet, "OrganizationBPName1").MaxLength
	if r.Kind != erp.Person {
		if _, ok := split(r.Name, max(length, 1)); !ok {
			v.refuse("customer.name", backend.ReasonTooLong, "SAP holds a name in four lines of %d characters, cut at spaces", length)
		}
	} else if first, last := personName(r.Name); utf8.RuneCountInString(first) > length || utf8.RuneCountInString(last) > length {
		v.refuse("customer.name", backend.ReasonTooLong, "SAP holds first and last names of %d characters", length)
	}
	if strings.TrimSpace(r.Name) != r.Name {
		v.refuse("customer.name", backend.ReasonNotMappable, "SAP drops spaces around a name")
	}
}

func (c customers) checkTax(v *rule, path string, t erp.TaxID, meta *odata.Metadata) {
	_, ok := c.codes.taxType(t.Scheme, t.Value)
	switch {
	case !ok && t.Scheme != vat:
		v.refuse(path+".scheme", backend.ReasonNotMappable, "no type of tax number in SAP is configured for this scheme")
	case !ok || t.Scheme == vat && !vatNumber.MatchString(t.Value) || strings.HasPrefix(t.Value, "DE") && t.Scheme == vat && len(t.Value) != 11:
		v.refuse(path+".value", backend.ReasonTaxID, "not a number of this scheme: country and number, without spaces")
	}
	v.fits(path+".value", t.Value, meta.Field("A_BusinessPartnerTaxNumber", "BPTaxNumber"))
}

func (c customers) checkAddress(v *rule, path string, a erp.Address, meta *odata.Metadata) {
	country := a.Country
	if country == "" {
		country = c.cfg.DefaultCountry
	}
	if country == "" {
		v.refuse(path+"country", backend.ReasonCountry, "SAP needs the country of an address")
	}
	if _, ok := c.codes.region(country, a.Region); !ok {
		v.refuse(path+"region", backend.ReasonRegion, "SAP has no such region in this country")
	}
	if country == "DE" && a.PostalCode != "" && !germanPostal.MatchString(a.PostalCode) {
		v.refuse(path+"postal_code", backend.ReasonRejected, "a German postal code has five digits")
	}
	lines := strings.Split(a.Street, "\n")
	if len(lines) > 5 {
		v.refuse(path+"street", backend.ReasonTooLong, "SAP holds five lines of a street")
		return
	}
	name, number := splitStreet(lines[0], country)
	v.fits(path+"street", name, meta.Field(addressSet, "StreetName"))
	v.fits(path+"street", number, meta.Field(addressSet, "HouseNumber"))
	for i, line := range lines[1:] {
		prop := []string{"StreetPrefixName", "AdditionalStreetPrefixName", "StreetSuffixName", "AdditionalStreetSuffixName"}[i]
		if line != "" && !meta.Has(addressSet, prop) {
			v.refuse(path+"street", backend.ReasonNotMappable, "this SAP release has no place for line %d of a street", i+2)
		}
		v.fits(path+"street", line, meta.Field(addressSet, prop))
	}
	v.fits(path+"city", a.City, meta.Field(addressSet, "CityName"))
	v.fits(path+"postal_code", a.PostalCode, meta.Field(addressSet, "PostalCode"))
}

// personName takes the last word of a name for the family name.
func personName(name string) (firstName, last string) {
	if i := strings.LastIndexByte(name, ' '); i >= 0 {
		return name[:i], name[i+1:]
	}
	return "", name
}
