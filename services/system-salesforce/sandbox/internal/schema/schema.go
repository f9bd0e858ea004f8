// Package schema holds the object model of the local Salesforce: objects,
// fields and their rules, read from an embedded file that an operator may
// extend.
//
// Invariant: a Schema does not change after Load, so it is read without locks.
// Names are found without regard to case, as Salesforce does.
package schema

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"strings"
)

//go:embed schema.json
var builtin []byte

// Type is a field type as describe calls name it.
type Type string

// The field types that the sandbox stores.
const (
	ID       Type = "id"
	String   Type = "string"
	TextArea Type = "textarea"
	Picklist Type = "picklist"
	// MultiPicklist holds several values, joined by semicolons.
	MultiPicklist Type = "multipicklist"
	Reference     Type = "reference"
	Email         Type = "email"
	Phone         Type = "phone"
	URL           Type = "url"
	Boolean       Type = "boolean"
	Int           Type = "int"
	Double        Type = "double"
	Currency      Type = "currency"
	Percent       Type = "percent"
	Date          Type = "date"
	DateTime      Type = "datetime"
	Address       Type = "address"
)

// Text reports whether values of the type are strings on the wire.
func (t Type) Text() bool {
	switch t {
	case String, TextArea, Picklist, MultiPicklist, Email, Phone, URL:
		return true
	}
	return false
}

// Number reports whether values of the type are JSON numbers.
func (t Type) Number() bool {
	switch t {
	case Int, Double, Currency, Percent:
		return true
	}
	return false
}

// System names the fields that every record has and that the store keeps
// outside a record's own values.
type System uint8

// The system fields; NotSystem is an ordinary field.
const (
	NotSystem System = iota
	SysID
	SysDeleted
	SysCreated
	SysCreatedBy
	SysModified
	SysModifiedBy
	SysModstamp
	// SysMaster is the record that a merge put in the place of a deleted one.
	SysMaster
)

// Field describes one field. Length is in characters; zero means no limit.
type Field struct {
	Name              string   `json:"name"`
	Label             string   `json:"label"`
	Type              Type     `json:"type"`
	Length            int      `json:"length"`
	Precision         int      `json:"precision"`
	Scale             int      `json:"scale"`
	Required          bool     `json:"required"`
	Unique            bool     `json:"unique"`
	ExternalID        bool     `json:"externalId"`
	IDLookup          bool     `json:"idLookup"`
	CaseSensitive     bool     `json:"caseSensitive"`
	NameField         bool     `json:"nameField"`
	Owner             bool     `json:"owner"`
	ReferenceTo       []string `json:"referenceTo"`
	Relationship      string   `json:"relationship"`
	ChildRelationship string   `json:"childRelationship"`
	// OnDelete says what a deleted parent does to the child that refers to
	// it: "cascade", "clear", "restrict", or empty for nothing.
	OnDelete   string   `json:"onDelete"`
	Picklist   []string `json:"picklist"`
	Restricted bool     `json:"restricted"`
	Default    string   `json:"default"`
	// AutoNumber is the number of digits of a generated value.
	AutoNumber int `json:"autoNumber"`
	// Concat makes a read-only text from other fields.
	Concat []string `json:"concat"`
	// CalcField and CalcIn make a read-only checkbox: true while CalcField
	// holds one of the values CalcIn.
	CalcField string   `json:"calcField"`
	CalcIn    []string `json:"calcIn"`
	// StampField makes a read-only time: set when that checkbox turns true.
	StampField string `json:"stampField"`
	// Compound is the compound field that contains this one in change events.
	Compound string `json:"compound"`
	// Parts is the common prefix of the parts of an address.
	Parts string `json:"parts"`
	// Event names the form in change events: "switchable", "person" or empty.
	Event string `json:"event"`

	// Sys is set for system fields.
	Sys System `json:"-"`
	// Slot is the position of the field's value inside a record.
	Slot int `json:"-"`
	// Object is the object that has the field.
	Object *Object `json:"-"`
}

// Custom reports whether an administrator, not Salesforce, defined the field.
func (f *Field) Custom() bool { return strings.HasSuffix(f.Name, "__c") }

// ReadOnly reports whether clients cannot write the field.
func (f *Field) ReadOnly() bool {
	return f.Sys != NotSystem || f.AutoNumber > 0 || f.Virtual() || f.CalcField != "" || f.StampField != ""
}

