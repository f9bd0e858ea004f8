package query

import (
	"cmp"
	"slices"
	"strings"
)

// check compares a value with literals. Texts are folded to lower case unless
// the field is case-sensitive.
type check struct {
	op      string
	fold    bool
	values  []any
	set     map[any]struct{} // the same as values, if they are many
	pattern []rune
	periods []period
	// members are the alternatives of INCLUDES and EXCLUDES: the value has to
	// hold all of one.
	members [][]string
}

// period is what a date literal stands for, in milliseconds; to is outside.
type period struct{ from, to int64 }

// last is the literal that was added last; false stands for a period.
func (k *check) last() any {
	if len(k.values) == 0 {
		return false
	}
	return k.values[len(k.values)-1]
}

func (k *check) holds(have any) bool {
	if s, ok := have.(string); ok && k.fold {
		have = strings.ToLower(s)
	}
	switch k.op {
	case "=", "IN":
		return k.contains(have)
	case "!=", "NOT IN":
		return !k.contains(have)
	case "INCLUDES":
		return k.includes(have)
	case "EXCLUDES":
		return !k.includes(have)
	case "LIKE":
		s, ok := have.(string)
		return ok && like([]rune(s), k.pattern)
	}
	if have == nil {
		return false
	}
	if len(k.periods) > 0 {
		ms, ok := have.(int64)
		return ok && k.beside(ms)
	}
	return ordered(k.op, Order(have, k.values[0]))
}

func ordered(op string, d int) bool {
	switch op {
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

// manyValues is from how many on a list is worth a hash table.
const manyValues = 16

func (k *check) index() {
	if len(k.values) < manyValues {
		return
	}
	k.set = make(map[any]struct{}, len(k.values))
	for _, v := range k.values {
		k.set[v] = struct{}{}
	}
}

func (k *check) contains(have any) bool {
	if ms, ok := have.(int64); ok {
		for _, p := range k.periods {
			if ms >= p.from && ms < p.to {
				return true
			}
		}
	}
	if k.set != nil {
		_, ok := k.set[have]
		return ok
	}
	return slices.Contains(k.values, have)
}

func (k *check) beside(ms int64) bool {
	p := k.periods[0]
	switch k.op {
	case "<":
		return ms < p.from
	case "<=":
		return ms < p.to
	case ">":
		return ms >= p.to
	default:
		return ms >= p.from
	}
}

// combine makes the alternatives of INCLUDES from the texts: 'A;B' asks for
// both at once.
func (k *check) combine() {
	for _, v := range k.values {
		s, _ := v.(string)
		if v == nil {
			k.members = append(k.members, nil)
			continue
		}
		k.members = append(k.members, strings.Split(s, ";"))
	}
	k.values = nil
}

func (k *check) includes(have any) bool {
	s, _ := have.(string)
	values := strings.Split(s, ";")
	for _, want := range k.members {
		if want == nil {
			if have == nil {
				return true
			}
			continue
		}
		if have != nil && !slices.ContainsFunc(want, func(w string) bool { return !slices.Contains(values, w) }) {
			return true
		}
	}
	return false
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
