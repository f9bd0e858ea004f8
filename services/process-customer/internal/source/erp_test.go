package source

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/selfsame-io/selfsame/pkg/fault"
	erpv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/erp/v1"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
)

// backend is a small system-erp.
type backend struct {
	erpv1.UnimplementedCustomerServiceServer
	erpv1.UnimplementedContactServiceServer
	erpv1.UnimplementedOrderServiceServer
	erpv1.UnimplementedProductServiceServer
	erpv1.UnimplementedChangeServiceServer
	customers, contacts *table

	upserts  []*erpv1.CustomerUpsert
	readErr  error
	onUpsert func()
}

func newBackend(t *testing.T) (*backend, *ERP) {
	t.Helper()
	b := &backend{customers: newTable(), contacts: newTable()}
	conn := connect(t, func(r grpc.ServiceRegistrar) {
		erpv1.RegisterCustomerServiceServer(r, b)
		erpv1.RegisterContactServiceServer(r, b)
		erpv1.RegisterOrderServiceServer(r, b)
		erpv1.RegisterProductServiceServer(r, b)
		erpv1.RegisterChangeServiceServer(r, b)
	})
	return b, NewERP("erp", conn)
}

func (b *backend) BatchUpsertCustomers(_ context.Context, req *erpv1.BatchUpsertCustomersRequest) (*erpv1.BatchUpsertCustomersResponse, error) {
	if b.onUpsert != nil {
		b.onUpsert()
	}
	b.customers.mu.Lock()
	defer b.customers.mu.Unlock()
	resp := &erpv1.BatchUpsertCustomersResponse{}
	for _, u := range req.GetUpserts() {
		b.upserts = append(b.upserts, u)
		row, outcome, problem := upsertRow(b.customers, "", u.GetCustomer(), u.GetKey(), u.GetUpdateMask().GetPaths(), u.GetExpectedVersion(), "name")
		res := &erpv1.CustomerUpsertResult{Outcome: outcome, Error: problem}
		if problem == nil {
			res.Customer = row.(*erpv1.Customer)
		}
		resp.Results = append(resp.Results, res)
	}
	return resp, nil
}

func (b *backend) BatchUpsertContacts(_ context.Context, req *erpv1.BatchUpsertContactsRequest) (*erpv1.BatchUpsertContactsResponse, error) {
	b.contacts.mu.Lock()
	defer b.contacts.mu.Unlock()
	resp := &erpv1.BatchUpsertContactsResponse{}
	for _, u := range req.GetUpserts() {
		row, outcome, problem := upsertRow(b.contacts, "P", u.GetContact(), u.GetKey(), u.GetUpdateMask().GetPaths(), u.GetExpectedVersion(), "last_name")
		res := &erpv1.ContactUpsertResult{Outcome: outcome, Error: problem}
		if problem == nil {
			res.Contact = row.(*erpv1.Contact)
		}
		resp.Results = append(resp.Results, res)
	}
	return resp, nil
}

type referenced interface {
	proto.Message
	GetRefs() []*erpv1.Reference
}

func refused(reason, field string) (proto.Message, erpv1.Outcome, *erpv1.RecordError) {
	return nil, erpv1.Outcome_OUTCOME_REFUSED, &erpv1.RecordError{Reason: reason, Field: field}
}

// upsertRow does what system-erp promises for one record.
func upsertRow(t *table, prefix string, m referenced, key *erpv1.Reference, paths []string, version int64, required string) (proto.Message, erpv1.Outcome, *erpv1.RecordError) {
	id := get(m, "id").String()
	if id != "" && t.rows[id] == nil {
		return refused("NOT_FOUND", "")
	}
	for have, row := range t.rows {
		for _, ref := range row.(referenced).GetRefs() {
			if id == "" && proto.Equal(ref, key) {
				id = have
			}
		}
	}
	row, outcome := proto.Clone(m).(referenced), erpv1.Outcome_OUTCOME_CREATED
	if id != "" {
		if have := get(t.rows[id], "version").Int(); version != 0 && version != have {
			return refused(fault.ReasonETagMismatch, "")
		}
		row, outcome = proto.Clone(t.rows[id]).(referenced), erpv1.Outcome_OUTCOME_UPDATED
		apply(row, m, paths)
	}
	if get(row, required).String() == "" {
		return refused("FIELD_REQUIRED", required)
	}
	known := key == nil
	for _, ref := range row.GetRefs() {
		known = known || proto.Equal(ref, key)
	}
	if !known {
		r := row.ProtoReflect()
		list := r.Mutable(r.Descriptor().Fields().ByName("refs")).List()
		v := list.NewElement()
		proto.Merge(v.Message().Interface(), key)
		list.Append(v)
	}
	switch {
	case id == "":
		t.insert(prefix, row)
	case proto.Equal(row, t.rows[id]):
		outcome = erpv1.Outcome_OUTCOME_UNCHANGED
	default:
		t.store(id, row)
	}
	return row, outcome, nil
}

