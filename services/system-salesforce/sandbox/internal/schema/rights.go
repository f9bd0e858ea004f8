package schema

// Right is what a user may do with a field.
type Right uint8

// The rights; each contains the ones before it.
const (
	// NoRight: for the user there is no such field.
	NoRight Right = iota
	CanRead
	CanEdit
)

// Rights tells what one user may do with each field. Nil means everything.
type Rights func(f *Field) Right

// Sees reports whether the user knows of a field.
func (r Rights) Sees(f *Field) bool { return r == nil || r(f) >= CanRead }

// Edits reports whether the user may write a field.
func (r Rights) Edits(f *Field) bool { return r == nil || r(f) >= CanEdit }
