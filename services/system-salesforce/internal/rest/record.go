package rest

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/selfsame-io/selfsame/pkg/fault"
)

const (
	// MaxWrite is how many records one collections call writes.
	MaxWrite = 200
	// MaxRetrieve is how many records one retrieve call reads.
	MaxRetrieve = 2000
	// inList is how many ids one query names: it has to fit into a URL.
	inList = 300
)

// Record is one sObject record by field name. When read, values are as encoding/json decodes them.
type Record map[string]any

// Result is the outcome of one record of a write.
type Result struct {
	// ID is the record's id; empty when refused.
	ID string
	// Created is true when an upsert made the record.
	Created bool
	// Refused is why the record was not written; nil when it was.
	Refused *Refusal
}

// Retrieve reads up to MaxRetrieve records by id. The answer has one element per id, in order; nil for an id that names no
// live record.
func (c *Client) Retrieve(ctx context.Context, object string, ids, fields []string) ([]Record, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	if len(ids) > MaxRetrieve {
		return nil, fault.New(fault.Internal, fault.ReasonInternal, "retrieve takes at most %d ids", MaxRetrieve)
	}
	rows, err := c.retrieve(ctx, object, ids, fields)
	if err != nil {
		return nil, err
	}
	// By id rather than by position: an id asked twice or a row left out must not shift the others.
	byID := make(map[string]Record, len(rows))
	for _, row := range rows {
		if id, ok := row["Id"].(string); ok {
			byID[FullID(id)] = row
		}
	}
	out := make([]Record, len(ids))
	for i, id := range ids {
		out[i] = byID[FullID(id)]
	}
	return out, nil
}

// retrieve reads by id. Fields of other records, which the retrieve call does not take, need queries.
func (c *Client) retrieve(ctx context.Context, object string, ids, fields []string) (rows []Record, err error) {
	if !slices.ContainsFunc(fields, func(f string) bool { return strings.Contains(f, ".") }) {
		body := map[string]any{"ids": ids, "fields": fields}
		err = c.call(ctx, request{method: http.MethodPost, path: "composite/sobjects/" + object, body: body}, &rows)
		return rows, err
	}
	for part := range slices.Chunk(ids, inList) {
		found, err := c.Query(ctx, "SELECT "+strings.Join(fields, ", ")+" FROM "+object+" WHERE Id IN ("+QuoteAll(part)+")")
		if err != nil {
			return nil, err
		}
		rows = append(rows, found...)
	}
	return rows, nil
}

// Query runs a SOQL query and returns every row, following the pages of the answer.
func (c *Client) Query(ctx context.Context, soql string) ([]Record, error) {
	return c.pages(ctx, "query", soql)
}

// pages runs a query of one of the two resources, once more when the server has forgotten a page.
func (c *Client) pages(ctx context.Context, resource, soql string) ([]Record, error) {
	rows, err := c.query(ctx, resource, soql)
	if fault.ReasonOf(err) == reasonLocatorGone {
		rows, err = c.query(ctx, resource, soql)
	}
	return rows, err
}

func (c *Client) query(ctx context.Context, resource, soql string) ([]Record, error) {
	type page struct {
		Done    bool     `json:"done"`
		Next    string   `json:"nextRecordsUrl"`
		Records []Record `json:"records"`
	}
	var rows []Record
	r := request{method: http.MethodGet, path: resource, query: url.Values{"q": {soql}}}
	for {
		var p page
		if err := c.call(ctx, r, &p); err != nil {
			return nil, err
		}
		rows = append(rows, p.Records...)
		if p.Done || p.Next == "" {
			return rows, nil
		}
		if !strings.HasPrefix(p.Next, "/services/data/") || len(p.Records) == 0 {
			return nil, fault.New(fault.Internal, ReasonAnswerInvalid, "the answer of Salesforce leads nowhere")
		}
		r = request{method: http.MethodGet, path: p.Next}
	}
}