func (b *backend) BatchGetCustomers(_ context.Context, req *erpv1.BatchGetCustomersRequest) (*erpv1.BatchGetCustomersResponse, error) {
	b.customers.mu.Lock()
	defer b.customers.mu.Unlock()
	if b.readErr != nil {
		return nil, b.readErr
	}
	resp := &erpv1.BatchGetCustomersResponse{}
	for _, id := range req.GetIds() {
		if b.customers.rows[id] == nil {
			resp.MissingIds = append(resp.MissingIds, id)
			continue
		}
		resp.Customers = append(resp.Customers, b.customers.rows[id].(*erpv1.Customer))
	}
	return resp, nil
}

func (b *backend) BatchGetContacts(_ context.Context, req *erpv1.BatchGetContactsRequest) (*erpv1.BatchGetContactsResponse, error) {
	b.contacts.mu.Lock()
	defer b.contacts.mu.Unlock()
	resp := &erpv1.BatchGetContactsResponse{}
	for _, id := range req.GetIds() {
		resp.Contacts = append(resp.Contacts, b.contacts.rows[id].(*erpv1.Contact))
	}
	return resp, nil
}

func (b *backend) ListCustomers(_ context.Context, req *erpv1.ListCustomersRequest) (*erpv1.ListCustomersResponse, error) {
	b.customers.mu.Lock()
	defer b.customers.mu.Unlock()
	ids, next := b.customers.page(req.GetPageToken())
	resp := &erpv1.ListCustomersResponse{NextPageToken: next}
	for _, id := range ids {
		resp.Customers = append(resp.Customers, b.customers.rows[id].(*erpv1.Customer))
	}
	return resp, nil
}

func (b *backend) WatchChanges(req *erpv1.WatchChangesRequest, stream grpc.ServerStreamingServer[erpv1.WatchChangesResponse]) error {
	return b.customers.follow(stream.Context(), req.GetResumeToken(), func(token string, from int, ids []string) error {
		b.customers.mu.Lock()
		defer b.customers.mu.Unlock()
		msg := &erpv1.WatchChangesResponse{ResumeToken: token, Changes: []*erpv1.Change{{Id: "about something else"}}}
		for i, id := range ids {
			msg.Changes = append(msg.Changes, &erpv1.Change{Id: fmt.Sprint(from + i), CommitTime: someTime(), Customer: b.customers.rows[id].(*erpv1.Customer)})
		}
		return stream.Send(msg)
	})
}

func (b *backend) ListOrders(context.Context, *erpv1.ListOrdersRequest) (*erpv1.ListOrdersResponse, error) {
	return &erpv1.ListOrdersResponse{NextPageToken: "n", Orders: []*erpv1.Order{{
		Id: "O1", OrderTime: someTime(), State: erpv1.OrderState_ORDER_STATE_CONFIRMED, Fulfilment: erpv1.Progress_PROGRESS_PARTIAL,
		Total: &erpv1.Money{Amount: "12.50", Currency: "EUR"}, Items: make([]*erpv1.OrderItem, 3),
	}}}, nil
}

func (b *backend) ListWarranties(_ context.Context, req *erpv1.ListWarrantiesRequest) (*erpv1.ListWarrantiesResponse, error) {
	end := someTime()
	end.Seconds += int64(len(req.GetCustomerId()))
	return &erpv1.ListWarrantiesResponse{Warranties: []*erpv1.Warranty{{SerialNumber: req.GetCustomerId(), Sku: "S", EndTime: end, Status: erpv1.WarrantyStatus_WARRANTY_STATUS_ACTIVE}}}, nil
}

