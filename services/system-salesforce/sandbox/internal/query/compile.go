// Package query checks a parsed SOQL statement against the schema and runs it
// on the store.
//
// Invariant: the answer is the same whichever access path is taken; indexes
// only spare work. Null rules are those of SOQL: null differs from every value,
// and no value is smaller or greater than null. It does not keep cursors: who
// runs a plan decides how much of the rows to give out.
package query

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/schema"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/soql"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/store"
)

// The documented limits of a statement.
const (
	maxOffset      = 2000
	maxParentDepth = 5
	maxParents     = 55
	maxChildren    = 20
	maxChildDepth  = 4 // below the root, which is the first of five levels
	maxFieldsRows  = 200
	maxSemiJoins   = 2
)

// The API versions in which something came.
const (
	scopeVersion  = 32
	typeofVersion = 46
	fieldsVersion = 51
	nestedVersion = 58
	newestVersion = 1000
)

// Plan is a checked statement, ready to run any number of times.
type Plan struct {
	Object *schema.Object
	// Count is set for SELECT COUNT(), which has no rows.
	Count bool

	out     *output
	where   node[*store.Record]
	order   []ordering
	limit   int
	offset  int
	bounded bool
	// group is set if the answer consists of groups.
	group   *grouping
	grouped bool
	// link is the reference to the parent if this is a child subquery.
	link *schema.Field
	// unbounded is set by FIELDS(ALL) and FIELDS(CUSTOM).
	unbounded bool
	sorts     bool
	hidden    func(id string) bool
}

type ordering struct {
	ref       reference
	desc      bool
	nullsLast bool
}

// Options says how a statement is read.
type Options struct {
	// Now is what relative dates are taken from.
	Now time.Time
	// Version is the API version of the call; 0 means the newest.
	Version int
	// Hidden reports whether the user may not see a record; nil hides none.
	Hidden func(id string) bool
	// Fields are the rights of the user; nil means all of them.
	Fields schema.Rights
	// User is the id of the user, whose records are "mine".
	User string
}

// Compile reads and checks a statement of the newest version.
func Compile(s *schema.Schema, text string, now time.Time) (*Plan, *store.Error) {
	return CompileAs(s, text, Options{Now: now})
}

// CompileAs reads and checks a statement.
func CompileAs(s *schema.Schema, text string, opt Options) (*Plan, *store.Error) {
	if opt.Version == 0 {
		opt.Version = newestVersion
	}
	q, err := soql.Parse(text)
	if err != nil {
		var at soql.SyntaxError
		if se := (*soql.SyntaxError)(nil); errors.As(err, &se) {
			at = *se
		}
		return nil, located("MALFORMED_QUERY", text, at.Pos, err.Error())
	}
	c := &compiler{schema: s, q: q, text: text, opt: opt, object: s.Object(q.From), used: &usage{parents: map[string]bool{}}}
	if c.object == nil {
		return nil, c.unknownObject()
	}
	if c.object.Event() {
		return nil, c.at(q.FromPos, "INVALID_TYPE_FOR_OPERATION", "entity type %s does not support query", c.object.Name)
	}
	p := &Plan{}
	return p, c.plan(p)
}

// compiler checks one statement or subquery.
type compiler struct {
	schema *schema.Schema
	object *schema.Object
	q      *soql.Query
	text   string
	opt    Options
	// aliases are the names that stand for the object or a path of parents.
	aliases map[string][]string
	// depth is how many parents enclose a child subquery.
	depth int
	// member is set in the subquery of a semi-join.
	member bool
	joins  int
	used   *usage
}

// usage counts the relationships of the whole statement.
type usage struct {
	parents  map[string]bool
	children int
}

func (c *compiler) at(pos int, code, format string, args ...any) *store.Error {
	return located(code, c.text, pos, fmt.Sprintf(format, args...))
}

func malformed(message string) *store.Error {
	return &store.Error{Code: "MALFORMED_QUERY", Message: message}
}

func (c *compiler) unknownObject() *store.Error {
	return c.at(c.q.FromPos, "INVALID_TYPE", "sObject type '%s' is not supported. If you are attempting to use a custom object, be sure to append the '__c' after the entity name. Please reference your WSDL or the describe call for the appropriate names.", c.q.From)
}

