// Package event makes the change data capture events of the local Salesforce
// and keeps them on a replayable bus.
//
// Invariant: an event exists because a transaction committed, and every commit
// has its events, in commit order. The package does not know gRPC; it hands out
// bytes.
package event

import (
	"crypto/md5"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/twmb/avro"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/schema"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/sfid"
)

// Layout is the Avro form of one object's change events.
type Layout struct {
	// Name is the event's name, such as AccountChangeEvent.
	Name string
	// JSON is the schema as GetSchema answers it; SchemaID is its id.
	JSON     string
	SchemaID string

	// Object is the object whose changes, or the platform event whose
	// publications, have this form.
	Object *schema.Object

	codec  *avro.Schema // of platform events, which have no header; nil otherwise
	body   *avro.Schema // all but the header; nil for platform events
	fields []field      // field i has schema index i+1; index 0 is the header
	shown  []bool       // by slot: whether events show the field
}

// Topic is the name that clients subscribe to.
func (l *Layout) Topic() string {
	if l.Object.Event() {
		return "/event/" + l.Name
	}
	return "/data/" + l.Name
}

// field is one top-level field; parts are set for compounds that are records.
type field struct {
	*schema.Field
	parts []part
}

// part is one member of a nested record; Field is nil for members that the
// sandbox never fills.
type part struct {
	name string
	*schema.Field
}

type (
	avroRecord struct {
		Name      string      `json:"name"`
		Namespace string      `json:"namespace,omitempty"`
		Type      string      `json:"type"`
		Fields    []avroField `json:"fields"`
		UUID      string      `json:"uuid,omitempty"`
	}
	avroField struct {
		Name    string           `json:"name"`
		Type    any              `json:"type"`
		Doc     string           `json:"doc,omitempty"`
		Default *json.RawMessage `json:"default,omitempty"`
	}
	avroEnum struct {
		Type    string   `json:"type"`
		Name    string   `json:"name"`
		Symbols []string `json:"symbols"`
	}
	avroArray struct {
		Type  string `json:"type"`
		Items string `json:"items"`
	}
)

// NameOf is the name of an object's change events.
func NameOf(o *schema.Object) string {
	if base, ok := strings.CutSuffix(o.Name, "__c"); ok {
		return base + "__ChangeEvent"
	}
	return o.Name + "ChangeEvent"
}

// NewLayout derives the event schema of an object.
func NewLayout(o *schema.Object) (*Layout, error) {
	if o.Event() {
		return newPlatformLayout(o)
	}
	l := &Layout{Name: NameOf(o), Object: o}
	record := avroRecord{Name: l.Name, Namespace: namespace, Type: "record", Fields: []avroField{header()}}
	defined := map[string]bool{}
	for _, f := range o.Fields {
		switch {
		case f.Sys == schema.SysID, f.Sys == schema.SysDeleted, f.Sys == schema.SysModstamp, f.Sys == schema.SysMaster, f.Compound != "":
			continue
		}
		e := field{Field: f}
		if f.Type == schema.Address {
			for _, name := range addressMembers() {
				e.parts = append(e.parts, part{name, o.Field(f.Parts + name)})
			}
		} else if f.Event == "person" {
			for _, name := range personMembers() {
				e.parts = append(e.parts, part{name, o.Field(name)})
			}
		}
		l.fields = append(l.fields, e)
		record.Fields = append(record.Fields, nullable(f.Name, doc(f), avroTypes(e, defined)...))
	}
	if err := l.finish(record); err != nil {
		return nil, err
	}
	l.shown = make([]bool, o.Slots())
	for i := range l.fields {
		l.shown[l.fields[i].Slot] = l.fields[i].parts == nil
		for _, p := range l.fields[i].parts {
			if p.Field != nil {
				l.shown[p.Slot] = true
			}
		}
	}
	record.Fields = record.Fields[1:]
	text, err := json.Marshal(record)
	if err == nil {
		l.body, err = avro.Parse(string(text))
	}
	if err != nil {
		return nil, fmt.Errorf("event schema of %s: %w", o.Name, err)
	}
	return l, nil
}

// namespace is that of all event schemas.
const namespace = "com.sforce.eventbus"

// finish sets the schema and its id.
func (l *Layout) finish(record avroRecord) error {
	plain, err := json.Marshal(record)
	if err != nil {
		return fmt.Errorf("event schema of %s: %w", l.Name, err)
	}
	sum := md5.Sum(plain)
	record.UUID = base64.RawURLEncoding.EncodeToString(sum[:])
	full, err := json.Marshal(record)
	if err != nil {
		return fmt.Errorf("event schema of %s: %w", l.Name, err)
	}
	l.JSON, l.SchemaID = string(full), record.UUID
	return nil
}

