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
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

//go:embed mapping.yaml
var defaults []byte

// Mapping is how every kind of record is kept.
type Mapping struct {
	// Account, Contact and Case are never nil.
	Account, Contact, Case *Object

	objects []*Object // all, by name
}

// Object is how one kind of record is kept.
type Object struct {
	// Name is our name: "account".
	Name string
	// SObject is the API name of the Salesforce object: "Account".
	SObject string
	// Required is true for an object that the org must have as mapped. The others are there for orgs that have them.
	Required bool
	// Event is true for a platform event, which can only be published.
	Event bool
	// Bulk is false for an object that the Bulk API does not take; then any number of records goes by collections.
	Bulk bool

	fields    []Field        // in the order of the catalogue; unmapped fields are left out
	index     map[string]int // place in fields by name
	known     []string       // our names of the fields, mapped or not
	typed     bool           // has a message of its own
	parent    string         // our name of the field by which records are grouped; may be empty
	countries *countries
}

// Field is how one field is kept.
type Field struct {
	// Name is our name: "address.city".
	Name string
	// Column is the API name of the sObject field, or "Relation.Field" for the external id of a record that is referred to.
	Column string
	// ReadOnly fields are never written.
	ReadOnly bool
	// MaxLength in characters; 0 means unlimited.
	MaxLength int

	country string
	number  bool // text with us, a number there

	lower          string // Column in lower case
	relation, part string // of a Column with a dot; relation is the whole Column of another
	dotted         bool
}

// Objects returns every object that the mapping declares, by name. The caller must not change the slice.
func (m *Mapping) Objects() []*Object { return m.objects }

// Object returns the object of a name.
func (m *Mapping) Object(name string) (*Object, bool) {
	i, ok := slices.BinarySearchFunc(m.objects, name, func(o *Object, name string) int { return strings.Compare(o.Name, name) })
	if !ok {
		return nil, false
	}
	return m.objects[i], true
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
	SObject  string                `yaml:"sobject"`
	Required *bool                 `yaml:"required"`
	Parent   *string               `yaml:"parent"`
	Bulk     *bool                 `yaml:"bulk"`
	Fields   map[string]fieldEntry `yaml:"fields"`
}

