package soql

import (
	"fmt"
	"strings"
)

// typeof reads TYPEOF What WHEN Account THEN Phone, Name ELSE Name END.
func (p *parser) typeof() (Item, error) {
	t := p.next()
	path, err := p.path()
	if err != nil {
		return Item{}, err
	}
	out := &Typeof{Path: path}
	for p.accept("WHEN") {
		object := p.next()
		if object.kind != word {
			return Item{}, unexpected(object)
		}
		if err := p.expect("THEN"); err != nil {
			return Item{}, err
		}
		fields, err := p.paths()
		if err != nil {
			return Item{}, err
		}
		out.Whens = append(out.Whens, When{Object: object.text, Pos: object.pos, Fields: fields})
	}
	if len(out.Whens) == 0 {
		return Item{}, p.expect("WHEN")
	}
	if p.accept("ELSE") {
		if out.Else, err = p.paths(); err != nil {
			return Item{}, err
		}
	}
	return Item{Term: Term{Pos: t.pos}, Typeof: out}, p.expect("END")
}

// paths reads a list of fields.
func (p *parser) paths() ([]Path, error) {
	var out []Path
	for {
		path, err := p.path()
		if err != nil {
			return nil, err
		}
		if p.peek().text == "(" && p.peek().kind == punct {
			return nil, unexpected(p.peek())
		}
		out = append(out, path)
		if !p.accept(",") {
			return out, nil
		}
	}
}

// scope reads USING SCOPE mine.
func (p *parser) scope(q *Query) error {
	if !p.accept("USING") {
		return nil
	}
	if err := p.expect("SCOPE"); err != nil {
		return err
	}
	t := p.next()
	if t.kind != word || clause(t) {
		return unexpected(t)
	}
	q.Scope, q.ScopePos = strings.ToLower(t.text), t.pos
	return nil
}

// with refuses the clause WITH: its modes of access are those of Apex, its
// filters those of articles.
func (p *parser) with() error {
	t := p.peek()
	if !t.is("WITH") {
		return nil
	}
	p.next()
	switch what := p.peek(); {
	case what.is("SECURITY_ENFORCED"), what.is("USER_MODE"), what.is("SYSTEM_MODE"):
		return &SyntaxError{t.pos, "WITH " + strings.ToUpper(what.text) + " is allowed only in Apex"}
	case what.is("DATA"):
		return &SyntaxError{t.pos, "WITH DATA CATEGORY is allowed only for articles and questions"}
	default:
		return unexpected(what)
	}
}

// grouping reads GROUP BY and HAVING.
func (p *parser) grouping(q *Query) error {
	if p.accept("GROUP") {
		if err := p.groups(q); err != nil {
			return err
		}
	}
	if p.accept("HAVING") {
		having, err := p.or()
		if err != nil {
			return err
		}
		q.Having = having
	}
	return nil
}

func (p *parser) groups(q *Query) error {
	if err := p.expect("BY"); err != nil {
		return err
	}
	if t, open := p.peek(), p.tokens[min(p.i+1, len(p.tokens)-1)]; (t.is("ROLLUP") || t.is("CUBE")) && open.kind == punct && open.text == "(" {
		q.Totals = strings.ToUpper(p.next().text)
		p.next()
	}
	for {
		term, err := p.term()
		if err != nil {
			return err
		}
		if term.Func != "" && !DateFunction(term.Func) {
			return &SyntaxError{term.Pos, fmt.Sprintf("'%s' is not supported in GROUP BY", strings.ToLower(term.Func))}
		}
		q.GroupBy = append(q.GroupBy, term)
		if !p.accept(",") {
			break
		}
	}
	if q.Totals != "" {
		return p.expect(")")
	}
	return nil
}
