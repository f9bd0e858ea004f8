package query

import (
	"strings"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/render"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/schema"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/soql"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/store"
)

// typed are the fields of a parent by its type.
type typed struct {
	whens map[*schema.Object]*output
	rest  *output
}

func (t *typed) of(o *schema.Object) *output {
	if out := t.whens[o]; out != nil {
		return out
	}
	return t.rest
}

// value appends what a function shows.
func (s *shown) value(b []byte, v store.View, r *store.Record) []byte {
	value := s.ref.of(v, r)
	if s.localized {
		return localized(b, s.ref.field, value)
	}
	return render.Scalar(b, s.ref.field, value)
}

// queue is what an owner may be besides a user. The sandbox has none.
const queue = "Group"

// typeof checks fields that depend on the type of a parent.
func (c *compiler) typeof(out *output, i soql.Item) *store.Error {
	names := c.expand(i.Typeof.Path.Names)
	link := c.object.Relationship(names[len(names)-1])
	switch {
	case c.opt.Version < typeofVersion:
		return c.at(i.Pos, "MALFORMED_QUERY", "TYPEOF needs version %d.0", typeofVersion)
	case c.member:
		return c.at(i.Pos, "MALFORMED_QUERY", "TYPEOF is not allowed in a semi join sub-select")
	case len(names) > 1:
		return c.at(i.Typeof.Path.Pos, "MALFORMED_QUERY", "TYPEOF is supported for relationships of %s only", c.object.Name)
	case link == nil || !c.opt.Fields.Sees(link):
		return c.at(i.Typeof.Path.Pos, "INVALID_FIELD", "Didn't understand relationship '%s' in field path.", names[0])
	case !link.Polymorphic():
		return c.at(i.Typeof.Path.Pos, "MALFORMED_QUERY", "TYPEOF cannot be used with '%s': it is no polymorphic relationship", link.Relationship)
	}
	if err := c.countParents(i.Pos, []*schema.Field{link}); err != nil {
		return err
	}
	t := &typed{whens: map[*schema.Object]*output{}, rest: &output{}}
	for _, w := range i.Typeof.Whens {
		if err := c.when(t, link, w); err != nil {
			return err
		}
	}
	for _, path := range i.Typeof.Else {
		f := commonField(path.Names[len(path.Names)-1], false)
		switch {
		case len(path.Names) > 1 || f == nil:
			return c.at(path.Pos, "INVALID_FIELD", "No such column '%s' on entity 'Name'.", strings.Join(path.Names, "."))
		case !t.rest.add(reference{field: f, named: true}):
			return c.at(path.Pos, "INVALID_FIELD", "duplicate field selected: %s", f.Name)
		}
	}
	out.items = append(out.items, item{field: link, types: t})
	return nil
}

func (c *compiler) when(t *typed, link *schema.Field, w soql.When) *store.Error {
	o := c.schema.Object(w.Object)
	if o == nil && link.Owner && strings.EqualFold(w.Object, queue) {
		return nil
	}
	reachable := false
	for _, to := range link.ReferenceTo {
		reachable = reachable || strings.EqualFold(to, w.Object)
	}
	switch {
	case o == nil || !reachable:
		return c.at(w.Pos, "INVALID_TYPE", "sObject type '%s' is not one that '%s' refers to", w.Object, link.Relationship)
	case t.whens[o] != nil:
		return c.at(w.Pos, "MALFORMED_QUERY", "duplicate WHEN %s", o.Name)
	}
	t.whens[o] = &output{}
	sub := &compiler{schema: c.schema, object: o, q: c.q, text: c.text, opt: c.opt, used: c.used}
	for _, path := range w.Fields {
		if err := sub.field(t.whens[o], path); err != nil {
			return err
		}
	}
	return nil
}

// onceTyped refuses a parent that is selected with TYPEOF and otherwise, too.
func (c *compiler) onceTyped(out *output) *store.Error {
	for n, i := range out.items {
		if i.types == nil {
			continue
		}
		for m, other := range out.items {
			if m != n && other.field == i.field && (other.types != nil || other.into != nil) {
				return malformed("The relationship '" + i.field.Relationship + "' is selected by TYPEOF and otherwise")
			}
		}
	}
	return nil
}

// typeless reports whether a path ends at a parent that may be of several
// types, or at an owner, which may be a user or a queue.
func typeless(o *schema.Object, parents []*schema.Field) bool {
	return len(parents) > 0 && (o == nil || parents[len(parents)-1].Polymorphic())
}

// commonField describes what records of all types have in common; nil if they
// have no such field. Records of a known type need only be told their type.
func commonField(name string, typeKnown bool) *schema.Field {
	for _, f := range []schema.Field{
		{Name: "Type", Type: schema.String},
		{Name: "Id", Type: schema.ID},
		{Name: "Name", Type: schema.String},
		{Name: "FirstName", Type: schema.String},
		{Name: "LastName", Type: schema.String},
		{Name: "Title", Type: schema.String},
		{Name: "Email", Type: schema.Email},
		{Name: "Phone", Type: schema.Phone},
		{Name: "Username", Type: schema.String},
	} {
		if strings.EqualFold(f.Name, name) {
			return &f
		}
		if typeKnown {
			return nil
		}
	}
	return nil
}

// common is the value that a record of any type has under such a name.
func common(r *store.Record, name string) any {
	switch name {
	case "Type":
		return r.Object.Name
	case "Id":
		return r.ID
	case "Name":
		for _, f := range r.Object.Fields {
			if f.NameField {
				return r.Get(f)
			}
		}
	}
	f := r.Object.Field(name)
	if f == nil {
		return nil
	}
	if s, ok := r.Get(f).(string); ok {
		return s
	}
	return nil
}
