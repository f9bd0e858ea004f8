package bulk

import (
	"fmt"
	"strings"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/schema"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/sfid"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/store"
)

// nullMark in a value sets the field to null; an empty value leaves it alone.
const nullMark = "#N/A"

// column says what the values under one heading are for.
type column struct {
	field *schema.Field
	// target is set for a relationship column: field refers to the record
	// whose target field holds the value.
	target *schema.Field
}

// headings checks the first record of a file. The message is empty if it is
// usable. A field that the user may not see does not exist.
func headings(s *schema.Schema, o *schema.Object, operation string, names []string, rights schema.Rights) (out []column, message string) {
	seen := map[*schema.Field]bool{}
	for _, name := range names {
		c := heading(s, o, name)
		switch {
		case c.field == nil || !rights.Sees(c.field):
			return nil, "InvalidBatch : Field name not found : " + name
		case seen[c.field]:
			return nil, "InvalidBatch : Duplicate field name in the header : " + name
		case deletes(operation) && c.field.Sys != schema.SysID:
			return nil, "InvalidBatch : A delete batch must contain only Ids"
		}
		seen[c.field] = true
		out = append(out, c)
	}
	return out, ""
}

// heading finds what a name stands for: a field, Relationship.Field, or
// Type:Relationship.Field where the relationship leads to several types. The
// type is required there and forbidden elsewhere.
func heading(s *schema.Schema, o *schema.Object, name string) column {
	if f := o.Field(name); f != nil && f.Type != schema.Address {
		return column{field: f}
	}
	kind, path, typed := strings.Cut(name, ":")
	if !typed {
		path = name
	}
	relation, parent, ok := strings.Cut(path, ".")
	f := o.Relationship(relation)
	if !ok || f == nil || f.Sys != schema.NotSystem || typed != (len(f.ReferenceTo) > 1) {
		return column{}
	}
	for _, to := range f.ReferenceTo {
		if typed && !strings.EqualFold(to, kind) {
			continue
		}
		target := s.Object(to).Field(parent)
		if target != nil && target.Indexed() && target.Type != schema.Reference {
			return column{f, target}
		}
	}
	return column{}
}

// record is one row, ready to be written.
type record struct {
	start, size uint32
	// id is the given record id, key the value of the external id field.
	id, key string
	in      map[string]any
	parents []parent
	bad     *store.Error
}

// parent is a reference that is given by a value of the parent.
type parent struct {
	column
	value string
}

// fill makes a record of a row.
func (w *writer) fill(r row) record {
	out := record{start: uint32(r.start), size: uint32(r.end - r.start)}
	switch {
	case r.bad != "":
		out.bad = &store.Error{Code: "ClientInputError", Message: r.bad}
		return out
	case len(r.values) != len(w.columns):
		out.bad = &store.Error{Code: "ClientInputError", Message: fmt.Sprintf("the record has %d values, the header has %d", len(r.values), len(w.columns))}
		return out
	}
	out.in = make(map[string]any, len(r.values))
	size := 0
	for _, v := range r.values {
		size += len(v)
	}
	var all strings.Builder // the values share memory: they are kept together or not at all
	all.Grow(size)
	for _, v := range r.values {
		all.Write(v)
	}
	text := all.String()
	for i, v := range r.values {
		if len(v) > 0 {
			w.put(&out, w.columns[i], text[:len(v)])
			text = text[len(v):]
		}
	}
	return out
}

func (w *writer) put(r *record, c column, v string) {
	switch {
	case c.target != nil && v == nullMark:
		r.in[c.field.Name] = nil
	case c.target != nil:
		r.parents = append(r.parents, parent{c, v})
	case c.field.Sys == schema.SysID && w.operation != "insert":
		r.id = v
	case c.field == w.external:
		r.key = v
	case v == nullMark:
		r.in[c.field.Name] = nil
	case c.field.Type == schema.Boolean && !checkbox(v):
		r.bad = wrongValue(c.field, v)
	default:
		r.in[c.field.Name] = v
	}
}

