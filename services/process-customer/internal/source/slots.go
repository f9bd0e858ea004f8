package source

import (
	"slices"

	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
)

// slot is where a message keeps a canonical field.
type slot[M any] struct {
	field string
	// path is the field's name in an update mask.
	path string
	at   func(*M) *string
}

// fieldsAt returns the golden fields that paths name; nil without any path, and not nil when they name none of them.
func fieldsAt[M any](slots []slot[M], paths []string) []string {
	if len(paths) == 0 {
		return nil
	}
	fields := []string{}
	for _, s := range slots {
		if slices.Contains(paths, s.path) {
			fields = append(fields, s.field)
		}
	}
	return fields
}

// valuesOf reads every slot of a message, canonically.
func valuesOf[M any](obj golden.Object, slots []slot[M], m *M) golden.Values {
	v := make(golden.Values, len(slots))
	for _, s := range slots {
		v[s.field] = golden.Canonical(obj, s.field, *s.at(m))
	}
	return v
}

// fill writes the values that have a slot into a message and returns their paths, each once.
func fill[M any](slots []slot[M], m *M, values golden.Values) (paths []string) {
	for _, s := range slots {
		value, ok := values[s.field]
		if !ok {
			continue
		}
		*s.at(m) = value
		if !slices.Contains(paths, s.path) {
			paths = append(paths, s.path)
		}
	}
	return paths
}

// fieldsOf returns the fields of obj that have a slot, and those named, in the order of golden.Fields.
func fieldsOf[M any](obj golden.Object, slots []slot[M], more ...string) []string {
	for _, s := range slots {
		more = append(more, s.field)
	}
	return slices.DeleteFunc(golden.Fields(obj), func(f string) bool { return !slices.Contains(more, f) })
}
