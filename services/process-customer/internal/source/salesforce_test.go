package source

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/selfsame-io/selfsame/pkg/fault"
	salesforcev1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/salesforce/v1"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
)

// crm is a small system-salesforce for accounts and contacts.
type crm struct {
	salesforcev1.UnimplementedAccountServiceServer
	salesforcev1.UnimplementedContactServiceServer
	salesforcev1.UnimplementedCaseServiceServer
	salesforcev1.UnimplementedChangeServiceServer
	salesforcev1.UnimplementedRecordServiceServer
	accounts, contacts *table

	invalid  string // a batch with this name in it is refused as a whole
	batches  []int
	upserts  []*salesforcev1.AccountUpsert
	result   func(*salesforcev1.AccountUpsert) *salesforcev1.WriteResult
	changes  []*salesforcev1.Change
	lost     []*salesforcev1.LostRange
	failWith error
	// keeps are ids that cannot be deleted.
	keeps map[string]bool
	// unreadable are ids of which nothing is told.
	unreadable map[string]bool
}

func newCRM(t *testing.T) (*crm, *Salesforce) {
	t.Helper()
	c := &crm{accounts: newTable(), contacts: newTable()}
	conn := connect(t, func(r grpc.ServiceRegistrar) {
		salesforcev1.RegisterAccountServiceServer(r, c)
		salesforcev1.RegisterContactServiceServer(r, c)
		salesforcev1.RegisterCaseServiceServer(r, c)
		salesforcev1.RegisterChangeServiceServer(r, c)
		salesforcev1.RegisterRecordServiceServer(r, c)
	})
	return c, NewSalesforce("salesforce", conn)
}

func (c *crm) BatchUpsertAccounts(_ context.Context, req *salesforcev1.BatchUpsertAccountsRequest) (*salesforcev1.BatchUpsertAccountsResponse, error) {
	c.accounts.mu.Lock()
	defer c.accounts.mu.Unlock()
	c.batches = append(c.batches, len(req.GetUpserts()))
	if c.failWith != nil {
		return nil, c.failWith
	}
	for _, u := range req.GetUpserts() {
		if c.invalid != "" && u.GetAccount().GetName() == c.invalid {
			return nil, fault.InvalidField("upserts.account.name", "", "breaks the contract")
		}
	}
	resp := &salesforcev1.BatchUpsertAccountsResponse{}
	for _, u := range req.GetUpserts() {
		c.upserts = append(c.upserts, u)
		if c.result != nil {
			resp.Results = append(resp.Results, c.result(u))
			continue
		}
		resp.Results = append(resp.Results, c.upsert(c.accounts, "001", u.GetAccount(), u.GetUpdateMask().GetPaths(), "name"))
	}
	return resp, nil
}

func (c *crm) BatchUpsertContacts(_ context.Context, req *salesforcev1.BatchUpsertContactsRequest) (*salesforcev1.BatchUpsertContactsResponse, error) {
	c.contacts.mu.Lock()
	defer c.contacts.mu.Unlock()
	resp := &salesforcev1.BatchUpsertContactsResponse{}
	for _, u := range req.GetUpserts() {
		resp.Results = append(resp.Results, c.upsert(c.contacts, "003", u.GetContact(), u.GetUpdateMask().GetPaths(), "last_name"))
	}
	return resp, nil
}

func (c *crm) upsert(t *table, prefix string, m proto.Message, paths []string, required string) *salesforcev1.WriteResult {
	id := get(m, "id").String()
	for have, row := range t.rows {
		if id == "" && !t.deleted(have) && get(row, "external_id").String() == get(m, "external_id").String() {
			id = have
		}
	}
	row := proto.Clone(m)
	if id != "" {
		row = proto.Clone(t.rows[id])
		apply(row, m, paths)
	}
	if get(row, required).String() == "" {
		return &salesforcev1.WriteResult{Outcome: salesforcev1.Outcome_OUTCOME_REFUSED, Error: &salesforcev1.RecordError{Reason: "FIELD_REQUIRED", Field: required}}
	}
	if id != "" {
		t.store(id, row)
		return &salesforcev1.WriteResult{Outcome: salesforcev1.Outcome_OUTCOME_UPDATED, Id: id}
	}
	return &salesforcev1.WriteResult{Outcome: salesforcev1.Outcome_OUTCOME_CREATED, Id: t.insert(prefix, row)}
}

