package schema

// longText is the length above which a text area can be neither filtered nor
// grouped.
const longText = 255

// Filterable reports whether WHERE may test the field.
func (f *Field) Filterable() bool {
	return f.Type != Address && (f.Type != TextArea || f.Length <= longText)
}

// Sortable reports whether ORDER BY may name the field.
func (f *Field) Sortable() bool {
	return f.Filterable() && f.Type != TextArea && f.Type != MultiPicklist
}

// Groupable reports whether GROUP BY may name the field.
func (f *Field) Groupable() bool {
	switch f.Type {
	case Double, Currency, Percent, DateTime:
		return false
	}
	return f.Sortable() && (f.CalcField == "" || !f.Custom())
}

// Aggregates reports whether an aggregate function accepts the field.
func (f *Field) Aggregates(function string) bool {
	switch {
	case f.Type == Boolean || f.Type == MultiPicklist || !f.Filterable():
		return false
	case function == "SUM" || function == "AVG":
		return f.Type.Number()
	}
	return true
}