func checkbox(v string) bool {
	return v == "0" || v == "1" || strings.EqualFold(v, "true") || strings.EqualFold(v, "false")
}

func wrongValue(f *schema.Field, v string) *store.Error {
	return &store.Error{Code: "INVALID_TYPE_ON_FIELD_IN_RECORD", Message: fmt.Sprintf("%s: value not of required type: %s", f.Label, v), Fields: []string{f.Name}}
}

// writer writes records of one object in one way.
type writer struct {
	schema    *schema.Schema
	object    *schema.Object
	operation string
	external  *schema.Field
	columns   []column
}

// resolve finds the parents that are given by a value.
func (w *writer) resolve(tx *store.Tx, r *record) *store.Error {
	for _, p := range r.parents {
		v, err := store.Convert(p.target, p.value)
		if err != nil {
			return err
		}
		found := tx.Lookup(p.target, v)
		switch len(found) {
		case 1:
			r.in[p.field.Name] = found[0].ID
		case 0:
			return &store.Error{Code: "INVALID_FIELD", Message: fmt.Sprintf("Foreign key external ID: %s not found for field %s in entity %s", p.value, p.target.Name, p.target.Object.Name)}
		default:
			return &store.Error{Code: "DUPLICATE_EXTERNAL_ID", Message: fmt.Sprintf("%s: more than one record found for external id field: %s", w.object.Name, p.value)}
		}
	}
	return nil
}

// apply writes one record.
func (w *writer) apply(tx *store.Tx, r *record) (id string, created bool, err *store.Error) {
	switch w.operation {
	case "insert":
		id, err = tx.Create(w.object, r.in)
		return id, true, w.plain(err, r)
	case "upsert":
		if w.external.Sys != schema.SysID {
			return w.upsert(tx, r)
		}
		if r.id == "" {
			id, err = tx.Create(w.object, r.in)
			return id, true, w.plain(err, r)
		}
	}
	if r.id == "" {
		return "", false, &store.Error{Code: "MISSING_ARGUMENT", Message: "Id not specified in " + article(w.operation) + " call"}
	}
	id, ok := sfid.Normal(r.id)
	if !ok || id[:3] != w.object.Prefix {
		return r.id, false, &store.Error{Code: "MALFORMED_ID", Message: fmt.Sprintf("%s ID: id value of incorrect type: %s", w.object.Label, r.id), Fields: []string{"Id"}}
	}
	if deletes(w.operation) {
		return id, false, tx.Delete(w.object, id)
	}
	return id, false, w.plain(tx.Update(w.object, id, r.in), r)
}

func deletes(operation string) bool { return operation == "delete" || operation == "hardDelete" }

func article(operation string) string {
	if deletes(operation) {
		return "a delete"
	}
	return "an " + operation
}

func (w *writer) upsert(tx *store.Tx, r *record) (string, bool, *store.Error) {
	switch {
	case r.key == "" || r.key == nullMark:
		return "", false, &store.Error{Code: "MISSING_ARGUMENT", Message: w.external.Name + " not specified"}
	case r.id != "":
		return "", false, &store.Error{Code: "INVALID_FIELD_FOR_INSERT_UPDATE", Message: "cannot specify both an external ID reference and a salesforce id, " + w.object.Name, Fields: []string{"Id"}}
	}
	id, created, _, err := tx.Upsert(w.external, r.key, r.in, false)
	return id, created, w.plain(err, r)
}

// plain turns the refusal of a value that is not JSON into what it is for a
// text.
func (w *writer) plain(err *store.Error, r *record) *store.Error {
	if err == nil || err.Code != "JSON_PARSER_ERROR" || len(err.Fields) == 0 {
		return err
	}
	f := w.object.Field(err.Fields[0])
	if f == nil {
		return err
	}
	v, ok := r.in[f.Name].(string)
	if !ok {
		v = r.key
	}
	return wrongValue(f, v)
}

// rowError is the form of an error in a result file.
func rowError(e *store.Error) string {
	text := e.Code + ":" + e.Message + ":"
	if len(e.Fields) > 0 {
		text += strings.Join(e.Fields, ", ") + " "
	}
	return text + "--"
}
