package query

import (
	"fmt"
	"strings"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/schema"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/soql"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/store"
)

// grouping is the checked form of an aggregate query. Its slots are the keys
// followed by the aggregates.
type grouping struct {
	keys []operand
	// masks are the combinations of keys that groups are made for; a set bit
	// is a key that is left out, because the group is a subtotal.
	masks   []uint8
	aggs    []aggregate
	cells   []cell
	unnamed int
	having  node[*Group]
	order   []groupOrder
}

// aggregate is one function of one field; ref.field is nil for COUNT(). For
// GROUPING(), key is the place among the keys.
type aggregate struct {
	fn  string
	ref reference
	key int
	// result is a field with the type of the value.
	result *schema.Field
}

// cell is one member of the answer's rows.
type cell struct {
	name string
	slot int
	text string // as written, for a description of the answer
	// localized is set for FORMAT().
	localized bool
}

type groupOrder struct {
	slot            int
	desc, nullsLast bool
}

// Group is one row of an aggregate answer.
type Group struct{ values []any }

// field is what describes the values of a slot.
func (g *grouping) field(slot int) *schema.Field {
	if slot < len(g.keys) {
		return g.keys[slot].result
	}
	return g.aggs[slot-len(g.keys)].result
}

func (c *compiler) grouping() (*grouping, *store.Error) {
	q, g := c.q, &grouping{}
	for _, t := range q.GroupBy {
		key, err := c.operand(t)
		if err != nil {
			return nil, err
		}
		if !key.result.Groupable() {
			return nil, c.at(t.Pos, "INVALID_FIELD", "field '%s' can not be grouped in a query call", key.field.Name)
		}
		g.keys = append(g.keys, key)
	}
	if err := c.clauses(); err != nil {
		return nil, err
	}
	g.masks = masks(q.Totals, len(g.keys))
	for _, i := range q.Items {
		if err := c.cell(g, i); err != nil {
			return nil, err
		}
	}
	if q.Having != nil {
		var err *store.Error
		g.having, err = condition(q.Having, func(e soql.Compare) (node[*Group], *store.Error) { return c.have(g, e) })
		if err != nil {
			return nil, err
		}
	}
	for _, o := range q.OrderBy {
		slot, err := c.slot(g, o.Term, "Ordered field must be grouped or aggregated: %s")
		if err != nil {
			return nil, err
		}
		g.order = append(g.order, groupOrder{slot, o.Desc, o.NullsLast})
	}
	return g, nil
}

// clauses checks what may stand beside aggregates.
func (c *compiler) clauses() *store.Error {
	q := c.q
	switch {
	case q.All != "":
		return malformed("The SOQL FIELDS function is not supported with GROUP BY or aggregate functions")
	case len(q.GroupBy) == 0 && q.Having != nil:
		return malformed("HAVING is allowed only with GROUP BY")
	case len(q.GroupBy) == 0 && (q.Limit >= 0 || q.Offset >= 0):
		return malformed("Non-grouped query that uses overall aggregate functions cannot also use LIMIT")
	case q.For != "":
		return malformed("FOR " + q.For + " is not allowed with aggregates")
	case q.Totals != "" && len(q.GroupBy) > maxTotals:
		return malformed(fmt.Sprintf("GROUP BY %s cannot have more than %d fields", q.Totals, maxTotals))
	}
	return nil
}

// maxTotals is how many fields may have subtotals.
const maxTotals = 3

// masks returns the combinations of keys for which there are groups: ROLLUP
// leaves keys out from the last to the first, CUBE in every way.
func masks(totals string, keys int) []uint8 {
	out := []uint8{0}
	switch totals {
	case "ROLLUP":
		for left := keys - 1; left >= 0; left-- {
			out = append(out, out[len(out)-1]|1<<left)
		}
	case "CUBE":
		for m := uint8(1); m < 1<<keys; m++ {
			out = append(out, m)
		}
	}
	return out
}

