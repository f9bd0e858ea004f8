package rest

import (
	"net/http"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/query"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/schema"
)

// column describes one element of an answer. A parent and the children of a
// subquery have their own columns in Join.
type column struct {
	Name        string   `json:"columnName"`
	Display     string   `json:"displayName"`
	Aggregate   bool     `json:"aggregate"`
	Custom      bool     `json:"custom"`
	BooleanType bool     `json:"booleanType"`
	NumberType  bool     `json:"numberType"`
	TextType    bool     `json:"textType"`
	ApexType    *string  `json:"apexType"`
	ForeignKey  *string  `json:"foreignKeyName"`
	Insertable  bool     `json:"insertable"`
	Updatable   bool     `json:"updatable"`
	Join        []column `json:"joinColumns"`
}

// columns describes the answer instead of giving it.
func columns(p *query.Plan) *answer {
	d := p.Describe()
	return reply(http.StatusOK, map[string]any{
		"columnMetadata": columnsOf(d.Columns), "entityName": d.Object.Name, "groupBy": d.Grouped, "idSelected": d.IDSelected, "keyPrefix": d.Object.Prefix,
	})
}

func columnsOf(selected []query.Selected) []column {
	out := []column{}
	for _, s := range selected {
		c := column{Name: s.Name, Display: s.Display, Aggregate: s.Aggregate, NumberType: s.Number, ForeignKey: optional(s.ForeignKey), Join: columnsOf(s.Join)}
		if s.Text {
			c.TextType, c.ApexType = true, optional("String")
		}
		if f := s.Field; f != nil {
			c.Custom, c.BooleanType, c.NumberType, c.TextType = f.Custom(), f.Type == schema.Boolean, f.Type.Number(), f.Type.Text()
			c.Insertable, c.Updatable, c.ApexType = !f.ReadOnly(), !f.ReadOnly(), optional(apexType(f.Type))
		}
		out = append(out, c)
	}
	return out
}

func apexType(t schema.Type) string {
	switch {
	case t == schema.ID || t == schema.Reference:
		return "Id"
	case t == schema.Boolean:
		return "Boolean"
	case t == schema.Int:
		return "Integer"
	case t.Number():
		return "Double"
	case t == schema.Date:
		return "Date"
	case t == schema.DateTime:
		return "Datetime"
	case t == schema.Address:
		return "Address"
	}
	return "String"
}
