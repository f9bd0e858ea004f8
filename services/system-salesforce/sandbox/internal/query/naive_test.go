package query

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/render"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/schema"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/sfid"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/soql"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/store"
)

// naive answers statements by reading everything, straight from the syntax
// tree. It knows no plan, no index and no reference of the code under test, and
// understands only statements that are right.
type naive struct {
	v           store.View
	withDeleted bool
	now         time.Time
	// inner remembers the ids that subqueries select.
	inner map[*soql.Query]map[any]bool
}

func newNaive(v store.View, withDeleted bool) naive {
	return naive{v, withDeleted, start, map[*soql.Query]map[any]bool{}}
}

func (n naive) selected(q *soql.Query) map[any]bool {
	if n.inner[q] == nil {
		ids := map[any]bool{}
		for _, row := range n.rows(n.v.Schema().Object(q.From), q) {
			_, id := n.get(row, q.Items[0].Path)
			ids[id] = true
		}
		n.inner[q] = ids
	}
	return n.inner[q]
}

func (n naive) rows(o *schema.Object, q *soql.Query) []*store.Record {
	var out []*store.Record
	for r := range n.v.All(o) {
		if (n.withDeleted || !r.Deleted) && (q.Where == nil || n.true(q.Where, r)) {
			out = append(out, r)
		}
	}
	slices.SortFunc(out, func(a, b *store.Record) int {
		for _, by := range q.OrderBy {
			f, x := n.get(a, by.Path)
			_, y := n.get(b, by.Path)
			if d := n.direct(f, x, y, by); d != 0 {
				return d
			}
		}
		return strings.Compare(a.ID, b.ID)
	})
	return out
}

func (n naive) direct(f *schema.Field, x, y any, by soql.Order) int {
	d := n.compare(f, x, y)
	if x == nil || y == nil {
		if by.NullsLast {
			return -d
		}
		return d
	}
	if by.Desc {
		return -d
	}
	return d
}

// get follows a path; a leading name that is no relationship is an alias.
func (n naive) get(r *store.Record, p soql.Path) (*schema.Field, any) {
	names := p.Names
	if len(names) > 1 && r.Object.Relationship(names[0]) == nil {
		names = names[1:]
	}
	o := r.Object
	for len(names) > 1 {
		link := o.Relationship(names[0])
		o = n.v.Schema().Object(link.ReferenceTo[0])
		if r != nil {
			id, _ := r.Get(link).(string)
			r = n.v.Any(id)
		}
		names = names[1:]
	}
	f := o.Field(names[0])
	if r == nil {
		return f, nil
	}
	return f, r.Get(f)
}

func (n naive) true(e soql.Expr, r *store.Record) bool {
	return n.holds(e, func(c soql.Compare) bool {
		f, have := n.get(r, c.Path)
		if c.Sub != nil {
			return (have != nil && n.selected(c.Sub)[have]) == (c.Op == "IN")
		}
		return n.tests(c, f, have)
	})
}

func (n naive) holds(e soql.Expr, leaf func(soql.Compare) bool) bool {
	switch e := e.(type) {
	case soql.And:
		for _, term := range e {
			if !n.holds(term, leaf) {
				return false
			}
		}
		return true
	case soql.Or:
		for _, term := range e {
			if n.holds(term, leaf) {
				return true
			}
		}
		return false
	case soql.Not:
		return !n.holds(e.Of, leaf)
	}
	return leaf(e.(soql.Compare))
}

func (n naive) tests(c soql.Compare, f *schema.Field, have any) bool {
	equal := false
	for _, lit := range c.Values {
		equal = equal || n.equals(f, have, lit)
	}
	switch c.Op {
	case "=", "IN":
		return equal
	case "!=", "NOT IN":
		return !equal
	case "LIKE":
		s, ok := have.(string)
		return ok && wild(strings.ToLower(s), strings.ToLower(c.Values[0].Text))
	case "INCLUDES", "EXCLUDES":
		hit := false
		for _, lit := range c.Values {
			each := true
			s, _ := have.(string)
			for want := range strings.SplitSeq(lit.Text, ";") {
				each = each && strings.Contains(strings.ToLower(";"+s+";"), strings.ToLower(";"+want+";"))
			}
			hit = hit || each
		}
		return hit == (c.Op == "INCLUDES")
	}
	if have == nil {
		return false
	}
	low, high := n.bounds(f, c.Values[0])
	switch c.Op {
	case "<":
		return n.plainly(f, have, low) < 0
	case "<=":
		return n.plainly(f, have, high) <= 0
	case ">":
		return n.plainly(f, have, high) > 0
	}
	return n.plainly(f, have, low) >= 0
}

