package mapping

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/selfsame-io/selfsame/pkg/fault"
	salesforcev1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/salesforce/v1"
)

// Reasons for which a value cannot be kept.
const (
	ReasonFieldUnknown  = "FIELD_UNKNOWN"
	ReasonFieldReadOnly = "FIELD_READ_ONLY"
	ReasonFieldTooLong  = "FIELD_TOO_LONG"
)

// Problem is why a record cannot be written.
type Problem struct {
	// Field is our name of the field.
	Field string
	// Reason is a stable UPPER_SNAKE word.
	Reason string
	// Message is for people and does not repeat the value.
	Message string
}

// ReadAccount translates a record read with Columns.
func (m *Mapping) ReadAccount(row map[string]any) (*salesforcev1.Account, error) {
	meta, err := readMeta(row)
	if err != nil {
		return nil, fmt.Errorf("account: %w", err)
	}
	a := &salesforcev1.Account{Id: meta.id, Version: meta.version, CreateTime: meta.created, UpdateTime: meta.updated}
	for _, f := range m.Account.fields {
		if text := m.Account.read(f, row); text != "" {
			*accountField(a, f.Name, true) = text
		}
	}
	return a, nil
}

// ReadContact translates a record read with Columns.
func (m *Mapping) ReadContact(row map[string]any) (*salesforcev1.Contact, error) {
	meta, err := readMeta(row)
	if err != nil {
		return nil, fmt.Errorf("contact: %w", err)
	}
	c := &salesforcev1.Contact{Id: meta.id, Version: meta.version, CreateTime: meta.created, UpdateTime: meta.updated}
	for _, f := range m.Contact.fields {
		*contactField(c, f.Name) = m.Contact.read(f, row)
	}
	return c, nil
}

// ReadCase translates a record read with Columns.
func (m *Mapping) ReadCase(row map[string]any) (*salesforcev1.Case, error) {
	meta, err := readMeta(row)
	if err != nil {
		return nil, fmt.Errorf("case: %w", err)
	}
	c := &salesforcev1.Case{Id: meta.id, CreateTime: meta.created, UpdateTime: meta.updated}
	for _, f := range m.Case.fields {
		if f.Name == "closed" {
			c.Closed, _ = row[f.Column].(bool)
			continue
		}
		*caseField(c, f.Name) = m.Case.read(f, row)
	}
	return c, nil
}

// WriteAccount returns the sObject fields to write. An empty mask writes every field that is set; a field in the mask that is
// empty is cleared. Fields of the mask that cannot be written are a Problem.
func (m *Mapping) WriteAccount(a *salesforcev1.Account, mask []string) (map[string]any, *Problem) {
	if a == nil {
		return nil, missing("account")
	}
	return m.Account.row(mask, func(name string) string {
		if p := accountField(a, name, false); p != nil {
			return *p
		}
		return ""
	})
}

// WriteContact is WriteAccount for contacts.
func (m *Mapping) WriteContact(c *salesforcev1.Contact, mask []string) (map[string]any, *Problem) {
	if c == nil {
		return nil, missing("contact")
	}
	return m.Contact.row(mask, func(name string) string { return *contactField(c, name) })
}

// missing is the problem of an upsert without a record; records of a batch are validated one by one, here.
func missing(field string) *Problem {
	return &Problem{Field: field, Reason: fault.ReasonValidationFailed, Message: "the record is missing"}
}

func (o *Object) row(mask []string, get func(string) string) (map[string]any, *Problem) {
	wanted, problem := o.expand(mask)
	if problem != nil {
		return nil, problem
	}
	row := map[string]any{}
	for _, f := range o.fields {
		value := get(f.Name)
		switch {
		case len(mask) == 0 && (value == "" || f.ReadOnly):
			continue
		case len(mask) > 0 && !slices.Contains(wanted, f.Name):
			continue
		case f.ReadOnly:
			return nil, &Problem{Field: f.Name, Reason: ReasonFieldReadOnly, Message: "the mapping does not let this field be written"}
		case value == "":
			row[f.Column] = nil
			continue
		}
		switch f.country {
		case countryISO2:
			value = o.countries.code(value)
		case countryName:
			value = o.countries.name(value)
		}
		if f.MaxLength > 0 && utf8.RuneCountInString(value) > f.MaxLength {
			return nil, &Problem{Field: f.Name, Reason: ReasonFieldTooLong, Message: fmt.Sprintf("the CRM keeps at most %d characters of this field", f.MaxLength)}
		}
		row[f.Column] = value
	}
	return row, nil
}

