package rpc

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/idempotent"
	customerv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/customer/v1"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/engine/enginetest"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/enrich"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/later"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/rulebook"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source/sourcetest"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/steward"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store/storetest"
)

// orderBook is an ERP that has orders and is asked for a view.
type orderBook struct {
	err   error
	asked []string
	links map[string][]string
	// placed are the orders by client reference, owner the record that every order belongs to.
	placed map[string]source.NewOrder
	keys   []string
	owner  string
	// cancelled are the orders that were called off, cases those opened, by external id, stock the products.
	cancelled []string
	cases     map[string]source.NewCase
	stock     map[string]source.Stock
}

func (o *orderBook) Cancel(_ context.Context, id string) (source.Order, error) {
	o.cancelled = append(o.cancelled, id)
	return source.Order{ID: id, State: "CANCELLED", Version: 2}, o.err
}

func (o *orderBook) CheckCancel(_ context.Context, id string) (source.Order, error) {
	return source.Order{ID: id, State: "CANCELLED"}, o.err
}

func (o *orderBook) Stock(_ context.Context, sku string) (source.Stock, error) {
	p, ok := o.stock[sku]
	if !ok {
		return source.Stock{}, fault.New(fault.NotFound, "", "no product has this SKU")
	}
	return p, o.err
}

// desk is the CRM with the cases of an order book.
type desk struct{ *orderBook }

func (desk) Name() string { return "salesforce" }

func (d desk) CasePage(_ context.Context, accounts []string, openOnly bool, size int, token string) ([]source.Case, string, error) {
	d.asked = accounts
	return []source.Case{{ID: "500", Subject: fmt.Sprint(openOnly, size)}}, token + "+", d.err
}

func (d desk) Case(_ context.Context, id string) (source.CaseDetail, string, error) {
	for ref, c := range d.cases {
		if ref == id {
			return source.CaseDetail{Case: source.Case{ID: id, Subject: c.Subject}, Description: c.Description}, c.Account, d.err
		}
	}
	return source.CaseDetail{}, "", fault.New(fault.NotFound, "", "no case has this id")
}

func (d desk) OpenCase(ctx context.Context, c source.NewCase) (source.CaseDetail, error) {
	if d.err != nil {
		return source.CaseDetail{}, d.err
	}
	if d.cases == nil {
		d.cases = map[string]source.NewCase{}
	}
	d.cases[c.ExternalID] = c
	opened, _, err := d.Case(ctx, c.ExternalID)
	return opened, err
}

func (o *orderBook) Name() string { return "erp" }

func (o *orderBook) Place(ctx context.Context, asked source.NewOrder) (source.Order, error) {
	md, _ := metadata.FromOutgoingContext(ctx)
	o.keys = append(o.keys, md.Get(idempotent.Metadata)...)
	if o.err != nil {
		return source.Order{}, o.err
	}
	if o.placed == nil {
		o.placed = map[string]source.NewOrder{}
	}
	o.placed[asked.ClientRef], o.owner = asked, asked.Customer
	return source.Order{ID: "4712", Items: len(asked.Items)}, nil
}

func (o *orderBook) Order(_ context.Context, id string) (source.Order, string, error) {
	if id != "4712" {
		return source.Order{}, "", fault.New(fault.NotFound, "", "no order has this id")
	}
	return source.Order{ID: id}, o.owner, o.err
}

func (o *orderBook) Orders(_ context.Context, customers []string, size int, token string) ([]source.Order, string, error) {
	o.asked = customers
	return []source.Order{{ID: "4711", Items: size}}, token + "+", o.err
}

func (o *orderBook) View(_ context.Context, _ golden.ID, links map[string][]string) enrich.View {
	o.links = links
	return enrich.View{
		Orders: enrich.Section[source.Order]{System: "erp", State: enrich.OK, AsOf: time.Unix(1, 0), Items: []source.Order{{ID: "4711"}}},
		Cases:  enrich.Section[source.Case]{System: "salesforce", State: enrich.Unavailable, Reason: enrich.ReasonTimeout},
		Warranties: enrich.Section[source.Warranty]{
			System: "erp", State: enrich.Stale, Reason: enrich.ReasonCircuitOpen, AsOf: time.Unix(1, 0), Items: []source.Warranty{{SerialNumber: "S1"}},
		},
	}
}