// Create, Edit and Delete make the backend sourcetest.People.
func (b *backend) Create(obj golden.Object, parentID string, values golden.Values) string {
	if obj == golden.Contact {
		b.contacts.mu.Lock()
		defer b.contacts.mu.Unlock()
		m := &erpv1.Contact{CustomerId: parentID}
		fill(erpContact(), m, values)
		return b.contacts.insert("P", m)
	}
	b.customers.mu.Lock()
	defer b.customers.mu.Unlock()
	m := &erpv1.Customer{}
	fill(erpCustomer(), m, values)
	return b.customers.insert("", m)
}

func (b *backend) Edit(_ golden.Object, id string, values golden.Values) {
	b.customers.mu.Lock()
	defer b.customers.mu.Unlock()
	m := proto.CloneOf(b.customers.rows[id].(*erpv1.Customer))
	fill(erpCustomer(), m, values)
	b.customers.store(id, m)
}

func (b *backend) Delete(_ golden.Object, id string) {
	b.customers.mu.Lock()
	defer b.customers.mu.Unlock()
	b.customers.store(id, &erpv1.Customer{Deleted: true, Version: get(b.customers.rows[id], "version").Int()})
}

func (b *backend) row(id string) *erpv1.Customer {
	b.customers.mu.Lock()
	defer b.customers.mu.Unlock()
	return b.customers.rows[id].(*erpv1.Customer)
}

// rich stores a customer with more addresses and tax numbers than we keep and returns its id.
func (b *backend) rich() string {
	b.customers.mu.Lock()
	defer b.customers.mu.Unlock()
	return b.customers.insert("", &erpv1.Customer{
		Name: "Acme", Number: "K1",
		Addresses: []*erpv1.Address{
			{Usage: erpv1.AddressUsage_ADDRESS_USAGE_DEFAULT, Street: "Ring 9", City: "Wien", PostalCode: "1010", Country: "AT"},
			{Usage: erpv1.AddressUsage_ADDRESS_USAGE_BILL_TO, City: "Graz"},
		},
		TaxIds: []*erpv1.TaxId{{Scheme: "at_fn", Value: "FN 1"}, {Scheme: schemeVAT, Value: "ATU1"}},
	})
}

func one(t *testing.T, sys System, w Write) Result {
	t.Helper()
	results, err := sys.Upsert(t.Context(), golden.Customer, []Write{w})
	require.NoError(t, err)
	require.Len(t, results, 1)
	return results[0]
}

