// Package query checks a parsed SOQL statement against the schema and runs it
// on the store.
//
// Invariant: the answer is the same whichever access path is taken; indexes
// only spare work. Null rules are those of SOQL: null differs from every value,
// and no value is smaller or greater than null.
package query

import (
	"fmt"
	"strings"
	"time"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/schema"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/soql"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/store"
)

// Plan is a checked statement, ready to run any number of times.
type Plan struct {
	Object *schema.Object
	// Count is set for SELECT COUNT(), which has no rows.
	Count bool

	out     *output
	where   node
	order   []ordering
	limit   int
	offset  int
	bounded bool
}

type ordering struct {
	ref       reference
	desc      bool
	nullsLast bool
}

// reference reaches a field, perhaps through parents.
type reference struct {
	parents []*schema.Field
	field   *schema.Field
}

func (x reference) of(v store.View, r *store.Record) any {
	for _, p := range x.parents {
		if r = Parent(v, r, p); r == nil {
			return nil
		}
	}
	return r.Get(x.field)
}

// Parent follows a reference field; nil if it is null or leads nowhere.
func Parent(v store.View, r *store.Record, f *schema.Field) *store.Record {
	id, _ := r.Get(f).(string)
	return v.Any(id)
}

type compiler struct {
	schema *schema.Schema
	object *schema.Object
	q      *soql.Query
	text   string
	now    time.Time
}

// Compile reads and checks a statement. Relative dates are taken from now.
func Compile(s *schema.Schema, text string, now time.Time) (*Plan, *store.Error) {
	q, err := soql.Parse(text)
	if err != nil {
		se := err.(*soql.SyntaxError)
		return nil, located("MALFORMED_QUERY", text, se.Pos, se.Message)
	}
	c := &compiler{schema: s, q: q, text: text, now: now, object: s.Object(q.From)}
	if c.object == nil {
		return nil, located("INVALID_TYPE", text, q.FromPos, fmt.Sprintf("sObject type '%s' is not supported. If you are attempting to use a custom object, be sure to append the '__c' after the entity name. Please reference your WSDL or the describe call for the appropriate names.", q.From))
	}
	p := &Plan{Object: c.object, Count: q.Count, limit: q.Limit, offset: max(q.Offset, 0), bounded: q.Limit >= 0}
	if p.offset > 2000 {
		return nil, &store.Error{Code: "NUMBER_OUTSIDE_VALID_RANGE", Message: "Maximum SOQL offset allowed is 2000"}
	}
	var fail *store.Error
	if p.out, fail = c.selection(); fail != nil {
		return nil, fail
	}
	if q.Where != nil {
		if p.where, fail = c.condition(q.Where); fail != nil {
			return nil, fail
		}
	}
	for _, o := range q.OrderBy {
		ref, fail := c.resolve(o.Path)
		if fail != nil {
			return nil, fail
		}
		if ref.field.Type == schema.Address || ref.field.Type == schema.TextArea {
			return nil, located("INVALID_FIELD", text, o.Path.Pos, fmt.Sprintf("field '%s' can not be sorted in a query call", ref.field.Name))
		}
		p.order = append(p.order, ordering{ref, o.Desc, o.NullsLast})
	}
	return p, nil
}

// located builds the message form of the vendor: the text around the place,
// a caret and the place itself.
func located(code, text string, pos int, message string) *store.Error {
	pos = min(pos, len(text))
	row := strings.Count(text[:pos], "\n") + 1
	column := pos - strings.LastIndexByte(text[:pos], '\n')
	from, to := max(0, pos-30), min(len(text), pos+30)
	snippet := strings.ToValidUTF8(strings.ReplaceAll(text[from:to], "\n", " "), "?")
	return &store.Error{Code: code, Message: fmt.Sprintf("\n%s\n%s^\nERROR at Row:%d:Column:%d\n%s", snippet, strings.Repeat(" ", pos-from), row, column, message)}
}

// resolve finds the field of a path, skipping the object's own name or alias.
func (c *compiler) resolve(path soql.Path) (reference, *store.Error) {
	names := path.Names
	if len(names) > 1 && (strings.EqualFold(names[0], c.q.Alias) || strings.EqualFold(names[0], c.q.From)) && c.object.Relationship(names[0]) == nil {
		names = names[1:]
	}
	var ref reference
	o := c.object
	for _, name := range names[:len(names)-1] {
		f := o.Relationship(name)
		if f == nil {
			return ref, located("INVALID_FIELD", c.text, path.Pos, fmt.Sprintf("Didn't understand relationship '%s' in field path. If you are attempting to use a custom relationship, be sure to append the '__r' after the custom relationship name. Please reference your WSDL or the describe call for the appropriate names.", name))
		}
		ref.parents = append(ref.parents, f)
		o = c.schema.Object(f.ReferenceTo[0])
	}
	if len(ref.parents) > 5 {
		return ref, located("MALFORMED_QUERY", c.text, path.Pos, "a relationship path cannot have more than 5 levels")
	}
	last := names[len(names)-1]
	if ref.field = o.Field(last); ref.field == nil {
		return ref, located("INVALID_FIELD", c.text, path.Pos, fmt.Sprintf("No such column '%s' on entity '%s'. If you are attempting to use a custom field, be sure to append the '__c' after the custom field name. Please reference your WSDL or the describe call for the appropriate names.", last, o.Name))
	}
	return ref, nil
}

// output is the tree of selected fields; parents nest.
type output struct {
	items []item
}

type item struct {
	field *schema.Field
	// into is set when the item is a parent reached through field.
	into *output
}

func (c *compiler) selection() (*output, *store.Error) {
	out := &output{}
	if c.q.All != "" {
		if c.q.All != "STANDARD" && (c.q.Limit < 0 || c.q.Limit > 200) {
			return nil, &store.Error{Code: "MALFORMED_QUERY", Message: "The SOQL FIELDS function must have a LIMIT of at most 200"}
		}
		for _, f := range c.object.Fields {
			if c.q.All == "ALL" || f.Custom() == (c.q.All == "CUSTOM") {
				out.items = append(out.items, item{field: f})
			}
		}
	}
	for _, path := range c.q.Fields {
		ref, err := c.resolve(path)
		if err != nil {
			return nil, err
		}
		if !out.add(ref) {
			return nil, located("INVALID_FIELD", c.text, path.Pos, "duplicate field selected: "+strings.Join(path.Names, "."))
		}
	}
	return out, nil
}

func (o *output) add(ref reference) bool {
	if len(ref.parents) == 0 {
		for _, i := range o.items {
			if i.field == ref.field && i.into == nil {
				return false
			}
		}
		o.items = append(o.items, item{field: ref.field})
		return true
	}
	p := ref.parents[0]
	rest := reference{ref.parents[1:], ref.field}
	for _, i := range o.items {
		if i.field == p && i.into != nil {
			return i.into.add(rest)
		}
	}
	into := &output{}
	o.items = append(o.items, item{field: p, into: into})
	return into.add(rest)
}
