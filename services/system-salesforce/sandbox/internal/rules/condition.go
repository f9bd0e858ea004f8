package rules

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/schema"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/store"
)

// Condition compares one field. Op is "equals", "notEquals", "lessThan",
// "greaterThan", "lessOrEqual", "greaterOrEqual", "contains", "startsWith",
// "isNull", "notNull" or "isChanged"; the last three have no value. The value
// of "equals" and "notEquals" may be a list, of which one is enough to be
// equal. Texts are compared without regard to case.
type Condition struct {
	Field string `json:"field"`
	Op    string `json:"op"`
	Value any    `json:"value,omitempty"`
}

type condition struct {
	field  *schema.Field
	op     string
	values []any
}

func conditions(o *schema.Object, in []Condition) ([]condition, error) {
	out := make([]condition, 0, len(in))
	for _, c := range in {
		f, err := field(o, c.Field)
		if err != nil {
			return nil, err
		}
		k := condition{field: f, op: c.Op}
		switch c.Op {
		case "isNull", "notNull", "isChanged":
			if c.Value != nil {
				return nil, fmt.Errorf("the condition %s of %s has a value", c.Op, f.Name)
			}
		case "contains", "startsWith":
			text, ok := c.Value.(string)
			if !ok || text == "" {
				return nil, fmt.Errorf("the condition %s of %s needs a text", c.Op, f.Name)
			}
			k.values = []any{strings.ToLower(text)}
		case "equals", "notEquals", "lessThan", "greaterThan", "lessOrEqual", "greaterOrEqual":
			if k.values, err = values(f, c); err != nil {
				return nil, err
			}
		default:
			return nil, fmt.Errorf("the condition %q of %s is unknown", c.Op, f.Name)
		}
		out = append(out, k)
	}
	return out, nil
}

func values(f *schema.Field, c Condition) ([]any, error) {
	list, many := c.Value.([]any)
	if !many {
		list = []any{c.Value}
	}
	if many && c.Op != "equals" && c.Op != "notEquals" || len(list) == 0 {
		return nil, fmt.Errorf("the condition %s of %s needs one value", c.Op, f.Name)
	}
	out := make([]any, 0, len(list))
	for _, given := range list {
		if n, ok := given.(float64); ok { // as encoding/json reads numbers
			given = json.Number(fmt.Sprint(n))
		}
		v, err := store.Convert(f, given)
		if err != nil {
			return nil, fmt.Errorf("the value of %s: %w", f.Name, err)
		}
		if v == nil {
			return nil, fmt.Errorf("the condition %s of %s needs a value", c.Op, f.Name)
		}
		out = append(out, v)
	}
	return out, nil
}

// met reports whether a version meets all conditions.
func met(all []condition, old, next *store.Record) bool {
	for _, c := range all {
		if !c.met(old, next) {
			return false
		}
	}
	return true
}

func (c condition) met(old, next *store.Record) bool {
	v := next.Get(c.field)
	switch c.op {
	case "isNull":
		return v == nil
	case "notNull":
		return v != nil
	case "isChanged":
		return old != nil && old.Get(c.field) != v
	case "equals":
		return c.equals(v)
	case "notEquals":
		return !c.equals(v)
	}
	if v == nil {
		return false
	}
	switch c.op {
	case "contains", "startsWith":
		text, _ := v.(string)
		part, _ := c.values[0].(string)
		if c.op == "contains" {
			return strings.Contains(strings.ToLower(text), part)
		}
		return strings.HasPrefix(strings.ToLower(text), part)
	case "lessThan":
		return compare(v, c.values[0]) < 0
	case "greaterThan":
		return compare(v, c.values[0]) > 0
	case "lessOrEqual":
		return compare(v, c.values[0]) <= 0
	default:
		return compare(v, c.values[0]) >= 0
	}
}

func (c condition) equals(v any) bool {
	for _, want := range c.values {
		if v != nil && compare(v, want) == 0 {
			return true
		}
	}
	return false
}

// compare orders two values of one field.
func compare(a, b any) int {
	switch a := a.(type) {
	case string:
		b, _ := b.(string)
		return cmp.Compare(strings.ToLower(a), strings.ToLower(b))
	case float64:
		b, _ := b.(float64)
		return cmp.Compare(a, b)
	case int64:
		b, _ := b.(int64)
		return cmp.Compare(a, b)
	}
	if a == b {
		return 0
	}
	return 1
}