func (c *crm) BatchGetAccounts(_ context.Context, req *salesforcev1.BatchGetAccountsRequest) (*salesforcev1.BatchGetAccountsResponse, error) {
	c.accounts.mu.Lock()
	defer c.accounts.mu.Unlock()
	resp := &salesforcev1.BatchGetAccountsResponse{}
	for _, id := range req.GetIds() {
		if c.unreadable[id] {
			resp.UnreadableIds = append(resp.UnreadableIds, id)
			continue
		}
		if c.accounts.rows[id] == nil || c.accounts.deleted(id) {
			resp.MissingIds = append(resp.MissingIds, id)
			continue
		}
		resp.Accounts = append(resp.Accounts, c.accounts.rows[id].(*salesforcev1.Account))
	}
	return resp, nil
}

func (c *crm) BatchGetContacts(_ context.Context, req *salesforcev1.BatchGetContactsRequest) (*salesforcev1.BatchGetContactsResponse, error) {
	c.contacts.mu.Lock()
	defer c.contacts.mu.Unlock()
	resp := &salesforcev1.BatchGetContactsResponse{}
	for _, id := range req.GetIds() {
		if c.unreadable[id] {
			resp.UnreadableIds = append(resp.UnreadableIds, id)
			continue
		}
		if c.contacts.rows[id] == nil {
			resp.MissingIds = append(resp.MissingIds, id)
			continue
		}
		resp.Contacts = append(resp.Contacts, c.contacts.rows[id].(*salesforcev1.Contact))
	}
	return resp, nil
}

func (c *crm) ListAccounts(_ context.Context, req *salesforcev1.ListAccountsRequest) (*salesforcev1.ListAccountsResponse, error) {
	c.accounts.mu.Lock()
	defer c.accounts.mu.Unlock()
	ids, next := c.accounts.page(req.GetPageToken())
	resp := &salesforcev1.ListAccountsResponse{NextPageToken: next}
	for _, id := range ids {
		resp.Accounts = append(resp.Accounts, c.accounts.rows[id].(*salesforcev1.Account))
	}
	return resp, nil
}

func (c *crm) ListContacts(_ context.Context, req *salesforcev1.ListContactsRequest) (*salesforcev1.ListContactsResponse, error) {
	c.contacts.mu.Lock()
	defer c.contacts.mu.Unlock()
	ids, next := c.contacts.page(req.GetPageToken())
	resp := &salesforcev1.ListContactsResponse{NextPageToken: next}
	for _, id := range ids {
		resp.Contacts = append(resp.Contacts, c.contacts.rows[id].(*salesforcev1.Contact))
	}
	return resp, nil
}

func (c *crm) WatchChanges(req *salesforcev1.WatchChangesRequest, stream grpc.ServerStreamingServer[salesforcev1.WatchChangesResponse]) error {
	if c.changes != nil {
		return stream.Send(&salesforcev1.WatchChangesResponse{Changes: c.changes, ResumeToken: "t", Lost: c.lost})
	}
	return c.accounts.follow(stream.Context(), req.GetResumeToken(), func(token string, from int, ids []string) error {
		c.accounts.mu.Lock()
		defer c.accounts.mu.Unlock()
		msg := &salesforcev1.WatchChangesResponse{ResumeToken: token}
		for i, id := range ids {
			change := &salesforcev1.Change{Id: "e" + token + "." + string(rune('a'+i)), Kind: salesforcev1.ChangeKind_CHANGE_KIND_UPDATED, Object: salesforcev1.Object_OBJECT_ACCOUNT, RecordId: id, CommitTime: someTime()}
			if c.accounts.deleted(id) {
				change.Kind = salesforcev1.ChangeKind_CHANGE_KIND_DELETED
			} else {
				change.Account = c.accounts.rows[id].(*salesforcev1.Account)
			}
			msg.Changes = append(msg.Changes, change)
		}
		return stream.Send(msg)
	})
}

func (c *crm) ListCases(_ context.Context, req *salesforcev1.ListCasesRequest) (*salesforcev1.ListCasesResponse, error) {
	if !req.GetOpenOnly() {
		return nil, fault.New(fault.Internal, "", "asked for closed cases")
	}
	return &salesforcev1.ListCasesResponse{Cases: []*salesforcev1.Case{{Id: "500", Number: "42", AccountId: req.GetAccountIds()[0], Subject: "Broken", Status: "New", Priority: "High", CreateTime: someTime()}}}, nil
}

