package systemsalesforce_test

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/selfsame-io/selfsame/pkg/conf"
	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/serve"
	salesforcev1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/salesforce/v1"
	systemsalesforce "github.com/selfsame-io/selfsame/services/system-salesforce"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox"
)

// wideService is a running service with the clients of everything but the basic objects.
type wideService struct {
	*service
	sales    salesforcev1.OpportunityServiceClient
	leads    salesforcev1.LeadServiceClient
	markets  salesforcev1.CampaignServiceClient
	products salesforcev1.ProductServiceClient
	assets   salesforcev1.AssetServiceClient
	records  salesforcev1.RecordServiceClient
	events   salesforcev1.EventServiceClient
}

func widen(t *testing.T, s *service) *wideService {
	t.Helper()
	conn, err := serve.Dial(s.addrs.GRPC, serve.ClientOptions{CallerName: "test"})
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return &wideService{
		service: s, sales: salesforcev1.NewOpportunityServiceClient(conn), leads: salesforcev1.NewLeadServiceClient(conn),
		markets: salesforcev1.NewCampaignServiceClient(conn), products: salesforcev1.NewProductServiceClient(conn),
		assets: salesforcev1.NewAssetServiceClient(conn), records: salesforcev1.NewRecordServiceClient(conn),
		events: salesforcev1.NewEventServiceClient(conn),
	}
}

// wide is an org with every object of the mapping, custom ones included, and the service for it.
func wide(t *testing.T, change ...func(*systemsalesforce.Config)) (*crm, *wideService) {
	t.Helper()
	c := startSandbox(t, func(c *sandbox.Config) { c.SchemaFiles = []string{"testdata/org.json"} })
	cfg := config(t, c)
	cfg.Salesforce.MappingFile = "testdata/mapping.yaml"
	for _, f := range change {
		f(&cfg)
	}
	return c, widen(t, startReady(t, cfg))
}

func textValue(s string) *salesforcev1.FieldValue {
	return &salesforcev1.FieldValue{Value: &salesforcev1.FieldValue_Text{Text: s}}
}

func numberValue(s string) *salesforcev1.FieldValue {
	return &salesforcev1.FieldValue{Value: &salesforcev1.FieldValue_Number{Number: s}}
}

type values map[string]*salesforcev1.FieldValue

func record(key string, fields values) *salesforcev1.RecordUpsert {
	return &salesforcev1.RecordUpsert{Record: &salesforcev1.Record{ExternalId: key, Fields: fields}}
}

func (s *wideService) write(t *testing.T, object string, upserts ...*salesforcev1.RecordUpsert) []*salesforcev1.WriteResult {
	t.Helper()
	resp, err := s.records.BatchUpsertRecords(t.Context(), &salesforcev1.BatchUpsertRecordsRequest{Object: object, Upserts: upserts})
	require.NoError(t, err)
	require.Len(t, resp.GetResults(), len(upserts))
	return resp.GetResults()
}

// calls returns how many calls the org has counted.
func (s *wideService) calls(t *testing.T) int64 {
	t.Helper()
	u, err := s.changes.GetUsage(t.Context(), &salesforcev1.GetUsageRequest{})
	require.NoError(t, err)
	return u.GetOwnCalls()
}

func created(t *testing.T, results []*salesforcev1.WriteResult, err error) string {
	t.Helper()
	require.NoError(t, err)
	require.Len(t, results, 1)
	require.Equal(t, salesforcev1.Outcome_OUTCOME_CREATED, results[0].GetOutcome(), results[0].String())
	return results[0].GetId()
}