func header() avroField {
	texts := avroArray{"array", "string"}
	kinds := []string{"CREATE", "UPDATE", "DELETE", "UNDELETE", "GAP_CREATE", "GAP_UPDATE", "GAP_DELETE", "GAP_UNDELETE", "GAP_OVERFLOW", "SNAPSHOT"}
	return avroField{Name: "ChangeEventHeader", Type: avroRecord{Name: "ChangeEventHeader", Type: "record", Fields: []avroField{
		{Name: "entityName", Type: "string"},
		{Name: "recordIds", Type: texts},
		{Name: "changeType", Type: avroEnum{"enum", "ChangeType", kinds}},
		{Name: "changeOrigin", Type: "string"},
		{Name: "transactionKey", Type: "string"},
		{Name: "sequenceNumber", Type: "int"},
		{Name: "commitTimestamp", Type: "long"},
		{Name: "commitNumber", Type: "long"},
		{Name: "commitUser", Type: "string"},
		{Name: "nulledFields", Type: texts},
		{Name: "diffFields", Type: texts},
		{Name: "changedFields", Type: texts},
	}}}
}

func addressMembers() []string {
	return []string{"Street", "City", "State", "PostalCode", "Country", "StateCode", "CountryCode", "Latitude", "Longitude", "Xyz", "GeocodeAccuracy"}
}

func personMembers() []string {
	return []string{"Salutation", "FirstName", "LastName", "MiddleName", "InformalName", "Suffix"}
}

func nullable(name, doc string, branches ...any) avroField {
	null := json.RawMessage("null")
	return avroField{Name: name, Type: append([]any{"null"}, branches...), Doc: doc, Default: &null}
}

// avroTypes returns the non-null branches of a field's union. A named record
// is defined where it first occurs and referred to by name afterwards.
func avroTypes(f field, defined map[string]bool) []any {
	named := func(name string, members []string) any {
		if defined[name] {
			return name
		}
		defined[name] = true
		r := avroRecord{Name: name, Type: "record"}
		for _, m := range members {
			switch m {
			case "Latitude", "Longitude":
				r.Fields = append(r.Fields, nullable(m, "Data:Double", "double"))
			case "Xyz":
				r.Fields = append(r.Fields, nullable(m, "Data:ComplexValueType", "bytes"))
			case "Salutation", "StateCode", "CountryCode", "GeocodeAccuracy":
				r.Fields = append(r.Fields, nullable(m, "Data:DynamicEnum", "string"))
			default:
				r.Fields = append(r.Fields, nullable(m, "Data:Text", "string"))
			}
		}
		return r
	}
	switch {
	case f.Type == schema.Address:
		return []any{named("Address", addressMembers())}
	case f.Event == "person":
		return []any{named("PersonName", personMembers())}
	case f.Event == "switchable":
		return []any{"string", named("Switchable_PersonName", personMembers())}
	case f.Type.Number():
		if f.Type == schema.Int {
			return []any{"int"}
		}
		return []any{"double"}
	case f.Type == schema.Boolean:
		return []any{"boolean"}
	case f.Type == schema.Date, f.Type == schema.DateTime:
		return []any{"long"}
	default:
		return []any{"string"}
	}
}

// doc is the role and type note that Salesforce puts on every field.
func doc(f *schema.Field) string {
	switch f.Sys {
	case schema.SysCreated:
		return "CreatedDate:DateTime"
	case schema.SysCreatedBy:
		return "CreatedBy:EntityId"
	case schema.SysModified:
		return "LastModifiedDate:DateTime"
	case schema.SysModifiedBy:
		return "LastModifiedBy:EntityId"
	}
	kind := map[schema.Type]string{
		schema.Picklist: "DynamicEnum", schema.MultiPicklist: "MultiEnum", schema.Email: "Email", schema.Phone: "Phone", schema.URL: "Url", schema.Boolean: "Boolean",
		schema.Int: "Integer", schema.Double: "Double", schema.Currency: "Currency", schema.Percent: "Percent",
		schema.Date: "DateOnly", schema.DateTime: "DateTime", schema.Address: "Address", schema.TextArea: "Text", schema.String: "Text",
	}[f.Type]
	switch {
	case f.Type == schema.Reference:
		return "ForeignKey:EntityId"
	case f.Event == "switchable":
		kind = "Switchable_PersonName"
	case f.Event == "person":
		kind = "PersonName"
	}
	if f.Custom() {
		return "Data:" + kind + ":" + sfid.New("00N", f.Slot)[:15]
	}
	return "Data:" + kind
}