type fieldEntry struct {
	Field     *string `yaml:"field"`
	ReadOnly  *bool   `yaml:"read_only"`
	MaxLength *int    `yaml:"max_length"`
	Country   *string `yaml:"country"`
	Number    *bool   `yaml:"number"`
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

// merge adds what a file says. An object that the file names is required, unless the file says otherwise.
func (d document) merge(over document) error {
	var problems []error
	for _, name := range slices.Sorted(maps.Keys(over.Objects)) {
		o := over.Objects[name]
		base, ok := d.Objects[name]
		if !ok {
			problems = append(problems, checkNames(name, o)...)
			base = objectEntry{Fields: map[string]fieldEntry{}}
		}
		required := true
		base.Required = &required
		if o.Required != nil {
			base.Required = o.Required
		}
		if o.SObject != "" {
			base.SObject = o.SObject
		}
		if o.Parent != nil {
			base.Parent = o.Parent
		}
		if o.Bulk != nil {
			base.Bulk = o.Bulk
		}
		for field, f := range o.Fields {
			if ok && !slices.Contains(catalogue(name), field) {
				problems = append(problems, fmt.Errorf("objects.%s.fields.%s: unknown field; known are %s", name, field, strings.Join(catalogue(name), ", ")))
				continue
			}
			base.Fields[field] = base.Fields[field].merge(f)
		}
		d.Objects[name] = base
	}
	return errors.Join(problems...)
}

// checkNames refuses names of an object of the file's own that could not be told from ours in a call.
func checkNames(name string, o objectEntry) []error {
	var problems []error
	if !ownName(name) || strings.Contains(name, ".") {
		problems = append(problems, fmt.Errorf("objects.%s: unknown object, and not a name for one: a letter, then at most 63 lower-case letters, digits and underscores", name))
	}
	if o.SObject == "" {
		problems = append(problems, fmt.Errorf("objects.%s: unknown object; give its sobject to declare it", name))
	}
	for _, field := range slices.Sorted(maps.Keys(o.Fields)) {
		if !ownName(field) || slices.Contains(reserved(), field) {
			problems = append(problems, fmt.Errorf("objects.%s.fields.%s: not a name for a field, or one that every record has", name, field))
		}
	}
	return problems
}

// ownName reports whether s may name an object or a field of ours.
func ownName(s string) bool {
	for i, r := range s {
		letter := r >= 'a' && r <= 'z'
		if !letter && (i == 0 || r != '_' && r != '.' && (r < '0' || r > '9')) {
			return false
		}
	}
	return s != "" && len(s) <= 64
}

// reserved are the names of what every record has.
func reserved() []string {
	return []string{"object", "id", "version", "etag", "create_time", "update_time", "deleted", "own_write"}
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
	if over.Number != nil {
		f.Number = over.Number
	}
	return f
}

func (d document) build() (*Mapping, error) {
	countries := newCountries()
	var problems []error
	m := &Mapping{}
	for _, name := range slices.Sorted(maps.Keys(d.Objects)) {
		o, errs := d.Objects[name].build(name)
		o.countries = countries
		problems = append(problems, errs...)
		m.objects = append(m.objects, o)
		switch name {
		case "account":
			m.Account = o
		case "contact":
			m.Contact = o
		case "case":
			m.Case = o
		}
	}
	return m, errors.Join(problems...)
}

func (e objectEntry) build(name string) (*Object, []error) {
	names := catalogue(name)
	o := &Object{Name: name, SObject: e.SObject, Event: strings.HasSuffix(e.SObject, "__e"), typed: names != nil}
	if e.Required != nil {
		o.Required = *e.Required
	}
	if e.Parent != nil {
		o.parent = *e.Parent
	}
	o.Bulk = e.Bulk == nil || *e.Bulk
	if names == nil {
		names = slices.Sorted(maps.Keys(e.Fields))
	}
	o.known, o.index = names, map[string]int{}
	var problems []error
	for _, field := range names {
		f, err := e.Fields[field].build(field)
		if err != nil {
			problems = append(problems, fmt.Errorf("objects.%s.fields.%s: %w", name, field, err))
		}
		if f.Column != "" {
			o.index[field] = len(o.fields)
			o.fields = append(o.fields, f)
		}
	}
	return o, append(problems, o.validate()...)
}

func (f fieldEntry) build(name string) (Field, error) {
	out := Field{Name: name}
	if f.Field != nil {
		out.Column = *f.Field
		out.relation, out.part, out.dotted = strings.Cut(out.Column, ".")
		out.lower = strings.ToLower(out.Column)
	}
	if f.ReadOnly != nil {
		out.ReadOnly = *f.ReadOnly
	}
	if f.MaxLength != nil {
		out.MaxLength = *f.MaxLength
	}
	if f.Number != nil {
		out.number = *f.Number
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
	case out.Column != "" && !columnName(out.Column):
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
	needed := !o.Event && (!o.typed || o.Name == "account" || o.Name == "contact")
	if needed && o.ExternalID() == "" {
		problems = append(problems, fmt.Errorf("objects.%s.fields.external_id: must be mapped and writable", o.Name))
	}
	if strings.Contains(o.ExternalID(), ".") {
		problems = append(problems, fmt.Errorf("objects.%s.fields.external_id: must be a field of the object itself", o.Name))
	}
	if _, ok := o.field(o.parent); o.parent != "" && !ok {
		problems = append(problems, fmt.Errorf("objects.%s.parent: %s is not a mapped field", o.Name, o.parent))
	}
	return problems
}

// columnName reports whether s may stand in a query as a field: an API name, or two with a dot between them.
func columnName(s string) bool {
	relation, field, dotted := strings.Cut(s, ".")
	return apiName(relation) && (!dotted || apiName(field))
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
