package soql

import (
	"fmt"
	"strings"
)

// text writes a statement that means the same as the one that was read.
func (q *Query) text() string {
	var b strings.Builder
	b.WriteString("SELECT ")
	if q.Count {
		b.WriteString("COUNT()")
	}
	for i, item := range q.Items {
		if i > 0 {
			b.WriteString(", ")
		}
		if item.Sub != nil {
			b.WriteString("(" + item.Sub.text() + ")")
			continue
		}
		if item.Typeof != nil {
			b.WriteString(item.Typeof.text())
			continue
		}
		b.WriteString(item.text())
		if item.Alias != "" {
			b.WriteString(" " + item.Alias)
		}
	}
	b.WriteString(" FROM " + strings.Join(append(append([]string{}, q.Outer...), q.From), "."))
	if q.Alias != "" {
		b.WriteString(" " + q.Alias)
	}
	for _, j := range q.Joins {
		b.WriteString(", " + strings.Join(j.Path.Names, ".") + " " + j.Alias)
	}
	if q.Scope != "" {
		b.WriteString(" USING SCOPE " + q.Scope)
	}
	if q.Where != nil {
		b.WriteString(" WHERE " + condition(q.Where))
	}
	for i, t := range q.GroupBy {
		first := " GROUP BY "
		if q.Totals != "" {
			first += q.Totals + "("
		}
		b.WriteString([]string{first, ", "}[min(i, 1)] + t.text())
	}
	if q.Totals != "" {
		b.WriteString(")")
	}
	if q.Having != nil {
		b.WriteString(" HAVING " + condition(q.Having))
	}
	for i, o := range q.OrderBy {
		b.WriteString([]string{" ORDER BY ", ", "}[min(i, 1)] + o.text())
		if o.Desc {
			b.WriteString(" DESC")
		}
		if o.NullsLast {
			b.WriteString(" NULLS LAST")
		}
	}
	if q.Limit >= 0 {
		fmt.Fprintf(&b, " LIMIT %d", q.Limit)
	}
	if q.Offset >= 0 {
		fmt.Fprintf(&b, " OFFSET %d", q.Offset)
	}
	if q.For != "" {
		b.WriteString(" FOR " + q.For)
	}
	return b.String()
}

func (t Term) text() string {
	path := strings.Join(t.Path.Names, ".")
	if t.Func == "" {
		return path
	}
	if t.Inner != "" {
		path = t.Inner + "(" + path + ")"
	}
	return t.Func + "(" + path + ")"
}

func (t *Typeof) text() string {
	list := func(paths []Path) string {
		names := make([]string, len(paths))
		for i, p := range paths {
			names[i] = strings.Join(p.Names, ".")
		}
		return strings.Join(names, ", ")
	}
	out := "TYPEOF " + strings.Join(t.Path.Names, ".")
	for _, w := range t.Whens {
		out += " WHEN " + w.Object + " THEN " + list(w.Fields)
	}
	if t.Else != nil {
		out += " ELSE " + list(t.Else)
	}
	return out + " END"
}

func condition(e Expr) string {
	joined := func(terms []Expr, by string) string {
		out := make([]string, len(terms))
		for i, term := range terms {
			out[i] = "(" + condition(term) + ")"
		}
		return strings.Join(out, by)
	}
	switch e := e.(type) {
	case And:
		return joined(e, " AND ")
	case Or:
		return joined(e, " OR ")
	case Not:
		return "NOT (" + condition(e.Of) + ")"
	}
	c := e.(Compare)
	out := c.text() + " " + c.Op + " "
	if c.Sub != nil {
		return out + "(" + c.Sub.text() + ")"
	}
	values := make([]string, len(c.Values))
	for i, v := range c.Values {
		values[i] = v.text()
	}
	list := strings.Join(values, ", ")
	switch c.Op {
	case "IN", "NOT IN", "INCLUDES", "EXCLUDES":
		return out + "(" + list + ")"
	}
	return out + list
}

func (v Value) text() string {
	switch v.Kind {
	case Null:
		return "NULL"
	case Text:
		escaped := strings.NewReplacer(`'`, `\'`, "\n", `\n`, "\r", `\r`).Replace(v.Text)
		return "'" + escaped + "'"
	case DateLiteral:
		if counted, _ := dateWord(v.Text); counted {
			return fmt.Sprintf("%s:%d", v.Text, v.N)
		}
	}
	return v.Text
}
