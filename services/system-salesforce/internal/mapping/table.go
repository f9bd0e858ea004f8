package mapping

import (
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	salesforcev1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/salesforce/v1"
)

// Table translates records that come as texts, column by column. It is made once for many of them; it belongs to one goroutine.
type Table struct {
	object  *Object
	columns []tableColumn
	dotted  bool
	spare   map[string]any // a row that was given back
}

type tableColumn struct {
	field *Field
	kind  salesforcev1.FieldType
	// gone means that the org no longer has the field.
	gone bool
}

// Table returns what translates records of these fields of ours, in this order. The fields must be writable: see ColumnsOf.
func (o *Object) Table(names []string, s *Schema) *Table {
	t := &Table{object: o, columns: make([]tableColumn, len(names))}
	for i, name := range names {
		f := &o.fields[o.index[name]]
		c := tableColumn{field: f, gone: true}
		if d, ok := s.of(f); ok {
			c.kind, c.gone = fieldType(f, d), false
		}
		t.columns[i], t.dotted = c, t.dotted || f.dotted
	}
	return t
}

// Row returns the sObject fields to write, as WriteFields does. At returns the text of a column, an empty one clears the field, and false
// to leave the field as it is.
func (t *Table) Row(at func(column int) (text string, ok bool)) (map[string]any, *Problem) {
	row := t.empty()
	for i := range t.columns {
		c := &t.columns[i]
		text, ok := at(i)
		if !ok {
			continue
		}
		if c.gone {
			return nil, &Problem{Field: c.field.Name, Reason: ReasonFieldUnknown, Message: "the org no longer has this field"}
		}
		value, problem := c.value(text)
		if problem == nil {
			problem = t.object.put(row, c.field, value)
		}
		if problem != nil {
			return nil, problem
		}
	}
	if t.dotted {
		t.object.settle(row)
	}
	return row, nil
}

func (t *Table) empty() map[string]any {
	row := t.spare
	if t.spare = nil; row == nil {
		row = make(map[string]any, len(t.columns))
	}
	return row
}

// Reuse takes back a row that nobody needs any more: making one anew costs more than filling it.
func (t *Table) Reuse(row map[string]any) {
	clear(row)
	t.spare = row
}

// value reads a text as what the field takes.
func (c *tableColumn) value(text string) (any, *Problem) {
	if text == "" {
		return nil, nil
	}
	v := &salesforcev1.FieldValue{}
	switch c.kind {
	case salesforcev1.FieldType_FIELD_TYPE_FLAG:
		if text != "true" && text != "false" {
			break // no value of that kind
		}
		v.Value = &salesforcev1.FieldValue_Flag{Flag: text == "true"}
	case salesforcev1.FieldType_FIELD_TYPE_NUMBER:
		v.Value = &salesforcev1.FieldValue_Number{Number: text}
	case salesforcev1.FieldType_FIELD_TYPE_DATE:
		v.Value = &salesforcev1.FieldValue_Date{Date: text}
	case salesforcev1.FieldType_FIELD_TYPE_TIME:
		if at, err := time.Parse(time.RFC3339Nano, text); err == nil {
			v.Value = &salesforcev1.FieldValue_Time{Time: timestamppb.New(at)}
		}
	case salesforcev1.FieldType_FIELD_TYPE_UNSPECIFIED:
	default:
		return text, nil
	}
	return writeValue(c.field.Name, c.kind, v)
}
