package mapping

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	salesforcev1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/salesforce/v1"
)

// prototype returns an empty message of a typed object; nil for an object that only the mapping file declares.
func prototype(object string) proto.Message {
	switch object {
	case "account":
		return (*salesforcev1.Account)(nil)
	case "contact":
		return (*salesforcev1.Contact)(nil)
	case "case":
		return (*salesforcev1.Case)(nil)
	case "opportunity":
		return (*salesforcev1.Opportunity)(nil)
	case "lead":
		return (*salesforcev1.Lead)(nil)
	case "campaign":
		return (*salesforcev1.Campaign)(nil)
	case "campaign_member":
		return (*salesforcev1.CampaignMember)(nil)
	case "product":
		return (*salesforcev1.Product)(nil)
	case "asset":
		return (*salesforcev1.Asset)(nil)
	case "asset_warranty":
		return (*salesforcev1.AssetWarranty)(nil)
	}
	return nil
}

// catalogue lists our fields of a typed object, in the order of its message: what is not in it cannot be mapped. It is nil for
// an object that only the mapping file declares.
func catalogue(object string) []string {
	m := prototype(object)
	if m == nil {
		return nil
	}
	var out []string
	fields := m.ProtoReflect().Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		name := string(f.Name())
		switch {
		case slices.Contains(reserved(), name):
		case f.Kind() == protoreflect.MessageKind:
			parts := f.Message().Fields()
			for j := range parts.Len() {
				out = append(out, name+"."+string(parts.Get(j).Name()))
			}
		default:
			out = append(out, name)
		}
	}
	return out
}

// Read fills the message of a typed object from a record read with Columns.
func (o *Object) Read(into proto.Message, row map[string]any) error {
	meta, err := readMeta(row)
	if err != nil {
		return fmt.Errorf("%s: %w", o.Name, err)
	}
	m := into.ProtoReflect()
	fields := m.Descriptor().Fields()
	set := func(name protoreflect.Name, v protoreflect.Value) {
		if f := fields.ByName(name); f != nil {
			m.Set(f, v)
		}
	}
	set("id", protoreflect.ValueOfString(meta.id))
	set("version", protoreflect.ValueOfInt64(meta.version))
	set("etag", protoreflect.ValueOfString(o.etag(row, meta.version)))
	set("create_time", protoreflect.ValueOfMessage(meta.created.ProtoReflect()))
	set("update_time", protoreflect.ValueOfMessage(meta.updated.ProtoReflect()))
	for i := range o.fields {
		o.fill(m, &o.fields[i], row)
	}
	return nil
}

// fill sets one field of a message, if the record has a value for it.
func (o *Object) fill(m protoreflect.Message, f *Field, row map[string]any) {
	value := o.value(f, row)
	if value == nil {
		return
	}
	name, part, nested := strings.Cut(f.Name, ".")
	fd := m.Descriptor().Fields().ByName(protoreflect.Name(name))
	if nested {
		m = m.Mutable(fd).Message()
		fd = m.Descriptor().Fields().ByName(protoreflect.Name(part))
	}
	switch fd.Kind() {
	case protoreflect.BoolKind:
		if b, ok := value.(bool); ok {
			m.Set(fd, protoreflect.ValueOfBool(b))
		}
	case protoreflect.StringKind:
		if text := asText(value); text != "" {
			m.Set(fd, protoreflect.ValueOfString(text))
		}
	}
}

// value returns what a record holds in a field; nil when it is empty.
func (o *Object) value(f *Field, row map[string]any) any {
	value := row[f.Column]
	if f.dotted {
		parent, _ := row[f.relation].(map[string]any)
		value = parent[f.part]
	}
	if text, ok := value.(string); ok {
		if text == "" {
			return nil
		}
		if f.country == countryISO2 || f.country == countryName {
			return o.countries.code(text)
		}
	}
	return value
}

// asText returns a value as we write it in text fields.
func asText(value any) string {
	switch v := value.(type) {
	case string:
		return v
	case json.Number:
		text, _ := Decimal(v.String())
		return text
	}
	return ""
}

// Row returns the sObject fields to write for the message of a typed object. An empty mask writes every field that is set; a
// field in the mask that is empty is cleared. Fields of the mask that cannot be written are a Problem.
func (o *Object) Row(msg proto.Message, mask []string) (map[string]any, *Problem) {
	if m := msg.ProtoReflect(); m.IsValid() {
		return o.row(mask, func(name string) (any, *Problem) { return field(m, name), nil })
	}
	return nil, missing(o.Name)
}

// field returns what a message holds in a field: nil when it is unset, else a string or a bool.
func field(m protoreflect.Message, path string) any {
	name, part, nested := strings.Cut(path, ".")
	fd := m.Descriptor().Fields().ByName(protoreflect.Name(name))
	if nested {
		if !m.Has(fd) {
			return nil
		}
		m = m.Get(fd).Message()
		fd = m.Descriptor().Fields().ByName(protoreflect.Name(part))
	}
	if !m.Has(fd) {
		return nil
	}
	if fd.Kind() == protoreflect.BoolKind {
		return m.Get(fd).Bool()
	}
	return m.Get(fd).String()
}

// row collects the columns to write; get returns our value of a field, nil when it is empty.
func (o *Object) row(mask []string, get func(name string) (any, *Problem)) (map[string]any, *Problem) {
	wanted, problem := o.expand(mask)
	if problem != nil {
		return nil, problem
	}
	row := map[string]any{}
	for i := range o.fields {
		f := &o.fields[i]
		if len(mask) > 0 && !wanted[i] {
			continue
		}
		value, problem := get(f.Name)
		switch {
		case problem != nil:
			return nil, problem
		case len(mask) == 0 && (value == nil || f.ReadOnly):
			continue
		case f.ReadOnly:
			return nil, &Problem{Field: f.Name, Reason: ReasonFieldReadOnly, Message: "the mapping does not let this field be written"}
		}
		if problem := o.put(row, f, value); problem != nil {
			return nil, problem
		}
	}
	o.settle(row)
	return row, nil
}

// settle leaves one column for each reference: the id when it is given, else the external id; a reference is cleared by its id.
func (o *Object) settle(row map[string]any) {
	for i := range o.fields {
		f := &o.fields[i]
		if !f.dotted {
			continue
		}
		value, ok := row[f.Column]
		if !ok {
			continue
		}
		key := foreignKey(f.relation)
		switch {
		case row[key] != nil:
			delete(row, f.Column)
		case value != nil:
			delete(row, key)
		default:
			delete(row, f.Column)
			row[key] = nil
		}
	}
}

// put sets one column.
func (o *Object) put(row map[string]any, f *Field, value any) *Problem {
	if text, ok := value.(string); ok {
		switch f.country {
		case countryISO2:
			text = o.countries.code(text)
			value = text
		case countryName:
			text = o.countries.name(text)
			value = text
		}
		if f.MaxLength > 0 && utf8.RuneCountInString(text) > f.MaxLength {
			return &Problem{Field: f.Name, Reason: ReasonFieldTooLong, Message: fmt.Sprintf("the CRM keeps at most %d characters of this field", f.MaxLength)}
		}
		if f.number {
			decimal, ok := Decimal(text)
			if !ok {
				return &Problem{Field: f.Name, Reason: ReasonValueKind, Message: "not a decimal number"}
			}
			value = json.Number(decimal)
		}
	}
	row[f.Column] = value
	return nil
}