func setup(t *testing.T) (*enginetest.World, *API, *orderBook) {
	t.Helper()
	t.Parallel()
	database := storetest.Schema.Open(t, "sqlite")
	w := enginetest.New(t, database)
	queue, err := later.Open(t.Context(), database)
	require.NoError(t, err)
	w.Settle()
	book := &orderBook{}
	rules := rulebook.New(rulebook.Deps{Store: w.Store, Folder: w.Folder, Brake: 50, Now: w.Clock.Now, Log: slog.New(slog.DiscardHandler), Marked: w.Wake})
	require.NoError(t, rules.Open(t.Context(), w.Rules))
	targets := make([]Target, len(w.Deliverers))
	for i, d := range w.Deliverers {
		targets[i] = d
	}
	return w, New(Deps{
		Store: w.Store, Writer: w.Intake, Rules: w.Folder.Rules, Book: rules, Steward: steward.New(w.Store, w.Folder, w.Wake), Orders: book, Cases: desk{book}, Later: queue, View: book, Desk: w.Desk(), Reconciler: comparer(t, w), Targets: targets, Poke: w.Poke,
		Answer: func(context.Context, *sql.Tx, proto.Message) error { return nil }, Now: w.Clock.Now,
	}), book
}

func keyed(t *testing.T, key string) context.Context {
	t.Helper()
	return idempotent.WithKey(t.Context(), key)
}

func create(t *testing.T, a *API, key string, c *customerv1.Customer) *customerv1.CreateCustomerResponse {
	t.Helper()
	resp, err := a.customers.CreateCustomer(keyed(t, key), &customerv1.CreateCustomerRequest{Customer: c})
	require.NoError(t, err)
	return resp
}

func update(t *testing.T, a *API, key string, c *customerv1.Customer, paths ...string) (*customerv1.Customer, error) {
	t.Helper()
	resp, err := a.customers.UpdateCustomer(keyed(t, key), &customerv1.UpdateCustomerRequest{Customer: c, UpdateMask: &fieldmaskpb.FieldMask{Paths: paths}})
	return resp.GetCustomer(), err
}

func TestCreateCustomer(t *testing.T) {
	t.Parallel()
	t.Run("a customer reaches every system once, however often the call is repeated", func(t *testing.T) {
		w, a, _ := setup(t)
		c := &customerv1.Customer{Name: "Acme GmbH", TaxId: "DE100000001", Address: &customerv1.Address{Street: "A 1", City: "Köln", Country: "DE"}}
		first := create(t, a, "k1", c)
		require.False(t, first.GetExisting())
		require.Len(t, first.GetCustomer().GetSources(), 2)
		require.True(t, first.GetCustomer().GetSources()[0].GetPending())
		again := create(t, a, "k1", c)
		require.Equal(t, first.GetCustomer().GetId(), again.GetCustomer().GetId())
		require.False(t, again.GetExisting())
		w.Settle()
		w.Check()
		require.Len(t, w.SF.Records(golden.Customer), 1)
		require.Len(t, w.ERP.Records(golden.Customer), 1)
		got, err := a.customers.GetCustomer(t.Context(), &customerv1.GetCustomerRequest{Id: first.GetCustomer().GetId()})
		require.NoError(t, err)
		require.Equal(t, w.ERP.Records(golden.Customer)[0].Ref.RecordID, got.GetCustomer().GetErpNumber())
		require.Equal(t, "Köln", got.GetCustomer().GetAddress().GetCity())
		for _, s := range got.GetCustomer().GetSources() {
			require.False(t, s.GetPending())
			require.NotEmpty(t, s.GetRecordId())
		}
		require.True(t, w.Line(golden.SystemAPI).Balanced())
		require.EqualValues(t, 1, w.Line(golden.SystemAPI).Applied)
		require.EqualValues(t, 1, w.Line(golden.SystemAPI).Duplicates)
	})
	t.Run("one that is known already is returned as it is", func(t *testing.T) {
		w, a, _ := setup(t)
		id := w.ERP.Create(golden.Customer, "", golden.Values{golden.Name: "Acme", golden.TaxID: "DE100000001"})
		w.Settle()
		got := create(t, a, "k1", &customerv1.Customer{Name: "ACME GmbH", TaxId: "DE 100 000 001", Phone: "1"})
		require.True(t, got.GetExisting())
		require.Equal(t, string(w.Golden(w.ERP, golden.Customer, id).ID), got.GetCustomer().GetId())
		require.Equal(t, "Acme", got.GetCustomer().GetName())
		require.True(t, create(t, a, "k1", &customerv1.Customer{Name: "ACME GmbH", TaxId: "DE 100 000 001", Phone: "1"}).GetExisting())
	})
	t.Run("what it refuses", func(t *testing.T) {
		_, a, _ := setup(t)
		for name, c := range map[string]*customerv1.Customer{
			"no name": {Phone: "1"}, "only blanks": {Name: " \t "}, "an id": {Name: "A", Id: "c_x"}, "an ERP number": {Name: "A", ErpNumber: "1"},
		} {
			_, err := a.customers.CreateCustomer(keyed(t, "k"), &customerv1.CreateCustomerRequest{Customer: c})
			require.Equal(t, fault.Invalid, fault.KindOf(err), name)
		}
		_, err := a.customers.CreateCustomer(t.Context(), &customerv1.CreateCustomerRequest{Customer: &customerv1.Customer{Name: "A"}})
		require.Equal(t, idempotent.ReasonKeyMissing, fault.ReasonOf(err))
	})
}