// Virtual reports whether the value is made from other fields when it is read.
func (f *Field) Virtual() bool { return len(f.Concat) > 0 || f.Type == Address }

// Indexed reports whether equality on the field is answered from an index.
func (f *Field) Indexed() bool {
	return !f.Virtual() && (f.ExternalID || f.Unique || f.IDLookup || f.Type == Reference) && f.Sys == NotSystem && !f.Owner
}

// Object describes one sObject type.
type Object struct {
	Name   string            `json:"name"`
	Label  string            `json:"label"`
	Plural string            `json:"plural"`
	Prefix string            `json:"prefix"`
	Fields []*Field          `json:"fields"`
	Rename map[string]string `json:"rename"`
	// ReadOnly objects exist only to be read, such as Organization.
	ReadOnly bool `json:"readOnly"`
	// Mergeable objects have records that can be merged.
	Mergeable bool `json:"mergeable"`

	byName map[string]*Field
	slots  int
}

// Custom reports whether the object is a custom one.
func (o *Object) Custom() bool { return strings.HasSuffix(o.Name, "__c") || o.Event() }

// Field finds a field without regard to case; nil if there is none.
func (o *Object) Field(name string) *Field {
	if f := o.byName[name]; f != nil {
		return f
	}
	return o.byName[strings.ToLower(name)]
}

// Relationship finds the reference field behind a relationship name such as
// "Owner"; nil if there is none.
func (o *Object) Relationship(name string) *Field {
	for _, f := range o.Fields {
		if f.Relationship != "" && strings.EqualFold(f.Relationship, name) {
			return f
		}
	}
	return nil
}

// Slots is the number of value positions of a record.
func (o *Object) Slots() int { return o.slots }

// Parts returns the fields that a compound field is made of, in order.
func (o *Object) Parts(compound *Field) []*Field {
	var out []*Field
	for _, f := range o.Fields {
		if f.Compound == compound.Name {
			out = append(out, f)
		}
	}
	return out
}

// Schema is the set of objects.
type Schema struct {
	// Objects are in the order of the files.
	Objects []*Object
	// Channels group the events of several objects under one topic.
	Channels []Channel
	// Managed are the managed event subscriptions that exist at the start.
	Managed []Managed

	byName   map[string]*Object
	byPrefix map[string]*Object
}

// Object finds an object without regard to case; nil if there is none.
func (s *Schema) Object(name string) *Object { return s.byName[strings.ToLower(name)] }

// ByPrefix finds the object of a three-character id prefix; nil if none.
func (s *Schema) ByPrefix(prefix string) *Object { return s.byPrefix[prefix] }

// Children returns the reference fields of other objects that point at o.
func (s *Schema) Children(o *Object) []*Field {
	var out []*Field
	for _, c := range s.Objects {
		for _, f := range c.Fields {
			for _, to := range f.ReferenceTo {
				if to == o.Name && f.ChildRelationship != "" {
					out = append(out, f)
				}
			}
		}
	}
	return out
}

type file struct {
	Objects  []*Object `json:"objects"`
	Channels []Channel `json:"channels"`
	Managed  []Managed `json:"managedSubscriptions"`
}

// Load reads the built-in objects and then extends them: each extra document
// may add objects, add or replace fields, and rename fields.
func Load(extra ...[]byte) (*Schema, error) {
	s := &Schema{byName: map[string]*Object{}, byPrefix: map[string]*Object{}}
	for i, doc := range append([][]byte{builtin}, extra...) {
		var f file
		if err := json.Unmarshal(doc, &f); err != nil {
			return nil, fmt.Errorf("read schema document %d: %w", i, err)
		}
		for _, o := range f.Objects {
			if err := s.merge(o); err != nil {
				return nil, err
			}
		}
		s.Channels, s.Managed = append(s.Channels, f.Channels...), append(s.Managed, f.Managed...)
	}
	for _, o := range s.Objects {
		if err := s.finish(o); err != nil {
			return nil, fmt.Errorf("object %s: %w", o.Name, err)
		}
	}
	return s, s.checkTopics()
}

func (s *Schema) merge(o *Object) error {
	if o.Name == "" {
		return fmt.Errorf("an object without a name")
	}
	old := s.byName[strings.ToLower(o.Name)]
	if old == nil {
		s.Objects = append(s.Objects, o)
		s.byName[strings.ToLower(o.Name)] = o
		return nil
	}
	for from, to := range o.Rename {
		for _, f := range old.Fields {
			if strings.EqualFold(f.Name, from) {
				f.Name = to
			}
		}
	}
	for _, f := range o.Fields {
		old.put(f)
	}
	return nil
}