// Create, Edit and Delete make the crm sourcetest.People.
func (c *crm) Create(obj golden.Object, parentID string, values golden.Values) string {
	if obj == golden.Contact {
		c.contacts.mu.Lock()
		defer c.contacts.mu.Unlock()
		m := &salesforcev1.Contact{AccountId: parentID}
		fill(salesforceContact(), m, values)
		return c.contacts.insert("003", m)
	}
	c.accounts.mu.Lock()
	defer c.accounts.mu.Unlock()
	m := &salesforcev1.Account{Address: &salesforcev1.Address{}}
	fill(salesforceAccount(), m, values)
	return c.accounts.insert("001", m)
}

func (c *crm) Edit(_ golden.Object, id string, values golden.Values) {
	c.accounts.mu.Lock()
	defer c.accounts.mu.Unlock()
	m := proto.Clone(c.accounts.rows[id]).(*salesforcev1.Account)
	fill(salesforceAccount(), m, values)
	c.accounts.store(id, m)
}

func (c *crm) Delete(_ golden.Object, id string) {
	c.accounts.mu.Lock()
	defer c.accounts.mu.Unlock()
	c.accounts.store(id, &salesforcev1.Account{Deleted: true, Version: get(c.accounts.rows[id], "version").Int()})
}

func name(s string) golden.Values { return golden.Values{golden.Name: s} }

