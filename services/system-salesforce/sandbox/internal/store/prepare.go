package store

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/schema"
)

// given is a value that a caller wants a field to have; v is nil for null.
type given struct {
	f *schema.Field
	v any
}

// givens are the values of one record, each field at most once.
type givens []given

func (g givens) has(f *schema.Field) bool {
	for i := range g {
		if g[i].f == f {
			return true
		}
	}
	return false
}

// with sets a value; the last one of a field counts.
func (g givens) with(f *schema.Field, v any) givens {
	for i := range g {
		if g[i].f == f {
			g[i].v = v
			return g
		}
	}
	return append(g, given{f, v})
}

// prepare turns decoded JSON into values of the object's fields, or refuses.
// more is another value, which in does not hold; an empty name means none.
// Keys are handled in sorted order so that the same body always meets the same
// refusal. The values are valid until the next call.
func (tx *Tx) prepare(o *schema.Object, in map[string]any, verb, more string, raw any) (givens, *Error) {
	keys, out := tx.keys[:0], tx.values[:0]
	for key := range in {
		if key != "attributes" {
			keys = append(keys, key)
		}
	}
	if more != "" {
		keys = append(keys, more)
	}
	slices.Sort(keys)
	tx.keys = keys
	for _, key := range keys {
		v := raw
		if key != more {
			v = in[key]
		}
		f := o.Field(key)
		if f == nil || !tx.meta.Fields.Sees(f) {
			to, id, err := tx.relate(o, key, v)
			if err != nil {
				return nil, err
			}
			out = out.with(to, id)
			continue
		}
		v, err := tx.value(f, v, verb)
		if err != nil {
			return nil, err
		}
		out = out.with(f, v)
	}
	tx.values = out
	return out, nil
}

func (tx *Tx) value(f *schema.Field, raw any, verb string) (any, *Error) {
	if f.Sys == schema.SysID {
		if verb == "create" {
			return nil, refuse("INVALID_FIELD_FOR_INSERT_UPDATE", "cannot specify Id in an insert call", f.Name)
		}
		return nil, refuse("INVALID_FIELD", "The Id field should not be specified in the sobject data.", f.Name)
	}
	if f.ReadOnly() || !tx.meta.Fields.Edits(f) {
		return nil, readOnly(f)
	}
	v, err := Convert(f, raw)
	if err != nil || v == nil || f.Type != schema.Reference {
		return v, err
	}
	return tx.reference(f, v.(string))
}

// readOnly refuses to write a field that is, or that the user may not edit.
func readOnly(f *schema.Field) *Error {
	return refuse("INVALID_FIELD_FOR_INSERT_UPDATE",
		fmt.Sprintf("Unable to create/update fields: %s. Please check the security settings of this field and verify that it is read/write for your profile or permission set.", f.Name), f.Name)
}

// reference checks that an id points at a live record of the right object, and
// returns the stored spelling so that the string is shared.
func (tx *Tx) reference(f *schema.Field, id string) (any, *Error) {
	target := tx.Schema().ByPrefix(id[:3])
	if target == nil || !slices.Contains(f.ReferenceTo, target.Name) {
		return nil, refuse("MALFORMED_ID", fmt.Sprintf("%s: id value of incorrect type: %s", f.Label, id), f.Name)
	}
	r := tx.Get(target, id)
	switch {
	case r == nil:
		return nil, refuse("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id", f.Name)
	case !tx.sees(id):
		return nil, unseen(f.Name)
	case r.Deleted:
		return nil, refuse("ENTITY_IS_DELETED", "entity is deleted", f.Name)
	}
	return r.ID, nil
}