func TestUpdateCustomer(t *testing.T) {
	t.Parallel()
	t.Run("a change reaches every system and is explained", func(t *testing.T) {
		w, a, _ := setup(t)
		id := w.SF.Create(golden.Customer, "", golden.Values{golden.Name: "Acme", golden.Phone: "1", golden.Street: "A 1", golden.City: "Köln"})
		w.Settle()
		g := w.Golden(w.SF, golden.Customer, id)
		got, err := update(t, a, "k1", &customerv1.Customer{Id: string(g.ID), Etag: etag(g.Version), Phone: "2"}, "phone")
		require.NoError(t, err)
		require.Equal(t, "2", got.GetPhone())
		require.NotEqual(t, etag(g.Version), got.GetEtag())
		again, err := update(t, a, "k1", &customerv1.Customer{Id: string(g.ID), Etag: etag(g.Version), Phone: "2"}, "phone")
		require.NoError(t, err, "the repeated call finds what the first one did, though the etag is old by now")
		require.Equal(t, got.GetEtag(), again.GetEtag())
		w.Settle()
		w.Check()
		rec, _ := w.SF.Record(golden.Customer, id)
		require.Equal(t, "2", rec.Values[golden.Phone])

		why, err := a.operations.Explain(t.Context(), &customerv1.ExplainRequest{Id: string(g.ID), Field: "phone"})
		require.NoError(t, err)
		require.Len(t, why.GetFields(), 1)
		require.Equal(t, "api", why.GetFields()[0].GetWinner().GetSystem())
		require.Equal(t, "salesforce", why.GetFields()[0].GetLosers()[0].GetSystem())
	})
	t.Run("a change right after one in a system wins, although clocks cannot tell", func(t *testing.T) {
		w, a, _ := setup(t)
		id := w.ERP.Create(golden.Customer, "", golden.Values{golden.Name: "Acme", golden.Phone: "1"})
		w.Settle()
		w.ERP.Edit(golden.Customer, id, golden.Values{golden.Phone: "2"})
		require.NoError(t, w.Read(t.Context()))
		_, err := update(t, a, "k", &customerv1.Customer{Id: string(w.Golden(w.ERP, golden.Customer, id).ID), Phone: "3"}, "phone")
		require.NoError(t, err)
		w.Settle()
		w.Check()
	})
	t.Run("a part of an address keeps the rest", func(t *testing.T) {
		w, a, _ := setup(t)
		resp := create(t, a, "k1", &customerv1.Customer{Name: "Acme", Address: &customerv1.Address{Street: "A 1", City: "Köln", Country: "DE"}})
		got, err := update(t, a, "k2", &customerv1.Customer{Id: resp.GetCustomer().GetId(), Address: &customerv1.Address{City: "Bonn"}}, "address.city")
		require.NoError(t, err)
		require.Equal(t, "A 1", got.GetAddress().GetStreet())
		require.Equal(t, "Bonn", got.GetAddress().GetCity())
		w.Settle()
		w.Check()
	})
	t.Run("what it refuses, and then nothing has changed", func(t *testing.T) {
		w, a, _ := setup(t)
		id := w.SF.Create(golden.Customer, "", golden.Values{golden.Name: "Acme", golden.Email: "a@acme.example"})
		w.Settle()
		g := w.Golden(w.SF, golden.Customer, id)
		for _, c := range []struct {
			why    string
			c      *customerv1.Customer
			paths  []string
			kind   fault.Kind
			reason string
		}{
			{"another etag", &customerv1.Customer{Etag: "99", Phone: "1"}, []string{"phone"}, fault.Conflict, fault.ReasonETagMismatch},
			{"no etag of ours", &customerv1.Customer{Etag: "x", Phone: "1"}, []string{"phone"}, fault.Invalid, fault.ReasonValidationFailed},
			{"a field that Salesforce decides", &customerv1.Customer{Email: "b@acme.example"}, []string{"email"}, fault.Precondition, "FIELD_MASTERED"},
			{"a field that the ERP assigns", &customerv1.Customer{ErpNumber: "1"}, []string{"erp_number"}, fault.Precondition, "FIELD_MASTERED"},
			{"no such field", &customerv1.Customer{}, []string{"shoe_size"}, fault.Invalid, fault.ReasonValidationFailed},
			{"an empty mask", &customerv1.Customer{}, nil, fault.Invalid, fault.ReasonValidationFailed},
			{"an empty name", &customerv1.Customer{}, []string{"name"}, fault.Invalid, fault.ReasonValidationFailed},
		} {
			c.c.Id = string(g.ID)
			_, err := update(t, a, c.why, c.c, c.paths...)
			require.Equal(t, c.kind, fault.KindOf(err), c.why)
			require.Equal(t, c.reason, fault.ReasonOf(err), c.why)
		}
		require.Equal(t, g.Version, w.Golden(w.SF, golden.Customer, id).Version)
		_, err := update(t, a, "m", &customerv1.Customer{Id: string(g.ID), Email: "c@acme.example"}, "email")
		refusal, _ := fault.As(err)
		require.Equal(t, map[string]string{"field": "email", "master": "salesforce"}, refusal.Meta)
		_, err = update(t, a, "k", &customerv1.Customer{Id: "c_aaaaaaaaaaaaaaaaaaaaaaaaaa", Phone: "1"}, "phone")
		require.Equal(t, fault.NotFound, fault.KindOf(err))
		w.Deleting = true
		w.ERP.Delete(golden.Customer, w.Twin(g.ID, w.ERP).Ref.RecordID)
		w.SF.Delete(golden.Customer, id)
		w.Settle()
		_, err = update(t, a, "k", &customerv1.Customer{Id: string(g.ID), Phone: "1"}, "phone")
		require.Equal(t, "CUSTOMER_DELETED", fault.ReasonOf(err))
	})
}

