// Package query reads the query options of OData V2 and answers what rows they choose: $filter, $orderby, $select,
// $expand, $top, $skip, $skiptoken and $inlinecount. It changes nothing.
package query

import (
	"net/http"
	"slices"
	"strings"

	"github.com/selfsame-io/selfsame/services/system-erp/sandbox/internal/edm"
	"github.com/selfsame-io/selfsame/services/system-erp/sandbox/internal/message"
	"github.com/selfsame-io/selfsame/services/system-erp/sandbox/internal/store"
)

// Condition chooses rows.
type Condition func(store.Row) bool

func syntax(format string, args ...any) error {
	return message.New(http.StatusBadRequest, "005056A509B11EE1B9A8FEC11C21D78E", format, args...)
}

// node is a condition. One that says only that a text property has one of some values is a set too: a long chain of "or" costs
// no more than one comparison then.
type node struct {
	holds  Condition
	at     int
	values map[string]bool // nil for any other condition
}

// Filter compiles a $filter. An empty one chooses everything. Values are those of the single key that rows must have one of,
// nil when that cannot be said.
func Filter(set *edm.Set, text string, lang edm.Language) (c Condition, values []string, err error) {
	if strings.TrimSpace(text) == "" {
		return func(store.Row) bool { return true }, nil, nil
	}
	tokens, err := lex(text)
	if err != nil {
		return nil, nil, err
	}
	p := &parser{set: set, lang: lang, tokens: tokens}
	n, err := p.or(0)
	if err != nil {
		return nil, nil, err
	}
	if p.at < len(p.tokens) {
		return nil, nil, syntax("Invalid token %q in the filter", p.tokens[p.at].text)
	}
	if keys := set.Keys(); n.values != nil && len(keys) == 1 && keys[0] == n.at {
		for v := range n.values {
			values = append(values, v)
		}
	}
	return n.holds, values, nil
}

type parser struct {
	set    *edm.Set
	lang   edm.Language
	tokens []token
	at     int
}

// deepest is how deeply conditions may be nested.
const deepest = 100

func (p *parser) word(text string) bool {
	if p.at < len(p.tokens) && p.tokens[p.at].kind == word && p.tokens[p.at].text == text {
		p.at++
		return true
	}
	return false
}

func (p *parser) mark(text string) bool {
	if p.at < len(p.tokens) && p.tokens[p.at].kind == mark && p.tokens[p.at].text == text {
		p.at++
		return true
	}
	return false
}

func (p *parser) or(depth int) (node, error) {
	left, err := p.and(depth)
	for err == nil && p.word("or") {
		var right node
		a := left
		if right, err = p.and(depth); err != nil {
			break
		}
		if a.values != nil && right.values != nil && a.at == right.at {
			for v := range right.values {
				a.values[v] = true
			}
			continue // its condition looks into the values
		}
		left = node{holds: func(r store.Row) bool { return a.holds(r) || right.holds(r) }}
	}
	return left, err
}

func (p *parser) and(depth int) (node, error) {
	left, err := p.not(depth)
	for err == nil && p.word("and") {
		var right node
		a := left
		if right, err = p.not(depth); err == nil {
			left = node{holds: func(r store.Row) bool { return a.holds(r) && right.holds(r) }}
		}
	}
	return left, err
}

func (p *parser) not(depth int) (node, error) {
	if depth > deepest {
		return node{}, syntax("The filter is nested too deeply")
	}
	if p.word("not") {
		n, err := p.not(depth + 1)
		return node{holds: func(r store.Row) bool { return !n.holds(r) }}, err
	}
	if p.mark("(") {
		n, err := p.or(depth + 1)
		if err == nil && !p.mark(")") {
			err = syntax("A bracket is not closed in the filter")
		}
		return n, err
	}
	return p.compare()
}

// operand is a property with functions around it, or a literal.
type operand struct {
	prop     *edm.Property
	at       int
	fold     func(string) string
	literal  edm.Constant
	constant bool
}

