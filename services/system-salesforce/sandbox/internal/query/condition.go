package query

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/schema"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/sfid"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/soql"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/store"
)

// node is one checked condition.
type node interface {
	match(v store.View, r *store.Record) bool
}

type (
	all  []node
	some []node
	none struct{ of node }
)

func (n all) match(v store.View, r *store.Record) bool {
	for _, x := range n {
		if !x.match(v, r) {
			return false
		}
	}
	return true
}

func (n some) match(v store.View, r *store.Record) bool {
	for _, x := range n {
		if x.match(v, r) {
			return true
		}
	}
	return false
}

func (n none) match(v store.View, r *store.Record) bool { return !n.of.match(v, r) }

// test compares one field. Values are folded to lower case for texts. For a
// date literal from and to bound the period in milliseconds.
type test struct {
	ref      reference
	op       string
	fold     bool
	values   []any
	pattern  []rune
	period   bool
	from, to int64
}

func (t *test) match(v store.View, r *store.Record) bool {
	have := t.ref.of(v, r)
	if s, ok := have.(string); ok && t.fold {
		have = strings.ToLower(s)
	}
	switch t.op {
	case "=", "IN":
		return t.contains(have)
	case "!=", "NOT IN":
		return !t.contains(have)
	case "LIKE":
		s, ok := have.(string)
		return ok && like([]rune(s), t.pattern)
	}
	if have == nil {
		return false
	}
	if t.period {
		return t.beside(have)
	}
	d := Order(have, t.values[0])
	switch t.op {
	case "<":
		return d < 0
	case "<=":
		return d <= 0
	case ">":
		return d > 0
	default:
		return d >= 0
	}
}

func (t *test) contains(have any) bool {
	if t.period {
		ms, ok := have.(int64)
		return ok && ms >= t.from && ms < t.to
	}
	for _, want := range t.values {
		if have == want {
			return true
		}
	}
	return false
}

func (t *test) beside(have any) bool {
	ms := have.(int64)
	switch t.op {
	case "<":
		return ms < t.from
	case "<=":
		return ms < t.to
	case ">":
		return ms >= t.to
	default:
		return ms >= t.from
	}
}

// Order compares two values of one field, null first.
func Order(a, b any) int {
	switch x := a.(type) {
	case nil:
		if b == nil {
			return 0
		}
		return -1
	case string:
		if y, ok := b.(string); ok {
			return strings.Compare(x, y)
		}
	case float64:
		if y, ok := b.(float64); ok {
			return cmp.Compare(x, y)
		}
	case int64:
		if y, ok := b.(int64); ok {
			return cmp.Compare(x, y)
		}
	case bool:
		if y, ok := b.(bool); ok {
			switch {
			case x == y:
				return 0
			case y:
				return -1
			}
		}
	}
	return 1
}

func (c *compiler) condition(e soql.Expr) (node, *store.Error) {
	switch e := e.(type) {
	case soql.And:
		terms, err := c.conditions(e)
		return all(terms), err
	case soql.Or:
		terms, err := c.conditions(e)
		return some(terms), err
	case soql.Not:
		of, err := c.condition(e.Of)
		return none{of}, err
	case soql.Compare:
		return c.test(e)
	default:
		return nil, &store.Error{Code: "MALFORMED_QUERY", Message: fmt.Sprintf("unknown condition %T", e)}
	}
}

func (c *compiler) conditions(terms []soql.Expr) ([]node, *store.Error) {
	out := make([]node, len(terms))
	for i, term := range terms {
		n, err := c.condition(term)
		if err != nil {
			return nil, err
		}
		out[i] = n
	}
	return out, nil
}

func (c *compiler) test(e soql.Compare) (node, *store.Error) {
	ref, err := c.resolve(e.Path)
	if err != nil {
		return nil, err
	}
	f := ref.field
	if f.Type == schema.Address || f.Type == schema.TextArea && f.Length > 255 {
		return nil, located("INVALID_FIELD", c.text, e.Path.Pos, fmt.Sprintf("field '%s' can not be filtered in a query call", f.Name))
	}
	t := &test{ref: ref, op: e.Op, fold: f.Type.Text() && !f.CaseSensitive}
	if e.Op == "LIKE" {
		return c.like(t, e)
	}
	ordered := strings.ContainsAny(e.Op, "<>")
	if ordered && f.Type == schema.Boolean {
		return nil, located("INVALID_QUERY_FILTER_OPERATOR", c.text, e.Path.Pos, "invalid operator on boolean field")
	}
	for _, lit := range e.Values {
		if lit.Kind == soql.Null {
			if ordered {
				return nil, located("INVALID_FIELD", c.text, lit.Pos, fmt.Sprintf("invalid operator for null value: %s", e.Op))
			}
			t.values = append(t.values, nil)
			continue
		}
		if lit.Kind == soql.DateLiteral && (f.Type == schema.Date || f.Type == schema.DateTime) && !strings.HasSuffix(e.Op, "IN") {
			from, to := lit.Range(c.now)
			t.period, t.from, t.to = true, from.UnixMilli(), to.UnixMilli()
			continue
		}
		v, err := c.literal(f, lit)
		if err != nil {
			return nil, err
		}
		if s, ok := v.(string); ok && t.fold {
			v = strings.ToLower(s)
		}
		t.values = append(t.values, v)
	}
	return t, nil
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
		return nil, located("INVALID_QUERY_FILTER_OPERATOR", c.text, lit.Pos, "invalid ID field: "+lit.Text)
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
	return nil, located("INVALID_FIELD", c.text, lit.Pos, fmt.Sprintf("value of filter criterion for field '%s' must be of type %s and %s", f.Name, kind, quoted))
}

// plain drops the escapes that only LIKE understands.
func plain(s string) string {
	return strings.NewReplacer(`\_`, `_`, `\%`, `%`).Replace(s)
}

func (c *compiler) like(t *test, e soql.Compare) (node, *store.Error) {
	f, lit := t.ref.field, e.Values[0]
	if !f.Type.Text() {
		return nil, located("INVALID_QUERY_FILTER_OPERATOR", c.text, e.Path.Pos, fmt.Sprintf("invalid operator on %s field", f.Type))
	}
	if lit.Kind != soql.Text {
		_, err := c.literal(f, soql.Value{Kind: soql.Number, Pos: lit.Pos})
		return nil, err
	}
	t.fold = true
	t.pattern = pattern(strings.ToLower(lit.Text))
	return t, nil
}

// The two wildcards in a compiled pattern; both lie outside Unicode.
const (
	anyRun  rune = -1
	anyRune rune = -2
)

func pattern(s string) []rune {
	var out []rune
	escaped := false
	for _, r := range s {
		switch {
		case escaped:
			out = append(out, r)
			escaped = false
		case r == '\\':
			escaped = true
		case r == '%':
			out = append(out, anyRun)
		case r == '_':
			out = append(out, anyRune)
		default:
			out = append(out, r)
		}
	}
	return out
}

// like matches in time linear in the text for each run wildcard: it only ever
// backtracks to the last one.
func like(s, p []rune) bool {
	i, j, star, from := 0, 0, -1, 0
	for i < len(s) {
		switch {
		case j < len(p) && p[j] == anyRun:
			star, from = j, i
			j++
		case j < len(p) && (p[j] == anyRune || p[j] == s[i]):
			i++
			j++
		case star >= 0:
			from++
			i, j = from, star+1
		default:
			return false
		}
	}
	for j < len(p) && p[j] == anyRun {
		j++
	}
	return j == len(p)
}