// relate handles a key that names a relationship: {"Account": {"Key__c": 1}}.
func (tx *Tx) relate(o *schema.Object, key string, raw any) (*schema.Field, any, *Error) {
	f := o.Relationship(key)
	if f == nil || f.Sys != schema.NotSystem || !tx.meta.Fields.Sees(f) {
		return nil, nil, refuse("INVALID_FIELD", fmt.Sprintf("No such column '%s' on sobject of type %s", key, o.Name))
	}
	if !tx.meta.Fields.Edits(f) {
		return nil, nil, readOnly(f)
	}
	ref, ok := raw.(map[string]any)
	if !ok {
		return nil, nil, refuse("INVALID_FIELD", fmt.Sprintf("Cannot reference a foreign key field %s by a plain value.", key), key)
	}
	for _, name := range slices.Sorted(maps.Keys(ref)) {
		if name == "attributes" {
			continue
		}
		for _, to := range f.ReferenceTo {
			ext := tx.Schema().Object(to).Field(name)
			if ext == nil || !ext.Indexed() || ext.Type == schema.Reference || !tx.meta.Fields.Sees(ext) {
				continue
			}
			found, err := tx.foreign(o, ext, ref[name])
			if err != nil {
				return nil, nil, err
			}
			return f, found, nil
		}
		return nil, nil, refuse("INVALID_FIELD", fmt.Sprintf("Field name provided, %s is not an External ID or indexed field for %s", name, strings.Join(f.ReferenceTo, ",")))
	}
	return nil, nil, refuse("INVALID_FIELD", fmt.Sprintf("The relationship %s carries no external id", key))
}

func (tx *Tx) foreign(o *schema.Object, ext *schema.Field, raw any) (any, *Error) {
	v, err := Convert(ext, raw)
	if err != nil {
		return nil, err
	}
	found := slices.DeleteFunc(tx.Lookup(ext, v), func(r *Record) bool { return !tx.sees(r.ID) })
	switch len(found) {
	case 1:
		return found[0].ID, nil
	case 0:
		return nil, refuse("INVALID_FIELD", fmt.Sprintf("Foreign key external ID: %v not found for field %s in entity %s", raw, ext.Name, ext.Object.Name))
	default:
		return nil, refuse("DUPLICATE_EXTERNAL_ID", fmt.Sprintf("%s: more than one record found for external id field: %v", o.Name, raw))
	}
}

// Upsert updates the one live record whose external id field holds the value,
// or creates it. The body must not hold the field itself. More than one match
// changes nothing and returns them all.
func (tx *Tx) Upsert(ext *schema.Field, raw any, in map[string]any, updateOnly bool) (id string, created bool, many []*Record, err *Error) {
	o := ext.Object
	v, err := Convert(ext, raw)
	if err != nil {
		return "", false, nil, err
	}
	if v == nil {
		return "", false, nil, refuse("MISSING_ARGUMENT", ext.Name+" not specified", ext.Name)
	}
	t := tx.s.tables[o]
	rows := t.found(ext, v)
	if tx.meta.Hidden != nil {
		// A record that the user may not see is not found. If the value has to
		// be unique, making another one is refused.
		rows = slices.DeleteFunc(slices.Clone(rows), func(row int32) bool { return !tx.sees(t.rows[row].ID) })
	}
	switch {
	case len(rows) == 1:
		id := t.rows[rows[0]].ID
		return id, false, nil, tx.Update(o, id, in)
	case len(rows) > 1:
		found := make([]*Record, len(rows))
		for i, row := range rows {
			found[i] = t.rows[row]
		}
		return "", false, found, refuse("DUPLICATE_EXTERNAL_ID", fmt.Sprintf("%s: more than one record found for external id field: %s", ext.Name, ids(found)))
	case updateOnly:
		return "", false, nil, refuse("NOT_FOUND", "The requested resource does not exist")
	}
	id, err = tx.create(o, in, ext.Name, raw)
	return id, true, nil, err
}

func ids(records []*Record) string {
	out := make([]string, len(records))
	for i, r := range records {
		out[i] = r.ID
	}
	return list(out)
}

func list(names []string) string { return "[" + strings.Join(names, ", ") + "]" }
