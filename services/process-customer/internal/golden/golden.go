// Package golden holds the words that every part of the process service speaks: the customer and the contact that all
// systems agree on, the claims they are made of, and why each field has its value.
//
// Invariant: a golden record is never edited. It is computed from a set of claims, so two processes that know the same
// claims have the same record, in whatever order the claims came in.
//
// The package is pure: no I/O, no clock. It does not decide which claim wins (package survive) nor which records belong
// together (package match).
package golden

import (
	"maps"
	"time"
)

// Object is a kind of golden record.
type Object string

// The kinds of golden records.
const (
	// Customer is a company or a person that buys.
	Customer Object = "customer"
	// Contact is a person who works for a customer.
	Contact Object = "contact"
)

// Objects returns every kind, parents before children: a reader that follows this order meets a contact's customer first.
func Objects() []Object { return []Object{Customer, Contact} }

// Valid reports whether o is one of the kinds above.
func (o Object) Valid() bool { return o == Customer || o == Contact }

// SystemAPI is the system name of claims made through our own API. Its record id is the golden id.
const SystemAPI = "api"

// SystemPin is the system name of values that a person has pinned. Its record id is the golden id.
const SystemPin = "pin"

// Own reports whether the claims of a system are made here and not by a system that keeps customers.
func Own(system string) bool { return system == SystemAPI || system == SystemPin }

// Canonical field names. A source adapter translates its system's names to these and back.
const (
	Name       = "name"
	TaxID      = "tax_id"
	Email      = "email"
	Phone      = "phone"
	Website    = "website"
	Street     = "street"
	City       = "city"
	PostalCode = "postal_code"
	Region     = "region"
	Country    = "country"
	Segment    = "segment"
	ERPNumber  = "erp_number"

	FirstName  = "first_name"
	LastName   = "last_name"
	Title      = "title"
	Department = "department"
	Mobile     = "mobile"
	// Parent is the golden id of the contact's customer.
	Parent = "customer"
)

// Fields returns the canonical fields of obj in their fixed order, in a slice of its own; none for an unknown kind.
func Fields(obj Object) []string {
	switch obj {
	case Customer:
		return []string{Name, TaxID, Email, Phone, Website, Street, City, PostalCode, Region, Country, Segment, ERPNumber}
	case Contact:
		return []string{FirstName, LastName, Title, Department, Email, Phone, Mobile, Parent}
	default:
		return nil
	}
}

// HasField reports whether obj has the canonical field.
func HasField(obj Object, field string) bool {
	for _, f := range Fields(obj) {
		if f == field {
			return true
		}
	}
	return false
}

// Ref names one record of one system. The zero value names none.
type Ref struct {
	System   string `json:"s,omitempty"`
	Object   Object `json:"o,omitempty"`
	RecordID string `json:"r,omitempty"`
}

// Values are canonical values by canonical field. An absent field is one the system does not carry or did not say;
// an empty value is blank. Not safe for concurrent writes.
type Values map[string]string

// Clone returns a copy; nil for nil.
func (v Values) Clone() Values { return maps.Clone(v) }

// Canonical returns a copy that has only the fields of obj, each in canonical form. It is never nil.
func (v Values) Canonical(obj Object) Values {
	out := make(Values, len(v))
	for _, f := range Fields(obj) {
		if value, ok := v[f]; ok {
			out[f] = Canonical(obj, f, value)
		}
	}
	return out
}

// Changed returns the fields that next says something different about than v, in field order. A field that next does
// not have is not different; one that v does not have counts as blank. Both must be canonical.
func (v Values) Changed(obj Object, next Values) []string {
	var out []string
	for _, f := range Fields(obj) {
		if value, ok := next[f]; ok && value != v[f] {
			out = append(out, f)
		}
	}
	return out
}

// Claim is one system's word about one field, immutable once made. Within one record the greater Version is the newer
// word; versions of different records cannot be compared.
type Claim struct {
	// Field is a canonical field name.
	Field string `json:"f,omitempty"`
	// Value is canonical; empty is an explicit blank.
	Value string `json:"v,omitempty"`
	// Ref is the record that says so.
	Ref Ref `json:"ref,omitzero"`
	// Version of the record that said so first.
	Version int64 `json:"n,omitempty"`
	// EventTime is when the value was set, by the clock of the system.
	EventTime time.Time `json:"t,omitzero"`
	// ChangeID is the change that brought the claim.
	ChangeID string `json:"c,omitempty"`
	// Received is when the claim came in; set only where EventTime is later than that, by a clock that is ahead.
	Received time.Time `json:"r,omitzero"`
	// Hold says how long a pin holds, or an edit stands that the rules overrule and do not revert; empty for every other claim.
	Hold Hold `json:"h,omitempty"`
	// Over is the golden value that the pin or the edit was made over.
	Over string `json:"o,omitempty"`
}

// Hold says how long a pinned value holds.
type Hold string

// How long a pinned value holds.
const (
	// HoldUntilChange holds as long as the rules would choose what they chose when the pin was set.
	HoldUntilChange Hold = "until_change"
	// HoldAlways holds until the pin is taken away.
	HoldAlways Hold = "always"
)

// Decision says why a field of a golden record has its value.
type Decision struct {
	// Field is a canonical field name.
	Field string `json:"f,omitempty"`
	// Value is what was chosen; empty when nobody says anything or the winner is blank.
	Value string `json:"v,omitempty"`
	// Rule names what decided, for example "master erp" or "latest".
	Rule string `json:"rule,omitempty"`
	// Path is where the rule stands in the rule file, for example "objects.customer.fields.email".
	Path string `json:"p,omitempty"`
	// Winner is the claim that was chosen, as its system said it: Value may be a normalised form of it. Nil when there is none.
	Winner *Claim `json:"w,omitempty"`
	// Parts are further claims that Value is put together from.
	Parts []Claim `json:"parts,omitempty"`
	// Losers are all other claims about the field, best first.
	Losers []Claim `json:"l,omitempty"`
}

// Record is a golden record as stored.
type Record struct {
	// ID never changes and is never used again.
	ID ID
	// Object is the kind.
	Object Object
	// Values are the chosen values; fields nobody says anything about are absent.
	Values Values
	// Version grows by one with every change of Values, Deleted or MergedInto; the first is 1.
	Version int64
	// Deleted is true when no system has the record any more.
	Deleted bool
	// MergedInto is the record that took this one's place; empty for a live record.
	MergedInto ID
	// Created is when Selfsame first saw the record.
	Created time.Time
	// Updated is when the record last changed.
	Updated time.Time
}

// ValuesOf returns the values that decisions chose. Fields without a winner are absent.
func ValuesOf(decisions []Decision) Values {
	out := make(Values, len(decisions))
	for i := range decisions {
		if decisions[i].Winner != nil {
			out[decisions[i].Field] = decisions[i].Value
		}
	}
	return out
}