// plainly compares for WHERE, where a picklist is a text.
func (n naive) plainly(f *schema.Field, x, y any) int {
	g := *f
	g.Picklist = nil
	return n.compare(&g, x, y)
}

func (n naive) equals(f *schema.Field, have any, lit soql.Value) bool {
	if lit.Kind == soql.Null || lit.Kind == soql.Text && lit.Text == "" {
		return have == nil
	}
	if have == nil {
		return false
	}
	low, high := n.bounds(f, lit)
	return n.plainly(f, have, low) >= 0 && n.plainly(f, have, high) <= 0
}

// bounds are the smallest and the largest value that a literal stands for.
func (n naive) bounds(f *schema.Field, lit soql.Value) (low, high any) {
	var v any
	switch lit.Kind {
	case soql.Number:
		v, _ = strconv.ParseFloat(lit.Text, 64)
	case soql.Bool:
		v = lit.Text == "TRUE"
	case soql.Date, soql.DateTime:
		at, _ := store.ParseTime(lit.Text)
		v = at.UnixMilli()
	case soql.DateLiteral:
		from, to := lit.Range(n.now)
		return from.UnixMilli(), to.UnixMilli() - 1
	default:
		v = lit.Text
		if f.Type == schema.ID || f.Type == schema.Reference {
			if id, ok := sfid.Normal(lit.Text); ok {
				v = id
			}
		}
	}
	return v, v
}

// compare orders two values of a field, null first.
func (n naive) compare(f *schema.Field, x, y any) int {
	switch {
	case x == nil && y == nil:
		return 0
	case x == nil:
		return -1
	case y == nil:
		return 1
	}
	switch a := x.(type) {
	case string:
		b := y.(string)
		if !f.Type.Text() {
			return strings.Compare(a, b)
		}
		if f.Type == schema.Picklist {
			if d := place(f, a) - place(f, b); d != 0 {
				return d
			}
		}
		return strings.Compare(strings.ToLower(a), strings.ToLower(b))
	case float64:
		return int(min(max((a-y.(float64))*1e6, -1), 1))
	case int64:
		return int(min(max(a-y.(int64), -1), 1))
	case bool:
		if a == y.(bool) {
			return 0
		}
		if a {
			return 1
		}
	}
	return -1
}

func place(f *schema.Field, s string) int {
	for i, v := range f.Picklist {
		if strings.EqualFold(v, s) {
			return i
		}
	}
	return len(f.Picklist)
}

// wild matches LIKE by trying everything.
func wild(s, p string) bool {
	if p == "" {
		return s == ""
	}
	switch p[0] {
	case '%':
		return wild(s, p[1:]) || s != "" && wild(s[1:], p)
	case '_':
		return s != "" && wild(s[1:], p[1:])
	case '\\':
		p = p[1:]
	}
	return s != "" && s[0] == p[0] && wild(s[1:], p[1:])
}

func cut[T any](rows []T, q *soql.Query) []T {
	rows = rows[min(max(q.Offset, 0), len(rows)):]
	if q.Limit >= 0 {
		rows = rows[:min(q.Limit, len(rows))]
	}
	return rows
}

// answer writes the rows of a statement, subqueries in full.
func (n naive) answer(q *soql.Query) []string {
	o := n.v.Schema().Object(q.From)
	var out []string
	for _, r := range cut(n.rows(o, q), q) {
		out = append(out, n.row(r, q))
	}
	return out
}

func (n naive) row(r *store.Record, q *soql.Query) string {
	var b strings.Builder
	fmt.Fprintf(&b, `{"attributes":{"type":"%s","url":"/services/data/v62.0/sobjects/%s/%s"}`, r.Object.Name, r.Object.Name, r.ID)
	for _, i := range q.Items {
		if i.Sub == nil {
			f := r.Object.Field(i.Path.Names[0])
			fmt.Fprintf(&b, `,"%s":%s`, f.Name, render.Scalar(nil, f, r.Get(f)))
			continue
		}
		var link *schema.Field
		for _, f := range n.v.Schema().Children(r.Object) {
			if f.ChildRelationship == i.Sub.From {
				link = f
			}
		}
		var rows []*store.Record
		for _, child := range n.rows(link.Object, i.Sub) {
			if child.Get(link) == r.ID {
				rows = append(rows, child)
			}
		}
		rows = cut(rows, i.Sub)
		fmt.Fprintf(&b, `,"%s":`, i.Sub.From)
		if len(rows) == 0 {
			b.WriteString("null")
			continue
		}
		texts := make([]string, len(rows))
		for j, child := range rows {
			texts[j] = n.row(child, i.Sub)
		}
		fmt.Fprintf(&b, `{"totalSize":%d,"done":true,"records":[%s]}`, len(rows), strings.Join(texts, ","))
	}
	return b.String() + "}"
}