func (c *compiler) cell(g *grouping, i soql.Item) *store.Error {
	switch {
	case i.Sub != nil:
		return c.at(i.Pos, "MALFORMED_QUERY", "Grouped query cannot use child relationships in the SELECT list")
	case i.Typeof != nil:
		return c.at(i.Pos, "MALFORMED_QUERY", "Grouped query cannot use TYPEOF in the SELECT list")
	}
	term := i.Term
	shows := term.Func == soql.Format && soql.Aggregate(term.Inner)
	if shows {
		term.Func, term.Inner = term.Inner, ""
	}
	slot, err := c.slot(g, term, "Field must be grouped or aggregated: %s")
	if err != nil {
		return err
	}
	if shows && !localizable(g.field(slot)) {
		return c.at(i.Pos, "MALFORMED_QUERY", "FORMAT() is not supported for %s", strings.Join(i.Path.Names, "."))
	}
	out := cell{name: i.Alias, slot: slot, text: strings.Join(i.Path.Names, "."), localized: shows}
	if term.Func != "" {
		out.text = strings.ToLower(term.Func) + "(" + out.text + ")"
	}
	switch {
	case i.Alias != "":
	case i.Func != "":
		out.name = fmt.Sprintf("expr%d", g.unnamed)
		g.unnamed++
	default:
		out.name = g.field(slot).Name
	}
	for _, have := range g.cells {
		if strings.EqualFold(have.name, out.name) {
			return c.at(i.Pos, "MALFORMED_QUERY", "duplicate alias: %s", out.name)
		}
	}
	g.cells = append(g.cells, out)
	return nil
}

// slot finds the place of a key or an aggregate, adding the aggregate if it is
// new.
func (c *compiler) slot(g *grouping, t soql.Term, ungrouped string) (int, *store.Error) {
	if t.Func == "COUNT" && len(t.Path.Names) == 0 {
		return c.addAggregate(g, aggregate{fn: "COUNT", result: &schema.Field{Name: "COUNT", Type: schema.Int}}), nil
	}
	if t.Func == "" || soql.DateFunction(t.Func) || t.Func == soql.Grouping {
		return c.keyed(g, t, ungrouped)
	}
	if !soql.Aggregate(t.Func) {
		return 0, c.at(t.Pos, "MALFORMED_QUERY", "the function %s is not allowed in a grouped query", t.Func)
	}
	ref, err := c.resolve(t.Path)
	if err != nil {
		return 0, err
	}
	if !ref.field.Aggregates(t.Func) {
		return 0, c.at(t.Pos, "MALFORMED_QUERY", "field %s does not support aggregate operator %s", ref.field.Name, t.Func)
	}
	return c.addAggregate(g, aggregate{fn: t.Func, ref: ref, result: resultOf(t.Func, ref.field)}), nil
}

// keyed finds the place of a key, or of what tells whether it is left out.
func (c *compiler) keyed(g *grouping, t soql.Term, ungrouped string) (int, *store.Error) {
	asked := t.Func == soql.Grouping
	if asked {
		t.Func = ""
	}
	op, err := c.operand(t)
	if err != nil {
		return 0, err
	}
	for i, key := range g.keys {
		switch {
		case !key.same(op):
		case !asked:
			return i, nil
		case c.q.Totals == "":
			return 0, c.at(t.Pos, "MALFORMED_QUERY", "GROUPING() is allowed only with GROUP BY ROLLUP and GROUP BY CUBE")
		default:
			return c.addAggregate(g, aggregate{fn: soql.Grouping, ref: op.reference, key: i, result: &schema.Field{Name: "GROUPING", Type: schema.Int}}), nil
		}
	}
	return 0, c.at(t.Pos, "MALFORMED_QUERY", ungrouped, strings.Join(t.Path.Names, "."))
}

func (c *compiler) addAggregate(g *grouping, a aggregate) int {
	for i, have := range g.aggs {
		if have.fn == a.fn && have.ref.same(a.ref) {
			return len(g.keys) + i
		}
	}
	g.aggs = append(g.aggs, a)
	return len(g.keys) + len(g.aggs) - 1
}

func resultOf(fn string, f *schema.Field) *schema.Field {
	out := *f
	switch fn {
	case "COUNT", "COUNT_DISTINCT":
		return &schema.Field{Name: fn, Type: schema.Int}
	case "AVG":
		out.Type = schema.Double
	}
	return &out
}

// having compares one slot of a group.
type having struct {
	slot int
	check
}

func (h *having) match(_ *run, g *Group) bool { return h.holds(g.values[h.slot]) }

func (c *compiler) have(g *grouping, e soql.Compare) (node[*Group], *store.Error) {
	if e.Sub != nil {
		return nil, c.at(e.Pos, "MALFORMED_QUERY", "Semi-joins are only supported in WHERE clauses")
	}
	slot, err := c.slot(g, e.Term, "Field must be grouped or aggregated: %s")
	if err != nil {
		return nil, err
	}
	h := &having{slot: slot}
	h.check, err = c.check(g.field(slot), e)
	return h, err
}
