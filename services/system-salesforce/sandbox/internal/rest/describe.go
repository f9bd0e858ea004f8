package rest

import (
	"net/http"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/render"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/schema"
)

// objectInfo is what every kind of describe says about an object.
type objectInfo struct {
	Name          string            `json:"name"`
	Label         string            `json:"label"`
	LabelPlural   string            `json:"labelPlural"`
	KeyPrefix     string            `json:"keyPrefix"`
	Custom        bool              `json:"custom"`
	Createable    bool              `json:"createable"`
	Updateable    bool              `json:"updateable"`
	Deletable     bool              `json:"deletable"`
	Undeletable   bool              `json:"undeletable"`
	Queryable     bool              `json:"queryable"`
	Retrieveable  bool              `json:"retrieveable"`
	Replicateable bool              `json:"replicateable"`
	Searchable    bool              `json:"searchable"`
	Layoutable    bool              `json:"layoutable"`
	Triggerable   bool              `json:"triggerable"`
	Mergeable     bool              `json:"mergeable"`
	URLs          map[string]string `json:"urls"`
}

type picklistValue struct {
	Active       bool   `json:"active"`
	DefaultValue bool   `json:"defaultValue"`
	Label        string `json:"label"`
	Value        string `json:"value"`
	// ValidFor would tie the value to another picklist; none is.
	ValidFor *string `json:"validFor"`
}

type fieldInfo struct {
	Name               string          `json:"name"`
	Label              string          `json:"label"`
	Type               schema.Type     `json:"type"`
	Length             int             `json:"length"`
	ByteLength         int             `json:"byteLength"`
	Precision          int             `json:"precision"`
	Scale              int             `json:"scale"`
	Digits             int             `json:"digits"`
	SoapType           string          `json:"soapType"`
	Nillable           bool            `json:"nillable"`
	Createable         bool            `json:"createable"`
	Updateable         bool            `json:"updateable"`
	DefaultedOnCreate  bool            `json:"defaultedOnCreate"`
	Calculated         bool            `json:"calculated"`
	AutoNumber         bool            `json:"autoNumber"`
	Unique             bool            `json:"unique"`
	ExternalID         bool            `json:"externalId"`
	IDLookup           bool            `json:"idLookup"`
	Custom             bool            `json:"custom"`
	CaseSensitive      bool            `json:"caseSensitive"`
	Filterable         bool            `json:"filterable"`
	Sortable           bool            `json:"sortable"`
	Groupable          bool            `json:"groupable"`
	NameField          bool            `json:"nameField"`
	PicklistValues     []picklistValue `json:"picklistValues"`
	RestrictedPicklist bool            `json:"restrictedPicklist"`
	ReferenceTo        []string        `json:"referenceTo"`
	RelationshipName   *string         `json:"relationshipName"`
	CompoundFieldName  *string         `json:"compoundFieldName"`
	DefaultValue       any             `json:"defaultValue"`
	fieldDetails
}

type childInfo struct {
	ChildSObject     string `json:"childSObject"`
	Field            string `json:"field"`
	RelationshipName string `json:"relationshipName"`
	CascadeDelete    bool   `json:"cascadeDelete"`
	RestrictedDelete bool   `json:"restrictedDelete"`
	Deprecated       bool   `json:"deprecatedAndHidden"`
	// Junctions are those of objects with several parents for one lookup;
	// none has.
	JunctionNames []string `json:"junctionIdListNames"`
	JunctionsTo   []string `json:"junctionReferenceTo"`
}

func (c *call) info(o *schema.Object) objectInfo {
	base := render.Base(c.version) + "/sobjects/" + o.Name
	open, stored := !o.ReadOnly, !o.Event()
	kept := open && stored
	return objectInfo{
		Name: o.Name, Label: o.Label, LabelPlural: o.Plural, KeyPrefix: o.Prefix, Custom: o.Custom(),
		Createable: open, Updateable: kept, Deletable: kept, Undeletable: kept, Triggerable: open, Layoutable: open, Mergeable: o.Mergeable,
		Queryable: stored, Retrieveable: stored, Replicateable: stored, Searchable: stored,
		URLs: map[string]string{"sobject": base, "describe": base + "/describe", "rowTemplate": base + "/{ID}"},
	}
}