func TestSalesforceWrites(t *testing.T) {
	t.Parallel()

	t.Run("the mask names what is written, and the external id only where it is not the key", func(t *testing.T) {
		t.Parallel()
		c, sys := newCRM(t)
		id := c.Create(golden.Customer, "", name("A"))
		_, err := sys.Upsert(t.Context(), golden.Customer, []Write{
			{ExternalID: "x", Values: golden.Values{golden.Name: "B", golden.City: "Wien", golden.Mobile: "no such field"}},
			{Ref: golden.Ref{RecordID: id}, ExternalID: "y", Values: golden.Values{golden.Phone: ""}},
		})
		require.NoError(t, err)
		require.Equal(t, []string{"name", "address.city"}, c.upserts[0].GetUpdateMask().GetPaths())
		require.Equal(t, []string{"phone", "external_id"}, c.upserts[1].GetUpdateMask().GetPaths())
		require.Equal(t, id, c.upserts[1].GetAccount().GetId())
	})
	t.Run("a batch refused for one record is cut until that record stands alone", func(t *testing.T) {
		t.Parallel()
		c, sys := newCRM(t)
		c.invalid = "bad"
		var writes []Write
		for i, n := range []string{"a", "b", "bad", "d", "e"} {
			writes = append(writes, Write{ExternalID: string(rune('p' + i)), Values: name(n)})
		}
		results, err := sys.Upsert(t.Context(), golden.Customer, writes)
		require.NoError(t, err)
		for i, r := range results {
			if i == 2 {
				require.Equal(t, fault.Invalid, fault.KindOf(r.Err))
				continue
			}
			require.NoError(t, r.Err)
			require.True(t, r.Created)
		}
		require.Len(t, c.accounts.rows, 4)
	})
	t.Run("a call that fails otherwise is not repeated", func(t *testing.T) {
		t.Parallel()
		c, sys := newCRM(t)
		c.failWith = fault.New(fault.Exhausted, "API_LIMIT", "no calls left")
		_, err := sys.Upsert(t.Context(), golden.Customer, []Write{{ExternalID: "x", Values: name("A")}, {ExternalID: "y", Values: name("B")}})
		require.Equal(t, fault.Exhausted, fault.KindOf(err))
		require.Equal(t, "API_LIMIT", fault.ReasonOf(err))
		require.Equal(t, []int{2}, c.batches)
	})
	t.Run("too many writes are refused before a call", func(t *testing.T) {
		t.Parallel()
		c, sys := newCRM(t)
		_, err := sys.Upsert(t.Context(), golden.Customer, make([]Write, MaxWrites+1))
		require.Equal(t, fault.Invalid, fault.KindOf(err))
		require.Empty(t, c.batches)
	})
	t.Run("an answer for fewer records than sent leaves everything open", func(t *testing.T) {
		t.Parallel()
		_, err := piecemeal(t.Context(), []int{1, 2}, func(context.Context, []int) ([]Result, error) { return make([]Result, 1), nil })
		require.Error(t, err)
		require.False(t, OutcomeKnown(err))
	})
	for label, c := range map[string]struct {
		in   *salesforcev1.RecordError
		kind fault.Kind
	}{
		"uncertain":         {&salesforcev1.RecordError{Reason: "OUTCOME_UNCERTAIN", Uncertain: true, Retryable: true}, fault.Uncertain},
		"locked":            {&salesforcev1.RecordError{Reason: "RECORD_LOCKED", Retryable: true}, fault.Unavailable},
		"deleted":           {&salesforcev1.RecordError{Reason: "RECORD_DELETED"}, fault.NotFound},
		"a deleted parent":  {&salesforcev1.RecordError{Reason: "RECORD_DELETED", Field: "account_id"}, fault.Invalid},
		"a taken value":     {&salesforcev1.RecordError{Reason: "DUPLICATE_VALUE"}, fault.AlreadyExists},
		"a field":           {&salesforcev1.RecordError{Reason: "FIELD_TOO_LONG", Field: "name"}, fault.Invalid},
		"a validation rule": {&salesforcev1.RecordError{Reason: "VALIDATION_RULE"}, fault.Precondition},
		"nothing said":      {nil, fault.Precondition},
		"no allowance":      {&salesforcev1.RecordError{Reason: "API_BUDGET_EXHAUSTED", Retryable: true, Class: salesforcev1.ErrorClass_ERROR_CLASS_WAIT_FOR_QUOTA}, fault.Exhausted},
		"no allowance, and nobody knows": {&salesforcev1.RecordError{
			Reason: "API_BUDGET_EXHAUSTED", Retryable: true, Uncertain: true, Class: salesforcev1.ErrorClass_ERROR_CLASS_WAIT_FOR_QUOTA,
		}, fault.Uncertain},
	} {
		t.Run("a refused record is classified: "+label, func(t *testing.T) {
			t.Parallel()
			srv, sys := newCRM(t)
			srv.result = func(*salesforcev1.AccountUpsert) *salesforcev1.WriteResult {
				return &salesforcev1.WriteResult{Outcome: salesforcev1.Outcome_OUTCOME_REFUSED, Error: c.in}
			}
			results, err := sys.Upsert(t.Context(), golden.Customer, []Write{{ExternalID: "x", Values: name("A")}})
			require.NoError(t, err)
			require.Equal(t, c.kind, fault.KindOf(results[0].Err))
			require.Equal(t, c.kind != fault.Uncertain && c.kind != fault.Unavailable, OutcomeKnown(results[0].Err))
		})
	}
}

