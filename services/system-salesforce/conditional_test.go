package systemsalesforce_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/fault"
	salesforcev1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/salesforce/v1"
)

func TestConditional(t *testing.T) {
	t.Parallel()
	c, s := wide(t)
	ctx := t.Context()
	id := s.upsert(t, account("A-1", "Acme"))[0].GetId()
	get := func() *salesforcev1.Account {
		got, err := s.accounts.GetAccount(ctx, &salesforcev1.GetAccountRequest{Id: id})
		require.NoError(t, err)
		return got.GetAccount()
	}
	name := func(value, match string) *salesforcev1.AccountUpsert {
		return &salesforcev1.AccountUpsert{Account: &salesforcev1.Account{Id: id, Name: value}, IfMatch: match}
	}
	t.Run("an account is written while it is what was read, and a change in between is a conflict", func(t *testing.T) {
		seen := get().GetEtag()
		require.Equal(t, salesforcev1.Outcome_OUTCOME_UPDATED, s.upsert(t, name("Acme 2", seen))[0].GetOutcome())
		lost := s.upsert(t, name("Acme 3", seen))[0]
		require.Equal(t, salesforcev1.Outcome_OUTCOME_CONFLICT, lost.GetOutcome())
		require.Equal(t, fault.ReasonETagMismatch, lost.GetError().GetReason())
		require.Equal(t, salesforcev1.ErrorClass_ERROR_CLASS_CONFLICT, lost.GetError().GetClass())
		require.Equal(t, get().GetEtag(), lost.GetCurrentEtag())
		require.Equal(t, "Acme 2", get().GetName())
		require.Equal(t, salesforcev1.Outcome_OUTCOME_UPDATED, s.upsert(t, name("Acme 3", lost.GetCurrentEtag()))[0].GetOutcome())
	})
	t.Run("two who write at the same moment: exactly one wins each time", func(t *testing.T) {
		for range 5 {
			seen := get().GetEtag()
			var wg sync.WaitGroup
			outcomes := make([]salesforcev1.Outcome, 4)
			for i := range outcomes {
				wg.Go(func() {
					resp, err := s.accounts.BatchUpsertAccounts(ctx, &salesforcev1.BatchUpsertAccountsRequest{Upserts: []*salesforcev1.AccountUpsert{name(fmt.Sprint("Winner ", i, " ", seen), seen)}})
					if err == nil {
						outcomes[i] = resp.GetResults()[0].GetOutcome()
					}
				})
			}
			wg.Wait()
			won := 0
			for _, o := range outcomes {
				if o == salesforcev1.Outcome_OUTCOME_UPDATED {
					won++
				} else {
					require.Equal(t, salesforcev1.Outcome_OUTCOME_CONFLICT, o)
				}
			}
			require.Equal(t, 1, won)
		}
	})
	t.Run("objects without entity tags are compared, many in few calls", func(t *testing.T) {
		var upserts []*salesforcev1.RecordUpsert
		for i := range 30 {
			upserts = append(upserts, record(fmt.Sprint("K-", i), values{"note": textValue("first")}))
		}
		s.write(t, "subscription", upserts...)
		page, err := s.records.ListRecords(ctx, &salesforcev1.ListRecordsRequest{Object: "subscription"})
		require.NoError(t, err)
		c.do("PATCH", "/services/data/v66.0/sobjects/Subscription__c/"+page.GetRecords()[3].GetId(), map[string]any{"Note__c": "by hand"})
		upserts = nil
		for _, r := range page.GetRecords() {
			u := record(r.GetExternalId(), values{"note": textValue("second")})
			u.IfMatch = r.GetEtag()
			upserts = append(upserts, u)
		}
		before := s.calls(t)
		results := s.write(t, "subscription", upserts...)
		for i, r := range results {
			if i == 3 {
				require.Equal(t, salesforcev1.Outcome_OUTCOME_CONFLICT, r.GetOutcome())
				require.NotEmpty(t, r.GetCurrentEtag())
				continue
			}
			require.Equal(t, salesforcev1.Outcome_OUTCOME_UPDATED, r.GetOutcome(), r.String())
		}
		require.LessOrEqual(t, s.calls(t)-before, int64(3), "one read, two composite calls")
	})
	t.Run("a conditional write whose answer is lost is not a conflict with itself", func(t *testing.T) {
		page, err := s.records.ListRecords(ctx, &salesforcev1.ListRecordsRequest{Object: "subscription", ExternalIds: []string{"K-1"}})
		require.NoError(t, err)
		c.faults(map[string]any{"rules": []map[string]any{{"effect": "lose_ack", "method": "PATCH", "count": 1}}})
		u := record("K-1", values{"note": textValue("third")})
		u.IfMatch = page.GetRecords()[0].GetEtag()
		got := s.write(t, "subscription", u)[0]
		c.faults(map[string]any{})
		require.Equal(t, salesforcev1.Outcome_OUTCOME_UPDATED, got.GetOutcome(), got.String())
	})
	t.Run("an etag that is none, and a record that is gone, are refused", func(t *testing.T) {
		require.Equal(t, "ETAG_INVALID", s.upsert(t, name("x", "nonsense"))[0].GetError().GetReason())
		gone := &salesforcev1.AccountUpsert{Account: &salesforcev1.Account{Id: "001000000000999AAA", Name: "x"}, IfMatch: get().GetEtag()}
		require.Equal(t, "RECORD_NOT_FOUND", s.upsert(t, gone)[0].GetError().GetReason())
	})
}

