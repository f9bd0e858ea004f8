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
	if local, domain, ok := mailbox(v[golden.Email]); ok && !roleMailbox(local) && !freeMail(domain) {
		keys = append(keys, Key{Email, local + "@" + domain})
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
	if local, domain, ok := mailbox(v[golden.Email]); ok && !roleMailbox(local) {
		keys = append(keys, Key{Email, string(parent) + "|" + local + "@" + domain})
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

// mailbox splits a usable e-mail address, in lower case.
func mailbox(s string) (local, domain string, ok bool) {
	s = strings.ToLower(strings.TrimSpace(s))
	local, domain, ok = strings.Cut(s, "@")
	if !ok || local == "" || !strings.Contains(domain, ".") || strings.ContainsAny(s, " \t|") || strings.Contains(domain, "@") {
		return "", "", false
	}
	return local, domain, true
}

// roleMailbox reports whether an address belongs to a function and not to one person or one company: many records
// share it.
func roleMailbox(local string) bool {
	local, _, _ = strings.Cut(local, "+")
	switch local {
	case "accounting", "accounts", "admin", "administration", "ap", "billing", "buchhaltung", "bureau", "commercial",
		"compta", "contact", "contacto", "contatti", "customerservice", "einkauf", "empfang", "finance", "hello", "help",
		"helpdesk", "hr", "info", "information", "invoice", "invoices", "jobs", "kontakt", "kundenservice", "mail",
		"marketing", "no-reply", "noreply", "office", "order", "orders", "personal", "post", "postmaster", "purchasing",
		"rechnung", "rechnungen", "reception", "sales", "sekretariat", "service", "support", "team", "ventas", "verkauf",
		"vertrieb", "webmaster", "zentrale":
		return true
	default:
		return false
	}
}

// freeMail reports whether anybody can have an address of the domain, so that sharing one says nothing about companies
// with the same owner.
func freeMail(domain string) bool {
	switch domain {
	case "163.com", "126.com", "aol.com", "bluewin.ch", "free.fr", "freenet.de", "gmail.com", "googlemail.com",
		"icloud.com", "laposte.net", "libero.it", "mac.com", "mail.com", "mail.ru", "mailbox.org", "me.com", "msn.com",
		"orange.fr", "pm.me", "posteo.de", "proton.me", "protonmail.com", "qq.com", "sfr.fr", "t-online.de", "virgilio.it",
		"wanadoo.fr", "web.de", "wp.pl", "yandex.com", "yandex.ru":
		return true
	}
	provider, _, _ := strings.Cut(domain, ".")
	switch provider {
	case "gmx", "hotmail", "live", "outlook", "yahoo", "ymail":
		return true
	default:
		return false
	}
}