func TestTyped(t *testing.T) {
	t.Parallel()
	c, s := wide(t)
	ctx := t.Context()
	accountID := s.upsert(t, account("A-1", "Acme"))[0].GetId()

	deals, err := s.sales.BatchUpsertOpportunities(ctx, &salesforcev1.BatchUpsertOpportunitiesRequest{Upserts: []*salesforcev1.OpportunityUpsert{{Opportunity: &salesforcev1.Opportunity{
		ExternalId: "O-1", AccountExternalId: "A-1", Name: "Deal", Stage: "Prospecting", Amount: "12345678901.25", CloseDate: "2026-12-31",
	}}}})
	deal := created(t, deals.GetResults(), err)
	got, err := s.sales.GetOpportunity(ctx, &salesforcev1.GetOpportunityRequest{Id: deal})
	require.NoError(t, err)
	require.Equal(t, "12345678901.25", got.GetOpportunity().GetAmount(), "exactly")
	require.Equal(t, accountID, got.GetOpportunity().GetAccountId())
	require.Equal(t, "A-1", got.GetOpportunity().GetAccountExternalId())
	require.Equal(t, "2026-12-31", got.GetOpportunity().GetCloseDate())
	require.False(t, got.GetOpportunity().GetClosed())
	require.NotEmpty(t, got.GetOpportunity().GetEtag())
	page, err := s.sales.ListOpportunities(ctx, &salesforcev1.ListOpportunitiesRequest{AccountIds: []string{accountID}})
	require.NoError(t, err)
	require.Len(t, page.GetOpportunities(), 1)
	page, err = s.sales.ListOpportunities(ctx, &salesforcev1.ListOpportunitiesRequest{UpdatedSince: timestamppb.New(time.Now().Add(time.Hour))})
	require.NoError(t, err)
	require.Empty(t, page.GetOpportunities())

	people, err := s.leads.BatchUpsertLeads(ctx, &salesforcev1.BatchUpsertLeadsRequest{Upserts: []*salesforcev1.LeadUpsert{{Lead: &salesforcev1.Lead{
		ExternalId: "L-1", LastName: "Lovelace", Company: "Engines", Address: &salesforcev1.Address{City: "London", Country: "GB"},
	}}}})
	lead := created(t, people.GetResults(), err)
	one, err := s.leads.GetLead(ctx, &salesforcev1.GetLeadRequest{Id: lead})
	require.NoError(t, err)
	require.Equal(t, "GB", one.GetLead().GetAddress().GetCountry())

	campaigns, err := s.markets.BatchUpsertCampaigns(ctx, &salesforcev1.BatchUpsertCampaignsRequest{Upserts: []*salesforcev1.CampaignUpsert{{Campaign: &salesforcev1.Campaign{
		ExternalId: "K-1", Name: "Spring", Active: proto.Bool(true), StartDate: "2026-03-01",
	}}}})
	campaign := created(t, campaigns.GetResults(), err)
	members, err := s.markets.BatchUpsertCampaignMembers(ctx, &salesforcev1.BatchUpsertCampaignMembersRequest{Upserts: []*salesforcev1.CampaignMemberUpsert{{CampaignMember: &salesforcev1.CampaignMember{
		ExternalId: "M-1", CampaignExternalId: "K-1", LeadExternalId: "L-1", Status: "Responded",
	}}}})
	member := created(t, members.GetResults(), err)
	list, err := s.markets.ListCampaignMembers(ctx, &salesforcev1.ListCampaignMembersRequest{CampaignIds: []string{campaign}})
	require.NoError(t, err)
	require.Equal(t, member, list.GetCampaignMembers()[0].GetId())
	require.Equal(t, lead, list.GetCampaignMembers()[0].GetLeadId())
	require.True(t, list.GetCampaignMembers()[0].GetResponded())

	wares, err := s.products.BatchUpsertProducts(ctx, &salesforcev1.BatchUpsertProductsRequest{Upserts: []*salesforcev1.ProductUpsert{{Product: &salesforcev1.Product{
		ExternalId: "P-1", Name: "Pump", Code: "PU-1", Active: proto.Bool(true),
	}}}})
	created(t, wares.GetResults(), err)
	goods, err := s.products.ListProducts(ctx, &salesforcev1.ListProductsRequest{})
	require.NoError(t, err)
	require.True(t, goods.GetProducts()[0].GetActive())

	owned, err := s.assets.BatchUpsertAssets(ctx, &salesforcev1.BatchUpsertAssetsRequest{Upserts: []*salesforcev1.AssetUpsert{{Asset: &salesforcev1.Asset{
		ExternalId: "S-1", Name: "Pump 7", AccountExternalId: "A-1", ProductExternalId: "P-1", SerialNumber: "7", Quantity: "2.5",
	}}}})
	asset := created(t, owned.GetResults(), err)
	term := c.create("WarrantyTerm", map[string]any{"WarrantyTermName": "Two years"})
	warranties, err := s.assets.BatchUpsertAssetWarranties(ctx, &salesforcev1.BatchUpsertAssetWarrantiesRequest{Upserts: []*salesforcev1.AssetWarrantyUpsert{{AssetWarranty: &salesforcev1.AssetWarranty{
		ExternalId: "W-1", AssetExternalId: "S-1", Type: "Standard", EndDate: "2027-01-01",
		PartsCovered: "100", LaborCovered: "80.5", IsTransferable: proto.Bool(true), Exclusions: "Wear", WarrantyTermId: term,
	}}}})
	created(t, warranties.GetResults(), err)
	found, err := s.assets.ListAssetWarranties(ctx, &salesforcev1.ListAssetWarrantiesRequest{AssetIds: []string{asset}})
	require.NoError(t, err)
	require.Equal(t, "2027-01-01", found.GetAssetWarranties()[0].GetEndDate())
	require.NotEmpty(t, found.GetAssetWarranties()[0].GetNumber())
	require.Equal(t, "100", found.GetAssetWarranties()[0].GetPartsCovered())
	require.Equal(t, "80.5", found.GetAssetWarranties()[0].GetLaborCovered())
	require.Empty(t, found.GetAssetWarranties()[0].GetExpensesCovered())
	require.True(t, found.GetAssetWarranties()[0].GetIsTransferable())
	require.Equal(t, "Wear", found.GetAssetWarranties()[0].GetExclusions())
	require.Equal(t, term, found.GetAssetWarranties()[0].GetWarrantyTermId())

	cases, err := s.cases.BatchUpsertCases(ctx, &salesforcev1.BatchUpsertCasesRequest{Upserts: []*salesforcev1.CaseUpsert{{Case: &salesforcev1.Case{
		ExternalId: "C-1", AccountExternalId: "A-1", Subject: "Loud", Status: "New",
	}}}})
	id := created(t, cases.GetResults(), err)
	batch, err := s.cases.BatchGetCases(ctx, &salesforcev1.BatchGetCasesRequest{Ids: []string{"500000000000999AAA", id}})
	require.NoError(t, err)
	require.Equal(t, []string{"500000000000999AAA"}, batch.GetMissingIds())
	require.Equal(t, "Loud", batch.GetCases()[0].GetSubject())

	t.Run("a value that is not in a restricted list costs no call", func(t *testing.T) {
		before := s.calls(t)
		resp, err := s.cases.BatchUpsertCases(t.Context(), &salesforcev1.BatchUpsertCasesRequest{Upserts: []*salesforcev1.CaseUpsert{{Case: &salesforcev1.Case{ExternalId: "C-2", Status: "Asleep"}}}})
		require.NoError(t, err)
		require.Equal(t, "VALUE_NOT_IN_PICKLIST", resp.GetResults()[0].GetError().GetReason())
		require.Equal(t, "status", resp.GetResults()[0].GetError().GetField())
		require.Equal(t, salesforcev1.ErrorClass_ERROR_CLASS_REJECT, resp.GetResults()[0].GetError().GetClass())
		require.Equal(t, before, s.calls(t))
	})
}

