// Package seed puts a data set into the two systems, the way their own users would have: Salesforce through its public REST
// API, the ERP through its contract, before Selfsame has looked at either.
//
// Invariant: nothing of Selfsame is written: no external id, no reference of its own. What was seeded carries the row's id
// as a reference of the system Legacy in the ERP and is created by another user than the integration user in Salesforce, so
// it can be told from what Selfsame made. The ERP side may be seeded again; the Salesforce side may not.
package seed

import (
	"context"
	"fmt"
	"slices"

	"google.golang.org/grpc"

	erpv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/erp/v1"
	"github.com/selfsame-io/selfsame/suite/crm"
	"github.com/selfsame-io/selfsame/suite/data"
)

// Legacy is the system name of the references that seeded ERP records carry.
const Legacy = "legacy"

// batch is the most records that either system takes in one call.
const batch = 200

// Refused is a row that a system would not take. It holds no value.
type Refused struct {
	// Source and RecordID name the row.
	Source, RecordID string
	// Reason is the system's own code.
	Reason string
	// Field is the field to blame, if the system said so.
	Field string
}

// Result is what was written.
type Result struct {
	Customers int
	Contacts  int
	Orders    int
	Cases     int
	// Refused are the rows that were left out.
	Refused []Refused
	// IDs are the system's ids, by record id of the data set.
	IDs map[string]string
}

// Salesforce inserts the Salesforce side: accounts, contacts under their accounts, and a case for every fifth of the first
// thousand accounts.
func Salesforce(ctx context.Context, c *crm.Client, set *data.Set) (*Result, error) {
	side := set.Of(data.Salesforce)
	out := &Result{IDs: map[string]string{}}
	accounts := make([]crm.Record, 0, len(side.Accounts))
	for _, a := range side.Accounts {
		accounts = append(accounts, record(map[string]string{
			"Name": a.Name, "BillingStreet": a.Street, "BillingCity": a.City, "BillingPostalCode": a.Postcode, "BillingCountry": a.Country,
			"Phone": a.Phone, "Website": a.Website, "VAT_Id__c": a.VATID,
		}))
	}
	saved, err := insert(ctx, c, "Account", accounts)
	if err != nil {
		return nil, err
	}
	out.Customers = out.take(data.Salesforce, saved, func(i int) string { return side.Accounts[i].RecordID })

	contacts := make([]crm.Record, 0, len(side.Contacts))
	for _, p := range side.Contacts {
		contacts = append(contacts, record(map[string]string{
			"FirstName": p.FirstName, "LastName": p.LastName, "Email": p.Email, "Phone": p.Phone, "MobilePhone": p.Mobile, "Title": p.Title,
			"AccountId": out.IDs[p.AccountID],
		}))
	}
	if saved, err = insert(ctx, c, "Contact", contacts); err != nil {
		return nil, err
	}
	out.Contacts = out.take(data.Salesforce, saved, func(i int) string { return side.Contacts[i].RecordID })

	var cases []crm.Record
	for i := 0; i < min(len(side.Accounts), extras); i += 5 {
		if id := out.IDs[side.Accounts[i].RecordID]; id != "" {
			cases = append(cases, crm.Record{"AccountId": id, "Subject": subjects[i/5%len(subjects)], "Status": "New", "Priority": "Medium", "Origin": "Phone"})
		}
	}
	if saved, err = insert(ctx, c, "Case", cases); err != nil {
		return nil, err
	}
	for _, s := range saved {
		if s.Err != nil {
			return nil, fmt.Errorf("seed case: %w", s.Err)
		}
	}
	out.Cases = len(saved)
	return out, nil
}

// record leaves blank fields out, as a data loader does.
func record(fields map[string]string) crm.Record {
	r := crm.Record{}
	for k, v := range fields {
		if v != "" {
			r[k] = v
		}
	}
	return r
}

func insert(ctx context.Context, c *crm.Client, object string, records []crm.Record) ([]crm.Saved, error) {
	var all []crm.Saved
	for chunk := range slices.Chunk(records, batch) {
		saved, err := c.Insert(ctx, object, chunk)
		if err != nil {
			return nil, fmt.Errorf("seed salesforce: %w", err)
		}
		all = append(all, saved...)
	}
	return all, nil
}

