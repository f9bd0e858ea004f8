package mapping

import (
	"slices"
	"strings"
)

// ExternalID returns the sObject field of the external id; empty when it is unmapped or read-only.
func (o *Object) ExternalID() string {
	if f, ok := o.field("external_id"); ok && !f.ReadOnly {
		return f.Column
	}
	return ""
}

// Column returns the sObject field of one of our fields; empty when unmapped.
func (o *Object) Column(name string) string {
	f, _ := o.field(name)
	return f.Column
}

// Parent returns the column by whose value records are grouped against lock errors; empty when there is none.
func (o *Object) Parent() string { return o.Column(o.parent) }

// Group returns the value by which a row to write is grouped against lock errors: that of the parent's column, or of another one
// that names the same parent.
func (o *Object) Group(row map[string]any) string {
	parent := o.Parent()
	if parent == "" {
		return ""
	}
	if v, ok := row[parent].(string); ok {
		return v
	}
	key := keyOf(parent)
	for column, value := range row {
		if v, ok := value.(string); ok && strings.EqualFold(keyOf(column), key) {
			return v
		}
	}
	return ""
}

// ParentIn returns that one of the columns which names the parent by which records are grouped, by id or by external id; empty when
// none does.
func (o *Object) ParentIn(columns []string) string {
	parent := o.Parent()
	if parent == "" {
		return ""
	}
	i := slices.IndexFunc(columns, func(c string) bool { return strings.EqualFold(keyOf(c), keyOf(parent)) })
	if i < 0 {
		return ""
	}
	return columns[i]
}

// ColumnsOf returns the columns of these fields of ours. It reports the first field that is not mapped, may not be written, is the
// external id, which every row has, or names the same reference as another one.
func (o *Object) ColumnsOf(names []string) ([]string, *Problem) {
	out := make([]string, 0, len(names))
	keys := map[string]bool{}
	for _, name := range names {
		f, problem := o.writable(name)
		if problem != nil {
			return nil, problem
		}
		key := strings.ToLower(keyOf(f.Column))
		if keys[key] {
			return nil, &Problem{Field: name, Reason: ReasonReferenceTwice, Message: "another field names the same reference; give one of them"}
		}
		keys[key] = true
		out = append(out, f.Column)
	}
	return out, nil
}

// ReferenceColumn returns the column that holds the id behind a reference field of ours, by id or by external id.
func (o *Object) ReferenceColumn(name string) (string, *Problem) {
	f, problem := o.writable(name)
	return keyOf(f.Column), problem
}

func (o *Object) writable(name string) (Field, *Problem) {
	f, ok := o.field(name)
	switch {
	case !ok || name == "external_id":
		return f, &Problem{Field: name, Reason: ReasonFieldUnknown, Message: "the mapping does not declare this field"}
	case f.ReadOnly:
		return f, &Problem{Field: name, Reason: ReasonFieldReadOnly, Message: "the mapping does not let this field be written"}
	}
	return f, nil
}

// In returns what a row to write holds for one of the columns: a reference by external id is cleared by the column of its id.
func In(row map[string]any, column string) (value any, ok bool) {
	if value, ok = row[column]; ok {
		return value, true
	}
	if key := keyOf(column); key != column {
		value, ok = row[key]
		return nil, ok && value == nil
	}
	return nil, false
}

// keyOf returns the column that holds the id of what a column refers to: itself, or AccountId for Account.Key__c.
func keyOf(column string) string {
	if relation, _, dotted := strings.Cut(column, "."); dotted {
		return foreignKey(relation)
	}
	return column
}

// foreignKey returns the field that holds the id of the record behind a relation: AccountId for Account, Site__c for Site__r.
func foreignKey(relation string) string {
	if custom, ok := strings.CutSuffix(relation, "__r"); ok {
		return custom + "__c"
	}
	return relation + "Id"
}

// Columns returns the sObject fields to read: the mapped ones and those every record needs.
func (o *Object) Columns() []string {
	out := []string{"Id", "CreatedDate", "SystemModstamp"}
	if o.Name == "account" || o.Name == "contact" {
		out = append(out, ChangedBy)
	}
	for _, f := range o.fields {
		out = append(out, f.Column)
	}
	return out
}

func (o *Object) field(name string) (Field, bool) {
	i, ok := o.index[name]
	if !ok {
		return Field{}, false
	}
	return o.fields[i], true
}

// Names translates sObject fields, as they occur in errors and change events, to ours. Fields that are not mapped are left
// out. A part of a compound field is written "BillingAddress.City" or "Name.FirstName" in events.
func (o *Object) Names(columns []string) []string {
	var out []string
	for _, c := range columns {
		for _, f := range o.fields {
			if sameColumn(f.Column, c) && !slices.Contains(out, f.Name) {
				out = append(out, f.Name)
			}
		}
	}
	return out
}

func sameColumn(column, reported string) bool {
	if strings.EqualFold(column, reported) {
		return true
	}
	if relation, _, dotted := strings.Cut(column, "."); dotted && strings.EqualFold(foreignKey(relation), reported) {
		return true
	}
	compound, part, ok := strings.Cut(reported, ".")
	if !ok {
		// A whole compound: BillingAddress stands for all its parts.
		prefix, address := strings.CutSuffix(reported, "Address")
		return address && prefix != "" && slices.ContainsFunc([]string{"Street", "City", "State", "PostalCode", "Country"},
			func(p string) bool { return strings.EqualFold(column, prefix+p) })
	}
	if prefix, address := strings.CutSuffix(compound, "Address"); address {
		return strings.EqualFold(column, prefix+part)
	}
	return compound == "Name" && strings.EqualFold(column, part)
}