func (o *Object) put(f *Field) {
	for i, have := range o.Fields {
		if strings.EqualFold(have.Name, f.Name) {
			o.Fields[i] = f
			return
		}
	}
	o.Fields = append(o.Fields, f)
}

func (s *Schema) finish(o *Object) error {
	if o.Label == "" {
		o.Label = o.Name
	}
	if o.Plural == "" {
		o.Plural = o.Label + "s"
	}
	for n := 0; o.Prefix == ""; n++ {
		if p := fmt.Sprintf("%c%02d", o.prefixLetter(), n); s.byPrefix[p] == nil {
			o.Prefix = p
		}
	}
	if len(o.Prefix) != 3 || s.byPrefix[o.Prefix] != nil {
		return fmt.Errorf("key prefix %q is not three characters or is taken", o.Prefix)
	}
	s.byPrefix[o.Prefix] = o
	o.expand()
	o.byName = make(map[string]*Field, 2*len(o.Fields))
	for _, f := range o.Fields {
		if err := s.check(f); err != nil {
			return fmt.Errorf("field %s: %w", f.Name, err)
		}
		if o.byName[strings.ToLower(f.Name)] != nil {
			return fmt.Errorf("field %s is defined twice", f.Name)
		}
		f.Object, f.Slot = o, o.slots
		o.slots++
		o.byName[f.Name], o.byName[strings.ToLower(f.Name)] = f, f
	}
	return nil
}

func (s *Schema) check(f *Field) error {
	if f.Label == "" {
		f.Label = f.Name
	}
	switch f.Type {
	case Reference:
		for _, to := range f.ReferenceTo {
			if s.byName[strings.ToLower(to)] == nil {
				return fmt.Errorf("refers to the unknown object %s", to)
			}
		}
	case ID, Boolean, Int, Double, Currency, Percent, Date, DateTime, Address:
	case String, TextArea, Picklist, MultiPicklist, Email, Phone, URL:
	default:
		return fmt.Errorf("unknown type %q", f.Type)
	}
	return nil
}

// expand adds the system fields and the parts of addresses.
func (o *Object) expand() {
	if o.Event() {
		o.expandEvent()
		return
	}
	user := []string{"User"}
	fields := []*Field{
		{Name: "Id", Label: o.Label + " ID", Type: ID, Length: 18, Sys: SysID},
		{Name: "IsDeleted", Label: "Deleted", Type: Boolean, Sys: SysDeleted},
	}
	if o.Mergeable {
		fields = append(fields, &Field{Name: "MasterRecordId", Label: "Master Record ID", Type: Reference, ReferenceTo: []string{o.Name}, Relationship: "MasterRecord", Sys: SysMaster})
	}
	for _, f := range o.Fields {
		if f.Custom() {
			continue
		}
		fields = append(fields, f)
		if f.Type == Address {
			fields = append(fields, addressParts(f)...)
		}
	}
	fields = append(fields,
		&Field{Name: "CreatedDate", Label: "Created Date", Type: DateTime, Sys: SysCreated},
		&Field{Name: "CreatedById", Label: "Created By ID", Type: Reference, ReferenceTo: user, Relationship: "CreatedBy", Sys: SysCreatedBy},
		&Field{Name: "LastModifiedDate", Label: "Last Modified Date", Type: DateTime, Sys: SysModified},
		&Field{Name: "LastModifiedById", Label: "Last Modified By ID", Type: Reference, ReferenceTo: user, Relationship: "LastModifiedBy", Sys: SysModifiedBy},
		&Field{Name: "SystemModstamp", Label: "System Modstamp", Type: DateTime, Sys: SysModstamp},
	)
	for _, f := range o.Fields {
		if f.Custom() {
			fields = append(fields, f)
		}
	}
	o.Fields = fields
}

func addressParts(f *Field) []*Field {
	part := func(name string, t Type, length int) *Field {
		label := strings.TrimSpace(f.Parts + " " + name)
		return &Field{Name: f.Parts + name, Label: label, Type: t, Length: length, Compound: f.Name}
	}
	return []*Field{
		part("Street", TextArea, 255), part("City", String, 40), part("State", String, 80),
		part("PostalCode", String, 20), part("Country", String, 80),
	}
}