func TestERPLists(t *testing.T) {
	t.Parallel()

	t.Run("the default address and the main tax number are read", func(t *testing.T) {
		t.Parallel()
		b, sys := newBackend(t)
		recs, _, err := sys.Fetch(t.Context(), golden.Customer, []string{b.rich()})
		require.NoError(t, err)
		require.Equal(t, golden.Values{
			golden.Name: "Acme", golden.ERPNumber: "K1", golden.TaxID: "ATU1", golden.Email: "", golden.Phone: "", golden.Website: "",
			golden.Street: "Ring 9", golden.City: "Wien", golden.PostalCode: "1010", golden.Country: "AT", golden.Region: "",
		}, recs[0].Values)
	})
	t.Run("writing a part keeps the rest of the address, other addresses and other numbers", func(t *testing.T) {
		t.Parallel()
		b, sys := newBackend(t)
		id := b.rich()
		res := one(t, sys, Write{Ref: golden.Ref{RecordID: id}, Values: golden.Values{golden.Street: "Allee 3", golden.TaxID: "ATU2"}})
		require.NoError(t, res.Err)
		require.Equal(t, []string{"Allee 3", "Wien", "ATU2"}, []string{res.Record.Values[golden.Street], res.Record.Values[golden.City], res.Record.Values[golden.TaxID]})
		row := b.row(id)
		require.Len(t, row.GetAddresses(), 2)
		require.Equal(t, "Graz", row.GetAddresses()[0].GetCity())
		require.Len(t, row.GetTaxIds(), 2)
		require.Equal(t, "FN 1", row.GetTaxIds()[0].GetValue())
	})
	t.Run("an address and a number emptied are removed and the others stay", func(t *testing.T) {
		t.Parallel()
		b, sys := newBackend(t)
		id := b.rich()
		values := golden.Values{golden.TaxID: ""}
		for _, f := range addressFields() {
			values[f] = ""
		}
		require.NoError(t, one(t, sys, Write{Ref: golden.Ref{RecordID: id}, Values: values}).Err)
		require.Len(t, b.row(id).GetAddresses(), 1)
		require.Len(t, b.row(id).GetTaxIds(), 1)
	})
	t.Run("a list is not written over a record that changed since it was read", func(t *testing.T) {
		t.Parallel()
		b, sys := newBackend(t)
		id := b.rich()
		b.onUpsert = func() { b.onUpsert = nil; b.Edit(golden.Customer, id, golden.Values{golden.Phone: "1"}) }
		res := one(t, sys, Write{Ref: golden.Ref{RecordID: id}, Values: golden.Values{golden.City: "Linz"}})
		require.Equal(t, fault.ReasonETagMismatch, fault.ReasonOf(res.Err))
		require.Equal(t, fault.Conflict, fault.KindOf(res.Err))
	})
	t.Run("a record found by its key keeps its lists and gets our parts of them", func(t *testing.T) {
		t.Parallel()
		b, sys := newBackend(t)
		id := b.rich()
		first := one(t, sys, Write{Ref: golden.Ref{RecordID: id}, ExternalID: "x", Values: name("Acme")})
		require.NoError(t, first.Err)
		res := one(t, sys, Write{ExternalID: "x", Values: golden.Values{golden.Name: "Acme AG", golden.City: "Linz"}})
		require.NoError(t, res.Err)
		require.False(t, res.Created)
		require.Equal(t, id, res.RecordID)
		require.Equal(t, []string{"Acme AG", "Linz", "Ring 9"}, []string{res.Record.Values[golden.Name], res.Record.Values[golden.City], res.Record.Values[golden.Street]})
		require.Len(t, b.row(id).GetAddresses(), 2)
		require.Len(t, b.row(id).GetTaxIds(), 2)
	})
	t.Run("a record written in part is uncertain, never refused", func(t *testing.T) {
		t.Parallel()
		b, sys := newBackend(t)
		id := b.rich()
		require.NoError(t, one(t, sys, Write{Ref: golden.Ref{RecordID: id}, ExternalID: "x", Values: name("Acme")}).Err)
		b.readErr = fault.New(fault.Invalid, "", "no")
		res := one(t, sys, Write{ExternalID: "x", Values: golden.Values{golden.Name: "Acme AG", golden.City: "Linz"}})
		require.Equal(t, fault.Uncertain, fault.KindOf(res.Err))
		require.False(t, OutcomeKnown(res.Err))
	})
	t.Run("a record that cannot be read is not written and the call may be repeated", func(t *testing.T) {
		t.Parallel()
		b, sys := newBackend(t)
		id := b.rich()
		b.readErr = errors.New("broken")
		_, err := sys.Upsert(t.Context(), golden.Customer, []Write{{Ref: golden.Ref{RecordID: id}, Values: golden.Values{golden.City: "Linz"}}})
		require.True(t, fault.Retryable(err))
		require.Empty(t, b.upserts)
	})
	t.Run("a new number gets its scheme from its form", func(t *testing.T) {
		t.Parallel()
		for value, want := range map[string]string{"DE123456788": schemeVAT, "12/345/67890": schemeOther, "ATU": schemeOther, "CHE-1": schemeOther} {
			require.Equal(t, want, withTaxID(nil, golden.Values{golden.TaxID: value})[0].GetScheme(), value)
		}
	})
}