func TestRecords(t *testing.T) {
	t.Parallel()
	c, s := wide(t)
	ctx := t.Context()
	acme := s.upsert(t, account("A-1", "Acme"))[0].GetId()
	renewed := time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC)
	fields := values{
		"account": textValue("A-1"), "price": numberValue("1299.90"), "plan": textValue("Pro"),
		"active":  {Value: &salesforcev1.FieldValue_Flag{Flag: true}},
		"starts":  {Value: &salesforcev1.FieldValue_Date{Date: "2026-02-03"}},
		"renewed": {Value: &salesforcev1.FieldValue_Time{Time: timestamppb.New(renewed)}},
	}
	results := s.write(t, "subscription", record("K-1", fields), record("K/2 ü", values{"plan": textValue("Basic")}), record("K-3", values{"plan": textValue("Gold")}), record("K-1", nil))
	require.Equal(t, salesforcev1.Outcome_OUTCOME_CREATED, results[0].GetOutcome())
	require.Equal(t, salesforcev1.Outcome_OUTCOME_CREATED, results[1].GetOutcome())
	require.Equal(t, "VALUE_NOT_IN_PICKLIST", results[2].GetError().GetReason())
	require.Equal(t, "DUPLICATE_IN_BATCH", results[3].GetError().GetReason())
	one, err := s.records.GetRecord(ctx, &salesforcev1.GetRecordRequest{Object: "subscription", Key: &salesforcev1.GetRecordRequest_ExternalId{ExternalId: "K-1"}})
	require.NoError(t, err)
	r := one.GetRecord()
	require.Equal(t, results[0].GetId(), r.GetId())
	require.Equal(t, acme, r.GetFields()["account_id"].GetText())
	require.Equal(t, "1299.9", r.GetFields()["price"].GetNumber())
	require.Equal(t, renewed, r.GetFields()["renewed"].GetTime().AsTime())
	require.True(t, r.GetFields()["active"].GetFlag())

	t.Run("one record with a key that no URL takes is written, found and updated", func(t *testing.T) {
		updated := s.write(t, "subscription", record("K/2 ü", values{"note": textValue("100% + more / less")}))
		require.Equal(t, salesforcev1.Outcome_OUTCOME_UPDATED, updated[0].GetOutcome())
		require.Equal(t, results[1].GetId(), updated[0].GetId())
		resp, err := s.records.BatchGetRecords(t.Context(), &salesforcev1.BatchGetRecordsRequest{Object: "subscription", Ids: []string{"a00000000000999AAA", results[0].GetId()}, ExternalIds: []string{"K/2 ü", "none"}})
		require.NoError(t, err)
		require.Equal(t, []string{"a00000000000999AAA"}, resp.GetMissingIds())
		require.Equal(t, []string{"none"}, resp.GetMissingExternalIds())
		require.Equal(t, "100% + more / less", resp.GetRecords()[1].GetFields()["note"].GetText())
	})
	t.Run("a mask clears what is not there, a reference too", func(t *testing.T) {
		u := record("K-1", nil)
		u.UpdateMask = &fieldmaskpb.FieldMask{Paths: []string{"account", "price"}}
		require.Equal(t, salesforcev1.Outcome_OUTCOME_UPDATED, s.write(t, "subscription", u)[0].GetOutcome())
		one, err := s.records.GetRecord(t.Context(), &salesforcev1.GetRecordRequest{Object: "subscription", Key: &salesforcev1.GetRecordRequest_Id{Id: r.GetId()}})
		require.NoError(t, err)
		require.NotContains(t, one.GetRecord().GetFields(), "account")
		require.NotContains(t, one.GetRecord().GetFields(), "price")
		require.Contains(t, one.GetRecord().GetFields(), "plan")
	})
	t.Run("records are listed by key and by time, in pages", func(t *testing.T) {
		page, err := s.records.ListRecords(t.Context(), &salesforcev1.ListRecordsRequest{Object: "subscription", ExternalIds: []string{"K/2 ü", "nobody"}})
		require.NoError(t, err)
		require.Len(t, page.GetRecords(), 1)
		page, err = s.records.ListRecords(t.Context(), &salesforcev1.ListRecordsRequest{Object: "subscription", UpdatedBefore: timestamppb.New(time.Now().Add(-time.Hour))})
		require.NoError(t, err)
		require.Empty(t, page.GetRecords())
		req := &salesforcev1.ListRecordsRequest{Object: "subscription", PageSize: 1, UpdatedSince: timestamppb.New(time.Now().Add(-time.Hour))}
		keys := map[string]bool{}
		for {
			page, err := s.records.ListRecords(t.Context(), req)
			require.NoError(t, err)
			for _, r := range page.GetRecords() {
				keys[r.GetExternalId()] = true
			}
			if req.PageToken = page.GetNextPageToken(); req.PageToken == "" {
				break
			}
		}
		require.Equal(t, map[string]bool{"K-1": true, "K/2 ü": true}, keys)
	})
	t.Run("an object is described by our names, from memory", func(t *testing.T) {
		before := s.calls(t)
		resp, err := s.records.DescribeObject(t.Context(), &salesforcev1.DescribeObjectRequest{Object: "subscription"})
		require.NoError(t, err)
		require.True(t, resp.GetDescription().GetAvailable())
		plan := resp.GetDescription().GetFields()[5]
		require.Equal(t, "plan", plan.GetName())
		require.Equal(t, []string{"Basic", "Pro"}, plan.GetValues())
		require.Equal(t, before, s.calls(t))
		objects, err := s.records.ListObjects(t.Context(), &salesforcev1.ListObjectsRequest{})
		require.NoError(t, err)
		require.Len(t, objects.GetObjects(), 12)
	})
	t.Run("an object that nobody declared is refused", func(t *testing.T) {
		_, err := s.records.GetRecord(t.Context(), &salesforcev1.GetRecordRequest{Object: "invoice", Key: &salesforcev1.GetRecordRequest_ExternalId{ExternalId: "x"}})
		require.Equal(t, "OBJECT_NOT_MAPPED", fault.ReasonOf(err))
		_, err = s.records.ListRecords(t.Context(), &salesforcev1.ListRecordsRequest{Object: "order_placed"})
		require.Equal(t, "OBJECT_IS_EVENT", fault.ReasonOf(err))
	})
	t.Run("locked records wait, answers that get lost are read back, sessions that end in mid-flight are renewed", func(t *testing.T) {
		for name, plan := range map[string][]map[string]any{
			"locks":       {{"effect": "lock_row", "object": "Subscription__c", "count": 2}},
			"lost answer": {{"effect": "lose_ack", "method": "PATCH", "count": 2}},
			"truncated":   {{"effect": "truncate", "method": "PATCH", "count": 2}},
			"401":         {{"effect": "unauthorized", "method": "PATCH", "count": 1}},
			"503":         {{"effect": "error", "status": 503, "method": "PATCH", "count": 1}},
		} {
			c.faults(map[string]any{"rules": plan})
			for i, r := range s.write(t, "subscription", record("K-1", values{"note": textValue(name)}), record("K-9 "+name, values{"note": textValue(name)})) {
				require.NotEqual(t, salesforcev1.Outcome_OUTCOME_REFUSED, r.GetOutcome(), "%s %d: %s", name, i, r.String())
				require.NotEmpty(t, r.GetId())
			}
			c.faults(map[string]any{})
			c.token = ""
		}
		require.Equal(t, 2+5, c.live("Subscription__c"), "nothing was made twice")
	})
	t.Run("a used up allowance is a class of its own", func(t *testing.T) {
		c.faults(map[string]any{"rules": []map[string]any{{"effect": "quota", "method": "PATCH", "count": 1}}})
		_, err := s.records.BatchUpsertRecords(t.Context(), &salesforcev1.BatchUpsertRecordsRequest{Object: "subscription", Upserts: []*salesforcev1.RecordUpsert{record("K-1", values{"note": textValue("x")})}})
		require.Equal(t, fault.Exhausted, fault.KindOf(err))
		require.Positive(t, fault.RetryAfter(err))
		c.faults(map[string]any{})
	})
}

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