// expand returns the fields a mask names: a message stands for all its fields. Fields the service sets itself may be named
// and are ignored.
func (o *Object) expand(mask []string) ([]string, *Problem) {
	var out []string
	for _, path := range mask {
		switch path {
		case "id", "version", "create_time", "update_time", "deleted":
			continue
		}
		found := false
		for _, name := range catalogue(o.Name) {
			if name != path && !strings.HasPrefix(name, path+".") {
				continue
			}
			found = true
			if _, mapped := o.field(name); !mapped && name == path {
				return nil, &Problem{Field: name, Reason: ReasonFieldReadOnly, Message: "the mapping keeps this field nowhere"}
			}
			out = append(out, name)
		}
		if !found {
			return nil, &Problem{Field: path, Reason: ReasonFieldUnknown, Message: "there is no such field"}
		}
	}
	return out, nil
}

func (o *Object) read(f Field, row map[string]any) string {
	text, _ := row[f.Column].(string)
	if text != "" && (f.country == countryISO2 || f.country == countryName) {
		return o.countries.code(text)
	}
	return text
}

type meta struct {
	id               string
	version          int64
	created, updated *timestamppb.Timestamp
}

func readMeta(row map[string]any) (meta, error) {
	id, _ := row["Id"].(string)
	if id == "" {
		return meta{}, errors.New("the record has no Id")
	}
	updated, err := Time(row["SystemModstamp"])
	if err != nil {
		return meta{}, fmt.Errorf("%s SystemModstamp: %w", id, err)
	}
	created, err := Time(row["CreatedDate"])
	if err != nil {
		return meta{}, fmt.Errorf("%s CreatedDate: %w", id, err)
	}
	return meta{id: id, version: updated.UnixMilli(), created: timestamppb.New(created), updated: timestamppb.New(updated)}, nil
}

// Time reads a date-time as Salesforce writes it: 2026-01-01T00:00:00.000+0000.
func Time(v any) (time.Time, error) {
	text, _ := v.(string)
	for _, layout := range []string{"2006-01-02T15:04:05.000-0700", time.RFC3339Nano} {
		if t, err := time.Parse(layout, text); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, errors.New("not a date-time")
}

// accountField returns where a field is kept in the message; nil when it is in an address that is absent and not to be made.
func accountField(a *salesforcev1.Account, name string, make bool) *string {
	switch name {
	case "external_id":
		return &a.ExternalId
	case "erp_number":
		return &a.ErpNumber
	case "name":
		return &a.Name
	case "tax_id":
		return &a.TaxId
	case "email":
		return &a.Email
	case "phone":
		return &a.Phone
	case "website":
		return &a.Website
	case "segment":
		return &a.Segment
	}
	if a.Address == nil {
		if !make {
			return nil
		}
		a.Address = &salesforcev1.Address{}
	}
	switch name {
	case "address.street":
		return &a.Address.Street
	case "address.city":
		return &a.Address.City
	case "address.postal_code":
		return &a.Address.PostalCode
	case "address.region":
		return &a.Address.Region
	case "address.country":
		return &a.Address.Country
	}
	panic("mapping: account has no field " + name)
}

func contactField(c *salesforcev1.Contact, name string) *string {
	switch name {
	case "external_id":
		return &c.ExternalId
	case "account_id":
		return &c.AccountId
	case "first_name":
		return &c.FirstName
	case "last_name":
		return &c.LastName
	case "title":
		return &c.Title
	case "department":
		return &c.Department
	case "email":
		return &c.Email
	case "phone":
		return &c.Phone
	case "mobile":
		return &c.Mobile
	}
	panic("mapping: contact has no field " + name)
}

func caseField(c *salesforcev1.Case, name string) *string {
	switch name {
	case "number":
		return &c.Number
	case "account_id":
		return &c.AccountId
	case "contact_id":
		return &c.ContactId
	case "subject":
		return &c.Subject
	case "status":
		return &c.Status
	case "priority":
		return &c.Priority
	}
	panic("mapping: case has no field " + name)
}
