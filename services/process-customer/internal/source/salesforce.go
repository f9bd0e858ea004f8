package source

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/selfsame-io/selfsame/pkg/fault"
	salesforcev1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/salesforce/v1"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
)

// salesforcePage is the greatest page the service gives.
const salesforcePage = 2000

// Salesforce is the CRM behind system-salesforce. It keeps our id in the record's external id, checks no expected version
// where many records are written in one call, and does not return what it stored: the change feed tells.
type Salesforce struct {
	name     string
	quiet    time.Duration
	accounts salesforcev1.AccountServiceClient
	contacts salesforcev1.ContactServiceClient
	cases    salesforcev1.CaseServiceClient
	changes  salesforcev1.ChangeServiceClient
	records  salesforcev1.RecordServiceClient
}

var _ Loader = (*Salesforce)(nil)

// NewSalesforce returns the system under the configured name. The connection stays the caller's.
func NewSalesforce(name string, conn grpc.ClientConnInterface) *Salesforce {
	return &Salesforce{
		name: name, quiet: silence,
		accounts: salesforcev1.NewAccountServiceClient(conn),
		contacts: salesforcev1.NewContactServiceClient(conn),
		cases:    salesforcev1.NewCaseServiceClient(conn),
		changes:  salesforcev1.NewChangeServiceClient(conn),
		records:  salesforcev1.NewRecordServiceClient(conn),
	}
}

// SalesforceServices returns the services that NewSalesforce calls, for the client's retry policy.
func SalesforceServices() []protoreflect.ServiceDescriptor {
	return []protoreflect.ServiceDescriptor{
		salesforcev1.File_selfsame_salesforce_v1_account_service_proto.Services().ByName("AccountService"),
		salesforcev1.File_selfsame_salesforce_v1_contact_service_proto.Services().ByName("ContactService"),
		salesforcev1.File_selfsame_salesforce_v1_case_service_proto.Services().ByName("CaseService"),
		salesforcev1.File_selfsame_salesforce_v1_change_service_proto.Services().ByName("ChangeService"),
	}
}

// Name implements System.
func (s *Salesforce) Name() string { return s.name }

// ChecksVersions implements System. The service can, for the price of a call per 25 records and a wait of a second, and needs an
// etag that no feed tells.
func (s *Salesforce) ChecksVersions() bool { return false }

// Fields implements System.
func (s *Salesforce) Fields(obj golden.Object) []string {
	if obj == golden.Contact {
		return fieldsOf(obj, salesforceContact(), golden.Parent)
	}
	return fieldsOf(obj, salesforceAccount())
}

// Watch implements System.
func (s *Salesforce) Watch(ctx context.Context, token string, fn func(Batch) error) error {
	return follow(ctx, s.quiet, func(ctx context.Context) (func() (Batch, error), error) {
		stream, err := s.changes.WatchChanges(ctx, &salesforcev1.WatchChangesRequest{ResumeToken: token})
		if err != nil {
			return nil, err
		}
		return func() (Batch, error) {
			msg, err := stream.Recv()
			if err != nil {
				return Batch{}, err
			}
			batch := Batch{Token: msg.GetResumeToken(), Lost: salesforceLost(msg.GetLost()), Position: timeOf(msg.GetPositionTime())}
			if w := msg.GetWaiting(); w != nil {
				batch.Waiting = Waiting{Reason: w.GetReason(), Resume: timeOf(w.GetResumeTime())}
			}
			for _, c := range msg.GetChanges() {
				if c, ok := s.change(c); ok {
					batch.Changes = append(batch.Changes, c)
				}
			}
			return batch, nil
		}, nil
	}, fn)
}

func salesforceLost(in []*salesforcev1.LostRange) (out []Lost) {
	for _, m := range in {
		l := Lost{Cause: "position", From: timeOf(m.GetFrom()), Until: timeOf(m.GetUntil()), Done: m.GetDone(), Sent: m.GetSent()}
		if m.GetCause() == salesforcev1.LossCause_LOSS_CAUSE_OVERFLOW {
			l.Cause = "overflow"
		}
		switch m.GetObjectName() {
		case "account":
			l.Object = golden.Customer
		case "contact":
			l.Object = golden.Contact
		}
		out = append(out, l)
	}
	return out
}

