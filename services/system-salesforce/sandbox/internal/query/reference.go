package query

import (
	"strings"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/schema"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/soql"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/store"
)

// reference reaches a field, perhaps through parents.
type reference struct {
	parents []*schema.Field
	field   *schema.Field
	// named is set for what records of all types have, such as Name and Type,
	// where the parent may be of several.
	named bool
}

func (x reference) of(v store.View, r *store.Record) any {
	for _, p := range x.parents {
		if r = Parent(v, r, p); r == nil {
			return nil
		}
	}
	if x.named {
		return common(r, x.field.Name)
	}
	return r.Get(x.field)
}

func (x reference) same(y reference) bool {
	if x.named != y.named || len(x.parents) != len(y.parents) {
		return false
	}
	if x.field != y.field && (!x.named || x.field.Name != y.field.Name) {
		return false
	}
	for i := range x.parents {
		if x.parents[i] != y.parents[i] {
			return false
		}
	}
	return true
}

// Parent follows a reference field; nil if it is null or leads nowhere.
func Parent(v store.View, r *store.Record, f *schema.Field) *store.Record {
	id, _ := r.Get(f).(string)
	return v.Any(id)
}

// resolve finds the field of a path and counts the relationships on the way. A
// field that the user may not see does not exist.
func (c *compiler) resolve(path soql.Path) (reference, *store.Error) {
	names := c.expand(path.Names)
	var ref reference
	o := c.object
	for _, name := range names[:len(names)-1] {
		var f *schema.Field
		if o != nil {
			f = o.Relationship(name)
		}
		if f == nil || len(f.ReferenceTo) == 0 || !c.opt.Fields.Sees(f) {
			return ref, c.at(path.Pos, "INVALID_FIELD", "Didn't understand relationship '%s' in field path. If you are attempting to use a custom relationship, be sure to append the '__r' after the custom relationship name. Please reference your WSDL or the describe call for the appropriate names.", name)
		}
		ref.parents = append(ref.parents, f)
		if len(ref.parents) > maxParentDepth {
			return ref, c.at(path.Pos, "MALFORMED_QUERY", "a relationship path cannot have more than %d levels", maxParentDepth)
		}
		if o = nil; len(f.ReferenceTo) == 1 {
			o = c.schema.Object(f.ReferenceTo[0])
		}
	}
	if err := c.countParents(path.Pos, ref.parents); err != nil {
		return ref, err
	}
	last, entity := names[len(names)-1], "Name"
	if o != nil {
		ref.field, entity = o.Field(last), o.Name
	}
	switch {
	case ref.field != nil && c.opt.Fields.Sees(ref.field):
		return ref, nil
	case ref.field == nil && typeless(o, ref.parents):
		if ref.field = commonField(last, o != nil); ref.field != nil {
			ref.named = true
			return ref, nil
		}
	}
	return ref, c.at(path.Pos, "INVALID_FIELD", "No such column '%s' on entity '%s'. If you are attempting to use a custom field, be sure to append the '__c' after the custom field name. Please reference your WSDL or the describe call for the appropriate names.", last, entity)
}

func (c *compiler) countParents(pos int, parents []*schema.Field) *store.Error {
	key := strings.Builder{}
	key.WriteString(c.object.Name)
	for _, p := range parents {
		key.WriteString("." + p.Name)
		c.used.parents[key.String()] = true
	}
	if len(c.used.parents) > maxParents {
		return c.at(pos, "MALFORMED_QUERY", "a query cannot have more than %d child-to-parent relationships", maxParents)
	}
	return nil
}
