package query

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/schema"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/sfid"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/soql"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/store"
)

// node is one checked condition on records (WHERE) or groups (HAVING).
type node[T any] interface {
	match(x *run, t T) bool
}

type (
	all[T any]  []node[T]
	some[T any] []node[T]
	none[T any] struct{ of node[T] }
)

func (n all[T]) match(x *run, t T) bool {
	for _, term := range n {
		if !term.match(x, t) {
			return false
		}
	}
	return true
}

func (n some[T]) match(x *run, t T) bool {
	for _, term := range n {
		if term.match(x, t) {
			return true
		}
	}
	return false
}

func (n none[T]) match(x *run, t T) bool { return !n.of.match(x, t) }

// test compares one field of a record.
type test struct {
	ref reference
	check
}

func (t *test) match(x *run, r *store.Record) bool { return t.holds(t.ref.of(x.v, r)) }

// condition checks an expression; leaf checks the comparisons in it.
func condition[T any](e soql.Expr, leaf func(soql.Compare) (node[T], *store.Error)) (node[T], *store.Error) {
	switch e := e.(type) {
	case soql.And:
		terms, err := conditions(e, leaf)
		return all[T](terms), err
	case soql.Or:
		terms, err := conditions(e, leaf)
		return some[T](terms), err
	case soql.Not:
		of, err := condition(e.Of, leaf)
		return none[T]{of}, err
	case soql.Compare:
		return leaf(e)
	default:
		return nil, malformed(fmt.Sprintf("unknown condition %T", e))
	}
}

func conditions[T any](terms []soql.Expr, leaf func(soql.Compare) (node[T], *store.Error)) ([]node[T], *store.Error) {
	out := make([]node[T], len(terms))
	for i, term := range terms {
		n, err := condition(term, leaf)
		if err != nil {
			return nil, err
		}
		out[i] = n
	}
	return out, nil
}

// leaf checks the comparisons of WHERE. Those at places in top may be
// semi-joins.
func (c *compiler) leaf(top map[int]bool) func(soql.Compare) (node[*store.Record], *store.Error) {
	return func(e soql.Compare) (node[*store.Record], *store.Error) {
		var ref reference
		var err *store.Error
		switch {
		case e.Func != "" && e.Sub != nil:
			return nil, c.at(e.Pos, "MALFORMED_QUERY", "Semi join sub-selects can only query id fields, cannot use: '%s'", e.Func)
		case soql.DateFunction(e.Func):
			return c.derived(e)
		case e.Func == soql.ToLabel:
			ref, err = c.label(e.Term)
		case e.Func == soql.ConvertCurrency || e.Func == soql.Format:
			return nil, c.at(e.Pos, "MALFORMED_QUERY", "the function %s is not allowed in WHERE", e.Func)
		case e.Func != "":
			return nil, c.at(e.Pos, "MALFORMED_QUERY", "the aggregate function %s is not allowed in WHERE", e.Func)
		case e.Sub != nil:
			return c.join(e, top)
		default:
			ref, err = c.resolve(e.Path)
		}
		if err != nil {
			return nil, err
		}
		t := &test{ref: ref}
		t.check, err = c.check(ref.field, e)
		return t, err
	}
}

func (c *compiler) derived(e soql.Compare) (node[*store.Record], *store.Error) {
	op, err := c.operand(e.Term)
	if err != nil {
		return nil, err
	}
	d := &derived{operand: op}
	d.check, err = c.check(op.result, e)
	return d, err
}

