package query

import (
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/schema"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/store"
)

// Column is one selected field.
type Column struct {
	// Path is the field with the relationships before it, joined by dots.
	Path    string
	Field   *schema.Field
	parents []*schema.Field
	named   bool
}

// Value returns the column's value for a row; nil if it or a parent is missing.
func (c Column) Value(v store.View, r *store.Record) any {
	return reference{c.parents, c.Field, c.named}.of(v, r)
}

// Columns returns the selected fields, without child subqueries, functions and
// TYPEOF, in the order of the answer. An aggregate query has none.
func (p *Plan) Columns() []Column { return p.out.columns("", nil) }

func (o *output) columns(prefix string, parents []*schema.Field) []Column {
	var out []Column
	for _, i := range o.items {
		switch {
		case i.child != nil || i.types != nil || i.show != nil && !i.show.ref.named:
		case i.into != nil:
			out = append(out, i.into.columns(prefix+i.field.Relationship+".", append(parents[:len(parents):len(parents)], i.field))...)
		default:
			out = append(out, Column{prefix + i.field.Name, i.field, parents, i.show != nil})
		}
	}
	return out
}

// Description says what a statement selects.
type Description struct {
	Object     *schema.Object
	Grouped    bool
	IDSelected bool
	Columns    []Selected
}

// Selected describes one element of the selection. Field is nil for a parent,
// for children and for an aggregate.
type Selected struct {
	Name    string
	Display string
	Field   *schema.Field
	// Aggregate is set for functions and for children.
	Aggregate bool
	// Number is set for a function whose value is a number, Text for one whose
	// value is a text.
	Number bool
	Text   bool
	// ForeignKey is the field behind a parent.
	ForeignKey string
	Join       []Selected
}

// Describe returns what the plan selects.
func (p *Plan) Describe() Description {
	d := Description{Object: p.Object, Grouped: p.grouped, Columns: p.out.describe()}
	if p.group != nil {
		d.Columns = p.group.describe()
	}
	for _, c := range d.Columns {
		d.IDSelected = d.IDSelected || c.Field != nil && c.Field.Sys == schema.SysID
	}
	return d
}

func (o *output) describe() []Selected {
	out := []Selected{}
	for _, i := range o.items {
		s := Selected{Name: i.name(), Display: i.name()}
		switch {
		case i.types != nil:
			s.ForeignKey = i.field.Name
		case i.show != nil:
			s.Display, s.Text = i.show.text, true
		case i.child != nil:
			s = Selected{Name: i.field.ChildRelationship, Display: i.field.ChildRelationship, Aggregate: true, Join: i.child.out.describe()}
		case i.into != nil:
			s = Selected{Name: i.field.Relationship, Display: i.field.Relationship, ForeignKey: i.field.Name, Join: i.into.describe()}
		default:
			s.Field = i.field
		}
		out = append(out, s)
	}
	return out
}

func (g *grouping) describe() []Selected {
	out := []Selected{}
	for _, c := range g.cells {
		s := Selected{Name: c.name, Display: c.text}
		switch {
		case c.slot < len(g.keys) && g.keys[c.slot].fn == "":
			s.Field = g.field(c.slot)
		default:
			s.Aggregate, s.Number, s.Text = true, g.field(c.slot).Type.Number() && !c.localized, c.localized
		}
		out = append(out, s)
	}
	return out
}
