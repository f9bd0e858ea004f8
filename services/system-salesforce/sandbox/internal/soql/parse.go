package soql

import (
	"fmt"
	"strconv"
	"strings"
)

// maxText is the documented length limit of a statement in characters.
const maxText = 100_000

// maxDepth bounds nested parentheses, so that hostile text cannot exhaust the
// stack.
const maxDepth = 200

// Parse reads a statement. The error is always a *SyntaxError.
func Parse(text string) (*Query, error) {
	if len(text) > maxText {
		return nil, &SyntaxError{0, "SOQL statements cannot be longer than 100000 characters."}
	}
	tokens, err := lex(text)
	if err != nil {
		return nil, err
	}
	p := &parser{tokens: tokens}
	q, err := p.query()
	if err != nil {
		return nil, err
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

func (p *parser) query() (*Query, error) {
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
	name := p.next()
	if name.kind != word {
		return nil, unexpected(name)
	}
	q.From, q.FromPos = name.text, name.pos
	if t := p.peek(); t.kind == word && !clause(t) {
		q.Alias = p.next().text
	}
	if p.accept("WHERE") {
		where, err := p.or()
		if err != nil {
			return nil, err
		}
		q.Where = where
	}
	if err := p.tail(q); err != nil {
		return nil, err
	}
	if t := p.peek(); t.kind != end {
		return nil, unexpected(t)
	}
	return q, nil
}

func clause(t token) bool {
	for _, k := range []string{"WHERE", "ORDER", "LIMIT", "OFFSET", "GROUP", "HAVING", "WITH", "USING", "FOR", "ALL"} {
		if t.is(k) {
			return true
		}
	}
	return false
}

func (p *parser) selection(q *Query) error {
	for {
		t := p.peek()
		if t.kind != word || t.is("FROM") {
			return unexpected(t)
		}
		path, err := p.path()
		if err != nil {
			return err
		}
		if p.accept("(") {
			err = p.function(q, path)
		} else {
			q.Fields = append(q.Fields, path)
		}
		if err != nil {
			return err
		}
		if !p.accept(",") {
			return nil
		}
		if q.Count {
			return unexpected(p.peek())
		}
	}
}

func (p *parser) function(q *Query, name Path) error {
	switch strings.ToUpper(strings.Join(name.Names, ".")) {
	case "COUNT":
		if len(q.Fields) > 0 || q.All != "" || !p.accept(")") {
			return unexpected(p.peek())
		}
		q.Count = true
		return nil
	case "FIELDS":
		arg := p.next()
		if q.All != "" || !arg.is("ALL") && !arg.is("STANDARD") && !arg.is("CUSTOM") {
			return unexpected(arg)
		}
		q.All = strings.ToUpper(arg.text)
		return p.expect(")")
	default:
		return &SyntaxError{name.Pos, fmt.Sprintf("the function '%s' is not supported", strings.Join(name.Names, "."))}
	}
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
	if p.accept("ORDER") {
		if err := p.expect("BY"); err != nil {
			return err
		}
		if err := p.orders(q); err != nil {
			return err
		}
	}
	if p.accept("LIMIT") {
		n, err := p.count()
		if err != nil {
			return err
		}
		q.Limit = n
	}
	if p.accept("OFFSET") {
		n, err := p.count()
		if err != nil {
			return err
		}
		q.Offset = n
	}
	if p.accept("FOR") {
		if !p.accept("VIEW") && !p.accept("REFERENCE") && !p.accept("UPDATE") {
			return unexpected(p.peek())
		}
	}
	return nil
}

func (p *parser) orders(q *Query) error {
	for {
		path, err := p.path()
		if err != nil {
			return err
		}
		o := Order{Path: path}
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