func TestERPWrites(t *testing.T) {
	t.Parallel()

	t.Run("the key and the expected version are sent and an unchanged record is told", func(t *testing.T) {
		t.Parallel()
		b, sys := newBackend(t)
		id := b.Create(golden.Customer, "", name("Acme"))
		res := one(t, sys, Write{Ref: golden.Ref{RecordID: id}, ExternalID: "x", Values: golden.Values{}, ExpectedVersion: 1})
		require.NoError(t, res.Err)
		require.Equal(t, "x", res.Record.ExternalID)
		require.Equal(t, int64(2), res.Version)
		require.Equal(t, []string{"refs"}, b.upserts[0].GetUpdateMask().GetPaths())
		require.True(t, proto.Equal(&erpv1.Reference{System: "selfsame", Type: "customer", Value: "x"}, b.upserts[0].GetKey()))
		res = one(t, sys, Write{Ref: golden.Ref{RecordID: id}, ExternalID: "x", Values: name("Acme"), ExpectedVersion: 2})
		require.True(t, res.Unchanged)
		res = one(t, sys, Write{Ref: golden.Ref{RecordID: id}, Values: name("Other"), ExpectedVersion: 1})
		require.Equal(t, fault.Conflict, fault.KindOf(res.Err))
	})
	t.Run("a record that is not there is told", func(t *testing.T) {
		t.Parallel()
		_, sys := newBackend(t)
		res := one(t, sys, Write{Ref: golden.Ref{RecordID: "gone"}, Values: name("A")})
		require.Equal(t, fault.NotFound, fault.KindOf(res.Err))
	})
	t.Run("it carries everything but the segment", func(t *testing.T) {
		t.Parallel()
		_, sys := newBackend(t)
		require.NotContains(t, sys.Fields(golden.Customer), golden.Segment)
		require.Len(t, sys.Fields(golden.Customer), len(golden.Fields(golden.Customer))-1)
		require.Equal(t, golden.Fields(golden.Contact), sys.Fields(golden.Contact))
	})
}

func TestERPReads(t *testing.T) {
	t.Parallel()
	_, sys := newBackend(t)

	t.Run("orders come page by page", func(t *testing.T) {
		t.Parallel()
		orders, next, err := sys.Orders(t.Context(), []string{"1"}, 20, "")
		require.NoError(t, err)
		require.Equal(t, "n", next)
		require.Equal(t, []Order{{ID: "O1", OrderTime: someTime().AsTime(), State: "CONFIRMED", Fulfilment: "PARTIAL", TotalAmount: "12.50", TotalCurrency: "EUR", Items: 3}}, orders)
	})
	t.Run("warranties of several records come together, the longest first", func(t *testing.T) {
		t.Parallel()
		got, err := sys.Warranties(t.Context(), []string{"1", "333", "22"}, 2)
		require.NoError(t, err)
		require.Equal(t, []string{"333", "22"}, []string{got[0].SerialNumber, got[1].SerialNumber})
		require.Equal(t, "ACTIVE", got[0].Status)
	})
}

func TestERPMerge(t *testing.T) {
	t.Parallel()
	b, e := newBackend(t)
	b.customers.store("2", &erpv1.Customer{Id: "2", Deleted: true, Version: 3, MergedInto: "1"})
	recs, missing, err := e.Fetch(t.Context(), golden.Customer, []string{"2"})
	require.NoError(t, err)
	require.Empty(t, missing)
	require.Len(t, recs, 1)
	require.Equal(t, []any{true, "1"}, []any{recs[0].Deleted, recs[0].MergedInto}, "who reads the tombstone learns who took its place")
	c, ok := e.change(&erpv1.Change{Id: "c", Customer: b.customers.rows["2"].(*erpv1.Customer)})
	require.True(t, ok)
	require.Equal(t, []any{true, "1", recs[0].Version}, []any{c.Deleted, c.MergedInto, c.Version})
	c, ok = e.change(&erpv1.Change{Id: "d", Customer: &erpv1.Customer{Id: "1", Version: 1, MergedInto: "9"}})
	require.True(t, ok)
	require.Empty(t, c.MergedInto, "who lives was not merged away")
}

func TestFollow(t *testing.T) {
	t.Parallel()

	t.Run("a feed that falls silent is given up, the time its reader takes does not count", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			start, n := time.Now(), 0
			err := follow(t.Context(), time.Minute, func(ctx context.Context) (func() (Batch, error), error) {
				return func() (Batch, error) {
					if n++; n == 1 {
						return Batch{}, nil
					}
					<-ctx.Done()
					return Batch{}, ctx.Err()
				}, nil
			}, func(Batch) error { <-time.After(time.Hour); return nil })
			require.True(t, fault.Retryable(err))
			require.ErrorIs(t, err, errSilent)
			require.Equal(t, time.Hour+time.Minute, time.Since(start))
		})
	})
	t.Run("a stream that cannot be opened is an error", func(t *testing.T) {
		t.Parallel()
		err := follow(t.Context(), time.Minute, func(context.Context) (func() (Batch, error), error) {
			return nil, fault.New(fault.Precondition, fault.ReasonResumeTokenExpired, "gone")
		}, nil)
		require.Equal(t, fault.ReasonResumeTokenExpired, fault.ReasonOf(err))
	})
}
