package soql

import (
	"fmt"
	"strings"
)

// Aggregate reports whether a function makes one value of many records.
func Aggregate(function string) bool {
	switch function {
	case "COUNT", "COUNT_DISTINCT", "SUM", "AVG", "MIN", "MAX":
		return true
	}
	return false
}

// DateFunction reports whether a function makes a part of a date or time.
func DateFunction(function string) bool {
	switch function {
	case "CALENDAR_MONTH", "CALENDAR_QUARTER", "CALENDAR_YEAR", "FISCAL_MONTH", "FISCAL_QUARTER", "FISCAL_YEAR",
		"DAY_IN_MONTH", "DAY_IN_WEEK", "DAY_IN_YEAR", "DAY_ONLY", "HOUR_IN_DAY", "WEEK_IN_MONTH", "WEEK_IN_YEAR":
		return true
	}
	return false
}

// The functions that change how a value is shown, or say what a group is.
const (
	ToLabel         = "TOLABEL"
	Format          = "FORMAT"
	ConvertCurrency = "CONVERTCURRENCY"
	ConvertTimezone = "CONVERTTIMEZONE"
	Grouping        = "GROUPING"
)

func known(function string) bool {
	switch function {
	case ToLabel, Format, ConvertCurrency, Grouping:
		return true
	}
	return Aggregate(function) || DateFunction(function)
}

// nests reports whether one function takes another as its argument.
func nests(outer, inner string) bool {
	switch {
	case inner == ConvertTimezone:
		return DateFunction(outer)
	case outer == Format:
		return inner == ConvertCurrency || Aggregate(inner)
	}
	return false
}

// term reads a field or a function of one.
func (p *parser) term() (Term, error) {
	path, err := p.path()
	if err != nil {
		return Term{}, err
	}
	if !p.accept("(") {
		return Term{Path: path, Pos: path.Pos}, nil
	}
	written := strings.Join(path.Names, ".")
	t := Term{Func: strings.ToUpper(written), Pos: path.Pos}
	switch {
	case t.Func == "COUNT" && p.accept(")"):
		return t, nil
	case t.Func == "FIELDS":
		return p.fields(t)
	case t.Func == ConvertTimezone:
		return Term{}, &SyntaxError{path.Pos, "convertTimezone() is allowed only inside a date function"}
	case !known(t.Func):
		return Term{}, &SyntaxError{path.Pos, fmt.Sprintf("the function '%s' is not supported", written)}
	}
	if t.Path, err = p.path(); err != nil {
		return Term{}, err
	}
	if p.accept("(") {
		inner := strings.Join(t.Path.Names, ".")
		if t.Inner = strings.ToUpper(inner); !nests(t.Func, t.Inner) {
			return Term{}, &SyntaxError{t.Path.Pos, fmt.Sprintf("the function '%s' is not allowed inside '%s'", inner, written)}
		}
		if t.Path, err = p.path(); err != nil {
			return Term{}, err
		}
		if err := p.expect(")"); err != nil {
			return Term{}, err
		}
	}
	return t, p.expect(")")
}

// fields reads the argument of FIELDS().
func (p *parser) fields(t Term) (Term, error) {
	arg := p.next()
	if !arg.is("ALL") && !arg.is("STANDARD") && !arg.is("CUSTOM") {
		return Term{}, unexpected(arg)
	}
	t.Path = Path{Names: []string{strings.ToUpper(arg.text)}, Pos: arg.pos}
	return t, p.expect(")")
}