func TestSalesforceChanges(t *testing.T) {
	t.Parallel()
	c, sys := newCRM(t)
	c.changes = []*salesforcev1.Change{
		{Id: "1", Kind: salesforcev1.ChangeKind_CHANGE_KIND_UNDELETED, Object: salesforcev1.Object_OBJECT_CONTACT, RecordId: "003", OwnWrite: true, Contact: &salesforcev1.Contact{Id: "003", AccountId: "001", LastName: " Lang ", Version: 7}},
		{Id: "0", Kind: salesforcev1.ChangeKind_CHANGE_KIND_UPDATED, Object: salesforcev1.Object_OBJECT_ACCOUNT, RecordId: "009", CommitTime: someTime()},
		{Id: "2", Kind: salesforcev1.ChangeKind_CHANGE_KIND_DELETED, Object: salesforcev1.Object_OBJECT_ACCOUNT, RecordId: "001", CommitTime: someTime(), MergedInto: "002"},
		{Id: "3", Kind: salesforcev1.ChangeKind_CHANGE_KIND_OVERFLOW, Object: salesforcev1.Object_OBJECT_ACCOUNT},
		{Id: "4", Kind: salesforcev1.ChangeKind_CHANGE_KIND_OVERFLOW},
		{Id: "5", Kind: salesforcev1.ChangeKind_CHANGE_KIND_UPDATED, Object: salesforcev1.Object_OBJECT_ACCOUNT, RecordId: "005", CommitTime: someTime(), Account: &salesforcev1.Account{Id: "005", UpdateTime: someTime()}},
		{Id: "6", Kind: salesforcev1.ChangeKind_CHANGE_KIND_UPDATED, Object: salesforcev1.Object_OBJECT_ACCOUNT, RecordId: "005", CommitTime: someTime(), Account: &salesforcev1.Account{Id: "005", UpdateTime: timestamppb.New(someTime().AsTime().Add(time.Second))}},
	}
	c.lost = []*salesforcev1.LostRange{
		{ObjectName: "contact", Cause: salesforcev1.LossCause_LOSS_CAUSE_OVERFLOW, From: someTime(), Until: someTime(), Done: true, Sent: 7},
		{ObjectName: "lead", Cause: salesforcev1.LossCause_LOSS_CAUSE_POSITION},
	}
	var got []Change
	var lost []Lost
	require.NoError(t, sys.Watch(t.Context(), "", func(b Batch) error {
		got, lost = append(got, b.Changes...), append(lost, b.Lost...)
		return nil
	}), "a stream that ends in good order is no error")

	t.Run("stretches that were lost come with their bounds", func(t *testing.T) {
		t.Parallel()
		require.Equal(t, Lost{Object: golden.Contact, Cause: "overflow", From: someTime().AsTime(), Until: someTime().AsTime(), Done: true, Sent: 7}, lost[0])
		require.Equal(t, "position", lost[1].Cause)
		require.Empty(t, lost[1].Object)
	})

	t.Run("a record comes with its canonical values and without our parent", func(t *testing.T) {
		t.Parallel()
		require.Equal(t, "Lang", got[0].Record.Values[golden.LastName])
		require.Equal(t, "001", got[0].Record.ParentID)
		require.NotContains(t, got[0].Record.Values, golden.Parent)
		require.True(t, got[0].OwnWrite)
		require.Equal(t, int64(7), got[0].Version)
	})
	t.Run("a change without its record is no deletion unless it says so", func(t *testing.T) {
		t.Parallel()
		require.Len(t, got, 6)
		for _, c := range got {
			require.NotEqual(t, "009", c.Ref.RecordID)
		}
	})
	t.Run("a record that was stamped after the change was committed is known to be newer", func(t *testing.T) {
		t.Parallel()
		require.False(t, got[0].Newer, "nothing is said without a time")
		require.False(t, got[4].Newer)
		require.True(t, got[5].Newer)
	})
	t.Run("a deletion has the version of its time", func(t *testing.T) {
		t.Parallel()
		require.True(t, got[1].Deleted)
		require.Equal(t, "002", got[1].MergedInto, "and says what a merge put in its place")
		require.Nil(t, got[1].Record)
		require.Equal(t, someTime().AsTime().UnixMilli(), got[1].Version)
	})
	t.Run("an overflow is about one object or about all", func(t *testing.T) {
		t.Parallel()
		require.Equal(t, golden.Ref{System: "salesforce", Object: golden.Customer}, got[2].Ref)
		require.True(t, got[2].Overflow)
		require.Equal(t, golden.Ref{System: "salesforce"}, got[3].Ref)
	})
}

func TestSalesforceReads(t *testing.T) {
	t.Parallel()
	_, sys := newCRM(t)

	t.Run("it carries every field", func(t *testing.T) {
		t.Parallel()
		for _, obj := range golden.Objects() {
			require.Equal(t, golden.Fields(obj), sys.Fields(obj))
		}
	})
	t.Run("open cases are read for several accounts at once", func(t *testing.T) {
		t.Parallel()
		cases, err := sys.Cases(t.Context(), []string{"001"}, true, 20)
		require.NoError(t, err)
		require.Equal(t, []Case{{ID: "500", Number: "42", Subject: "Broken", Status: "New", Priority: "High", Created: someTime().AsTime()}}, cases)
		none, err := sys.Cases(t.Context(), nil, true, 20)
		require.NoError(t, err)
		require.Empty(t, none)
		_, err = sys.Cases(t.Context(), slices.Repeat([]string{"001"}, MaxCustomers+1), true, 20)
		require.Error(t, err)
	})
	t.Run("the services are known to the retry policy", func(t *testing.T) {
		t.Parallel()
		for _, d := range slices.Concat(SalesforceServices(), ERPServices()) {
			require.NotNil(t, d)
		}
	})
}