func (c *compiler) plan(p *Plan) *store.Error {
	q := c.q
	p.hidden = c.opt.Hidden
	p.Object, p.Count, p.limit, p.offset, p.bounded = c.object, q.Count, q.Limit, max(q.Offset, 0), q.Limit >= 0
	p.sorts, p.grouped = len(q.OrderBy) > 0, len(q.GroupBy) > 0
	if p.offset > maxOffset {
		return &store.Error{Code: "NUMBER_OUTSIDE_VALID_RANGE", Message: "Maximum SOQL offset allowed is 2000"}
	}
	if err := c.names(); err != nil {
		return err
	}
	aggregates := c.aggregates()
	var err *store.Error
	switch {
	case q.Count && (p.sorts || p.grouped || q.Having != nil):
		return malformed("COUNT() cannot be used with ORDER BY, GROUP BY or HAVING; use COUNT(fieldName)")
	case q.Count:
		p.out = &output{}
	case aggregates:
		p.out = &output{}
		p.group, err = c.grouping()
	default:
		p.out, err = c.selection(p)
	}
	if err != nil {
		return err
	}
	if q.Where != nil {
		if p.where, err = condition(q.Where, c.leaf(topLevel(q.Where))); err != nil {
			return err
		}
	}
	if err := c.scope(p); err != nil {
		return err
	}
	if !aggregates {
		return c.orders(p)
	}
	return nil
}

// scope narrows the rows to those of the user, if they are asked for.
func (c *compiler) scope(p *Plan) *store.Error {
	switch {
	case c.q.Scope == "" || c.q.Scope == "everything":
		return nil
	case c.opt.Version < scopeVersion:
		return c.at(c.q.ScopePos, "MALFORMED_QUERY", "USING SCOPE needs version %d.0", scopeVersion)
	case c.q.Scope == "mine":
		for _, f := range c.object.Fields {
			if f.Owner {
				mine := &test{reference{field: f}, check{op: "=", values: []any{c.opt.User}}}
				if p.where == nil {
					p.where = mine
				} else {
					p.where = all[*store.Record]{p.where, mine}
				}
				return nil
			}
		}
	}
	return c.at(c.q.ScopePos, "INVALID_QUERY_SCOPE", "the scope '%s' is not supported for %s", c.q.Scope, c.object.Name)
}

// aggregates reports whether the answer consists of groups.
func (c *compiler) aggregates() bool {
	for _, i := range c.q.Items {
		if soql.Aggregate(i.Func) || soql.Aggregate(i.Inner) || i.Func == soql.Grouping {
			return true
		}
	}
	return len(c.q.GroupBy) > 0 || c.q.Having != nil
}

func (c *compiler) orders(p *Plan) *store.Error {
	for _, o := range c.q.OrderBy {
		if o.Func != "" {
			return c.at(o.Pos, "MALFORMED_QUERY", "only aggregate queries can be ordered by %s", o.Func)
		}
		ref, err := c.resolve(o.Path)
		if err != nil {
			return err
		}
		if !ref.field.Sortable() {
			return c.at(o.Pos, "INVALID_FIELD", "field '%s' can not be sorted in a query call", ref.field.Name)
		}
		p.order = append(p.order, ordering{ref, o.Desc, o.NullsLast})
	}
	return nil
}

// names collects the aliases of FROM.
func (c *compiler) names() *store.Error {
	c.aliases = map[string][]string{}
	for _, own := range []string{c.object.Name, c.q.From, c.q.Alias} {
		if own != "" && c.object.Relationship(own) == nil {
			c.aliases[strings.ToLower(own)] = nil
		}
	}
	for _, j := range c.q.Joins {
		key := strings.ToLower(j.Alias)
		if _, taken := c.aliases[key]; taken {
			return c.at(j.Path.Pos, "MALFORMED_QUERY", "duplicate alias: %s", j.Alias)
		}
		path := c.expand(j.Path.Names)
		if _, err := c.resolve(soql.Path{Names: append(path[:len(path):len(path)], "Id"), Pos: j.Path.Pos}); err != nil {
			return err
		}
		c.aliases[key] = path
	}
	return nil
}

// expand replaces a leading alias by what it stands for.
func (c *compiler) expand(names []string) []string {
	if len(names) < 2 {
		return names
	}
	if path, ok := c.aliases[strings.ToLower(names[0])]; ok {
		return append(path[:len(path):len(path)], names[1:]...)
	}
	return names
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
