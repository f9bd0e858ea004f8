package source

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/selfsame-io/selfsame/pkg/fault"
	erpv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/erp/v1"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
)

// erpPage is the greatest page the service gives.
const erpPage = 1000

// refSystem marks our references among those of an ERP record. The type of a reference is the kind of record.
const refSystem = "selfsame"

// ERP is the ERP behind system-erp. It keeps our id as a reference, checks expected versions and returns what it
// stored. Of a customer's addresses we keep the default one, of the tax numbers one; the others are left as they are.
type ERP struct {
	name      string
	quiet     time.Duration
	customers erpv1.CustomerServiceClient
	contacts  erpv1.ContactServiceClient
	orders    erpv1.OrderServiceClient
	products  erpv1.ProductServiceClient
	changes   erpv1.ChangeServiceClient
}

var _ System = (*ERP)(nil)

// NewERP returns the system under the configured name. The connection stays the caller's.
func NewERP(name string, conn grpc.ClientConnInterface) *ERP {
	return &ERP{
		name: name, quiet: silence,
		customers: erpv1.NewCustomerServiceClient(conn),
		contacts:  erpv1.NewContactServiceClient(conn),
		orders:    erpv1.NewOrderServiceClient(conn),
		products:  erpv1.NewProductServiceClient(conn),
		changes:   erpv1.NewChangeServiceClient(conn),
	}
}

// ERPServices returns the services that NewERP calls, for the client's retry policy.
func ERPServices() []protoreflect.ServiceDescriptor {
	return []protoreflect.ServiceDescriptor{
		erpv1.File_selfsame_erp_v1_customer_service_proto.Services().ByName("CustomerService"),
		erpv1.File_selfsame_erp_v1_contact_service_proto.Services().ByName("ContactService"),
		erpv1.File_selfsame_erp_v1_order_service_proto.Services().ByName("OrderService"),
		erpv1.File_selfsame_erp_v1_product_service_proto.Services().ByName("ProductService"),
		erpv1.File_selfsame_erp_v1_change_service_proto.Services().ByName("ChangeService"),
	}
}

// Name implements System.
func (e *ERP) Name() string { return e.name }

// ChecksVersions implements System.
func (e *ERP) ChecksVersions() bool { return true }

// Fields implements System. The ERP has no market segment.
func (e *ERP) Fields(obj golden.Object) []string {
	if obj == golden.Contact {
		return fieldsOf(obj, erpContact(), golden.Parent)
	}
	return fieldsOf(obj, erpCustomer(), append(addressFields(), golden.TaxID)...)
}

// Watch implements System.
func (e *ERP) Watch(ctx context.Context, token string, fn func(Batch) error) error {
	return follow(ctx, e.quiet, func(ctx context.Context) (func() (Batch, error), error) {
		stream, err := e.changes.WatchChanges(ctx, &erpv1.WatchChangesRequest{ResumeToken: token})
		if err != nil {
			return nil, err
		}
		return func() (Batch, error) {
			msg, err := stream.Recv()
			if err != nil {
				return Batch{}, err
			}
			batch := Batch{Token: msg.GetResumeToken()}
			for _, m := range msg.GetChanges() {
				if c, ok := e.change(m); ok {
					batch.Changes = append(batch.Changes, c)
				}
			}
			return batch, nil
		}, nil
	}, fn)
}

// change translates a change; false for one about a kind of record we do not keep.
func (e *ERP) change(m *erpv1.Change) (Change, bool) {
	var rec *Record
	switch {
	case m.GetCustomer() != nil:
		rec = e.customer(m.GetCustomer())
	case m.GetContact() != nil:
		rec = e.contact(m.GetContact())
	default:
		return Change{}, false
	}
	c := Change{
		ID: m.GetId(), Ref: rec.Ref, Deleted: rec.Deleted, MergedInto: rec.MergedInto, Version: rec.Version, CommitTime: timeOf(m.GetCommitTime()),
	}
	if !rec.Deleted {
		c.Record = rec
	}
	return c, true
}

// List implements System.
func (e *ERP) List(ctx context.Context, obj golden.Object, pageToken string) ([]Record, string, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	var recs []Record
	if obj == golden.Contact {
		resp, err := e.contacts.ListContacts(ctx, &erpv1.ListContactsRequest{PageSize: erpPage, PageToken: pageToken})
		if err != nil {
			return nil, "", fault.FromStatus(err)
		}
		for _, m := range resp.GetContacts() {
			recs = append(recs, *e.contact(m))
		}
		return recs, resp.GetNextPageToken(), nil
	}
	resp, err := e.customers.ListCustomers(ctx, &erpv1.ListCustomersRequest{PageSize: erpPage, PageToken: pageToken})
	if err != nil {
		return nil, "", fault.FromStatus(err)
	}
	for _, m := range resp.GetCustomers() {
		recs = append(recs, *e.customer(m))
	}
	return recs, resp.GetNextPageToken(), nil
}

