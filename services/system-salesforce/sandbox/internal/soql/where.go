package soql

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// or reads a whole condition. Salesforce refuses AND and OR mixed on one level
// without parentheses, and so does this.
func (p *parser) or() (Expr, error) {
	if err := p.deeper(); err != nil {
		return nil, err
	}
	defer func() { p.depth-- }()
	first, err := p.not()
	if err != nil {
		return nil, err
	}
	terms := []Expr{first}
	joint := ""
	for {
		t := p.peek()
		if !t.is("AND") && !t.is("OR") {
			break
		}
		op := strings.ToUpper(p.next().text)
		if joint != "" && joint != op {
			return nil, unexpected(t)
		}
		joint = op
		term, err := p.not()
		if err != nil {
			return nil, err
		}
		terms = append(terms, term)
	}
	switch joint {
	case "AND":
		return And(terms), nil
	case "OR":
		return Or(terms), nil
	}
	return first, nil
}

func (p *parser) not() (Expr, error) {
	negate := p.accept("NOT")
	var e Expr
	var err error
	if p.accept("(") {
		if e, err = p.or(); err == nil {
			err = p.expect(")")
		}
	} else {
		e, err = p.compare()
	}
	if err != nil {
		return nil, err
	}
	if negate {
		return Not{e}, nil
	}
	return e, nil
}

func (p *parser) compare() (Expr, error) {
	term, err := p.term()
	if err != nil {
		return nil, err
	}
	c := Compare{Term: term}
	if c.Op, err = p.operator(); err != nil {
		return nil, err
	}
	switch c.Op {
	case "IN", "NOT IN":
		if t := p.tokens[min(p.i+1, len(p.tokens)-1)]; t.is("SELECT") {
			c.Sub, err = p.member()
			return c, err
		}
		c.Values, err = p.values()
	case "INCLUDES", "EXCLUDES":
		c.Values, err = p.values()
	default:
		var v Value
		v, err = p.value()
		c.Values = []Value{v}
	}
	return c, err
}

func (p *parser) operator() (string, error) {
	t := p.next()
	switch {
	case t.kind == punct:
		switch t.text {
		case "=", "!=", "<", "<=", ">", ">=":
			return t.text, nil
		case "<>":
			return "!=", nil
		}
	case t.is("LIKE"), t.is("IN"), t.is("INCLUDES"), t.is("EXCLUDES"):
		return strings.ToUpper(t.text), nil
	case t.is("NOT"):
		return "NOT IN", p.expect("IN")
	}
	return "", unexpected(t)
}

// member reads the subquery of a semi-join.
func (p *parser) member() (*Query, error) {
	if err := p.expect("("); err != nil {
		return nil, err
	}
	q, err := p.query(true)
	if err != nil {
		return nil, err
	}
	return q, p.expect(")")
}

func (p *parser) values() ([]Value, error) {
	if err := p.expect("("); err != nil {
		return nil, err
	}
	var out []Value
	for {
		v, err := p.value()
		if err != nil {
			return nil, err
		}
		out = append(out, v)
		if !p.accept(",") {
			return out, p.expect(")")
		}
	}
}

// maxLiteral is the documented length limit of one string in WHERE.
const maxLiteral = 4000

func (p *parser) value() (Value, error) {
	t := p.next()
	switch t.kind {
	case str:
		if len([]rune(t.text)) > maxLiteral {
			return Value{}, &SyntaxError{t.pos, "a string literal cannot be longer than 4000 characters"}
		}
		return Value{Kind: Text, Text: t.text, Pos: t.pos}, nil
	case number:
		return numeric(t)
	case word:
		return p.named(t)
	}
	return Value{}, unexpected(t)
}

// The forms are compiled per call only for literals that start with a digit,
// which are few; a package variable would be shared state.
const (
	dateForm     = `^\d{4}-\d{2}-\d{2}$`
	dateTimeForm = `^\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(\.\d+)?([Zz]|[+-]\d{2}:?\d{2})$`
)

func numeric(t token) (Value, error) {
	v := Value{Text: strings.ToUpper(t.text), Pos: t.pos}
	if strings.ContainsAny(v.Text[1:], "-:T") && !strings.Contains(v.Text, "E") {
		switch {
		case regexp.MustCompile(dateForm).MatchString(v.Text):
			v.Kind = Date
			return v, nil
		case regexp.MustCompile(dateTimeForm).MatchString(v.Text):
			v.Kind = DateTime
			return v, nil
		}
		return Value{}, unexpected(t)
	}
	if _, err := strconv.ParseFloat(v.Text, 64); err != nil {
		return Value{}, unexpected(t)
	}
	v.Kind = Number
	return v, nil
}

func (p *parser) named(t token) (Value, error) {
	v := Value{Text: strings.ToUpper(t.text), Pos: t.pos}
	switch v.Text {
	case "NULL":
		return v, nil
	case "TRUE", "FALSE":
		v.Kind = Bool
		return v, nil
	}
	counted, known := dateWord(v.Text)
	if !known {
		return Value{}, unexpected(t)
	}
	v.Kind = DateLiteral
	if counted {
		if err := p.expect(":"); err != nil {
			return Value{}, err
		}
		n, err := p.count()
		if err != nil {
			return Value{}, err
		}
		if n > 10_000 {
			return Value{}, &SyntaxError{t.pos, fmt.Sprintf("the number of %s is too large", v.Text)}
		}
		v.N = n
	}
	return v, nil
}
