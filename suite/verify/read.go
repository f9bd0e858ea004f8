package verify

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	erpv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/erp/v1"
	"github.com/selfsame-io/selfsame/suite/crm"
)

// Systems are the two systems and how to tell what Selfsame made.
type Systems struct {
	// Salesforce reads the CRM.
	Salesforce *crm.Client
	// Integration is the id of the Salesforce user Selfsame writes as; what that user created, Selfsame made.
	Integration string
	// ERP reads the ERP, not through a fault proxy.
	ERP grpc.ClientConnInterface
	// Foreign is the system name of a reference that records have which were in the ERP before Selfsame, or were made by
	// somebody else; records without one were made by Selfsame.
	Foreign string
}

// page is the page size asked of the ERP.
const page = 1000

// Check reads both systems and compares them.
func Check(ctx context.Context, s Systems, showValues bool) (*Report, error) {
	records, err := s.Read(ctx)
	if err != nil {
		return nil, err
	}
	return Compare(records, showValues), nil
}

// Read returns every live customer and contact of both systems.
func (s Systems) Read(ctx context.Context) ([]Record, error) {
	var parts [4][]Record
	g, ctx := errgroup.WithContext(ctx)
	for i, read := range []func(context.Context) ([]Record, error){s.accounts, s.contacts, s.erpCustomers, s.erpContacts} {
		g.Go(func() (err error) {
			parts[i], err = read(ctx)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	var all []Record
	for _, p := range parts {
		all = append(all, p...)
	}
	return all, nil
}

func (s Systems) accounts(ctx context.Context) ([]Record, error) {
	rows, err := s.Salesforce.Query(ctx, "SELECT Id, CreatedById, Selfsame_Id__c, ERP_Customer_Number__c, Name, VAT_Id__c, Email__c, Phone, Website, "+
		"BillingStreet, BillingCity, BillingPostalCode, BillingState, BillingCountry FROM Account")
	if err != nil {
		return nil, fmt.Errorf("read salesforce accounts: %w", err)
	}
	out := make([]Record, 0, len(rows))
	for _, r := range rows {
		out = append(out, Record{
			System: Salesforce, Object: Customer, ID: r.Text("Id"), ExternalID: r.Text("Selfsame_Id__c"),
			Made: r.Text("CreatedById") == s.Integration, ERPNumber: r.Text("ERP_Customer_Number__c"),
			Values: map[string]string{
				"name": r.Text("Name"), "tax_id": r.Text("VAT_Id__c"), "email": r.Text("Email__c"), "phone": r.Text("Phone"),
				"website": r.Text("Website"), "street": r.Text("BillingStreet"), "city": r.Text("BillingCity"),
				"postal_code": r.Text("BillingPostalCode"), "region": r.Text("BillingState"), "country": r.Text("BillingCountry"),
			},
		})
	}
	return out, nil
}

func (s Systems) contacts(ctx context.Context) ([]Record, error) {
	rows, err := s.Salesforce.Query(ctx, "SELECT Id, CreatedById, Selfsame_Id__c, AccountId, FirstName, LastName, Title, Department, Email, Phone, MobilePhone FROM Contact")
	if err != nil {
		return nil, fmt.Errorf("read salesforce contacts: %w", err)
	}
	out := make([]Record, 0, len(rows))
	for _, r := range rows {
		out = append(out, Record{
			System: Salesforce, Object: Contact, ID: r.Text("Id"), ExternalID: r.Text("Selfsame_Id__c"), ParentID: r.Text("AccountId"),
			Made: r.Text("CreatedById") == s.Integration,
			Values: map[string]string{
				"first_name": r.Text("FirstName"), "last_name": r.Text("LastName"), "title": r.Text("Title"),
				"department": r.Text("Department"), "email": r.Text("Email"), "phone": r.Text("Phone"), "mobile": r.Text("MobilePhone"),
			},
		})
	}
	return out, nil
}

func (s Systems) erpCustomers(ctx context.Context) ([]Record, error) {
	client := erpv1.NewCustomerServiceClient(s.ERP)
	var out []Record
	for token := ""; ; {
		res, err := client.ListCustomers(ctx, &erpv1.ListCustomersRequest{PageSize: page, PageToken: token})
		if err != nil {
			return nil, fmt.Errorf("read erp customers: %w", err)
		}
		for _, c := range res.GetCustomers() {
			external, former, made := s.refs(c.GetRefs())
			a := defaultAddress(c)
			r := Record{
				System: ERP, Object: Customer, ID: c.GetId(), ExternalID: external, Former: former, Made: made, ERPNumber: c.GetNumber(),
				Values: map[string]string{
					"name": c.GetName(), "email": c.GetEmail(), "phone": c.GetPhone(), "website": c.GetWebsite(),
					"street": a.GetStreet(), "city": a.GetCity(), "postal_code": a.GetPostalCode(), "region": a.GetRegion(), "country": a.GetCountry(),
				},
			}
			if ids := c.GetTaxIds(); len(ids) > 0 {
				r.Values["tax_id"] = ids[0].GetValue()
			}
			out = append(out, r)
		}
		if token = res.GetNextPageToken(); token == "" {
			return out, nil
		}
	}
}

func (s Systems) erpContacts(ctx context.Context) ([]Record, error) {
	client := erpv1.NewContactServiceClient(s.ERP)
	var out []Record
	for token := ""; ; {
		res, err := client.ListContacts(ctx, &erpv1.ListContactsRequest{PageSize: page, PageToken: token})
		if err != nil {
			return nil, fmt.Errorf("read erp contacts: %w", err)
		}
		for _, c := range res.GetContacts() {
			external, former, made := s.refs(c.GetRefs())
			out = append(out, Record{
				System: ERP, Object: Contact, ID: c.GetId(), ExternalID: external, Former: former, Made: made, ParentID: c.GetCustomerId(),
				Values: map[string]string{
					"first_name": c.GetFirstName(), "last_name": c.GetLastName(), "title": c.GetTitle(), "department": c.GetDepartment(),
					"email": c.GetEmail(), "phone": c.GetPhone(), "mobile": c.GetMobile(),
				},
			})
		}
		if token = res.GetNextPageToken(); token == "" {
			return out, nil
		}
	}
}

// refs returns what Selfsame wrote into a record, one id and any others, and whether it made the record.
func (s Systems) refs(refs []*erpv1.Reference) (external string, former []string, made bool) {
	made = true
	for _, r := range refs {
		switch r.GetSystem() {
		case "selfsame":
			if external != "" {
				former = append(former, external)
			}
			external = r.GetValue()
		case s.Foreign:
			made = false
		}
	}
	return external, former, made
}

func defaultAddress(c *erpv1.Customer) *erpv1.Address {
	for _, a := range c.GetAddresses() {
		if u := a.GetUsage(); u == erpv1.AddressUsage_ADDRESS_USAGE_DEFAULT || u == erpv1.AddressUsage_ADDRESS_USAGE_UNSPECIFIED {
			return a
		}
	}
	return nil
}
