package query

import (
	"slices"
	"strings"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/schema"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/soql"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/store"
)

// output is the tree of selected fields; parents nest.
type output struct {
	items []item
}

type item struct {
	field *schema.Field
	// into is set when the item is a parent reached through field.
	into *output
	// child is set when the item is a child subquery; field is then its link.
	child *Plan
	// show is set when the item is a function, or what all types of parents
	// have; field is then what it is made of.
	show *shown
	// types is set when the item is a parent whose fields depend on its type.
	types *typed
}

// name is that of the item's member in a row.
func (i item) name() string {
	switch {
	case i.child != nil:
		return i.field.ChildRelationship
	case i.into != nil || i.types != nil:
		return i.field.Relationship
	case i.show != nil:
		return i.show.name
	}
	return i.field.Name
}

func (c *compiler) selection(p *Plan) (*output, *store.Error) {
	out := &output{}
	for _, i := range c.q.Items {
		var err *store.Error
		switch {
		case i.Sub != nil:
			err = c.child(out, i)
		case i.Typeof != nil:
			err = c.typeof(out, i)
		case i.Func == "FIELDS":
			err = c.everything(p, out, i)
		case i.Func != "":
			err = c.function(out, i)
		case i.Alias != "":
			err = c.at(i.Pos, "MALFORMED_QUERY", "only aggregate expressions use field aliasing")
		default:
			err = c.field(out, i.Path)
		}
		if err != nil {
			return nil, err
		}
	}
	return out, c.onceTyped(out)
}

func (c *compiler) field(out *output, path soql.Path) *store.Error {
	ref, err := c.resolve(path)
	if err != nil {
		return err
	}
	if !out.add(ref) {
		return c.at(path.Pos, "INVALID_FIELD", "duplicate field selected: %s", strings.Join(path.Names, "."))
	}
	return nil
}

func (c *compiler) everything(p *Plan, out *output, i soql.Item) *store.Error {
	switch {
	case c.opt.Version < fieldsVersion:
		return c.at(i.Pos, "MALFORMED_QUERY", "the function 'FIELDS' needs version %d.0", fieldsVersion)
	case c.member:
		return malformed("The SOQL FIELDS function is not supported in a semi join sub-select")
	}
	all := c.q.All == "ALL"
	p.unbounded = c.q.All != "STANDARD"
	if p.unbounded && (c.q.Limit < 0 || c.q.Limit > maxFieldsRows) && !fewIDs(c.q.Where) {
		return malformed("The SOQL FIELDS function must have a LIMIT of at most 200")
	}
	for _, f := range c.object.Fields {
		if (all || f.Custom() == (c.q.All == "CUSTOM")) && c.opt.Fields.Sees(f) && !out.add(reference{field: f}) {
			return c.at(i.Pos, "INVALID_FIELD", "duplicate field selected: %s", f.Name)
		}
	}
	return nil
}

// fewIDs reports whether a condition names at most 200 ids.
func fewIDs(e soql.Expr) bool {
	switch e := e.(type) {
	case soql.And:
		for _, term := range e {
			if fewIDs(term) {
				return true
			}
		}
	case soql.Compare:
		own := len(e.Path.Names) == 1 && strings.EqualFold(e.Path.Names[0], "Id")
		return own && e.Sub == nil && (e.Op == "=" || e.Op == "IN") && len(e.Values) <= maxFieldsRows
	}
	return false
}

// add selects a field; false if the name is taken.
func (o *output) add(ref reference) bool {
	o = o.under(ref.parents)
	if o.holds(ref.field.Name) {
		return false
	}
	next := item{field: ref.field}
	if ref.named {
		next.show = &shown{name: ref.field.Name, text: ref.field.Name, ref: reference{field: ref.field, named: true}}
	}
	o.items = append(o.items, next)
	return true
}

// under returns the place of the fields of a parent.
func (o *output) under(parents []*schema.Field) *output {
	for _, p := range parents {
		at := slices.IndexFunc(o.items, func(i item) bool { return i.field == p && i.into != nil })
		if at < 0 {
			at = len(o.items)
			o.items = append(o.items, item{field: p, into: &output{}})
		}
		o = o.items[at].into
	}
	return o
}

func (o *output) holds(name string) bool {
	return slices.ContainsFunc(o.items, func(i item) bool { return i.child == nil && i.into == nil && strings.EqualFold(i.name(), name) })
}

// child checks a subquery in the selection.
func (c *compiler) child(out *output, i soql.Item) *store.Error {
	q := i.Sub
	link := c.link(q)
	if link == nil {
		return c.at(q.FromPos, "INVALID_TYPE", "Didn't understand relationship '%s' in FROM part of query call. If you are attempting to use a custom relationship, be sure to append the '__r' after the custom relationship name. Please reference your WSDL or the describe call for the appropriate names.", q.From)
	}
	deepest := maxChildDepth
	if c.opt.Version < nestedVersion {
		deepest = 1
	}
	c.used.children++
	sub := &compiler{schema: c.schema, object: link.Object, q: q, text: c.text, opt: c.opt, depth: c.depth + 1, used: c.used}
	switch {
	case c.member:
		return c.at(i.Pos, "MALFORMED_QUERY", "a semi join sub-select cannot have a child subquery")
	case sub.depth > deepest:
		return c.at(i.Pos, "MALFORMED_QUERY", "a query cannot have more than %d levels of parent-to-child relationships", deepest+1)
	case c.used.children > maxChildren:
		return c.at(i.Pos, "MALFORMED_QUERY", "a query cannot have more than %d parent-to-child relationships", maxChildren)
	case q.Count || sub.aggregates():
		return c.at(i.Pos, "MALFORMED_QUERY", "Only root queries support aggregate expressions")
	case q.For != "" || q.Scope != "":
		return c.at(i.Pos, "MALFORMED_QUERY", "%s is not allowed in a subquery", forOrScope(q))
	case q.Offset > 0 && c.q.Limit != 1:
		return c.at(i.Pos, "MALFORMED_QUERY", "OFFSET is allowed in a subquery only if the parent query has LIMIT 1")
	}
	for _, have := range out.items {
		if have.child != nil && have.field == link {
			return c.at(i.Pos, "INVALID_FIELD", "duplicate child relationship selected: %s", q.From)
		}
	}
	p := &Plan{link: link}
	if err := sub.plan(p); err != nil {
		return err
	}
	out.items = append(out.items, item{field: link, child: p})
	return nil
}

// forOrScope names a clause that only a whole statement has.
func forOrScope(q *soql.Query) string {
	if q.For != "" {
		return "FOR " + q.For
	}
	return "USING SCOPE"
}

// link finds the reference field behind a child relationship's name.
func (c *compiler) link(q *soql.Query) *schema.Field {
	switch {
	case len(q.Outer) > 1:
		return nil
	case len(q.Outer) == 1 && !strings.EqualFold(q.Outer[0], c.q.From) && !strings.EqualFold(q.Outer[0], c.q.Alias):
		return nil
	}
	for _, f := range c.schema.Children(c.object) {
		if strings.EqualFold(f.ChildRelationship, q.From) && c.opt.Fields.Sees(f) {
			return f
		}
	}
	return nil
}