// groups answers an aggregate statement with grouped fields and functions.
func (n naive) groups(q *soql.Query) []string {
	type group struct{ rows []*store.Record }
	var groups []*group
	plain := *q
	plain.OrderBy = nil
	same := func(a, b *store.Record) bool {
		for _, key := range q.GroupBy {
			f, x := n.get(a, key.Path)
			_, y := n.get(b, key.Path)
			if n.compare(f, x, y) != 0 {
				return false
			}
		}
		return true
	}
next:
	for _, r := range n.rows(n.v.Schema().Object(q.From), &plain) {
		for _, g := range groups {
			if same(g.rows[0], r) {
				g.rows = append(g.rows, r)
				continue next
			}
		}
		groups = append(groups, &group{[]*store.Record{r}})
	}
	if len(groups) == 0 && len(q.GroupBy) == 0 {
		groups = append(groups, &group{})
	}
	slices.SortStableFunc(groups, func(a, b *group) int {
		for _, key := range q.GroupBy {
			f, x := n.get(a.rows[0], key.Path)
			_, y := n.get(b.rows[0], key.Path)
			if d := n.compare(f, x, y); d != 0 {
				return d
			}
		}
		return 0
	})
	groups = slices.DeleteFunc(groups, func(g *group) bool {
		return q.Having != nil && !n.holds(q.Having, func(c soql.Compare) bool {
			f, v := n.value(q, g.rows, c.Term)
			return n.tests(c, f, v)
		})
	})
	slices.SortStableFunc(groups, func(a, b *group) int {
		for _, by := range q.OrderBy {
			f, x := n.value(q, a.rows, by.Term)
			_, y := n.value(q, b.rows, by.Term)
			if d := n.direct(f, x, y, by); d != 0 {
				return d
			}
		}
		return 0
	})
	var out []string
	for _, g := range cut(groups, q) {
		var b strings.Builder
		b.WriteString(`{"attributes":{"type":"AggregateResult"}`)
		unnamed := 0
		for _, i := range q.Items {
			f, v := n.value(q, g.rows, i.Term)
			name := i.Alias
			switch {
			case name == "" && i.Func == "":
				name = f.Name
			case name == "":
				name = fmt.Sprint("expr", unnamed)
				unnamed++
			}
			fmt.Fprintf(&b, `,"%s":%s`, name, render.Scalar(nil, f, v))
		}
		out = append(out, b.String()+"}")
	}
	return out
}

// value is what a term means for a group.
func (n naive) value(q *soql.Query, rows []*store.Record, t soql.Term) (*schema.Field, any) {
	count := &schema.Field{Type: schema.Int}
	if t.Func == "COUNT" && len(t.Path.Names) == 0 {
		return count, float64(len(rows))
	}
	var field *schema.Field
	var values []any
	for _, r := range rows {
		f, v := n.get(r, t.Path)
		field = f
		if v != nil {
			values = append(values, v)
		}
	}
	if field == nil { // no rows: only the type is of interest
		field = n.v.Schema().Object(q.From).Field(t.Path.Names[len(t.Path.Names)-1])
	}
	ordered := slices.Clone(values)
	slices.SortFunc(ordered, func(a, b any) int {
		if d := n.compare(field, a, b); d != 0 {
			return d
		}
		x, _ := a.(string)
		y, _ := b.(string)
		return strings.Compare(x, y)
	})
	sum := 0.0
	for _, v := range values {
		x, _ := v.(float64)
		sum += x
	}
	average := *field
	average.Type = schema.Double
	distinct := slices.CompactFunc(slices.Clone(ordered), func(a, b any) bool { return n.compare(field, a, b) == 0 })
	switch {
	case t.Func == "COUNT":
		return count, float64(len(values))
	case t.Func == "COUNT_DISTINCT":
		return count, float64(len(distinct))
	case len(values) == 0 && t.Func == "AVG":
		return &average, nil
	case len(values) == 0:
		return field, nil
	case t.Func == "SUM":
		return field, sum
	case t.Func == "AVG":
		return &average, sum / float64(len(values))
	case t.Func == "MAX":
		last := distinct[len(distinct)-1]
		return field, last
	}
	return field, distinct[0]
}