func (c *call) describeGlobal() *answer {
	list := make([]objectInfo, 0, len(c.opt.Schema.Objects))
	for _, o := range c.opt.Schema.Objects {
		list = append(list, c.info(o))
	}
	return reply(http.StatusOK, map[string]any{"encoding": "UTF-8", "maxBatchSize": 200, "sobjects": list})
}

func (c *call) basic(o *schema.Object) *answer {
	return reply(http.StatusOK, map[string]any{"objectDescribe": c.info(o), "recentItems": []any{}})
}

func (c *call) describe(o *schema.Object) *answer {
	fields := make([]fieldInfo, 0, len(o.Fields))
	rights := c.rights()
	for _, f := range o.Fields {
		if !rights.Sees(f) {
			continue
		}
		info := describeField(f)
		if !rights.Edits(f) {
			info.Createable, info.Updateable = false, false
		}
		fields = append(fields, info)
	}
	children := []childInfo{}
	for _, f := range c.opt.Schema.Children(o) {
		if !rights.Sees(f) {
			continue
		}
		children = append(children, childInfo{
			ChildSObject: f.Object.Name, Field: f.Name, RelationshipName: f.ChildRelationship, CascadeDelete: f.OnDelete == "cascade", RestrictedDelete: f.OnDelete == "restrict",
			JunctionNames: []string{}, JunctionsTo: []string{},
		})
	}
	return reply(http.StatusOK, struct {
		objectInfo
		objectDetails
		Scopes   []scopeInfo      `json:"supportedScopes"`
		Fields   []fieldInfo      `json:"fields"`
		Children []childInfo      `json:"childRelationships"`
		Types    []recordTypeInfo `json:"recordTypeInfos"`
	}{c.info(o), objectDetails{}, scopesOf(o), fields, children, c.recordTypes(o)})
}

func describeField(f *schema.Field) fieldInfo {
	open := !f.ReadOnly()
	length := f.Length
	if f.Type == schema.Reference || f.Type == schema.ID {
		length = 18
	}
	info := fieldInfo{
		Name: f.Name, Label: f.Label, Type: f.Type, Length: length, ByteLength: 3 * length, Precision: f.Precision, Scale: f.Scale,
		SoapType: soapType(f.Type), Nillable: !f.Required && f.Type != schema.Boolean && f.Sys == schema.NotSystem,
		Createable: open, Updateable: open, DefaultedOnCreate: f.Owner || f.Default != "" || f.Type == schema.Boolean || f.Sys != schema.NotSystem,
		Calculated: f.CalcField != "" && f.Custom(), AutoNumber: f.AutoNumber > 0, Unique: f.Unique, ExternalID: f.ExternalID,
		IDLookup: f.Sys == schema.SysID || f.ExternalID || f.IDLookup, Custom: f.Custom(), CaseSensitive: f.CaseSensitive,
		Filterable: f.Filterable(), Sortable: f.Sortable(), Groupable: f.Groupable(), NameField: f.NameField, fieldDetails: detailsOf(f),
		PicklistValues: []picklistValue{}, RestrictedPicklist: f.Restricted, ReferenceTo: []string{},
	}
	if f.Type == schema.Int {
		info.Digits, info.Precision = f.Precision, 0
	}
	for _, v := range f.Picklist {
		info.PicklistValues = append(info.PicklistValues, picklistValue{Active: true, DefaultValue: v == f.Default, Label: v, Value: v})
	}
	info.ReferenceTo = append(info.ReferenceTo, f.ReferenceTo...)
	info.RelationshipName = optional(f.Relationship)
	info.CompoundFieldName = optional(f.Compound)
	info.DefaultValue = defaultOf(f)
	return info
}

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func soapType(t schema.Type) string {
	switch t {
	case schema.ID, schema.Reference:
		return "tns:ID"
	case schema.Boolean:
		return "xsd:boolean"
	case schema.Int:
		return "xsd:int"
	case schema.Double, schema.Currency, schema.Percent:
		return "xsd:double"
	case schema.Date:
		return "xsd:date"
	case schema.DateTime:
		return "xsd:dateTime"
	case schema.Address:
		return "urn:address"
	default:
		return "xsd:string"
	}
}