func TestGraph(t *testing.T) {
	t.Parallel()
	c, s := wide(t)
	node := func(ref, object, key string, fields values, references map[string]string) *salesforcev1.GraphNode {
		return &salesforcev1.GraphNode{Ref: ref, Record: &salesforcev1.Record{Object: object, ExternalId: key, Fields: fields}, References: references}
	}
	write := func(t *testing.T, nodes ...*salesforcev1.GraphNode) *salesforcev1.UpsertRecordGraphResponse {
		t.Helper()
		resp, err := s.records.UpsertRecordGraph(t.Context(), &salesforcev1.UpsertRecordGraphRequest{Nodes: nodes})
		require.NoError(t, err)
		require.Len(t, resp.GetResults(), len(nodes))
		return resp
	}
	family := func(n string, last values) []*salesforcev1.GraphNode {
		return []*salesforcev1.GraphNode{
			node("acc", "account", "A-"+n, values{"name": textValue("Acme " + n)}, nil),
			node("con", "contact", "C-"+n, last, map[string]string{"account_id": "acc"}),
			node("sub", "subscription", "K-"+n, values{"plan": textValue("Pro")}, map[string]string{"account": "acc"}),
		}
	}
	write(t, node("warm", "account", "A-0", values{"name": textValue("x")}, nil), node("w2", "contact", "C-0", values{"last_name": textValue("x")}, nil), node("w3", "subscription", "K-0", values{"plan": textValue("Pro")}, nil))

	before := s.calls(t)
	resp := write(t, family("1", values{"last_name": textValue("L")})...)
	require.True(t, resp.GetWritten())
	require.EqualValues(t, 1, s.calls(t)-before, "one call for the three")
	got, err := s.records.GetRecord(t.Context(), &salesforcev1.GetRecordRequest{Object: "subscription", Key: &salesforcev1.GetRecordRequest_ExternalId{ExternalId: "K-1"}})
	require.NoError(t, err)
	require.Equal(t, resp.GetResults()[0].GetId(), got.GetRecord().GetFields()["account_id"].GetText())

	t.Run("one record that is refused takes the others back, and says that it was to blame", func(t *testing.T) {
		live := c.live("Account")
		resp := write(t, family("2", values{"title": textValue("nobody")})...)
		require.False(t, resp.GetWritten())
		require.Equal(t, "BATCH_ROLLED_BACK", resp.GetResults()[0].GetError().GetReason())
		require.Equal(t, "FIELD_REQUIRED", resp.GetResults()[1].GetError().GetReason())
		require.Equal(t, "last_name", resp.GetResults()[1].GetError().GetField())
		require.Equal(t, "BATCH_ROLLED_BACK", resp.GetResults()[2].GetError().GetReason())
		require.Equal(t, live, c.live("Account"))
	})
	t.Run("a lock is waited for, a lost answer read back", func(t *testing.T) {
		c.faults(map[string]any{"rules": []map[string]any{{"effect": "lock_row", "object": "Contact", "count": 1}}})
		require.True(t, write(t, family("3", values{"last_name": textValue("L")})...).GetWritten())
		c.faults(map[string]any{"rules": []map[string]any{{"effect": "lose_ack", "path_contains": "/composite", "count": 2}}})
		require.True(t, write(t, family("4", values{"last_name": textValue("L")})...).GetWritten())
		c.faults(map[string]any{})
	})
	t.Run("what could not be addressed or refers to nothing is refused before the call", func(t *testing.T) {
		before := s.calls(t)
		resp := write(t, node("a", "account", "A/5", values{"name": textValue("x")}, nil), node("c", "contact", "C-5", values{"last_name": textValue("L")}, map[string]string{"account_id": "later"}))
		require.Equal(t, "EXTERNAL_ID_NOT_ADDRESSABLE", resp.GetResults()[0].GetError().GetReason())
		require.Equal(t, "REFERENCE_UNKNOWN", resp.GetResults()[1].GetError().GetReason())
		require.Equal(t, before, s.calls(t))
	})
}
