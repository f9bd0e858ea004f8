// Package verify proves or refutes the promise of the suite: it reads both systems themselves, never Selfsame's own
// database, and says whether they agree.
//
// Two records are the same customer when they carry the same golden id: the external id that Selfsame wrote into each, up to
// the first dot. The systems agree when every record carries one, every golden id stands in both systems, no external id
// stands twice, every field that both systems keep has the same value in all records of a golden id, contacts hang under
// the same customer on both sides, and Selfsame itself has made at most one record per golden id and system.
//
// It changes nothing, and without ShowValues nothing it returns holds a value of a record.
package verify

import (
	"cmp"
	"maps"
	"slices"
	"strings"
)

// Kind says what a difference is about.
type Kind string

// What can be wrong.
const (
	// Unlinked is a record that carries no external id of Selfsame.
	Unlinked Kind = "UNLINKED"
	// Missing is a golden id that one system has no record of.
	Missing Kind = "MISSING"
	// Differs is a field that does not have the same value in all records of a golden id.
	Differs Kind = "DIFFERS"
	// ParentDiffers is a contact that hangs under different customers.
	ParentDiffers Kind = "PARENT_DIFFERS"
	// Repeated is an external id that several records of one system carry.
	Repeated Kind = "REPEATED_EXTERNAL_ID"
	// MadeTwice is a golden id that Selfsame made several records of in one system.
	MadeTwice Kind = "MADE_TWICE"
)

// The systems and objects, as they are named in a report.
const (
	Salesforce = "salesforce"
	ERP        = "erp"
	Customer   = "customer"
	Contact    = "contact"
)

// fields are what both systems keep, by object.
var fields = map[string][]string{
	Customer: {"name", "tax_id", "email", "phone", "website", "street", "city", "postal_code", "region", "country"},
	Contact:  {"first_name", "last_name", "title", "department", "email", "phone", "mobile"},
}

// Record is one live record of one system.
type Record struct {
	// System is Salesforce or ERP.
	System string
	// Object is Customer or Contact.
	Object string
	// ID is the record's id in the system.
	ID string
	// ExternalID is what Selfsame wrote into it; empty when it did not.
	ExternalID string
	// Former are other external ids that Selfsame wrote into it: the ERP keeps those of a customer that was merged into another one.
	Former []string
	// ParentID is the id of a contact's customer in the same system.
	ParentID string
	// Made is true when Selfsame created the record.
	Made bool
	// ERPNumber is the number of an ERP customer, or what Salesforce believes it to be.
	ERPNumber string
	// Values are the fields that both systems keep.
	Values map[string]string
}

// Golden is the golden id that the external id belongs to; empty when there is none.
func (r Record) Golden() string {
	id, _, _ := strings.Cut(r.ExternalID, ".")
	return id
}

// Difference is one way in which the systems do not agree.
type Difference struct {
	// Kind says what is wrong.
	Kind Kind `json:"kind"`
	// Object is Customer or Contact.
	Object string `json:"object"`
	// GoldenID is empty for a record without one.
	GoldenID string `json:"golden_id,omitempty"`
	// System is the system to look at; empty when both are concerned.
	System string `json:"system,omitempty"`
	// Records are "system/id" of the records concerned.
	Records []string `json:"records,omitempty"`
	// Field is the field that differs.
	Field string `json:"field,omitempty"`
	// Values are the field's values in the order of Records; only with ShowValues.
	Values []string `json:"values,omitempty"`
}

// Count says how much was compared.
type Count struct {
	Salesforce int `json:"salesforce"`
	ERP        int `json:"erp"`
	Golden     int `json:"golden"`
	// MadeSalesforce and MadeERP are the records that Selfsame created.
	MadeSalesforce int `json:"made_salesforce"`
	MadeERP        int `json:"made_erp"`
}

// Report is what was compared and what differs.
type Report struct {
	Customers   Count        `json:"customers"`
	Contacts    Count        `json:"contacts"`
	Differences []Difference `json:"differences"`
}

// Agree reports whether nothing differs and there was something to compare.
func (r *Report) Agree() bool {
	return len(r.Differences) == 0 && r.Customers.Salesforce > 0 && r.Customers.ERP > 0
}

// Compare says how the records of both systems differ. showValues puts the values into the report.
func Compare(records []Record, showValues bool) *Report {
	records = current(records)
	c := comparison{showValues: showValues, golden: map[string]string{}}
	for _, r := range records {
		if r.Object == Customer {
			c.golden[r.System+"/"+r.ID] = r.Golden()
		}
	}
	var out Report
	out.Customers = c.object(Customer, records)
	out.Contacts = c.object(Contact, records)
	out.Differences = c.found
	slices.SortStableFunc(out.Differences, func(a, b Difference) int {
		return cmp.Or(cmp.Compare(a.Object, b.Object)*-1, cmp.Compare(a.GoldenID, b.GoldenID), cmp.Compare(a.Field, b.Field))
	})
	return &out
}

