package match

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Entity is the sort of thing that records are about.
type Entity string

// The entities. Generic records have texts and codes without a meaning that is known here.
const (
	Person       Entity = "person"
	Organisation Entity = "organisation"
	Generic      Entity = "generic"
)

// Kind is what a field means; it decides how its values are normalised and compared.
type Kind string

// The kinds of fields.
const (
	GivenName   Kind = "given_name"
	FamilyName  Kind = "family_name"
	FullName    Kind = "full_name"    // of a person
	OrgName     Kind = "organisation" // of an organisation, or of the one that a person works for
	Street      Kind = "street"       // with or without the house number
	HouseNumber Kind = "house_number"
	City        Kind = "city"
	Postcode    Kind = "postcode"
	Region      Kind = "region"
	Country     Kind = "country"
	Phone       Kind = "phone" // several fields of this kind are compared as a set
	Email       Kind = "email" // several fields of this kind are compared as a set
	Website     Kind = "website"
	TaxID       Kind = "tax_id"
	Identifier  Kind = "identifier" // a number that belongs to one entity, such as a passport or register number
	Date        Kind = "date"       // such as the day of birth
	Text        Kind = "text"       // words, such as a title
	Code        Kind = "code"       // compared as it is, such as a category
	MemberOf    Kind = "member_of"  // the id of whom a person belongs to, such as the customer of a contact
)

var kinds = []Kind{
	GivenName, FamilyName, FullName, OrgName, Street, HouseNumber, City, Postcode, Region, Country, Phone, Email, Website,
	TaxID, Identifier, Date, Text, Code, MemberOf,
}

// Field is one field of a record.
type Field struct {
	// Name is unique in the schema.
	Name string `yaml:"name"`
	// Kind is what the field means.
	Kind Kind `yaml:"kind"`
	// MonthFirst makes a Date with slashes month/day/year.
	MonthFirst bool `yaml:"month_first,omitempty"`
}

// Schema says what records consist of. The zero value is not valid.
type Schema struct {
	Entity Entity  `yaml:"entity"`
	Fields []Field `yaml:"fields"`
}

// Record is one record of some system. Values are as they were read, in the order of the schema's fields; missing ones
// are empty.
type Record struct {
	// Source is the system that holds the record; ID is its id there.
	Source, ID string
	Values     []string
}

// Validate returns all that is wrong with a schema, or nil.
func (s Schema) Validate() error {
	var errs []error
	if s.Entity != Person && s.Entity != Organisation && s.Entity != Generic {
		errs = append(errs, fmt.Errorf("entity: %q is not one of person, organisation, generic", s.Entity))
	}
	if len(s.Fields) == 0 {
		errs = append(errs, errors.New("fields: at least one is needed"))
	}
	seen := map[string]bool{}
	for i, f := range s.Fields {
		switch {
		case f.Name == "":
			errs = append(errs, fmt.Errorf("fields[%d].name: is missing", i))
		case seen[f.Name]:
			errs = append(errs, fmt.Errorf("fields[%d].name: %q is there twice", i, f.Name))
		}
		seen[f.Name] = true
		if !slices.Contains(kinds, f.Kind) {
			errs = append(errs, fmt.Errorf("fields[%d].kind: %q is not one of %s", i, f.Kind, joinKinds()))
		}
	}
	return errors.Join(errs...)
}

func joinKinds() string {
	names := make([]string, len(kinds))
	for i, k := range kinds {
		names[i] = string(k)
	}
	return strings.Join(names, ", ")
}