func TestReading(t *testing.T) {
	t.Parallel()
	t.Run("customers are listed by page, by the beginning of their name and by a system's record", func(t *testing.T) {
		w, a, _ := setup(t)
		for i := range 5 {
			create(t, a, fmt.Sprint(i), &customerv1.Customer{Name: fmt.Sprintf("Müller %d", i), TaxId: fmt.Sprintf("DE10000000%d", i)})
		}
		create(t, a, "x", &customerv1.Customer{Name: "Other"})
		w.Settle()
		seen := map[string]bool{}
		token := ""
		for pages := 0; ; pages++ {
			resp, err := a.customers.ListCustomers(t.Context(), &customerv1.ListCustomersRequest{PageSize: 2, NamePrefix: "MUELL", PageToken: token})
			require.NoError(t, err)
			for _, c := range resp.GetCustomers() {
				seen[c.GetName()] = true
			}
			if token = resp.GetNextPageToken(); token == "" {
				require.Equal(t, 2, pages)
				break
			}
			_, err = a.customers.ListCustomers(t.Context(), &customerv1.ListCustomersRequest{PageSize: 2, PageToken: token})
			require.Equal(t, fault.ReasonPageTokenInvalid, fault.ReasonOf(err), "a token of another query")
		}
		require.Len(t, seen, 5)
		rec := w.SF.Records(golden.Customer)[0]
		resp, err := a.customers.ListCustomers(t.Context(), &customerv1.ListCustomersRequest{System: "salesforce", RecordId: rec.Ref.RecordID})
		require.NoError(t, err)
		require.Len(t, resp.GetCustomers(), 1)
		require.Equal(t, rec.ExternalID, resp.GetCustomers()[0].GetId())
		resp, err = a.customers.ListCustomers(t.Context(), &customerv1.ListCustomersRequest{System: "erp", RecordId: "none"})
		require.NoError(t, err)
		require.Empty(t, resp.GetCustomers())
		_, err = a.customers.ListCustomers(t.Context(), &customerv1.ListCustomersRequest{System: "erp"})
		require.Equal(t, fault.Invalid, fault.KindOf(err))
	})
	t.Run("contacts and orders of a customer, and the view with what its systems said", func(t *testing.T) {
		w, a, book := setup(t)
		acme := w.SF.Create(golden.Customer, "", golden.Values{golden.Name: "Acme"})
		for i := range 3 {
			w.SF.Create(golden.Contact, acme, golden.Values{golden.LastName: fmt.Sprintf("Person %d", i)})
		}
		w.Settle()
		g := w.Golden(w.SF, golden.Customer, acme)
		first, err := a.customers.ListContacts(t.Context(), &customerv1.ListContactsRequest{CustomerId: string(g.ID), PageSize: 2})
		require.NoError(t, err)
		require.Len(t, first.GetContacts(), 2)
		rest, err := a.customers.ListContacts(t.Context(), &customerv1.ListContactsRequest{CustomerId: string(g.ID), PageToken: first.GetNextPageToken()})
		require.NoError(t, err)
		require.Len(t, rest.GetContacts(), 1)
		require.Equal(t, string(g.ID), rest.GetContacts()[0].GetCustomerId())

		orders, err := a.customers.ListOrders(t.Context(), &customerv1.ListOrdersRequest{CustomerId: string(g.ID), PageToken: "t"})
		require.NoError(t, err)
		require.EqualValues(t, 20, orders.GetOrders()[0].GetItemCount(), "the default page size")
		require.Equal(t, "t+", orders.GetNextPageToken())
		erp := w.Twin(g.ID, w.ERP).Ref.RecordID
		require.Equal(t, []string{erp}, book.asked)
		book.err = sourcetest.Unreachable()
		_, err = a.customers.ListOrders(t.Context(), &customerv1.ListOrdersRequest{CustomerId: string(g.ID)})
		require.Equal(t, fault.Unavailable, fault.KindOf(err))

		view, err := a.customers.GetCustomerView(t.Context(), &customerv1.GetCustomerViewRequest{Id: string(g.ID)})
		require.NoError(t, err)
		require.Equal(t, map[string][]string{"erp": {erp}, "salesforce": {acme}}, book.links)
		require.Equal(t, customerv1.SectionState_SECTION_STATE_OK, view.GetOrdersStatus().GetState())
		require.Equal(t, customerv1.SectionState_SECTION_STATE_UNAVAILABLE, view.GetCasesStatus().GetState())
		require.Nil(t, view.GetCasesStatus().GetAsOf())
		require.Equal(t, "CIRCUIT_OPEN", view.GetWarrantiesStatus().GetReason())
		require.Equal(t, "S1", view.GetWarranties()[0].GetSerialNumber())
		local, err := a.customers.GetCustomerView(t.Context(), &customerv1.GetCustomerViewRequest{Id: string(g.ID), LocalOnly: true})
		require.NoError(t, err)
		require.Nil(t, local.GetOrdersStatus())
	})
	t.Run("what is no customer is not found", func(t *testing.T) {
		_, a, _ := setup(t)
		for _, id := range []string{"nonsense", "c_aaaaaaaaaaaaaaaaaaaaaaaaaa", "p_aaaaaaaaaaaaaaaaaaaaaaaaaa"} {
			_, err := a.customers.GetCustomer(t.Context(), &customerv1.GetCustomerRequest{Id: id})
			require.Equal(t, fault.NotFound, fault.KindOf(err), id)
		}
	})
}