// change reads a change; false when it carries nothing: a change without its record is no deletion unless it says so.
func (s *Salesforce) change(m *salesforcev1.Change) (Change, bool) {
	c := Change{
		ID: m.GetId(), Ref: golden.Ref{System: s.name, RecordID: m.GetRecordId()},
		OwnWrite: m.GetOwnWrite(), CommitTime: timeOf(m.GetCommitTime()),
		Overflow: m.GetKind() == salesforcev1.ChangeKind_CHANGE_KIND_OVERFLOW,
	}
	switch m.GetObject() {
	case salesforcev1.Object_OBJECT_ACCOUNT:
		c.Ref.Object = golden.Customer
	case salesforcev1.Object_OBJECT_CONTACT:
		c.Ref.Object = golden.Contact
	}
	if c.Overflow {
		return c, true
	}
	var rec *Record
	switch {
	case m.GetAccount() != nil:
		rec, c.Changed = s.account(m.GetAccount()), fieldsAt(salesforceAccount(), m.GetChangedFields())
	case m.GetContact() != nil:
		rec, c.Changed = s.contact(m.GetContact()), fieldsAt(salesforceContact(), m.GetChangedFields())
	}
	told := m.GetKind() == salesforcev1.ChangeKind_CHANGE_KIND_DELETED
	if rec == nil && !told {
		return Change{}, false
	}
	if told || rec.Deleted {
		// The CRM's versions are milliseconds of its clock, so the time of the deletion is its version.
		c.Deleted, c.Version, c.MergedInto = true, c.CommitTime.UnixMilli(), m.GetMergedInto()
		if rec != nil && rec.Version > c.Version {
			c.Version = rec.Version
		}
		return c, true
	}
	// Both times are by the CRM's clock; a record is stamped before its change is committed.
	c.Record, c.Version, c.Newer = rec, rec.Version, !c.CommitTime.IsZero() && rec.EventTime.After(c.CommitTime)
	return c, true
}

// List implements System.
func (s *Salesforce) List(ctx context.Context, obj golden.Object, pageToken string) ([]Record, string, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	var recs []Record
	if obj == golden.Contact {
		resp, err := s.contacts.ListContacts(ctx, &salesforcev1.ListContactsRequest{PageSize: salesforcePage, PageToken: pageToken})
		if err != nil {
			return nil, "", fault.FromStatus(err)
		}
		for _, m := range resp.GetContacts() {
			recs = append(recs, *s.contact(m))
		}
		return recs, resp.GetNextPageToken(), nil
	}
	resp, err := s.accounts.ListAccounts(ctx, &salesforcev1.ListAccountsRequest{PageSize: salesforcePage, PageToken: pageToken})
	if err != nil {
		return nil, "", fault.FromStatus(err)
	}
	for _, m := range resp.GetAccounts() {
		recs = append(recs, *s.account(m))
	}
	return recs, resp.GetNextPageToken(), nil
}

// Fetch implements System; deleted records are missing, but those that were merged into others come as tombstones that name them. Those of which the CRM tells nothing, its unreadable ids, are left out.
func (s *Salesforce) Fetch(ctx context.Context, obj golden.Object, ids []string) (recs []Record, missing []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	err = chunks(ids, func(part []string) error {
		if obj == golden.Contact {
			resp, err := s.contacts.BatchGetContacts(ctx, &salesforcev1.BatchGetContactsRequest{Ids: part})
			for _, m := range resp.GetContacts() {
				recs = append(recs, *s.contact(m))
			}
			recs, missing = s.gone(obj, recs, missing, resp)
			return fault.FromStatus(err)
		}
		resp, err := s.accounts.BatchGetAccounts(ctx, &salesforcev1.BatchGetAccountsRequest{Ids: part})
		for _, m := range resp.GetAccounts() {
			recs = append(recs, *s.account(m))
		}
		recs, missing = s.gone(obj, recs, missing, resp)
		return fault.FromStatus(err)
	})
	if err != nil {
		return nil, nil, err
	}
	return recs, missing, nil
}

// absent is an answer that names records which are not there any more.
type absent interface {
	GetMissingIds() []string
	GetMergedInto() map[string]string
}

// gone sorts records that are not there any more into those that were merged into others and those that are just gone. When a
// merge was made is not told: it counts as made now.
func (s *Salesforce) gone(obj golden.Object, recs []Record, missing []string, resp absent) ([]Record, []string) {
	for _, id := range resp.GetMissingIds() {
		into := resp.GetMergedInto()[id]
		if into == "" {
			missing = append(missing, id)
			continue
		}
		recs = append(recs, Record{
			Ref: golden.Ref{System: s.name, Object: obj, RecordID: id}, Values: golden.Values{}, Deleted: true, MergedInto: into, EventTime: time.Now().UTC(),
		})
	}
	return recs, missing
}

