package soql

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxText is the documented length limit of a statement in characters.
const maxText = 100_000

// maxDepth bounds nested parentheses, so that hostile text cannot exhaust the
// stack.
const maxDepth = 200

// Parse reads a statement. The error is always a *SyntaxError.
func Parse(text string) (*Query, error) {
	if len(text) > maxText && utf8.RuneCountInString(text) > maxText {
		return nil, &SyntaxError{0, "SOQL statements cannot be longer than 100000 characters."}
	}
	tokens, err := lex(text)
	if err != nil {
		return nil, err
	}
	p := &parser{tokens: tokens}
	q, err := p.query(false)
	if err != nil {
		return nil, err
	}
	if t := p.peek(); t.kind != end {
		return nil, unexpected(t)
	}
	return q, nil
}

type parser struct {
	tokens []token
	i      int
	depth  int
}

func (p *parser) peek() token { return p.tokens[p.i] }

func (p *parser) next() token {
	t := p.tokens[p.i]
	if t.kind != end {
		p.i++
	}
	return t
}

func (p *parser) accept(keyword string) bool {
	t := p.peek()
	if t.is(keyword) || t.kind == punct && t.text == keyword {
		p.next()
		return true
	}
	return false
}

func (p *parser) expect(what string) error {
	if !p.accept(what) {
		t := p.peek()
		return &SyntaxError{t.pos, fmt.Sprintf("expecting '%s', found '%s'", what, t.shown())}
	}
	return nil
}

func unexpected(t token) error {
	if t.kind == end {
		return &SyntaxError{t.pos, "unexpected end of query"}
	}
	return &SyntaxError{t.pos, fmt.Sprintf("unexpected token: '%s'", t.shown())}
}

// deeper counts one level of nesting; the caller has to give it back.
func (p *parser) deeper() error {
	p.depth++
	if p.depth > maxDepth {
		return &SyntaxError{p.peek().pos, "the query is nested too deeply"}
	}
	return nil
}

func (p *parser) query(nested bool) (*Query, error) {
	if err := p.deeper(); err != nil {
		return nil, err
	}
	defer func() { p.depth-- }()
	q := &Query{Limit: -1, Offset: -1}
	if err := p.expect("SELECT"); err != nil {
		return nil, err
	}
	if err := p.selection(q); err != nil {
		return nil, err
	}
	if err := p.expect("FROM"); err != nil {
		return nil, err
	}
	if err := p.from(q, nested); err != nil {
		return nil, err
	}
	if err := p.scope(q); err != nil {
		return nil, err
	}
	if p.accept("WHERE") {
		where, err := p.or()
		if err != nil {
			return nil, err
		}
		q.Where = where
	}
	return q, p.tail(q)
}

func (p *parser) from(q *Query, nested bool) error {
	dot := p.peek()
	path, err := p.path()
	if err != nil {
		return err
	}
	last := len(path.Names) - 1
	if last > 0 && !nested {
		return unexpected(dot)
	}
	q.From, q.Outer, q.FromPos = path.Names[last], path.Names[:last], path.Pos
	if t := p.peek(); t.kind == word && !clause(t) {
		q.Alias = p.next().text
	}
	for p.accept(",") {
		t := p.peek()
		path, err := p.path()
		if err != nil {
			return err
		}
		name := p.next()
		if len(path.Names) < 2 || name.kind != word || clause(name) {
			return unexpected(t)
		}
		q.Joins = append(q.Joins, Join{path, name.text})
	}
	return nil
}

func clause(t token) bool {
	for _, k := range []string{"WHERE", "ORDER", "LIMIT", "OFFSET", "GROUP", "HAVING", "WITH", "USING", "FOR", "ALL", "UPDATE"} {
		if t.is(k) {
			return true
		}
	}
	return false
}

