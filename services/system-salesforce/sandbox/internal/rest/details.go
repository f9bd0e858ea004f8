package rest

import (
	"slices"
	"strings"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/render"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/schema"
)

// masterRecordType is the id of the record type that every object has.
const masterRecordType = "012000000000000AAA"

// objectDetails are what describe says about an object besides its objectInfo.
type objectDetails struct {
	Activateable        bool `json:"activateable"`
	CustomSetting       bool `json:"customSetting"`
	DeprecatedAndHidden bool `json:"deprecatedAndHidden"`
	FeedEnabled         bool `json:"feedEnabled"`
	MruEnabled          bool `json:"mruEnabled"`
}

// scopeInfo is one scope that USING SCOPE may name.
type scopeInfo struct {
	Label string `json:"label"`
	Name  string `json:"name"`
}

// scopesOf are all records and, where records have owners, one's own.
func scopesOf(o *schema.Object) []scopeInfo {
	if o.Event() {
		return []scopeInfo{}
	}
	plural := strings.ToLower(o.Plural)
	out := []scopeInfo{{"All " + plural, "everything"}}
	if slices.ContainsFunc(o.Fields, func(f *schema.Field) bool { return f.Owner }) {
		out = append(out, scopeInfo{"My " + plural, "mine"})
	}
	return out
}

// fieldDetails are the less used parts of what describe says about a field.
// What the sandbox has no notion of is false or null for every field.
type fieldDetails struct {
	Aggregatable            bool     `json:"aggregatable"`
	AIPredictionField       bool     `json:"aiPredictionField"`
	CalculatedFormula       *string  `json:"calculatedFormula"`
	CascadeDelete           bool     `json:"cascadeDelete"`
	ControllerName          *string  `json:"controllerName"`
	DefaultValueFormula     *string  `json:"defaultValueFormula"`
	DependentPicklist       bool     `json:"dependentPicklist"`
	DeprecatedAndHidden     bool     `json:"deprecatedAndHidden"`
	Encrypted               bool     `json:"encrypted"`
	ExtraTypeInfo           *string  `json:"extraTypeInfo"`
	HTMLFormatted           bool     `json:"htmlFormatted"`
	InlineHelpText          *string  `json:"inlineHelpText"`
	NamePointing            bool     `json:"namePointing"`
	Permissionable          bool     `json:"permissionable"`
	PolymorphicForeignKey   bool     `json:"polymorphicForeignKey"`
	QueryByDistance         bool     `json:"queryByDistance"`
	ReferenceTargetField    *string  `json:"referenceTargetField"`
	RelationshipOrder       *int     `json:"relationshipOrder"`
	RestrictedDelete        bool     `json:"restrictedDelete"`
	SearchPrefilterable     bool     `json:"searchPrefilterable"`
	WriteRequiresMasterRead bool     `json:"writeRequiresMasterRead"`
	FilteredLookupInfo      []string `json:"filteredLookupInfo"`
}

func detailsOf(f *schema.Field) fieldDetails {
	d := fieldDetails{
		Aggregatable: f.Aggregates("COUNT"), CascadeDelete: f.OnDelete == "cascade", RestrictedDelete: f.OnDelete == "restrict",
		Permissionable:        f.Sys == schema.NotSystem && !f.Required && !f.NameField,
		PolymorphicForeignKey: len(f.ReferenceTo) > 1, NamePointing: len(f.ReferenceTo) > 1, SearchPrefilterable: f.Type == schema.Reference,
	}
	if f.Type == schema.TextArea {
		d.ExtraTypeInfo = optional("plaintextarea")
	}
	return d
}

// defaultOf is a field's default value as the type of the field.
func defaultOf(f *schema.Field) any {
	switch {
	case f.Type == schema.Boolean && !f.ReadOnly():
		return f.Default == "true"
	case f.Default != "":
		return f.Default
	}
	return nil
}

type recordTypeInfo struct {
	Active        bool              `json:"active"`
	Available     bool              `json:"available"`
	Default       bool              `json:"defaultRecordTypeMapping"`
	DeveloperName string            `json:"developerName"`
	Master        bool              `json:"master"`
	Name          string            `json:"name"`
	RecordTypeID  string            `json:"recordTypeId"`
	URLs          map[string]string `json:"urls"`
}

// recordTypes is the master record type: there are no others here.
func (c *call) recordTypes(o *schema.Object) []recordTypeInfo {
	if o.ReadOnly {
		return []recordTypeInfo{}
	}
	layout := render.Base(c.version) + "/sobjects/" + o.Name + "/describe/layouts/" + masterRecordType
	return []recordTypeInfo{{
		Active: true, Available: true, Default: true, DeveloperName: "Master", Master: true, Name: "Master",
		RecordTypeID: masterRecordType, URLs: map[string]string{"layout": layout},
	}}
}