// Quote returns s as a SOQL string literal.
func Quote(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`, "\n", `\n`, "\r", `\r`).Replace(s) + "'"
}

// QuoteAll returns texts as SOQL string literals, for an IN list.
func QuoteAll(texts []string) string {
	out := make([]string, len(texts))
	for i, t := range texts {
		out[i] = Quote(t)
	}
	return strings.Join(out, ", ")
}

// nested returns a copy in which "Account.Key__c" is what it stands for: an object Account with the field Key__c.
func (r Record) nested() Record {
	out := make(Record, len(r)+1)
	for k, v := range r {
		relation, field, dotted := strings.Cut(k, ".")
		if dotted {
			out[relation] = map[string]any{field: v}
			continue
		}
		out[k] = v
	}
	return out
}

// Update writes up to MaxWrite records, each with its Id. One refused record does not stop the others.
//
// Besides classified faults it returns Uncertain when it is not known whether the records were written.
func (c *Client) Update(ctx context.Context, object string, records []Record) ([]Result, error) {
	return c.write(ctx, http.MethodPatch, "composite/sobjects", object, OpUpdate, records)
}

// Upsert writes up to MaxWrite records by an external id field, which every record holds. A record refused because another
// writer made it in the same moment is sent once more. Errors are as for Update.
func (c *Client) Upsert(ctx context.Context, object, externalID string, records []Record) ([]Result, error) {
	path := "composite/sobjects/" + object + "/" + externalID
	results, err := c.write(ctx, http.MethodPatch, path, object, OpUpsert, records)
	if err != nil {
		return nil, err
	}
	var again []int
	for i, r := range results {
		if r.Refused != nil && r.Refused.Reason == ReasonDuplicateValue && r.Refused.names(externalID) {
			again = append(again, i)
		}
	}
	if len(again) == 0 {
		return results, nil
	}
	second := make([]Record, len(again))
	for j, i := range again {
		second[j] = records[i]
	}
	// Whatever comes of the second attempt, the first outcomes stand: a failure leaves the duplicates refused.
	if retried, err := c.write(ctx, http.MethodPatch, path, object, OpUpsert, second); err == nil {
		for j, i := range again {
			results[i] = retried[j]
		}
	}
	return results, nil
}

// names reports whether the refusal may be about field: it says so or names no field at all.
func (r *Refusal) names(field string) bool {
	for _, f := range r.Fields {
		if strings.EqualFold(f, field) {
			return true
		}
	}
	return strings.Contains(r.message, field) || len(r.Fields) == 0 && !strings.Contains(r.message, "duplicate value found:")
}

func (c *Client) write(ctx context.Context, method, path, object string, op Op, records []Record) ([]Result, error) {
	if len(records) == 0 {
		return nil, nil
	}
	if len(records) > MaxWrite {
		return nil, fault.New(fault.Internal, fault.ReasonInternal, "a write takes at most %d records", MaxWrite)
	}
	body, err := collection(object, records)
	if err != nil {
		return nil, err
	}
	var answer saved
	if err := c.call(ctx, request{method: method, path: path, body: body, op: op}, &answer); err != nil {
		return nil, err
	}
	if len(answer) != len(records) {
		return nil, uncertain(fault.New(fault.Internal, ReasonAnswerInvalid, "Salesforce answered %d outcomes for %d records", len(answer), len(records)))
	}
	results := make([]Result, len(records))
	for i, a := range answer {
		switch {
		case a.Success:
			results[i] = Result{ID: FullID(a.ID), Created: a.Created}
			c.o.Wrote(results[i].ID, records[i])
		case len(a.Errors) > 0:
			r := a.Errors[0].refusal(op)
			results[i] = Result{Refused: &r}
		default:
			r := vendorError{}.refusal(op)
			results[i] = Result{Refused: &r}
		}
	}
	return results, nil
}

// Field is what describe says about one field.
type Field struct {
	Name             string     `json:"name"`
	Type             string     `json:"type"`
	Length           int        `json:"length"`
	Precision        int        `json:"precision"`
	Scale            int        `json:"scale"`
	Createable       bool       `json:"createable"`
	Updateable       bool       `json:"updateable"`
	Nillable         bool       `json:"nillable"`
	Defaulted        bool       `json:"defaultedOnCreate"`
	ExternalID       bool       `json:"externalId"`
	IDLookup         bool       `json:"idLookup"`
	Unique           bool       `json:"unique"`
	Restricted       bool       `json:"restrictedPicklist"`
	Picklist         []Picklist `json:"picklistValues"`
	ReferenceTo      []string   `json:"referenceTo"`
	RelationshipName string     `json:"relationshipName"`
}

// Picklist is one value of a list.
type Picklist struct {
	Value  string `json:"value"`
	Active bool   `json:"active"`
}

// Describe returns the fields of an object. NotFound when the org has no such object.
func (c *Client) Describe(ctx context.Context, object string) ([]Field, error) {
	var answer struct {
		Fields []Field `json:"fields"`
	}
	if err := c.call(ctx, request{method: http.MethodGet, path: "sobjects/" + object + "/describe"}, &answer); err != nil {
		return nil, fmt.Errorf("describe %s: %w", object, err)
	}
	return answer.Fields, nil
}

// FullID returns the 18-character form of a record id: the suffix encodes the case of the first 15 characters. Anything that
// is not 15 characters long is returned unchanged.
func FullID(id string) string {
	if len(id) != 15 {
		return id
	}
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"
	var b strings.Builder
	b.WriteString(id)
	for group := range 3 {
		mask := 0
		for i := range 5 {
			if ch := id[group*5+i]; ch >= 'A' && ch <= 'Z' {
				mask |= 1 << i
			}
		}
		b.WriteByte(alphabet[mask])
	}
	return b.String()
}