// load sends n records by a stream and returns the outcomes by key, and the ledger. Its errors are those of the stream, and one for a
// record that got two outcomes.
func (s *wideService) load(t *testing.T, header *salesforcev1.UpsertHeader, n int, row func(i int) *salesforcev1.RecordUpsert) (map[string]*salesforcev1.WriteResult, *salesforcev1.UpsertLedger, error) {
	t.Helper()
	stream, err := s.records.UpsertRecords(t.Context())
	if err != nil {
		return nil, nil, err
	}
	if err := stream.Send(&salesforcev1.UpsertRecordsRequest{Message: &salesforcev1.UpsertRecordsRequest_Header{Header: header}}); err != nil {
		return nil, nil, err
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		for start := 0; start < n; start += 500 {
			rows := &salesforcev1.UpsertRows{}
			for i := start; i < min(n, start+500); i++ {
				rows.Upserts = append(rows.Upserts, row(i))
			}
			if stream.Send(&salesforcev1.UpsertRecordsRequest{Message: &salesforcev1.UpsertRecordsRequest_Rows{Rows: rows}}) != nil {
				return
			}
		}
		_ = stream.CloseSend()
	})
	out := map[string]*salesforcev1.WriteResult{}
	var ledger *salesforcev1.UpsertLedger
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return out, ledger, nil
		}
		if err != nil {
			return out, ledger, fault.FromStatus(err)
		}
		for _, o := range m.GetOutcomes() {
			if out[o.GetExternalId()] != nil {
				return out, ledger, fmt.Errorf("%s has two outcomes", o.GetExternalId())
			}
			out[o.GetExternalId()] = o.GetResult()
		}
		if m.GetLedger() != nil {
			ledger = m.GetLedger()
		}
	}
}

