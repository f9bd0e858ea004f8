// Package mapping translates between sObjects and the records of selfsame.salesforce.v1.
//
// The problem: every org names its fields differently. The invariant: which of our fields is kept in which sObject field is
// said in one file and nowhere else, so a renamed field is a change of configuration. The package is pure: no I/O, no clock;
// a Mapping is immutable and safe for concurrent use.
//
// It does not decide what to write; it refuses a value only when it cannot be kept as the file says.
package mapping

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

//go:embed mapping.yaml
var defaults []byte

// Mapping is how the three kinds of records are kept.
type Mapping struct {
	// Account, Contact and Case are never nil.
	Account, Contact, Case *Object
}

// Object is how one kind of record is kept.
type Object struct {
	// Name is our name: "account".
	Name string
	// SObject is the API name of the Salesforce object: "Account".
	SObject string

	fields    []Field // in the order of the catalogue; unmapped fields are left out
	countries *countries
}

// Field is how one field is kept.
type Field struct {
	// Name is our name: "address.city".
	Name string
	// Column is the API name of the sObject field.
	Column string
	// ReadOnly fields are never written.
	ReadOnly bool
	// MaxLength in characters; 0 means unlimited.
	MaxLength int

	country string
}

// catalogue lists our fields; what is not in it cannot be mapped.
func catalogue(object string) []string {
	switch object {
	case "account":
		return []string{
			"external_id", "erp_number", "name", "tax_id", "email", "phone", "website", "address.street", "address.city",
			"address.postal_code", "address.region", "address.country", "segment",
		}
	case "contact":
		return []string{"external_id", "account_id", "first_name", "last_name", "title", "department", "email", "phone", "mobile"}
	case "case":
		return []string{"number", "account_id", "contact_id", "subject", "status", "priority", "closed"}
	}
	return nil
}

const (
	countryISO2 = "iso2"
	countryName = "name"
	countryAsIs = "as_is"
)

type document struct {
	Version int                    `yaml:"version"`
	Objects map[string]objectEntry `yaml:"objects"`
}

type objectEntry struct {
	SObject string                `yaml:"sobject"`
	Fields  map[string]fieldEntry `yaml:"fields"`
}

type fieldEntry struct {
	Field     *string `yaml:"field"`
	ReadOnly  *bool   `yaml:"read_only"`
	MaxLength *int    `yaml:"max_length"`
	Country   *string `yaml:"country"`
}

// Default returns the built-in mapping.
func Default() (*Mapping, error) { return Load(nil) }

// Load returns the built-in mapping changed by a file of the same form. The error names everything that is wrong.
func Load(overlay []byte) (*Mapping, error) {
	base, err := parse(defaults)
	if err != nil {
		return nil, fmt.Errorf("built-in mapping: %w", err)
	}
	if len(bytes.TrimSpace(overlay)) > 0 {
		over, err := parse(overlay)
		if err != nil {
			return nil, fmt.Errorf("mapping file: %w", err)
		}
		if err := base.merge(over); err != nil {
			return nil, fmt.Errorf("mapping file: %w", err)
		}
	}
	m, err := base.build()
	if err != nil {
		return nil, fmt.Errorf("mapping file: %w", err)
	}
	return m, nil
}

func parse(data []byte) (document, error) {
	var d document
	dec := yaml.NewDecoder(bytes.NewReader(data))
	dec.KnownFields(true)
	if err := dec.Decode(&d); err != nil && !errors.Is(err, io.EOF) {
		return d, err
	}
	if d.Version != 1 {
		return d, fmt.Errorf("version is %d, this program reads version 1", d.Version)
	}
	return d, nil
}

func (d document) merge(over document) error {
	var problems []error
	for name, o := range over.Objects {
		base, ok := d.Objects[name]
		if !ok {
			problems = append(problems, fmt.Errorf("objects.%s: unknown object; known are account, contact, case", name))
			continue
		}
		if o.SObject != "" {
			base.SObject = o.SObject
		}
		for field, f := range o.Fields {
			if !slices.Contains(catalogue(name), field) {
				problems = append(problems, fmt.Errorf("objects.%s.fields.%s: unknown field; known are %s", name, field, strings.Join(catalogue(name), ", ")))
				continue
			}
			base.Fields[field] = base.Fields[field].merge(f)
		}
		d.Objects[name] = base
	}
	return errors.Join(problems...)
}

func (f fieldEntry) merge(over fieldEntry) fieldEntry {
	if over.Field != nil {
		f.Field = over.Field
	}
	if over.ReadOnly != nil {
		f.ReadOnly = over.ReadOnly
	}
	if over.MaxLength != nil {
		f.MaxLength = over.MaxLength
	}
	if over.Country != nil {
		f.Country = over.Country
	}
	return f
}

func (d document) build() (*Mapping, error) {
	countries := newCountries()
	var problems []error
	object := func(name string) *Object {
		entry := d.Objects[name]
		o := &Object{Name: name, SObject: entry.SObject, countries: countries}
		for _, field := range catalogue(name) {
			f, err := entry.Fields[field].build(field)
			if err != nil {
				problems = append(problems, fmt.Errorf("objects.%s.fields.%s: %w", name, field, err))
			}
			if f.Column != "" {
				o.fields = append(o.fields, f)
			}
		}
		problems = append(problems, o.validate()...)
		return o
	}
	m := &Mapping{Account: object("account"), Contact: object("contact"), Case: object("case")}
	return m, errors.Join(problems...)
}