// Fetch implements System; deleted records come as tombstones.
func (e *ERP) Fetch(ctx context.Context, obj golden.Object, ids []string) (recs []Record, missing []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	err = chunks(ids, func(part []string) error {
		if obj == golden.Contact {
			resp, err := e.contacts.BatchGetContacts(ctx, &erpv1.BatchGetContactsRequest{Ids: part})
			for _, m := range resp.GetContacts() {
				recs = append(recs, *e.contact(m))
			}
			missing = append(missing, resp.GetMissingIds()...)
			return fault.FromStatus(err)
		}
		resp, err := e.customers.BatchGetCustomers(ctx, &erpv1.BatchGetCustomersRequest{Ids: part})
		for _, m := range resp.GetCustomers() {
			recs = append(recs, *e.customer(m))
		}
		missing = append(missing, resp.GetMissingIds()...)
		return fault.FromStatus(err)
	})
	if err != nil {
		return nil, nil, err
	}
	return recs, missing, nil
}

func (e *ERP) customer(m *erpv1.Customer) *Record {
	rec := stamp(e.name, golden.Customer, m)
	rec.ExternalID = ourReference(golden.Customer, m.GetRefs())
	if rec.Deleted {
		rec.MergedInto = m.GetMergedInto()
		return rec
	}
	rec.Values = valuesOf(golden.Customer, erpCustomer(), m)
	rec.Values[golden.TaxID] = ""
	if t := mainTaxID(m.GetTaxIds()); t != nil {
		rec.Values[golden.TaxID] = golden.Canonical(golden.Customer, golden.TaxID, t.GetValue())
	}
	address := defaultAddress(m.GetAddresses())
	if address == nil {
		address = &erpv1.Address{}
	}
	for _, s := range erpAddress() {
		rec.Values[s.field] = golden.Canonical(golden.Customer, s.field, *s.at(address))
	}
	return rec
}

func (e *ERP) contact(m *erpv1.Contact) *Record {
	rec := stamp(e.name, golden.Contact, m)
	rec.ExternalID = ourReference(golden.Contact, m.GetRefs())
	if !rec.Deleted {
		rec.ParentID = m.GetCustomerId()
		rec.Values = valuesOf(golden.Contact, erpContact(), m)
	}
	return rec
}

// ourReference returns the id that Selfsame wrote; "" when there is none.
func ourReference(obj golden.Object, refs []*erpv1.Reference) string {
	for _, r := range refs {
		if r.GetSystem() == refSystem && r.GetType() == string(obj) {
			return r.GetValue()
		}
	}
	return ""
}

// reference returns the key by which a write finds its record; nil without an external id.
func reference(obj golden.Object, externalID string) *erpv1.Reference {
	if externalID == "" {
		return nil
	}
	return &erpv1.Reference{System: refSystem, Type: string(obj), Value: externalID}
}

func addressFields() []string {
	return []string{golden.Street, golden.City, golden.PostalCode, golden.Region, golden.Country}
}

func erpCustomer() []slot[erpv1.Customer] {
	type customer = erpv1.Customer
	return []slot[customer]{
		{golden.Name, "name", func(m *customer) *string { return &m.Name }},
		{golden.Email, "email", func(m *customer) *string { return &m.Email }},
		{golden.Phone, "phone", func(m *customer) *string { return &m.Phone }},
		{golden.Website, "website", func(m *customer) *string { return &m.Website }},
		{golden.ERPNumber, "number", func(m *customer) *string { return &m.Number }},
	}
}

func erpAddress() []slot[erpv1.Address] {
	type address = erpv1.Address
	return []slot[address]{
		{golden.Street, "addresses", func(m *address) *string { return &m.Street }},
		{golden.City, "addresses", func(m *address) *string { return &m.City }},
		{golden.PostalCode, "addresses", func(m *address) *string { return &m.PostalCode }},
		{golden.Region, "addresses", func(m *address) *string { return &m.Region }},
		{golden.Country, "addresses", func(m *address) *string { return &m.Country }},
	}
}

func erpContact() []slot[erpv1.Contact] {
	type contact = erpv1.Contact
	return []slot[contact]{
		{golden.FirstName, "first_name", func(m *contact) *string { return &m.FirstName }},
		{golden.LastName, "last_name", func(m *contact) *string { return &m.LastName }},
		{golden.Title, "title", func(m *contact) *string { return &m.Title }},
		{golden.Department, "department", func(m *contact) *string { return &m.Department }},
		{golden.Email, "email", func(m *contact) *string { return &m.Email }},
		{golden.Phone, "phone", func(m *contact) *string { return &m.Phone }},
		{golden.Mobile, "mobile", func(m *contact) *string { return &m.Mobile }},
	}
}