func balanced(t *testing.T, l *salesforcev1.UpsertLedger) {
	t.Helper()
	require.NotNil(t, l)
	require.Equal(t, l.GetRows(), l.GetCreated()+l.GetUpdated()+l.GetRefused()+l.GetUncertain())
}

func TestStream(t *testing.T) {
	t.Parallel()
	c, s := wide(t)
	s.upsert(t, account("A-1", "Acme"))
	row := func(i int) *salesforcev1.RecordUpsert {
		plan := "Pro"
		if i%100 == 99 {
			plan = "Gold" // refused here
		}
		return record(fmt.Sprint("K-", i), values{"account": textValue("A-1"), "plan": textValue(plan), "price": numberValue(fmt.Sprint(i, ".5"))})
	}
	header := func(backlog int64) *salesforcev1.UpsertHeader {
		return &salesforcev1.UpsertHeader{Object: "subscription", Backlog: backlog, Fields: []string{"account", "plan", "price", "note"}, Priority: salesforcev1.Priority_PRIORITY_BULK}
	}
	t.Run("some hundred go by collections, 200 in a call", func(t *testing.T) {
		out, ledger, err := s.load(t, header(0), 450, row)
		require.NoError(t, err)
		balanced(t, ledger)
		require.Len(t, out, 450)
		require.EqualValues(t, 450, ledger.GetRows())
		require.EqualValues(t, 446, ledger.GetCreated())
		require.EqualValues(t, 4, ledger.GetRefused())
		require.Equal(t, "VALUE_NOT_IN_PICKLIST", out["K-99"].GetError().GetReason())
		require.Equal(t, salesforcev1.Transport_TRANSPORT_COLLECTIONS, ledger.GetTransport())
		require.LessOrEqual(t, ledger.GetCalls(), int64(3))
		require.Equal(t, 446, c.live("Subscription__c"))
	})
	t.Run("thousands go by a job, with the same outcomes", func(t *testing.T) {
		out, ledger, err := s.load(t, header(3000), 3000, row)
		require.NoError(t, err)
		balanced(t, ledger)
		require.Len(t, out, 3000)
		require.EqualValues(t, 2970-446, ledger.GetCreated(), out["K-2500"].String())
		require.EqualValues(t, 446, ledger.GetUpdated())
		require.EqualValues(t, 30, ledger.GetRefused())
		require.Equal(t, salesforcev1.Transport_TRANSPORT_BULK, ledger.GetTransport())
		require.Less(t, ledger.GetCalls(), int64(3000/150))
		got, err := s.records.GetRecord(t.Context(), &salesforcev1.GetRecordRequest{Object: "subscription", Key: &salesforcev1.GetRecordRequest_ExternalId{ExternalId: "K-2500"}})
		require.NoError(t, err)
		require.Equal(t, "2500.5", got.GetRecord().GetFields()["price"].GetNumber())
		require.Equal(t, "A-1", got.GetRecord().GetFields()["account"].GetText())
	})
	t.Run("a stream that turns out to be long becomes a job, and a cleared field is cleared", func(t *testing.T) {
		_, ledger, err := s.load(t, header(0), 2100, func(i int) *salesforcev1.RecordUpsert {
			u := record(fmt.Sprint("K-", i), nil)
			u.UpdateMask = &fieldmaskpb.FieldMask{Paths: []string{"account", "price"}}
			return u
		})
		require.NoError(t, err)
		balanced(t, ledger)
		require.Equal(t, salesforcev1.Transport_TRANSPORT_BULK, ledger.GetTransport())
		got, err := s.records.GetRecord(t.Context(), &salesforcev1.GetRecordRequest{Object: "subscription", Key: &salesforcev1.GetRecordRequest_ExternalId{ExternalId: "K-2000"}})
		require.NoError(t, err)
		require.NotContains(t, got.GetRecord().GetFields(), "account")
		require.NotContains(t, got.GetRecord().GetFields(), "price")
		require.Contains(t, got.GetRecord().GetFields(), "plan")
	})
	t.Run("records that cannot be part of a stream are refused one by one", func(t *testing.T) {
		out, ledger, err := s.load(t, header(0), 4, func(i int) *salesforcev1.RecordUpsert {
			u := record(fmt.Sprint("Z-", i), values{"plan": textValue("Pro")})
			switch i {
			case 0:
				u.Record.ExternalId = ""
			case 1:
				u.Record.Id = "a00000000000001AAA"
			case 2:
				u.Record.Fields["active"] = &salesforcev1.FieldValue{Value: &salesforcev1.FieldValue_Flag{Flag: true}}
			}
			return u
		})
		require.NoError(t, err)
		balanced(t, ledger)
		require.Equal(t, "EXTERNAL_ID_REQUIRED", out[""].GetError().GetReason())
		require.Equal(t, "id", out["Z-1"].GetError().GetField())
		require.Equal(t, "FIELD_NOT_ANNOUNCED", out["Z-2"].GetError().GetReason())
		require.Equal(t, salesforcev1.Outcome_OUTCOME_CREATED, out["Z-3"].GetOutcome())
	})
	t.Run("a stream without a header, or for fields that nobody declared, ends", func(t *testing.T) {
		h := header(0)
		h.Fields = []string{"nonsense"}
		_, _, err := s.load(t, h, 0, row)
		require.Equal(t, fault.Invalid, fault.KindOf(err))
		stream, err := s.records.UpsertRecords(t.Context())
		require.NoError(t, err)
		require.NoError(t, stream.Send(&salesforcev1.UpsertRecordsRequest{Message: &salesforcev1.UpsertRecordsRequest_Rows{Rows: &salesforcev1.UpsertRows{Upserts: []*salesforcev1.RecordUpsert{row(0)}}}}))
		_, err = stream.Recv()
		require.Equal(t, fault.Invalid, fault.KindOf(fault.FromStatus(err)))
	})
}

