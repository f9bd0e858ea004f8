package query

import (
	"slices"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/schema"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/soql"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/store"
)

// join is a semi-join, or an anti-join if negate is set.
type join struct {
	field  *schema.Field
	sub    *Plan
	column *schema.Field
	negate bool
}

func (j *join) match(x *run, r *store.Record) bool {
	id, _ := r.Get(j.field).(string)
	_, in := x.members(j)[id]
	return in != j.negate
}

// members runs the subquery, once for each run of the whole.
func (x *run) members(j *join) map[string]struct{} {
	if set, ok := x.sets[j]; ok {
		return set
	}
	set := map[string]struct{}{}
	for _, r := range j.sub.rows(x) {
		if id, ok := r.Get(j.column).(string); ok {
			set[id] = struct{}{}
		}
	}
	x.sets[j] = set
	return set
}

// topLevel returns the places of the comparisons that stand in no other
// brackets than those of one AND.
func topLevel(e soql.Expr) map[int]bool {
	out := map[int]bool{}
	switch e := e.(type) {
	case soql.Compare:
		out[e.Pos] = true
	case soql.And:
		for _, term := range e {
			if c, ok := term.(soql.Compare); ok {
				out[c.Pos] = true
			}
		}
	}
	return out
}

func (c *compiler) join(e soql.Compare, top map[int]bool) (node[*store.Record], *store.Error) {
	c.joins++
	_, or := c.q.Where.(soql.Or)
	switch {
	case c.member:
		return nil, c.at(e.Pos, "MALFORMED_QUERY", "Nesting of semi join sub-selects is not supported")
	case or:
		return nil, c.at(e.Pos, "MALFORMED_QUERY", "Semi join sub-selects are not allowed with the 'OR' operator")
	case !top[e.Pos]:
		return nil, c.at(e.Pos, "MALFORMED_QUERY", "Semi join sub-selects are only allowed at the top level WHERE expressions and not in nested WHERE expressions.")
	case c.joins > maxSemiJoins:
		return nil, c.at(e.Pos, "MALFORMED_QUERY", "Maximum %d semi join sub-selects are allowed in one query", maxSemiJoins)
	}
	left, err := c.resolve(e.Path)
	if err != nil {
		return nil, err
	}
	switch {
	case len(left.parents) > 0:
		return nil, c.at(e.Pos, "MALFORMED_QUERY", "The left operand '%s' cannot have more than one level of relationships", e.Path.Names[len(e.Path.Names)-1])
	case left.field.Type != schema.ID && left.field.Type != schema.Reference:
		return nil, c.at(e.Pos, "MALFORMED_QUERY", "Semi join sub-selects can only query id fields, cannot use: '%s'", left.field.Name)
	}
	j := &join{field: left.field, sub: &Plan{}, negate: e.Op == "NOT IN"}
	if j.column, err = c.inner(e.Sub, j.sub); err != nil {
		return nil, err
	}
	if !overlap(targets(left.field), targets(j.column)) {
		return nil, c.at(e.Pos, "MALFORMED_QUERY", "The left operand field '%s' in the where expression for outer query and the inner select field '%s' should point to the same object type", left.field.Name, j.column.Name)
	}
	return j, nil
}

// inner checks the subquery of a semi-join and returns its only column.
func (c *compiler) inner(q *soql.Query, p *Plan) (*schema.Field, *store.Error) {
	sub := &compiler{schema: c.schema, object: c.schema.Object(q.From), q: q, text: c.text, opt: c.opt, member: true, used: c.used}
	switch {
	case sub.object == nil || len(q.Outer) > 0:
		return nil, sub.unknownObject()
	case sub.object == c.object:
		return nil, c.at(q.FromPos, "MALFORMED_QUERY", "The inner and outer selects should not be on the same object type")
	case q.Count || sub.aggregates():
		return nil, c.at(q.FromPos, "MALFORMED_QUERY", "a semi join sub-select cannot have aggregate functions or GROUP BY")
	case len(q.OrderBy) > 0 || q.Limit >= 0 || q.Offset >= 0 || q.For != "" || q.Scope != "":
		return nil, c.at(q.FromPos, "MALFORMED_QUERY", "a semi join sub-select cannot have ORDER BY, LIMIT, OFFSET, FOR or USING SCOPE")
	}
	if err := sub.plan(p); err != nil {
		return nil, err
	}
	if len(p.out.items) != 1 {
		return nil, c.at(q.FromPos, "MALFORMED_QUERY", "a semi join sub-select has to select exactly one field")
	}
	only := p.out.items[0]
	switch {
	case only.show != nil || only.types != nil:
		return nil, c.at(q.FromPos, "MALFORMED_QUERY", "a semi join sub-select cannot have functions or TYPEOF")
	case only.into != nil:
		return nil, c.at(q.FromPos, "MALFORMED_QUERY", "The inner select field cannot have more than one level of relationships")
	case only.field.Type != schema.ID && only.field.Type != schema.Reference:
		return nil, c.at(q.FromPos, "MALFORMED_QUERY", "Semi join sub-selects can only query id fields, cannot use: '%s'", only.field.Name)
	}
	return only.field, nil
}

// targets are the objects whose ids a field holds.
func targets(f *schema.Field) []string {
	if f.Type == schema.ID {
		return []string{f.Object.Name}
	}
	return f.ReferenceTo
}

func overlap(a, b []string) bool {
	return slices.ContainsFunc(a, func(name string) bool { return slices.Contains(b, name) })
}
