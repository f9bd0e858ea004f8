// Package match answers whether a record of some system is about a customer or contact that is already known.
//
// It works in two steps. Keys turns a record into exact keys, by which known records are found without comparing all
// of them; Decide looks at what was found and says same or new. The invariant: two records with tax numbers that
// differ are never the same, whatever else agrees. Where the evidence points at different records the answer is "new"
// with a reason for a person to look, because two customers can be merged later while a wrong merge has already been
// written to every system.
//
// The package is pure. It does not store keys, does not score similarity, and does not reconsider earlier answers.
package match

import (
	"strings"

	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/match/normal"
)

// Kind is what a key is made of.
type Kind string

// The kinds of keys; see strength for their order.
const (
	// TaxID is the tax number.
	TaxID Kind = "tax_id"
	// Email is the e-mail address; of a contact, within its customer.
	Email Kind = "email"
	// NamePostcode is the name, postal code and country of a customer.
	NamePostcode Kind = "name_postcode"
	// NamePostcodeOnly is the same without the country, for systems that leave it empty.
	NamePostcodeOnly Kind = "name_postcode_only"
	// NameParent is the full name of a contact within its customer.
	NameParent Kind = "name_parent"
)

// strength orders kinds; the greater is the better evidence.
func (k Kind) strength() int {
	switch k {
	case TaxID:
		return 5
	case Email:
		return 4
	case NamePostcode:
		return 3
	case NameParent:
		return 2
	case NamePostcodeOnly:
		return 1
	default:
		return 0
	}
}

// Key finds records that may be the same.
type Key struct {
	// Kind says what the value is made of.
	Kind Kind
	// Value is normalised; it holds personal data.
	Value string
}

// minTaxID is the least number of letters and digits of a tax number that means anything.
const minTaxID = 6

// Keys returns the keys of a record, strongest first. Parent is the golden customer of a contact; without one a
// contact has no keys, because a name alone proves nothing. Values need not be canonical.
//
// Stored records are known to have their keys (golden.keyed): whoever changes what keys are made of sets that to 0 in a migration,
// and keeps SameKeys in step.
func Keys(obj golden.Object, v golden.Values, parent golden.ID) []Key {
	switch {
	case obj == golden.Customer:
		return customerKeys(v)
	case obj == golden.Contact && parent != "":
		return contactKeys(v, parent)
	default:
		return nil
	}
}

func customerKeys(v golden.Values) []Key {
	var keys []Key
	if id := taxID(v[golden.TaxID]); id != "" {
		keys = append(keys, Key{TaxID, id})
	}
	if m, ok := mailbox(v[golden.Email]); ok && !m.Role && !m.Free {
		keys = append(keys, Key{Email, m.Local + "@" + m.Domain})
	}
	name, postcode := companyName(v[golden.Name]), compact(v[golden.PostalCode])
	if name == "" || postcode == "" {
		return keys
	}
	if country := compact(v[golden.Country]); country != "" {
		keys = append(keys, Key{NamePostcode, name + "|" + postcode + "|" + country})
	}
	return append(keys, Key{NamePostcodeOnly, name + "|" + postcode})
}

func contactKeys(v golden.Values, parent golden.ID) []Key {
	var keys []Key
	if m, ok := mailbox(v[golden.Email]); ok && !m.Role {
		keys = append(keys, Key{Email, string(parent) + "|" + m.Local + "@" + m.Domain})
	}
	first, last := Fold(v[golden.FirstName]), Fold(v[golden.LastName])
	if first != "" && last != "" {
		keys = append(keys, Key{NameParent, string(parent) + "|" + first + "|" + last})
	}
	return keys
}

// taxID returns the letters and digits of a tax number in upper case; empty for what cannot be one, such as a row of
// zeros that somebody typed to get past a required field.
func taxID(s string) string {
	id := strings.ToUpper(compact(s))
	if len([]rune(id)) < minTaxID {
		return ""
	}
	body := strings.TrimLeft(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZ")
	if body == "" || strings.Count(body, body[:1]) == len(body) {
		return ""
	}
	return id
}

// mailbox returns a usable e-mail address in normal form.
func mailbox(s string) (m normal.Mailbox, ok bool) {
	s = strings.TrimSpace(s)
	local, domain, ok := strings.Cut(s, "@")
	if !ok || local == "" || !strings.Contains(domain, ".") || strings.ContainsAny(s, " \t|") || strings.Contains(domain, "@") {
		return m, false
	}
	m = normal.Email(s)
	return m, m.Local != "" && m.Domain != ""
}
