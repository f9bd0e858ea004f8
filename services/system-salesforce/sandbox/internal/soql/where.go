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
	p.depth++
	defer func() { p.depth-- }()
	if p.depth > maxDepth {
		return nil, &SyntaxError{p.peek().pos, "the condition is nested too deeply"}
	}
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
	path, err := p.path()
	if err != nil {
		return nil, err
	}
	c := Compare{Path: path}
	t := p.next()
	switch {
	case t.kind == punct:
		switch t.text {
		case "=", "!=", "<", "<=", ">", ">=":
			c.Op = t.text
		case "<>":
			c.Op = "!="
		default:
			return nil, unexpected(t)
		}
	case t.is("LIKE"), t.is("IN"):
		c.Op = strings.ToUpper(t.text)
	case t.is("NOT"):
		if err := p.expect("IN"); err != nil {
			return nil, err
		}
		c.Op = "NOT IN"
	default:
		return nil, unexpected(t)
	}
	if strings.HasSuffix(c.Op, "IN") {
		c.Values, err = p.values()
	} else {
		var v Value
		v, err = p.value()
		c.Values = []Value{v}
	}
	return c, err
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
