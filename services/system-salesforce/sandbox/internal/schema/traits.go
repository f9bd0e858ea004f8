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

// Polymorphic reports whether the field refers to records of several types. The
// owners of what goes through queues do: they are users or queues, though the
// sandbox has no queues.
func (f *Field) Polymorphic() bool {
	if len(f.ReferenceTo) > 1 || !f.Owner {
		return len(f.ReferenceTo) > 1
	}
	switch f.Object.Name {
	case "Case", "Lead", "Task", "Event":
		return true
	}
	return f.Object.Custom()
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
