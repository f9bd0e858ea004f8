package mapping

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	salesforcev1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/salesforce/v1"
)

// Described is what the org says about one field.
type Described struct {
	// Name is the API name, Type the type as describe calls name it: "string", "currency".
	Name, Type string
	// Length in characters; 0 for types without one.
	Length int
	// Writable is true when the integration user may set the field on new and on existing records.
	Writable bool
	// Createable is true when it may be set on new records.
	Createable bool
	// Required is true when a new record needs a value.
	Required bool
	// ExternalID is true for a field that names records, Unique for one whose values do not occur twice.
	ExternalID, Unique bool
	// Values are the active values of a list; Restricted means that the org refuses others.
	Values     []string
	Restricted bool
	// Relation is the name behind which the fields of the record referred to are found: "Account".
	Relation string
}

// Schema is what the org says about an object. It is immutable.
type Schema struct {
	fields []Described
	byName map[string]*Described
}

// NewSchema returns the schema of the described fields, which the caller no longer changes.
func NewSchema(fields []Described) *Schema {
	s := &Schema{fields: fields, byName: make(map[string]*Described, len(fields))}
	for i := range fields {
		s.byName[strings.ToLower(fields[i].Name)] = &fields[i]
	}
	return s
}

// Fields returns the described fields. The caller must not change the slice.
func (s *Schema) Fields() []Described { return s.fields }

// of returns the description of a field's column; for a column of a record referred to that of the reference.
func (s *Schema) of(f *Field) (*Described, bool) {
	if f.dotted {
		for i := range s.fields {
			if strings.EqualFold(s.fields[i].Relation, f.relation) {
				return &s.fields[i], true
			}
		}
		return nil, false
	}
	d, ok := s.byName[f.lower]
	return d, ok
}

// Check compares the mapping of one object with the org and returns everything that does not fit, naming our field and
// theirs.
func (o *Object) Check(fields []Described) error { return o.Fits(NewSchema(fields)) }

// Fits is Check for a schema.
func (o *Object) Fits(s *Schema) error {
	var problems []error
	for i := range o.fields {
		f := &o.fields[i]
		d, ok := s.of(f)
		where := fmt.Sprintf("objects.%s.fields.%s", o.Name, f.Name)
		writable := ok && (d.Writable || o.Event && d.Createable)
		switch {
		case !ok && f.dotted:
			problems = append(problems, fmt.Errorf("%s: %s has no relation %s that the integration user may see", where, o.SObject, f.relation))
		case !ok:
			problems = append(problems, fmt.Errorf("%s: %s has no field %s that the integration user may see", where, o.SObject, f.Column))
		case !f.ReadOnly && !writable:
			problems = append(problems, fmt.Errorf("%s: the integration user may not write %s.%s; make it writable or set read_only", where, o.SObject, f.Column))
		case f.Name == "external_id" && !d.ExternalID && !o.Event:
			problems = append(problems, fmt.Errorf("%s: %s.%s is not an external id", where, o.SObject, f.Column))
		}
	}
	return errors.Join(problems...)
}

// CheckRow compares the values of a row with what the org takes, so that a value it would refuse costs no call. A nil schema
// lets everything pass.
func (o *Object) CheckRow(row map[string]any, s *Schema) *Problem {
	if s == nil {
		return nil
	}
	for i := range o.fields {
		f := &o.fields[i]
		text, ok := row[f.Column].(string)
		if !ok || f.dotted {
			continue
		}
		d, known := s.of(f)
		if !known {
			continue
		}
		switch {
		case d.Restricted && !inList(d, text):
			return &Problem{Field: f.Name, Reason: ReasonPicklist, Message: "a value is not in the field's list"}
		case d.Length > 0 && d.Type != "reference" && utf8.RuneCountInString(text) > d.Length:
			return &Problem{Field: f.Name, Reason: ReasonFieldTooLong, Message: fmt.Sprintf("the CRM keeps at most %d characters of this field", d.Length)}
		}
	}
	return nil
}

func inList(d *Described, text string) bool {
	if d.Type != "multipicklist" {
		return slices.Contains(d.Values, text)
	}
	for part := range strings.SplitSeq(text, ";") {
		if !slices.Contains(d.Values, part) {
			return false
		}
	}
	return true
}

// Describe says how the object is kept, for callers.
func (o *Object) Describe(s *Schema) []*salesforcev1.Field {
	out := make([]*salesforcev1.Field, 0, len(o.fields))
	for i := range o.fields {
		f := &o.fields[i]
		d, ok := s.of(f)
		if !ok {
			continue
		}
		one := &salesforcev1.Field{
			Name: f.Name, Type: fieldType(f, d), Writable: !f.ReadOnly && (d.Writable || o.Event && d.Createable), Required: d.Required && !f.ReadOnly,
			Values: d.Values, Restricted: d.Restricted, MaxLength: int32(min(d.Length, 1<<30)), //nolint:gosec // bounded
		}
		if f.MaxLength > 0 && (d.Length == 0 || f.MaxLength < d.Length) {
			one.MaxLength = int32(min(f.MaxLength, 1<<30)) //nolint:gosec // bounded
		}
		out = append(out, one)
	}
	slices.SortFunc(out, func(a, b *salesforcev1.Field) int { return strings.Compare(a.GetName(), b.GetName()) })
	return out
}

// fieldType is our type of a column.
func fieldType(f *Field, d *Described) salesforcev1.FieldType {
	if f.dotted {
		return salesforcev1.FieldType_FIELD_TYPE_EXTERNAL_REFERENCE
	}
	switch d.Type {
	case "boolean":
		return salesforcev1.FieldType_FIELD_TYPE_FLAG
	case "int", "double", "currency", "percent", "long":
		return salesforcev1.FieldType_FIELD_TYPE_NUMBER
	case "date":
		return salesforcev1.FieldType_FIELD_TYPE_DATE
	case "datetime":
		return salesforcev1.FieldType_FIELD_TYPE_TIME
	case "picklist":
		return salesforcev1.FieldType_FIELD_TYPE_CHOICE
	case "multipicklist":
		return salesforcev1.FieldType_FIELD_TYPE_CHOICES
	case "reference", "id":
		return salesforcev1.FieldType_FIELD_TYPE_REFERENCE
	case "address", "location", "base64", "complexvalue", "anyType":
		return salesforcev1.FieldType_FIELD_TYPE_UNSPECIFIED
	}
	return salesforcev1.FieldType_FIELD_TYPE_TEXT
}