// current returns the records with the external id that counts: of several in one record that of a customer which lives in the other
// system.
func current(records []Record) []Record {
	lives := map[string]bool{}
	for _, r := range records {
		if len(r.Former) == 0 {
			lives[r.System+"/"+r.Golden()] = true
		}
	}
	out := slices.Clone(records)
	for i, r := range out {
		other := Salesforce
		if r.System == Salesforce {
			other = ERP
		}
		for _, id := range r.Former {
			if golden, _, _ := strings.Cut(id, "."); !lives[other+"/"+r.Golden()] && lives[other+"/"+golden] {
				out[i].ExternalID = id
			}
		}
	}
	return out
}

// comparison collects what differs.
type comparison struct {
	showValues bool
	golden     map[string]string // golden id of each customer, by system/id
	found      []Difference
}

func (c *comparison) add(d Difference, records []Record, value func(Record) string) {
	for _, r := range records {
		d.Records = append(d.Records, r.System+"/"+r.ID)
		if c.showValues && value != nil {
			d.Values = append(d.Values, value(r))
		}
	}
	c.found = append(c.found, d)
}

func (c *comparison) object(object string, records []Record) Count {
	var count Count
	groups := map[string][]Record{}
	external := map[string][]Record{}
	for _, r := range records {
		if r.Object != object {
			continue
		}
		made := &count.MadeSalesforce
		if r.System == Salesforce {
			count.Salesforce++
		} else {
			count.ERP++
			made = &count.MadeERP
		}
		if r.Made {
			*made++
		}
		if r.ExternalID == "" {
			c.add(Difference{Kind: Unlinked, Object: object, System: r.System}, []Record{r}, nil)
			continue
		}
		groups[r.Golden()] = append(groups[r.Golden()], r)
		external[r.System+"/"+r.ExternalID] = append(external[r.System+"/"+r.ExternalID], r)
	}
	for _, key := range slices.Sorted(maps.Keys(external)) {
		if same := external[key]; len(same) > 1 {
			c.add(Difference{Kind: Repeated, Object: object, GoldenID: same[0].Golden(), System: same[0].System}, same, nil)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(groups)) {
		c.group(object, id, groups[id])
	}
	count.Golden = len(groups)
	return count
}

// group compares all records of one golden id.
func (c *comparison) group(object, id string, group []Record) {
	by := map[string][]Record{}
	made := map[string][]Record{}
	for _, r := range group {
		by[r.System] = append(by[r.System], r)
		if r.Made {
			made[r.System] = append(made[r.System], r)
		}
	}
	for _, system := range []string{Salesforce, ERP} {
		if len(by[system]) == 0 {
			c.add(Difference{Kind: Missing, Object: object, GoldenID: id, System: system}, group, nil)
		}
		if len(made[system]) > 1 {
			c.add(Difference{Kind: MadeTwice, Object: object, GoldenID: id, System: system}, made[system], nil)
		}
	}
	for _, f := range fields[object] {
		c.same(Difference{Kind: Differs, Object: object, GoldenID: id, Field: f}, group, func(r Record) string { return canonical(f, r.Values[f]) })
	}
	switch object {
	case Customer:
		c.numbers(id, by)
	case Contact:
		c.same(Difference{Kind: ParentDiffers, Object: object, GoldenID: id, Field: "customer"}, group, func(r Record) string {
			if r.ParentID == "" {
				return ""
			}
			return cmp.Or(c.golden[r.System+"/"+r.ParentID], "unknown "+r.System+"/"+r.ParentID)
		})
	}
}

// numbers checks that Salesforce knows a number under which the ERP has the customer.
func (c *comparison) numbers(id string, by map[string][]Record) {
	if len(by[ERP]) == 0 {
		return
	}
	for _, r := range by[Salesforce] {
		if !slices.ContainsFunc(by[ERP], func(e Record) bool { return e.ERPNumber == r.ERPNumber }) {
			c.add(Difference{Kind: Differs, Object: Customer, GoldenID: id, Field: "erp_number"}, append([]Record{r}, by[ERP]...),
				func(r Record) string { return r.ERPNumber })
		}
	}
	c.same(Difference{Kind: Differs, Object: Customer, GoldenID: id, Field: "erp_number"}, by[Salesforce], func(r Record) string { return r.ERPNumber })
}

// same adds the difference unless the value is the same for all records.
func (c *comparison) same(d Difference, group []Record, value func(Record) string) {
	for _, r := range group[min(1, len(group)):] {
		if value(r) != value(group[0]) {
			c.add(d, group, value)
			return
		}
	}
}

// canonical makes values comparable: systems trim, and what a person sees as one blank is one blank. Lines of a street
// stay apart.
func canonical(field, v string) string {
	if field == "street" {
		lines := strings.Split(strings.ReplaceAll(v, "\r\n", "\n"), "\n")
		for i := range lines {
			lines[i] = strings.Join(strings.Fields(lines[i]), " ")
		}
		return strings.Trim(strings.Join(lines, "\n"), "\n")
	}
	v = strings.Join(strings.Fields(v), " ")
	if field == "country" {
		v = strings.ToUpper(v)
	}
	return v
}