func TestOperations(t *testing.T) {
	t.Parallel()
	t.Run("status, ledger, events and dead letters tell the same story", func(t *testing.T) {
		w, a, _ := setup(t)
		id := w.SF.Create(golden.Customer, "", golden.Values{golden.Name: "Acme"})
		require.NoError(t, w.Read(t.Context()))
		g := w.Golden(w.SF, golden.Customer, id)
		w.ERP.Refuse(string(g.ID), -1, sourcetest.Permanent())
		w.Settle()
		w.Leave("a system that is not configured any more")

		status, err := a.operations.GetStatus(t.Context(), &customerv1.GetStatusRequest{})
		require.NoError(t, err)
		require.EqualValues(t, 1, status.GetCustomers())
		require.Equal(t, w.Rules.Digest(), status.GetRulesVersion())
		require.Len(t, status.GetFeeds(), 2)
		require.Equal(t, "LIVE", status.GetFeeds()[1].GetState())
		require.True(t, status.GetFeeds()[1].GetScanned())
		require.Equal(t, "erp", status.GetTargets()[0].GetSystem())
		require.EqualValues(t, 1, status.GetTargets()[0].GetDeadLetters())
		require.Positive(t, status.GetTargets()[0].GetCalls())
		require.EqualValues(t, 1, status.GetTargets()[1].GetRecordsWritten())

		ledger, err := a.operations.GetLedger(t.Context(), &customerv1.GetLedgerRequest{})
		require.NoError(t, err)
		require.True(t, ledger.GetBalanced())
		letters, err := a.operations.ListDeadLetters(t.Context(), &customerv1.ListDeadLettersRequest{System: "erp"})
		require.NoError(t, err)
		require.Len(t, letters.GetDeadLetters(), 1)
		l := letters.GetDeadLetters()[0]
		require.Equal(t, "OPEN", l.GetState())
		require.Equal(t, string(g.ID), l.GetGoldenId())

		var kinds []string
		token := ""
		for {
			events, err := a.operations.ListEvents(t.Context(), &customerv1.ListEventsRequest{Id: string(g.ID), PageSize: 1, PageToken: token})
			require.NoError(t, err)
			for _, e := range events.GetEvents() {
				kinds = append(kinds, e.GetKind())
			}
			if token = events.GetNextPageToken(); token == "" {
				break
			}
		}
		require.Equal(t, w.Events(g.ID), kinds)
		require.Contains(t, kinds, "parked")

		_, err = a.operations.RetryDeadLetters(t.Context(), &customerv1.RetryDeadLettersRequest{})
		require.Equal(t, fault.Invalid, fault.KindOf(err))
		retried, err := a.operations.RetryDeadLetters(t.Context(), &customerv1.RetryDeadLettersRequest{Ids: []string{l.GetId()}})
		require.NoError(t, err)
		require.EqualValues(t, 1, retried.GetRetried())
		w.Settle()
		letters, err = a.operations.ListDeadLetters(t.Context(), &customerv1.ListDeadLettersRequest{IncludeSettled: true, PageSize: 1})
		require.NoError(t, err)
		require.NotEmpty(t, letters.GetNextPageToken())
		letters, err = a.operations.ListDeadLetters(t.Context(), &customerv1.ListDeadLettersRequest{IncludeSettled: true, PageSize: 1, PageToken: letters.GetNextPageToken()})
		require.NoError(t, err)
		discarded, err := a.operations.DiscardDeadLetter(t.Context(), &customerv1.DiscardDeadLetterRequest{Id: letters.GetDeadLetters()[0].GetId(), Reason: "no"})
		require.NoError(t, err)
		require.Equal(t, "DISCARDED", discarded.GetDeadLetter().GetState())
		require.EqualValues(t, 1, w.Line("salesforce").Refused)
	})
	t.Run("a resync is begun once", func(t *testing.T) {
		w, a, _ := setup(t)
		started, err := a.operations.Resync(t.Context(), &customerv1.ResyncRequest{System: "erp"})
		require.NoError(t, err)
		require.True(t, started.GetStarted())
		started, err = a.operations.Resync(t.Context(), &customerv1.ResyncRequest{System: "erp"})
		require.NoError(t, err)
		require.False(t, started.GetStarted())
		entries, err := a.operations.ListAudit(t.Context(), &customerv1.ListAuditRequest{Kind: "resync_requested"})
		require.NoError(t, err)
		require.Len(t, entries.GetEntries(), 1)
		require.Equal(t, "erp", entries.GetEntries()[0].GetSystem())
		_, err = a.operations.Resync(t.Context(), &customerv1.ResyncRequest{System: "sap"})
		require.Equal(t, fault.NotFound, fault.KindOf(err))
		w.Settle()
	})
}