// check prepares the comparison of a field's values with literals.
func (c *compiler) check(f *schema.Field, e soql.Compare) (check, *store.Error) {
	k := check{op: e.Op, fold: f.Type.Text() && !f.CaseSensitive}
	if !f.Filterable() {
		return k, c.at(e.Pos, "INVALID_FIELD", "field '%s' can not be filtered in a query call", f.Name)
	}
	several := e.Op == "INCLUDES" || e.Op == "EXCLUDES"
	ordered := strings.ContainsAny(e.Op, "<>")
	switch {
	case e.Op == "LIKE":
		return k, c.like(&k, f, e)
	case several != (f.Type == schema.MultiPicklist) && (several || ordered):
		return k, c.at(e.Pos, "INVALID_QUERY_FILTER_OPERATOR", "invalid operator on %s field", f.Type)
	case ordered && f.Type == schema.Boolean:
		return k, c.at(e.Pos, "INVALID_QUERY_FILTER_OPERATOR", "invalid operator on boolean field")
	}
	for _, lit := range e.Values {
		if err := c.value(&k, f, lit); err != nil {
			return k, err
		}
		if v := k.last(); v == nil && ordered && lit.Kind == soql.Null {
			return k, c.at(lit.Pos, "INVALID_FIELD", "invalid operator for null value: %s", e.Op)
		}
	}
	if several {
		k.combine()
	}
	k.index()
	return k, nil
}

// value adds one literal to a comparison.
func (c *compiler) value(k *check, f *schema.Field, lit soql.Value) *store.Error {
	timed := f.Type == schema.Date || f.Type == schema.DateTime
	if lit.Kind == soql.DateLiteral && timed {
		from, to := lit.Range(c.opt.Now)
		k.periods = append(k.periods, period{from.UnixMilli(), to.UnixMilli()})
		return nil
	}
	if lit.Kind == soql.Null {
		k.values = append(k.values, nil)
		return nil
	}
	v, err := c.literal(f, lit)
	if err != nil {
		return err
	}
	if s, ok := v.(string); ok && k.fold {
		v = strings.ToLower(s)
	}
	k.values = append(k.values, v)
	return nil
}

// literal checks that a literal's kind suits the field.
func (c *compiler) literal(f *schema.Field, lit soql.Value) (any, *store.Error) {
	switch {
	case f.Type.Text() && lit.Kind == soql.Text:
		if s := plain(lit.Text); s != "" {
			return s, nil
		}
		return nil, nil // an empty text is stored as null
	case (f.Type == schema.ID || f.Type == schema.Reference) && lit.Kind == soql.Text:
		if lit.Text == "" {
			return "", nil
		}
		if id, ok := sfid.Normal(lit.Text); ok {
			return id, nil
		}
		return nil, c.at(lit.Pos, "INVALID_QUERY_FILTER_OPERATOR", "invalid ID field: %s", lit.Text)
	case f.Type.Number() && lit.Kind == soql.Number:
		n, _ := strconv.ParseFloat(lit.Text, 64)
		return n, nil
	case f.Type == schema.Boolean && lit.Kind == soql.Bool:
		return lit.Text == "TRUE", nil
	case f.Type == schema.DateTime && lit.Kind == soql.DateTime, f.Type == schema.Date && lit.Kind == soql.Date:
		if at, ok := store.ParseTime(lit.Text); ok {
			return at.UnixMilli(), nil
		}
	}
	kind, quoted := "string", "should be enclosed in quotes"
	switch {
	case f.Type.Number():
		kind, quoted = "double", "should not be enclosed in quotes"
	case f.Type == schema.Boolean:
		kind, quoted = "boolean", "should not be enclosed in quotes"
	case f.Type == schema.DateTime:
		kind, quoted = "dateTime", "should not be enclosed in quotes"
	case f.Type == schema.Date:
		kind, quoted = "date", "should not be enclosed in quotes"
	}
	return nil, c.at(lit.Pos, "INVALID_FIELD", "value of filter criterion for field '%s' must be of type %s and %s", f.Name, kind, quoted)
}

// plain drops the escapes that only LIKE understands.
func plain(s string) string {
	return strings.NewReplacer(`\\`, `\`, `\_`, `_`, `\%`, `%`).Replace(s)
}

func (c *compiler) like(k *check, f *schema.Field, e soql.Compare) *store.Error {
	lit := e.Values[0]
	if !f.Type.Text() || f.Type == schema.MultiPicklist {
		return c.at(e.Pos, "INVALID_QUERY_FILTER_OPERATOR", "invalid operator on %s field", f.Type)
	}
	if lit.Kind != soql.Text {
		_, err := c.literal(f, soql.Value{Kind: soql.Number, Pos: lit.Pos})
		return err
	}
	k.fold = true
	k.pattern = pattern(strings.ToLower(lit.Text))
	return nil
}
