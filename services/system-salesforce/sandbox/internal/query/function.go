package query

import (
	"strings"
	"time"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/schema"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/soql"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/store"
)

// operand is a field, or a part of its date. Result is a field with the type of
// its values.
type operand struct {
	reference
	fn     string
	result *schema.Field
}

func (x operand) of(v store.View, r *store.Record) any {
	value := x.reference.of(v, r)
	if x.fn == "" {
		return value
	}
	ms, ok := value.(int64)
	if !ok {
		return nil
	}
	return part(x.fn, time.UnixMilli(ms).UTC())
}

func (x operand) same(y operand) bool { return x.fn == y.fn && x.reference.same(y.reference) }

// part is what a date function makes of a time. Weeks are those of the month
// and of the year: the first begins with the first day. The fiscal year is that
// of the calendar.
func part(fn string, t time.Time) any {
	n := 0
	switch fn {
	case "CALENDAR_YEAR", "FISCAL_YEAR":
		n = t.Year()
	case "CALENDAR_QUARTER", "FISCAL_QUARTER":
		n = (int(t.Month())-1)/3 + 1
	case "CALENDAR_MONTH", "FISCAL_MONTH":
		n = int(t.Month())
	case "WEEK_IN_MONTH":
		n = (t.Day()-1)/7 + 1
	case "WEEK_IN_YEAR":
		n = (t.YearDay()-1)/7 + 1
	case "DAY_IN_WEEK":
		n = int(t.Weekday()) + 1 // Sunday is 1
	case "DAY_IN_MONTH":
		n = t.Day()
	case "DAY_IN_YEAR":
		n = t.YearDay()
	case "HOUR_IN_DAY":
		n = t.Hour()
	case "DAY_ONLY":
		return t.Truncate(24 * time.Hour).UnixMilli()
	}
	return float64(n)
}

// operand checks a field or a date function of one.
func (c *compiler) operand(t soql.Term) (operand, *store.Error) {
	ref, err := c.resolve(t.Path)
	if err != nil {
		return operand{}, err
	}
	if t.Func == "" {
		return operand{reference: ref, result: ref.field}, nil
	}
	timed := ref.field.Type == schema.DateTime
	needsTime := t.Inner == soql.ConvertTimezone || t.Func == "HOUR_IN_DAY" || t.Func == "DAY_ONLY"
	if !timed && (needsTime || ref.field.Type != schema.Date) {
		return operand{}, c.at(t.Pos, "MALFORMED_QUERY", "field %s does not support the date function %s", ref.field.Name, t.Func)
	}
	out := operand{ref, t.Func, &schema.Field{Name: t.Func, Type: schema.Int}}
	if t.Func == "DAY_ONLY" {
		out.result.Type = schema.Date
	}
	return out, nil
}

// derived compares a part of a date; no index knows it.
type derived struct {
	operand
	check
}

func (d *derived) match(x *run, r *store.Record) bool { return d.holds(d.of(x.v, r)) }

// label checks the argument of toLabel(). What a picklist value means in the
// language of the user is the value itself.
func (c *compiler) label(t soql.Term) (reference, *store.Error) {
	ref, err := c.resolve(t.Path)
	if err == nil && ref.field.Type != schema.Picklist && ref.field.Type != schema.MultiPicklist {
		err = c.at(t.Pos, "MALFORMED_QUERY", "toLabel() is not supported for the field %s, which is not a picklist", ref.field.Name)
	}
	return ref, err
}

// shown is a selected function of one field.
type shown struct {
	name string
	text string // as written, for a description of the answer
	ref  reference
	// localized is set for FORMAT().
	localized bool
}

// function adds a function to the selection: under its alias, or in the place
// and under the name of the field.
func (c *compiler) function(out *output, i soql.Item) *store.Error {
	s := &shown{text: i.Func + "(" + strings.Join(i.Path.Names, ".") + ")"}
	var err *store.Error
	switch {
	case i.Func == soql.ConvertCurrency || i.Inner == soql.ConvertCurrency:
		return c.singleCurrency(i.Term)
	case i.Func == soql.ToLabel:
		s.ref, err = c.label(i.Term)
	case i.Func == soql.Format:
		s.localized = true
		s.ref, err = c.formatted(i.Term)
	case soql.DateFunction(i.Func):
		return c.at(i.Pos, "MALFORMED_QUERY", "the date function %s can be selected only if it is grouped", i.Func)
	default:
		return c.at(i.Pos, "MALFORMED_QUERY", "the function %s is not allowed here", i.Func)
	}
	if err != nil {
		return err
	}
	field := s.ref.field
	if s.name = i.Alias; s.name == "" {
		s.name = field.Name
		out = out.under(s.ref.parents)
		s.ref.parents = nil
	}
	if out.holds(s.name) {
		return c.at(i.Pos, "INVALID_FIELD", "duplicate field selected: %s", s.name)
	}
	out.items = append(out.items, item{field: field, show: s})
	return nil
}

func (c *compiler) singleCurrency(t soql.Term) *store.Error {
	return c.at(t.Pos, "MALFORMED_QUERY", "convertCurrency() is not supported: the organization has one currency")
}

func (c *compiler) formatted(t soql.Term) (reference, *store.Error) {
	ref, err := c.resolve(t.Path)
	if err == nil && !localizable(ref.field) {
		err = c.at(t.Pos, "MALFORMED_QUERY", "FORMAT() is not supported for the field %s", ref.field.Name)
	}
	return ref, err
}