func TestStreamGoesOnAfterACrash(t *testing.T) {
	t.Parallel()
	dir, store := t.TempDir(), "sqlite:"+filepath.Join(t.TempDir(), "s.db")
	keep := func(cfg *systemsalesforce.Config) {
		cfg.Salesforce.BulkDir, cfg.Store.DSN = dir, conf.Secret(store)
	}
	const n = 2500
	c, s := wide(t, keep)
	header := &salesforcev1.UpsertHeader{Object: "subscription", Backlog: n, Fields: []string{"plan"}, LoadId: "load-1"}
	row := func(i int) *salesforcev1.RecordUpsert {
		plan := "Pro"
		if i == 7 {
			plan = "Gold"
		}
		return record(fmt.Sprint("K-", i), values{"plan": textValue(plan)})
	}
	c.do("PUT", "/__sandbox__/bulk", map[string]any{"hold": "processing", "hold_after": 1000})
	ended := make(chan error, 1)
	go func() {
		_, _, err := s.load(t, header, n, row)
		ended <- err
	}()
	require.Eventually(t, func() bool { return c.live("Subscription__c") >= 1000 }, waitFor, tick)
	require.NoError(t, s.stop())
	require.Error(t, <-ended, "the stream breaks with the process")
	c.do("DELETE", "/__sandbox__/bulk", nil)

	cfg := config(t, c)
	cfg.Salesforce.MappingFile = "testdata/mapping.yaml"
	keep(&cfg)
	again := widen(t, startReady(t, cfg))
	out, ledger, err := again.load(t, header, n, row)
	require.NoError(t, err)
	balanced(t, ledger)
	require.Len(t, out, n)
	require.EqualValues(t, n-1, ledger.GetCreated(), "as the job that was left running reports them")
	require.EqualValues(t, 1, ledger.GetRefused())
	require.Equal(t, n-1, c.live("Subscription__c"))
}

