package systemsalesforce_test

import (
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/timestamppb"

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
			c.session = sync.OnceValue(c.login)
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

func TestDeleteRecords(t *testing.T) {
	t.Parallel()
	c, s := wide(t)
	remove := func(ids ...string) []*salesforcev1.DeleteResult {
		resp, err := s.records.BatchDeleteRecords(t.Context(), &salesforcev1.BatchDeleteRecordsRequest{Object: "account", Ids: ids})
		require.NoError(t, err)
		require.Len(t, resp.GetResults(), len(ids))
		return resp.GetResults()
	}
	a, b := s.upsert(t, account("A-1", "Acme"))[0].GetId(), s.upsert(t, account("A-2", "Busy"))[0].GetId()
	out := remove(a, "001000000000009AAA")
	require.True(t, out[0].GetDeleted())
	require.False(t, out[0].GetMissing())
	require.True(t, out[1].GetMissing(), "%s", out[1])
	require.True(t, remove(a)[0].GetMissing(), "deleting again changes nothing")
	require.Equal(t, 1, c.live("Account"))
	_, err := s.records.BatchDeleteRecords(t.Context(), &salesforcev1.BatchDeleteRecordsRequest{Object: "starship", Ids: []string{b}})
	require.Equal(t, "OBJECT_NOT_MAPPED", fault.ReasonOf(err))

	// Salesforce keeps an account that has cases.
	c.do("POST", "/services/data/v62.0/sobjects/Case", map[string]any{"Subject": "x", "AccountId": b})
	kept := remove(b)[0]
	require.False(t, kept.GetDeleted())
	require.NotEmpty(t, kept.GetError().GetReason())
	require.Equal(t, 1, c.live("Account"))
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
