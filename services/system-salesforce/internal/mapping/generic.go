package mapping

import (
	"encoding/json"
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	salesforcev1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/salesforce/v1"
)

// wireTime is how Salesforce takes a point in time.
const wireTime = "2006-01-02T15:04:05.000Z"

// ReadRecord translates a record of any object that was read with Columns.
func (o *Object) ReadRecord(row map[string]any, s *Schema) (*salesforcev1.Record, error) {
	meta, err := readMeta(row)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", o.Name, err)
	}
	r := &salesforcev1.Record{
		Object: o.Name, Id: meta.id, Version: meta.version, Etag: o.etag(row, meta.version), CreateTime: meta.created, UpdateTime: meta.updated,
		Fields: map[string]*salesforcev1.FieldValue{},
	}
	for i := range o.fields {
		f := &o.fields[i]
		value := o.value(f, row)
		if value == nil {
			continue
		}
		if f.Name == "external_id" {
			r.ExternalId = asText(value)
			continue
		}
		d, ok := s.of(f)
		if !ok {
			continue // the org has dropped it since
		}
		v, err := readValue(fieldType(f, d), value)
		if err != nil {
			return nil, fmt.Errorf("%s %s %s: %w", o.Name, meta.id, f.Column, err)
		}
		r.Fields[f.Name] = v
	}
	return r, nil
}

func readValue(t salesforcev1.FieldType, value any) (*salesforcev1.FieldValue, error) {
	switch v := value.(type) {
	case bool:
		return &salesforcev1.FieldValue{Value: &salesforcev1.FieldValue_Flag{Flag: v}}, nil
	case json.Number:
		text, ok := Decimal(v.String())
		if !ok {
			return nil, fmt.Errorf("a number out of range")
		}
		return &salesforcev1.FieldValue{Value: &salesforcev1.FieldValue_Number{Number: text}}, nil
	case string:
		switch t {
		case salesforcev1.FieldType_FIELD_TYPE_DATE:
			return &salesforcev1.FieldValue{Value: &salesforcev1.FieldValue_Date{Date: v}}, nil
		case salesforcev1.FieldType_FIELD_TYPE_TIME:
			at, err := Time(v)
			if err != nil {
				return nil, err
			}
			return &salesforcev1.FieldValue{Value: &salesforcev1.FieldValue_Time{Time: timestamppb.New(at)}}, nil
		}
		return &salesforcev1.FieldValue{Value: &salesforcev1.FieldValue_Text{Text: v}}, nil
	}
	return nil, fmt.Errorf("a value of an unexpected kind")
}

// WriteRecord returns the sObject fields to write for a record of any object, as Row does for a typed one. The external id is
// not among them.
func (o *Object) WriteRecord(r *salesforcev1.Record, mask []string, s *Schema) (map[string]any, *Problem) {
	if r == nil {
		return nil, missing(o.Name)
	}
	return o.WriteFields(r.GetFields(), mask, s)
}

// WriteFields is WriteRecord for the values alone.
func (o *Object) WriteFields(values map[string]*salesforcev1.FieldValue, mask []string, s *Schema) (map[string]any, *Problem) {
	if len(mask) == 0 {
		mask = make([]string, 0, len(values))
		for name := range values {
			mask = append(mask, name)
		}
	}
	if len(mask) == 0 {
		return map[string]any{}, nil
	}
	for name := range values {
		if _, ok := o.field(name); !ok || name == "external_id" {
			return nil, &Problem{Field: name, Reason: ReasonFieldUnknown, Message: "the mapping does not declare this field"}
		}
	}
	return o.row(mask, func(name string) (any, *Problem) {
		value := values[name]
		if value.GetValue() == nil {
			return nil, nil
		}
		f := &o.fields[o.index[name]]
		d, ok := s.of(f)
		if !ok {
			return nil, &Problem{Field: name, Reason: ReasonFieldUnknown, Message: "the org no longer has this field"}
		}
		return writeValue(name, fieldType(f, d), value)
	})
}

// writeValue returns a value as Salesforce takes it, and refuses one of another kind than the field's.
func writeValue(name string, t salesforcev1.FieldType, value *salesforcev1.FieldValue) (any, *Problem) {
	kind := func(want string) *Problem {
		return &Problem{Field: name, Reason: ReasonValueKind, Message: "the field takes a " + want}
	}
	switch t {
	case salesforcev1.FieldType_FIELD_TYPE_FLAG:
		v, ok := value.GetValue().(*salesforcev1.FieldValue_Flag)
		if !ok {
			return nil, kind("flag")
		}
		return v.Flag, nil
	case salesforcev1.FieldType_FIELD_TYPE_NUMBER:
		v, ok := value.GetValue().(*salesforcev1.FieldValue_Number)
		if !ok {
			return nil, kind("number")
		}
		text, ok := Decimal(v.Number)
		if !ok {
			return nil, kind("number")
		}
		return json.Number(text), nil
	case salesforcev1.FieldType_FIELD_TYPE_DATE:
		v, ok := value.GetValue().(*salesforcev1.FieldValue_Date)
		if !ok {
			return nil, kind("date")
		}
		if _, err := time.Parse(time.DateOnly, v.Date); err != nil {
			return nil, kind("date")
		}
		return v.Date, nil
	case salesforcev1.FieldType_FIELD_TYPE_TIME:
		v, ok := value.GetValue().(*salesforcev1.FieldValue_Time)
		if !ok || v.Time.CheckValid() != nil {
			return nil, kind("time")
		}
		return v.Time.AsTime().UTC().Format(wireTime), nil
	case salesforcev1.FieldType_FIELD_TYPE_UNSPECIFIED:
		return nil, &Problem{Field: name, Reason: ReasonValueKind, Message: "fields of this type cannot be written"}
	}
	v, ok := value.GetValue().(*salesforcev1.FieldValue_Text)
	if !ok {
		return nil, kind("text")
	}
	if v.Text == "" {
		return nil, nil
	}
	return v.Text, nil
}
