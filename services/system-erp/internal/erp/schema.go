package erp

import (
	"slices"
	"strings"
	"time"

	"github.com/selfsame-io/selfsame/pkg/fault"
)

// Reasons of refusals, stable words for callers.
const (
	ReasonMask          = "UPDATE_MASK_INVALID"
	ReasonRequired      = "FIELD_REQUIRED"
	ReasonDuplicate     = "DUPLICATE_ENTRY"
	ReasonTooMany       = "TOO_MANY_ENTRIES"
	ReasonUnknownRecord = "UNKNOWN_RECORD"
	ReasonDeleted       = "RECORD_DELETED"
)

// field is one field of R that a mask can name.
type field[R any] struct {
	name string
	set  func(r *R) bool
	copy func(dst, src *R)
	// add is what a write without a mask does; nil means copy.
	add  func(dst, src *R)
	same func(a, b *R) bool
}

// value makes a field of a comparable value.
func value[R any, V comparable](name string, at func(*R) *V) field[R] {
	return field[R]{
		name: name,
		set:  func(r *R) bool { var zero V; return *at(r) != zero },
		copy: func(dst, src *R) { *at(dst) = *at(src) },
		same: func(a, b *R) bool { return *at(a) == *at(b) },
	}
}

// list makes a field of a list that is replaced as a whole.
func list[R any, V comparable](name string, at func(*R) *[]V) field[R] {
	return field[R]{
		name: name,
		set:  func(r *R) bool { return len(*at(r)) > 0 },
		copy: func(dst, src *R) { *at(dst) = slices.Clone(*at(src)) },
		same: func(a, b *R) bool { return slices.Equal(*at(a), *at(b)) },
	}
}

// Schema knows the fields of R. It is immutable and safe for concurrent use; make it with Customers or Contacts.
type Schema[R any] struct {
	name   string
	fields []field[R]
	head   func(*R) *Head
	tidy   func(*R)
	check  func(*R) error
	bury   func(*R)
	// heir is where a tombstone names the record in its place; nil for kinds that are never merged.
	heir func(*R) *string
}

// Name is the name of the message field that carries R, the first part of every field path: "customer".
func (s *Schema[R]) Name() string { return s.name }

// Head returns the common part of r.
func (s *Schema[R]) Head(r *R) *Head { return s.head(r) }

// Mask names the fields a write changes. The zero value changes every field that is set.
type Mask struct {
	given bool
	all   bool
	names []string
}

func (m Mask) has(name string) bool { return m.all || slices.Contains(m.names, name) }

// Mask checks the paths of an update mask. "*" names every field. An unknown path, a path into a field and a field that
// the ERP assigns are refused with UPDATE_MASK_INVALID. An empty list gives the zero Mask.
func (s *Schema[R]) Mask(paths []string) (Mask, error) {
	if len(paths) == 0 {
		return Mask{}, nil
	}
	m := Mask{given: true}
	for _, p := range paths {
		switch {
		case p == "*":
			m.all = true
		case p == "refs", slices.ContainsFunc(s.fields, func(f field[R]) bool { return f.name == p }):
			m.names = append(m.names, p)
		default:
			return Mask{}, fault.InvalidField("update_mask", ReasonMask, "the mask names a field that cannot be written")
		}
	}
	return m, nil
}

// Differs tells which of the fields named (or "refs") a and b differ in; with a nil list, any field.
func (s *Schema[R]) Differs(a, b R, names []string) bool {
	s.tidy(&a)
	s.tidy(&b)
	if (names == nil || slices.Contains(names, "refs")) && !slices.Equal(s.head(&a).Refs, s.head(&b).Refs) {
		return true
	}
	for _, f := range s.fields {
		if (names == nil || slices.Contains(names, f.name)) && !f.same(&a, &b) {
			return true
		}
	}
	return false
}

// New returns the record that creating in makes, with key added to its references.
func (s *Schema[R]) New(in R, key Ref, id string, now time.Time) (R, error) {
	out := in
	h := s.head(&out)
	*h = Head{ID: id, Refs: withKey(s.head(&in).Refs, key), Version: 1, Created: now, Updated: now}
	if s.heir != nil {
		*s.heir(&out) = ""
	}
	s.tidy(&out)
	return out, s.checked(&out)
}

// Merge returns old changed as in and mask ask, with key added to its references, and whether anything differs. A record
// that does not differ keeps its version and time.
func (s *Schema[R]) Merge(old, in R, mask Mask, key Ref, now time.Time) (R, bool, error) {
	out := old
	s.tidy(&in)
	for _, f := range s.fields {
		switch {
		case mask.given && mask.has(f.name):
			f.copy(&out, &in)
		case !mask.given && f.set(&in) && f.add != nil:
			f.add(&out, &in)
		case !mask.given && f.set(&in):
			f.copy(&out, &in)
		}
	}
	h, prev := s.head(&out), s.head(&old)
	var refs []Ref
	if !mask.given || mask.has("refs") {
		refs = s.head(&in).Refs
	}
	h.Refs = addRefs(prev.Refs, withKey(refs, key))
	s.tidy(&out)
	if s.same(&out, &old) {
		return old, false, nil
	}
	h.Version++
	if now.After(h.Updated) {
		h.Updated = now
	}
	return out, true, s.checked(&out)
}

// Bury returns the tombstone of old.
func (s *Schema[R]) Bury(old R, now time.Time) R {
	s.bury(&old)
	h := s.head(&old)
	h.Deleted = true
	h.Version++
	if now.After(h.Updated) {
		h.Updated = now
	}
	return old
}

// Heir returns the id of the record that a merge put in r's place; empty when there is none.
func (s *Schema[R]) Heir(r *R) string {
	if s.heir == nil {
		return ""
	}
	return *s.heir(r)
}

// Replace returns the tombstone of old that names the record in its place; with no name, or for a kind that is never merged,
// it is the same as Bury.
func (s *Schema[R]) Replace(old R, by string, now time.Time) R {
	out := s.Bury(old, now)
	if s.heir != nil {
		*s.heir(&out) = by
	}
	return out
}

func (s *Schema[R]) same(a, b *R) bool {
	if !slices.Equal(s.head(a).Refs, s.head(b).Refs) {
		return false
	}
	for _, f := range s.fields {
		if !f.same(a, b) {
			return false
		}
	}
	return true
}

func (s *Schema[R]) checked(r *R) error {
	if len(s.head(r).Refs) > maxRefs {
		return fault.InvalidField(s.name+".refs", ReasonTooMany, "a record carries at most %d references", maxRefs)
	}
	return s.check(r)
}

func withKey(refs []Ref, key Ref) []Ref {
	if key.Zero() {
		return addRefs(nil, refs)
	}
	return addRefs(refs, []Ref{key})
}

func blank(s string) bool { return strings.TrimSpace(s) == "" }