func TestNotMapped(t *testing.T) {
	t.Parallel()
	c := startSandbox(t)
	c.do("PUT", "/__sandbox__/access", map[string]any{"hidden": []string{"Asset.SerialNumber"}})
	s := widen(t, startReady(t, config(t, c)))
	t.Run("what this org does not have is said when it is asked for, and nothing else suffers", func(t *testing.T) {
		_, err := s.assets.ListAssets(t.Context(), &salesforcev1.ListAssetsRequest{})
		require.Equal(t, "OBJECT_NOT_MAPPED", fault.ReasonOf(err))
		require.Equal(t, fault.Precondition, fault.KindOf(err))
		require.ErrorContains(t, err, "Asset has no field SerialNumber")
		objects, err := s.records.ListObjects(t.Context(), &salesforcev1.ListObjectsRequest{})
		require.NoError(t, err)
		available := map[string]bool{}
		for _, o := range objects.GetObjects() {
			available[o.GetObject()] = o.GetAvailable()
			require.Equal(t, o.GetAvailable(), o.GetProblem() == "")
		}
		require.True(t, available["opportunity"])
		require.False(t, available["asset"])
	})
}

func TestEveryAccountCallCounts(t *testing.T) {
	t.Parallel()
	c, s := wide(t)
	const n = 4_000
	_, ledger, err := s.load(t, &salesforcev1.UpsertHeader{Object: "account", Backlog: n, Fields: []string{"name", "phone", "address.city"}}, n, func(i int) *salesforcev1.RecordUpsert {
		return record(fmt.Sprint("A-", i), values{"name": textValue(fmt.Sprint("Account ", i)), "phone": textValue("+49 30 " + fmt.Sprint(i)), "address.city": textValue(strings.Repeat("B", i%40+1))})
	})
	require.NoError(t, err)
	balanced(t, ledger)
	require.EqualValues(t, n, ledger.GetCreated())
	t.Logf("%d calls for %d accounts", ledger.GetCalls(), n)
	require.LessOrEqual(t, ledger.GetCalls(), int64(n/150))
	require.Equal(t, n, c.live("Account"))
}