func (p *parser) selection(q *Query) error {
	for {
		item, err := p.item(q)
		if err != nil {
			return err
		}
		if q.Count && len(q.Items) > 0 {
			return &SyntaxError{item.Pos, "COUNT() must be the only element of the SELECT list"}
		}
		if !q.Count {
			q.Items = append(q.Items, item)
		}
		if !p.accept(",") {
			return nil
		}
		if q.Count {
			return unexpected(p.peek())
		}
	}
}

func (p *parser) item(q *Query) (Item, error) {
	t := p.peek()
	if t.kind == punct && t.text == "(" {
		p.next()
		sub, err := p.query(true)
		if err != nil {
			return Item{}, err
		}
		return Item{Term: Term{Pos: t.pos}, Sub: sub}, p.expect(")")
	}
	if t.kind != word || t.is("FROM") {
		return Item{}, unexpected(t)
	}
	if t.is("TYPEOF") && p.tokens[p.i+1].kind == word && !p.tokens[p.i+1].is("FROM") {
		return p.typeof()
	}
	term, err := p.term()
	if err != nil {
		return Item{}, err
	}
	item := Item{Term: term}
	switch {
	case term.Func == "FIELDS" && q.All != "":
		return Item{}, unexpected(t)
	case term.Func == "FIELDS":
		q.All = term.Path.Names[0]
	case term.Func == "COUNT" && len(term.Path.Names) == 0:
		q.Count = true
		return item, nil
	}
	if t := p.peek(); t.kind == word && !t.is("FROM") && term.Func != "FIELDS" {
		item.Alias = p.next().text
	}
	return item, nil
}

func (p *parser) path() (Path, error) {
	t := p.next()
	if t.kind != word {
		return Path{}, unexpected(t)
	}
	path := Path{Names: []string{t.text}, Pos: t.pos}
	for p.accept(".") {
		t = p.next()
		if t.kind != word {
			return Path{}, unexpected(t)
		}
		path.Names = append(path.Names, t.text)
	}
	return path, nil
}

func (p *parser) tail(q *Query) error {
	if err := p.with(); err != nil {
		return err
	}
	if err := p.grouping(q); err != nil {
		return err
	}
	if p.accept("ORDER") {
		if err := p.expect("BY"); err != nil {
			return err
		}
		if err := p.orders(q); err != nil {
			return err
		}
	}
	var err error
	if p.accept("LIMIT") {
		if q.Limit, err = p.count(); err != nil {
			return err
		}
	}
	if p.accept("OFFSET") {
		if q.Offset, err = p.count(); err != nil {
			return err
		}
	}
	if p.accept("FOR") {
		t := p.next()
		if !t.is("VIEW") && !t.is("REFERENCE") && !t.is("UPDATE") {
			return unexpected(t)
		}
		q.For = strings.ToUpper(t.text)
	}
	switch t := p.peek(); {
	case t.is("ALL") && p.tokens[p.i+1].is("ROWS"):
		return &SyntaxError{t.pos, "ALL ROWS not allowed in this context"}
	case t.is("UPDATE") && (p.tokens[p.i+1].is("TRACKING") || p.tokens[p.i+1].is("VIEWSTAT")):
		return &SyntaxError{t.pos, "UPDATE " + strings.ToUpper(p.tokens[p.i+1].text) + " is allowed only for articles"}
	}
	return nil
}

func (p *parser) orders(q *Query) error {
	for {
		term, err := p.term()
		if err != nil {
			return err
		}
		o := Order{Term: term}
		if p.accept("DESC") {
			o.Desc = true
		} else {
			p.accept("ASC")
		}
		if p.accept("NULLS") {
			o.NullsLast = p.accept("LAST")
			if !o.NullsLast && !p.accept("FIRST") {
				return unexpected(p.peek())
			}
		}
		q.OrderBy = append(q.OrderBy, o)
		if !p.accept(",") {
			return nil
		}
	}
}

func (p *parser) count() (int, error) {
	t := p.next()
	n, err := strconv.Atoi(t.text)
	if t.kind != number || err != nil || n < 0 {
		return 0, unexpected(t)
	}
	return n, nil
}