// take notes ids and refusals and returns how many were saved.
func (r *Result) take(source string, saved []crm.Saved, id func(int) string) int {
	n := 0
	for i, s := range saved {
		if s.Err != nil {
			bad := Refused{Source: source, RecordID: id(i), Reason: s.Err.Code}
			if len(s.Err.Fields) > 0 {
				bad.Field = s.Err.Fields[0]
			}
			r.Refused = append(r.Refused, bad)
			continue
		}
		r.IDs[id(i)] = s.ID
		n++
	}
	return n
}

// ERP writes the ERP side: customers, contacts under their customers, a catalogue, and for the first thousand customers
// orders and warranties.
func ERP(ctx context.Context, conn grpc.ClientConnInterface, set *data.Set) (*Result, error) {
	side := set.Of(data.ERP)
	out := &Result{IDs: map[string]string{}}
	if err := out.erpCustomers(ctx, conn, side.Accounts); err != nil {
		return nil, err
	}
	if err := out.erpContacts(ctx, conn, side.Contacts); err != nil {
		return nil, err
	}
	if err := catalogue(ctx, conn); err != nil {
		return nil, err
	}
	for i, a := range side.Accounts[:min(len(side.Accounts), extras)] {
		id := out.IDs[a.RecordID]
		if id == "" {
			continue
		}
		n, err := orders(ctx, conn, i, id, a.RecordID)
		if err != nil {
			return nil, err
		}
		out.Orders += n
	}
	return out, nil
}

func (r *Result) erpCustomers(ctx context.Context, conn grpc.ClientConnInterface, rows []data.Account) error {
	client := erpv1.NewCustomerServiceClient(conn)
	for chunk := range slices.Chunk(rows, batch) {
		req := &erpv1.BatchUpsertCustomersRequest{}
		for _, a := range chunk {
			req.Upserts = append(req.Upserts, &erpv1.CustomerUpsert{Customer: customer(a), Key: reference("customer", a.RecordID)})
		}
		res, err := client.BatchUpsertCustomers(ctx, req)
		if err != nil {
			return fmt.Errorf("seed erp customers: %w", err)
		}
		for i, x := range res.GetResults() {
			if r.outcome(chunk[i].RecordID, x.GetCustomer().GetId(), x.GetError()) {
				r.Customers++
			}
		}
	}
	return nil
}

func (r *Result) erpContacts(ctx context.Context, conn grpc.ClientConnInterface, rows []data.Contact) error {
	client := erpv1.NewContactServiceClient(conn)
	for chunk := range slices.Chunk(rows, batch) {
		req := &erpv1.BatchUpsertContactsRequest{}
		for _, p := range chunk {
			req.Upserts = append(req.Upserts, &erpv1.ContactUpsert{Key: reference("contact", p.RecordID), Contact: &erpv1.Contact{
				CustomerId: r.IDs[p.AccountID], FirstName: p.FirstName, LastName: p.LastName, Title: p.Title, Email: p.Email, Phone: p.Phone, Mobile: p.Mobile,
			}})
		}
		res, err := client.BatchUpsertContacts(ctx, req)
		if err != nil {
			return fmt.Errorf("seed erp contacts: %w", err)
		}
		for i, x := range res.GetResults() {
			if r.outcome(chunk[i].RecordID, x.GetContact().GetId(), x.GetError()) {
				r.Contacts++
			}
		}
	}
	return nil
}

func (r *Result) outcome(recordID, id string, refused *erpv1.RecordError) bool {
	if refused != nil {
		r.Refused = append(r.Refused, Refused{Source: data.ERP, RecordID: recordID, Reason: refused.GetReason(), Field: refused.GetField()})
		return false
	}
	r.IDs[recordID] = id
	return true
}

func customer(a data.Account) *erpv1.Customer {
	c := &erpv1.Customer{
		Number: a.RecordID, Kind: erpv1.CustomerKind_CUSTOMER_KIND_ORGANIZATION, Name: a.Name, Phone: a.Phone, Website: a.Website,
		Addresses: []*erpv1.Address{{
			Usage: erpv1.AddressUsage_ADDRESS_USAGE_DEFAULT, Street: a.Street, City: a.City, PostalCode: a.Postcode, Country: a.Country,
		}},
	}
	if a.VATID != "" {
		c.TaxIds = []*erpv1.TaxId{{Scheme: "eu_vat", Value: a.VATID}}
	}
	return c
}

func reference(kind, id string) *erpv1.Reference {
	return &erpv1.Reference{System: Legacy, Type: kind, Value: id}
}