// Upsert implements System.
func (s *Salesforce) Upsert(ctx context.Context, obj golden.Object, writes []Write) ([]Result, error) {
	if err := checkSize(writes); err != nil || len(writes) == 0 {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	if obj == golden.Contact {
		return piecemeal(ctx, writes, s.upsertContacts)
	}
	return piecemeal(ctx, writes, s.upsertAccounts)
}

func (s *Salesforce) upsertAccounts(ctx context.Context, writes []Write) ([]Result, error) {
	req := &salesforcev1.BatchUpsertAccountsRequest{}
	for _, w := range writes {
		m := &salesforcev1.Account{Id: w.Ref.RecordID, ExternalId: w.ExternalID, Address: &salesforcev1.Address{}}
		paths := fill(salesforceAccount(), m, w.Values)
		req.Upserts = append(req.Upserts, &salesforcev1.AccountUpsert{Account: m, UpdateMask: salesforceMask(w, paths)})
	}
	resp, err := s.accounts.BatchUpsertAccounts(ctx, req)
	return salesforceResults(resp.GetResults()), err
}

func (s *Salesforce) upsertContacts(ctx context.Context, writes []Write) ([]Result, error) {
	req := &salesforcev1.BatchUpsertContactsRequest{}
	for _, w := range writes {
		m := &salesforcev1.Contact{Id: w.Ref.RecordID, ExternalId: w.ExternalID}
		paths := fill(salesforceContact(), m, w.Values)
		if w.writesParent() {
			m.AccountId = w.ParentID
			paths = append(paths, "account_id")
		}
		req.Upserts = append(req.Upserts, &salesforcev1.ContactUpsert{Contact: m, UpdateMask: salesforceMask(w, paths)})
	}
	resp, err := s.contacts.BatchUpsertContacts(ctx, req)
	return salesforceResults(resp.GetResults()), err
}

// salesforceMask names the external id only where it is written: without a record id it is the key, and the CRM takes
// no key among the values.
func salesforceMask(w Write, paths []string) *fieldmaskpb.FieldMask {
	if w.Ref.RecordID != "" && w.ExternalID != "" {
		paths = append(paths, "external_id")
	}
	return &fieldmaskpb.FieldMask{Paths: paths}
}

func salesforceResults(in []*salesforcev1.WriteResult) []Result {
	out := make([]Result, len(in))
	for i, r := range in {
		switch r.GetOutcome() {
		case salesforcev1.Outcome_OUTCOME_CREATED:
			out[i] = Result{RecordID: r.GetId(), Created: true}
		case salesforcev1.Outcome_OUTCOME_UPDATED:
			out[i] = Result{RecordID: r.GetId()}
		default:
			out[i] = Result{RecordID: r.GetId(), Err: salesforceRefusal(r.GetError())}
		}
	}
	return out
}

// salesforceRefusal is why one record was not written. One that waits for the allowance was certainly not written, and says until when.
func salesforceRefusal(e *salesforcev1.RecordError) error {
	err := refusal(e, e.GetUncertain())
	out, ok := fault.As(err)
	if !ok {
		return err
	}
	if e.GetClass() == salesforcev1.ErrorClass_ERROR_CLASS_WAIT_FOR_QUOTA && !e.GetUncertain() {
		out.Kind = fault.Exhausted
	}
	if wait := e.GetRetryAfter().AsDuration(); wait > 0 {
		out = out.WithRetryAfter(wait)
	}
	if at := e.GetResumeTime(); at != nil {
		out = out.WithMeta(fault.MetaResume, at.AsTime().Format(time.RFC3339))
	}
	return out
}

func (s *Salesforce) account(m *salesforcev1.Account) *Record {
	rec := s.record(golden.Customer, m)
	if !rec.Deleted {
		if m.Address == nil {
			m.Address = &salesforcev1.Address{}
		}
		rec.Values = valuesOf(golden.Customer, salesforceAccount(), m)
	}
	return rec
}

func (s *Salesforce) contact(m *salesforcev1.Contact) *Record {
	rec := s.record(golden.Contact, m)
	if !rec.Deleted {
		rec.ParentID = m.GetAccountId()
		rec.Values = valuesOf(golden.Contact, salesforceContact(), m)
	}
	return rec
}

// externallyStamped is a record of the CRM: our id is a field of it.
type externallyStamped interface {
	stamped
	GetExternalId() string
	GetOwnWrite() bool
}

// record reads what accounts and contacts have in common.
func (s *Salesforce) record(obj golden.Object, m externallyStamped) *Record {
	rec := stamp(s.name, obj, m)
	rec.ExternalID, rec.OwnWrite = m.GetExternalId(), m.GetOwnWrite()
	return rec
}

func salesforceAccount() []slot[salesforcev1.Account] {
	type account = salesforcev1.Account
	return []slot[account]{
		{golden.Name, "name", func(m *account) *string { return &m.Name }},
		{golden.TaxID, "tax_id", func(m *account) *string { return &m.TaxId }},
		{golden.Email, "email", func(m *account) *string { return &m.Email }},
		{golden.Phone, "phone", func(m *account) *string { return &m.Phone }},
		{golden.Website, "website", func(m *account) *string { return &m.Website }},
		{golden.Street, "address.street", func(m *account) *string { return &m.Address.Street }},
		{golden.City, "address.city", func(m *account) *string { return &m.Address.City }},
		{golden.PostalCode, "address.postal_code", func(m *account) *string { return &m.Address.PostalCode }},
		{golden.Region, "address.region", func(m *account) *string { return &m.Address.Region }},
		{golden.Country, "address.country", func(m *account) *string { return &m.Address.Country }},
		{golden.Segment, "segment", func(m *account) *string { return &m.Segment }},
		{golden.ERPNumber, "erp_number", func(m *account) *string { return &m.ErpNumber }},
	}
}

func salesforceContact() []slot[salesforcev1.Contact] {
	type contact = salesforcev1.Contact
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