func (p *parser) compare() (node, error) {
	if p.at < len(p.tokens) && slices.Contains([]string{"substringof", "startswith", "endswith"}, p.tokens[p.at].text) {
		c, err := p.match()
		return node{holds: c}, err
	}
	left, err := p.operand()
	if err != nil {
		return node{}, err
	}
	if p.at >= len(p.tokens) {
		return node{}, syntax("The filter ends in the middle of a comparison")
	}
	op := p.tokens[p.at].text
	p.at++
	if !slices.Contains([]string{"eq", "ne", "gt", "ge", "lt", "le"}, op) {
		return node{}, syntax("%q is no comparison", op)
	}
	right, err := p.operand()
	if err != nil {
		return node{}, err
	}
	if left.constant && !right.constant {
		left, right = right, left
		op = map[string]string{"eq": "eq", "ne": "ne", "gt": "lt", "ge": "le", "lt": "gt", "le": "ge"}[op]
	}
	if left.constant || !right.constant {
		return node{}, syntax("A filter compares a property with a literal")
	}
	want, err := left.prop.FromLiteral(right.literal, p.lang)
	if err != nil {
		return node{}, err
	}
	if text, ok := want.(string); ok && op == "eq" && text != "" && left.fold == nil && left.prop.Type == edm.String {
		n := node{at: left.at, values: map[string]bool{text: true}}
		n.holds = func(r store.Row) bool { s, _ := r[n.at].(string); return n.values[s] }
		return n, nil
	}
	return node{holds: comparison(left, op, want)}, nil
}

func comparison(o operand, op string, want any) Condition {
	holds := map[string]func(int) bool{
		"eq": func(c int) bool { return c == 0 }, "ne": func(c int) bool { return c != 0 }, "gt": func(c int) bool { return c > 0 },
		"ge": func(c int) bool { return c >= 0 }, "lt": func(c int) bool { return c < 0 }, "le": func(c int) bool { return c <= 0 },
	}[op]
	return func(r store.Row) bool {
		v := r[o.at]
		if s, ok := v.(string); ok && o.fold != nil {
			v = o.fold(s)
		}
		if v == nil && want == "" || v == "" && want == nil { // ABAP knows no null: it is the initial value
			return op == "eq" || op == "ge" || op == "le"
		}
		return holds(o.prop.Compare(v, want))
	}
}

// match is substringof('a',P), startswith(P,'a') or endswith(P,'a'), with or without "eq true".
func (p *parser) match() (Condition, error) {
	name := p.tokens[p.at].text
	p.at++
	if !p.mark("(") {
		return nil, syntax("%s needs its arguments", name)
	}
	first, err := p.operand()
	if err != nil {
		return nil, err
	}
	if !p.mark(",") {
		return nil, syntax("%s needs two arguments", name)
	}
	second, err := p.operand()
	if err != nil {
		return nil, err
	}
	if !p.mark(")") {
		return nil, syntax("A bracket is not closed in the filter")
	}
	property, part := first, second
	test := strings.HasPrefix
	switch name {
	case "substringof":
		property, part, test = second, first, strings.Contains
	case "endswith":
		test = strings.HasSuffix
	}
	if property.constant || !part.constant || part.literal.Kind != "" || property.prop.Type != edm.String {
		return nil, syntax("%s compares a text property with a text", name)
	}
	want := part.literal.Text
	if property.prop.Upper {
		want = strings.ToUpper(want)
	}
	negate := false
	if p.word("eq") {
		negate = p.word("false")
		if !negate && !p.word("true") {
			return nil, syntax("%s is true or false", name)
		}
	}
	return func(r store.Row) bool {
		s, _ := r[property.at].(string)
		if property.fold != nil {
			s = property.fold(s)
		}
		return test(s, want) != negate
	}, nil
}

func (p *parser) operand() (operand, error) {
	if p.at >= len(p.tokens) {
		return operand{}, syntax("The filter ends too early")
	}
	t := p.tokens[p.at]
	p.at++
	if t.kind == literal {
		return operand{constant: true, literal: t.value}, nil
	}
	if t.kind != word {
		return operand{}, syntax("Invalid token %q in the filter", t.text)
	}
	switch t.text {
	case "true", "false":
		return operand{constant: true, literal: edm.Constant{Kind: "bool", Text: t.text}}, nil
	case "null":
		return operand{constant: true, literal: edm.Constant{Kind: "null"}}, nil
	case "tolower", "toupper":
		return p.folded(t.text)
	}
	at := p.set.At(t.text)
	if at < 0 {
		return operand{}, syntax("Property %s not found in type %s", t.text, p.set.TypeName())
	}
	return operand{prop: &p.set.Props[at], at: at}, nil
}

func (p *parser) folded(name string) (operand, error) {
	if !p.mark("(") {
		return operand{}, syntax("%s needs an argument", name)
	}
	in, err := p.operand()
	if err != nil {
		return in, err
	}
	if !p.mark(")") || in.constant || in.prop.Type != edm.String || in.fold != nil {
		return in, syntax("%s takes one text property", name)
	}
	in.fold = strings.ToUpper
	if name == "tolower" {
		in.fold = strings.ToLower
	}
	return in, nil
}