func (f fieldEntry) build(name string) (Field, error) {
	out := Field{Name: name}
	if f.Field != nil {
		out.Column = *f.Field
	}
	if f.ReadOnly != nil {
		out.ReadOnly = *f.ReadOnly
	}
	if f.MaxLength != nil {
		out.MaxLength = *f.MaxLength
	}
	if f.Country != nil {
		out.country = *f.Country
		if !slices.Contains([]string{countryISO2, countryName, countryAsIs}, out.country) {
			return out, fmt.Errorf("country is %q, not iso2, name or as_is", out.country)
		}
	}
	switch {
	case out.MaxLength < 0:
		return out, errors.New("max_length is negative")
	case out.Column != "" && !apiName(out.Column):
		return out, fmt.Errorf("field %q is not an API name", out.Column)
	}
	return out, nil
}

func (o *Object) validate() []error {
	var problems []error
	if !apiName(o.SObject) {
		problems = append(problems, fmt.Errorf("objects.%s.sobject: %q is not an API name", o.Name, o.SObject))
	}
	seen := map[string]string{"id": "id", "createddate": "create_time", "systemmodstamp": "version"}
	for _, f := range o.fields {
		key := strings.ToLower(f.Column)
		if other, ok := seen[key]; ok {
			problems = append(problems, fmt.Errorf("objects.%s.fields.%s: %s already holds %s", o.Name, f.Name, f.Column, other))
		}
		seen[key] = f.Name
	}
	if o.Name != "case" && o.ExternalID() == "" {
		problems = append(problems, fmt.Errorf("objects.%s.fields.external_id: must be mapped and writable", o.Name))
	}
	return problems
}

// apiName reports whether s may stand in a query: a letter, then letters, digits and underscores.
func apiName(s string) bool {
	for i, r := range s {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		if !letter && (i == 0 || r != '_' && (r < '0' || r > '9')) {
			return false
		}
	}
	return s != "" && len(s) <= 80
}

// ExternalID returns the sObject field of the external id; empty when it is unmapped or read-only.
func (o *Object) ExternalID() string {
	if f, ok := o.field("external_id"); ok && !f.ReadOnly {
		return f.Column
	}
	return ""
}

// Column returns the sObject field of one of our fields; empty when unmapped.
func (o *Object) Column(name string) string {
	f, _ := o.field(name)
	return f.Column
}

// Columns returns the sObject fields to read: the mapped ones and those every record needs.
func (o *Object) Columns() []string {
	out := []string{"Id", "CreatedDate", "SystemModstamp"}
	for _, f := range o.fields {
		out = append(out, f.Column)
	}
	return out
}

func (o *Object) field(name string) (Field, bool) {
	for _, f := range o.fields {
		if f.Name == name {
			return f, true
		}
	}
	return Field{}, false
}

// Names translates sObject fields, as they occur in errors and change events, to ours. Fields that are not mapped are left
// out. A part of a compound field is written "BillingAddress.City" or "Name.FirstName" in events.
func (o *Object) Names(columns []string) []string {
	var out []string
	for _, c := range columns {
		for _, f := range o.fields {
			if sameColumn(f.Column, c) && !slices.Contains(out, f.Name) {
				out = append(out, f.Name)
			}
		}
	}
	return out
}

func sameColumn(column, reported string) bool {
	if strings.EqualFold(column, reported) {
		return true
	}
	compound, part, ok := strings.Cut(reported, ".")
	if !ok {
		// A whole compound: BillingAddress stands for all its parts.
		prefix, address := strings.CutSuffix(reported, "Address")
		return address && prefix != "" && slices.ContainsFunc([]string{"Street", "City", "State", "PostalCode", "Country"},
			func(p string) bool { return strings.EqualFold(column, prefix+p) })
	}
	if prefix, address := strings.CutSuffix(compound, "Address"); address {
		return strings.EqualFold(column, prefix+part)
	}
	return compound == "Name" && strings.EqualFold(column, part)
}

// Described is what the org says about one field.
type Described struct {
	Name       string
	Length     int
	Writable   bool
	ExternalID bool
}

// Check compares the mapping of one object with the org and returns everything that does not fit, naming our field and
// theirs.
func (o *Object) Check(fields []Described) error {
	known := make(map[string]Described, len(fields))
	for _, f := range fields {
		known[strings.ToLower(f.Name)] = f
	}
	var problems []error
	for _, f := range o.fields {
		d, ok := known[strings.ToLower(f.Column)]
		where := fmt.Sprintf("objects.%s.fields.%s", o.Name, f.Name)
		switch {
		case !ok:
			problems = append(problems, fmt.Errorf("%s: %s has no field %s that the integration user may see", where, o.SObject, f.Column))
		case !f.ReadOnly && !d.Writable:
			problems = append(problems, fmt.Errorf("%s: the integration user may not write %s.%s; make it writable or set read_only", where, o.SObject, f.Column))
		case f.Name == "external_id" && !d.ExternalID:
			problems = append(problems, fmt.Errorf("%s: %s.%s is not an external id", where, o.SObject, f.Column))
		}
	}
	return errors.Join(problems...)
}
