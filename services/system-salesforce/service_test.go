package systemsalesforce_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/priority"
	salesforcev1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/salesforce/v1"
	systemsalesforce "github.com/selfsame-io/selfsame/services/system-salesforce"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox"
)

func TestWrite(t *testing.T) {
	t.Parallel()
	c := startSandbox(t)
	s := startReady(t, config(t, c))
	full := &salesforcev1.Account{
		ExternalId: "S-1", ErpNumber: "1000", Name: "Müller GmbH", TaxId: "DE123", Email: "info@mueller.example", Phone: "+49 30 1", Website: "https://mueller.example",
		Address: &salesforcev1.Address{Street: "Hauptstr. 1", City: "Berlin", PostalCode: "10115", Region: "Berlin", Country: "DE"}, Segment: "Enterprise",
	}
	results := s.upsert(t, &salesforcev1.AccountUpsert{Account: full}, account("S-2", "Second"), account("", "No key"), account("S-1", "Again"))
	require.Equal(t, salesforcev1.Outcome_OUTCOME_CREATED, results[0].GetOutcome())
	require.Len(t, results[0].GetId(), 18)
	require.Equal(t, salesforcev1.Outcome_OUTCOME_CREATED, results[1].GetOutcome())
	require.Equal(t, "EXTERNAL_ID_REQUIRED", results[2].GetError().GetReason())
	require.Equal(t, "DUPLICATE_IN_BATCH", results[3].GetError().GetReason())

	got, err := s.accounts.GetAccount(t.Context(), &salesforcev1.GetAccountRequest{Id: results[0].GetId()[:15]})
	require.NoError(t, err)
	a := got.GetAccount()
	require.NotZero(t, a.GetVersion())
	require.Equal(t, a.GetUpdateTime().AsTime().UnixMilli(), a.GetVersion())
	full.Id, full.Version, full.CreateTime, full.UpdateTime, full.Etag = results[0].GetId(), a.GetVersion(), a.GetCreateTime(), a.GetUpdateTime(), a.GetEtag()
	full.OwnWrite = true // nobody else has written it since
	require.Equal(t, full.String(), a.String())

	t.Run("one batch holds updates and upserts, and keeps the order of the records", func(t *testing.T) {
		results := s.upsert(t,
			account("S-3", "Third"),
			&salesforcev1.AccountUpsert{Account: &salesforcev1.Account{Id: results[0].GetId(), Phone: "+49 30 2"}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"phone", "segment"}}},
			account("S-2", "Second, renamed"),
			&salesforcev1.AccountUpsert{Account: &salesforcev1.Account{Id: "001000000000999AAA", Name: "Nobody"}},
			&salesforcev1.AccountUpsert{Account: &salesforcev1.Account{ExternalId: "S-4", Name: "x"}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"nonsense"}}},
		)
		require.Equal(t, salesforcev1.Outcome_OUTCOME_CREATED, results[0].GetOutcome())
		require.Equal(t, salesforcev1.Outcome_OUTCOME_UPDATED, results[1].GetOutcome())
		require.Equal(t, salesforcev1.Outcome_OUTCOME_UPDATED, results[2].GetOutcome())
		require.Equal(t, salesforcev1.Outcome_OUTCOME_REFUSED, results[3].GetOutcome())
		require.False(t, results[3].GetError().GetRetryable())
		require.Equal(t, "FIELD_UNKNOWN", results[4].GetError().GetReason())
		got, err := s.accounts.GetAccount(t.Context(), &salesforcev1.GetAccountRequest{Id: full.GetId()})
		require.NoError(t, err)
		require.Equal(t, "+49 30 2", got.GetAccount().GetPhone())
		require.Empty(t, got.GetAccount().GetSegment(), "a field in the mask that is empty is cleared")
		require.Equal(t, full.GetName(), got.GetAccount().GetName(), "a field outside the mask stays")
	})
	t.Run("a contact belongs to its account, and a missing record is reported missing", func(t *testing.T) {
		resp, err := s.contacts.BatchUpsertContacts(t.Context(), &salesforcev1.BatchUpsertContactsRequest{Upserts: []*salesforcev1.ContactUpsert{
			{Contact: &salesforcev1.Contact{ExternalId: "P-1", AccountId: full.GetId(), FirstName: "Ada", LastName: "L", Email: "ada@mueller.example", Mobile: "1", Title: "CTO", Department: "IT"}},
			{Contact: &salesforcev1.Contact{ExternalId: "P-2", FirstName: "Without last name"}},
		}})
		require.NoError(t, err)
		require.Equal(t, salesforcev1.Outcome_OUTCOME_CREATED, resp.GetResults()[0].GetOutcome())
		require.Equal(t, "FIELD_REQUIRED", resp.GetResults()[1].GetError().GetReason())
		require.Equal(t, "last_name", resp.GetResults()[1].GetError().GetField())
		id := resp.GetResults()[0].GetId()
		batch, err := s.contacts.BatchGetContacts(t.Context(), &salesforcev1.BatchGetContactsRequest{Ids: []string{"003000000000999AAA", id}})
		require.NoError(t, err)
		require.Equal(t, []string{"003000000000999AAA"}, batch.GetMissingIds())
		require.Equal(t, full.GetId(), batch.GetContacts()[0].GetAccountId())
		require.Equal(t, "Ada", batch.GetContacts()[0].GetFirstName())
		_, err = s.contacts.GetContact(t.Context(), &salesforcev1.GetContactRequest{Id: "003000000000999AAA"})
		require.Equal(t, fault.NotFound, fault.KindOf(err))
	})
	t.Run("cases come newest first, page by page, open ones alone if asked", func(t *testing.T) {
		for i, status := range []string{"New", "Closed", "Working"} {
			c.create("Case", map[string]any{"AccountId": full.GetId(), "Subject": fmt.Sprint("case ", i), "Status": status, "Priority": "High"})
		}
		var subjects []string
		req := &salesforcev1.ListCasesRequest{AccountIds: []string{full.GetId()}, OpenOnly: true, PageSize: 1}
		for {
			resp, err := s.cases.ListCases(t.Context(), req)
			require.NoError(t, err)
			for _, one := range resp.GetCases() {
				require.False(t, one.GetClosed())
				require.NotEmpty(t, one.GetNumber())
				subjects = append(subjects, one.GetSubject())
			}
			if req.PageToken = resp.GetNextPageToken(); req.PageToken == "" {
				break
			}
		}
		require.Equal(t, []string{"case 2", "case 0"}, subjects)
	})
	t.Run("the list goes through every account once, in pages", func(t *testing.T) {
		names := map[string]int{}
		req := &salesforcev1.ListAccountsRequest{PageSize: 2}
		for {
			resp, err := s.accounts.ListAccounts(t.Context(), req)
			require.NoError(t, err)
			for _, a := range resp.GetAccounts() {
				names[a.GetName()]++
			}
			if req.PageToken = resp.GetNextPageToken(); req.PageToken == "" {
				break
			}
		}
		require.Len(t, names, 3)
		_, err := s.accounts.ListAccounts(t.Context(), &salesforcev1.ListAccountsRequest{PageToken: "nonsense"})
		require.Equal(t, fault.ReasonPageTokenInvalid, fault.ReasonOf(err))
	})
	t.Run("a locked record is refused for now, and its neighbours are written", func(t *testing.T) {
		c.faults(map[string]any{"lock_row": map[string]any{"count": 1}})
		for _, r := range s.upsert(t, account("S-2", "Locked once"), account("S-3", "Not locked")) {
			require.Equal(t, salesforcev1.Outcome_OUTCOME_UPDATED, r.GetOutcome(), "a lock that goes away soon is waited for")
		}
		c.faults(map[string]any{"rules": []map[string]any{{"effect": "lock_row", "record": results[1].GetId()}}})
		results := s.upsert(t, account("S-2", "Locked"), account("S-3", "Not locked"))
		c.faults(map[string]any{})
		require.Equal(t, "RECORD_LOCKED", results[0].GetError().GetReason())
		require.True(t, results[0].GetError().GetRetryable())
		require.Equal(t, salesforcev1.Outcome_OUTCOME_UPDATED, results[1].GetOutcome())
		results = s.upsert(t, account("S-2", "Locked"))
		require.Equal(t, salesforcev1.Outcome_OUTCOME_UPDATED, results[0].GetOutcome())
	})
	t.Run("an acknowledgement that is lost leads to one record", func(t *testing.T) {
		before := c.live("Account")
		c.faults(map[string]any{"lose_ack": map[string]any{"method": "PATCH", "count": 1}})
		results := s.upsert(t, account("S-9", "Lost and found"))
		require.Equal(t, salesforcev1.Outcome_OUTCOME_UPDATED, results[0].GetOutcome(), "the repeated call finds the record that the first one made")
		require.Equal(t, before+1, c.live("Account"))
	})
	t.Run("acknowledgements that stay lost leave the record uncertain, not failed", func(t *testing.T) {
		c.faults(map[string]any{"lose_ack": map[string]any{"method": "PATCH", "count": 5}})
		results := s.upsert(t, account("S-10", "Found"))
		require.Equal(t, salesforcev1.Outcome_OUTCOME_UPDATED, results[0].GetOutcome(), "reading it back shows that it was written")
		c.faults(map[string]any{"lose_ack": map[string]any{"method": "PATCH", "count": 5}, "error": map[string]any{"status": 503, "path_contains": "/query", "count": 9}})
		results = s.upsert(t, account("S-11", "Who knows"))
		require.True(t, results[0].GetError().GetUncertain())
		require.Equal(t, salesforcev1.ErrorClass_ERROR_CLASS_UNCERTAIN, results[0].GetError().GetClass())
		c.faults(map[string]any{})
	})
	t.Run("sessions that end are renewed without the caller noticing", func(t *testing.T) {
		c.faults(map[string]any{"expire_sessions": true})
		c.session = sync.OnceValue(c.login)
		_, err := s.accounts.GetAccount(t.Context(), &salesforcev1.GetAccountRequest{Id: full.GetId()})
		require.NoError(t, err)
	})
	t.Run("usage is what the org reports", func(t *testing.T) {
		u, err := s.changes.GetUsage(t.Context(), &salesforcev1.GetUsageRequest{})
		require.NoError(t, err)
		require.EqualValues(t, 100_000, u.GetLimit())
		require.Positive(t, u.GetUsed())
		require.Positive(t, u.GetOwnCalls())
	})
}

func TestWatch(t *testing.T) {
	t.Parallel()
	c := startSandbox(t)
	s := startReady(t, config(t, c))
	w := s.watch(t, "")
	own := s.upsert(t, account("S-1", "Acme"))[0].GetId()
	got := w.changes(1)[0]
	require.Equal(t, own, got.GetRecordId())
	require.Equal(t, salesforcev1.ChangeKind_CHANGE_KIND_CREATED, got.GetKind())
	require.Equal(t, salesforcev1.Object_OBJECT_ACCOUNT, got.GetObject())
	require.True(t, got.GetOwnWrite())
	require.Equal(t, "Acme", got.GetAccount().GetName())
	require.WithinDuration(t, time.Now(), got.GetCommitTime().AsTime(), time.Minute)

	t.Run("an update by someone else names its fields and carries the record as it is now", func(t *testing.T) {
		c.do("PATCH", "/services/data/v66.0/sobjects/Account/"+own, map[string]any{"Phone": "+1 555", "BillingCity": "Paris"})
		got := w.changes(1)[0]
		require.Equal(t, salesforcev1.ChangeKind_CHANGE_KIND_UPDATED, got.GetKind())
		require.False(t, got.GetOwnWrite())
		require.ElementsMatch(t, []string{"phone", "address.city"}, got.GetChangedFields())
		require.Equal(t, "+1 555", got.GetAccount().GetPhone())
		require.Equal(t, "Paris", got.GetAccount().GetAddress().GetCity())
	})
	t.Run("a contact comes as a contact, a deletion without its record, and an undeletion with it", func(t *testing.T) {
		id := c.create("Contact", map[string]any{"LastName": "Lovelace", "AccountId": own})
		got := w.changes(1)[0]
		require.Equal(t, salesforcev1.Object_OBJECT_CONTACT, got.GetObject())
		require.Equal(t, own, got.GetContact().GetAccountId())
		require.Nil(t, got.GetAccount())
		c.do("DELETE", "/services/data/v66.0/sobjects/Contact/"+id, nil)
		got = w.changes(1)[0]
		require.Equal(t, salesforcev1.ChangeKind_CHANGE_KIND_DELETED, got.GetKind())
		require.Equal(t, id, got.GetRecordId())
		require.Nil(t, got.GetContact())
		c.do("POST", "/__sandbox__/undelete", map[string]any{"ids": []string{id}})
		got = w.changes(1)[0]
		require.Equal(t, salesforcev1.ChangeKind_CHANGE_KIND_UNDELETED, got.GetKind())
		require.Equal(t, "Lovelace", got.GetContact().GetLastName())
	})
	t.Run("streams that break and sessions that end are survived", func(t *testing.T) {
		for i, plan := range []map[string]any{{"reset_streams": true}, {"expire_sessions": true}, {"duplicate_events": 2}} {
			c.faults(plan)
			c.session = sync.OnceValue(c.login)
			name := fmt.Sprint("after trouble ", i)
			c.do("PATCH", "/services/data/v66.0/sobjects/Account/"+own, map[string]any{"Name": name})
			require.Equal(t, name, w.changes(1)[0].GetAccount().GetName())
		}
		c.faults(map[string]any{})
	})
	t.Run("an idle stream sends its position", func(t *testing.T) {
		require.Eventually(t, func() bool { m := w.next(); return len(m.GetChanges()) == 0 && m.GetResumeToken() != "" }, waitFor, tick)
	})
	whole := t // a stream lives as long as the test it was opened by
	t.Run("a position that is not valid any more is mended by reading its range again, on an open stream and on a new one", func(t *testing.T) {
		for _, reopen := range []bool{false, true} {
			token := w.next().GetResumeToken()
			if reopen {
				w.cancel()
				c.faults(map[string]any{"expire_replay_ids": true})
				c.do("PATCH", "/services/data/v66.0/sobjects/Account/"+own, map[string]any{"Name": "Away"})
				w = s.watch(whole, token)
			} else {
				c.do("PATCH", "/services/data/v66.0/sobjects/Account/"+own, map[string]any{"Name": "Moved"})
				c.faults(map[string]any{"expire_replay_ids": true})
			}
			begun, done, name := map[string]bool{}, map[string]bool{}, ""
			for len(done) < 2 {
				m := w.next()
				for _, r := range m.GetLost() {
					require.Equal(t, salesforcev1.LossCause_LOSS_CAUSE_POSITION, r.GetCause())
					require.True(t, r.GetFrom().AsTime().Before(r.GetUntil().AsTime()))
					require.True(t, !r.GetDone() || begun[r.GetObjectName()], "the beginning comes before the end")
					begun[r.GetObjectName()], done[r.GetObjectName()] = true, done[r.GetObjectName()] || r.GetDone()
				}
				for _, ch := range m.GetChanges() {
					if ch.GetRecordId() == own {
						name = ch.GetAccount().GetName()
					}
				}
				for object, over := range done {
					if !over {
						delete(done, object)
					}
				}
			}
			require.Equal(t, map[bool]string{false: "Moved", true: "Away"}[reopen], name)
			c.do("PATCH", "/services/data/v66.0/sobjects/Account/"+own, map[string]any{"Name": "Live again"})
			require.Equal(t, "Live again", w.changes(1)[0].GetAccount().GetName())
		}
	})
	t.Run("the metrics tell usage, events and lag, and hold no ids", func(t *testing.T) {
		s.tells(t, "selfsame_salesforce_api_usage ", "selfsame_salesforce_api_limit 100000", "selfsame_salesforce_api_calls_total ", `selfsame_cdc_events_total{kind="delete",object="contact"} 1`, "selfsame_cdc_lag_seconds_count")
		require.NotContains(t, s.metrics(t), own)
	})
	t.Run("a position in another org is refused, on an open stream and on a new one", func(t *testing.T) {
		token := w.next().GetResumeToken()
		c.faults(map[string]any{"migrate_org": true})
		require.Equal(t, fault.ReasonResumeTokenExpired, fault.ReasonOf(w.end()))
		again := s.open(t, token)
		err := again.end()
		require.Equal(t, fault.ReasonResumeTokenExpired, fault.ReasonOf(err))
		require.Equal(t, fault.Precondition, fault.KindOf(err))
	})
	t.Run("a token that is none is refused", func(t *testing.T) {
		stream, err := s.changes.WatchChanges(t.Context(), &salesforcev1.WatchChangesRequest{ResumeToken: "nonsense"})
		require.NoError(t, err)
		_, err = stream.Recv()
		require.Equal(t, fault.ReasonResumeTokenInvalid, fault.ReasonOf(err))
	})
}

func TestWatch_Restart(t *testing.T) {
	t.Parallel()
	c := startSandbox(t)
	cfg := config(t, c)
	s := startReady(t, cfg)
	w := s.watch(t, "")
	first := w.token // a position taken before any event was seen
	require.NoError(t, s.stop())
	var want []string
	for i := range 30 {
		want = append(want, c.create("Account", map[string]any{"Name": fmt.Sprint("while down ", i)}))
	}
	ids := map[string]bool{}
	records := func(changes []*salesforcev1.Change) (out []string) {
		for _, ch := range changes {
			ids[ch.GetId()] = true
			out = append(out, ch.GetRecordId())
		}
		return out
	}
	s = startReady(t, cfg)
	w = s.watch(t, first)
	require.Equal(t, want, records(w.changes(30)), "nothing is lost, and the order is kept")
	require.Len(t, ids, 30)
	middle := w.token
	require.NoError(t, s.stop())

	want = append(want, c.create("Contact", map[string]any{"LastName": "Later"}))
	s = startReady(t, cfg)
	w = s.watch(t, middle)
	got := records(w.changes(1))
	require.Equal(t, want[30:], got, "a resumed stream goes on where the token was taken")
	require.Len(t, ids, 31)

	w = s.watch(t, first)
	require.ElementsMatch(t, want, records(w.changes(31)))
	require.Len(t, ids, 31, "the same change always has the same id")
}

func TestMappingFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	schema := filepath.Join(dir, "schema.json")
	require.NoError(t, os.WriteFile(schema, []byte(`{"objects":[{"name":"Account","rename":{"ERP_Customer_Number__c":"SAP_No__c","Selfsame_Id__c":"Golden_Id__c"}}]}`), 0o600))
	c := startSandbox(t, func(cfg *sandbox.Config) { cfg.SchemaFiles = []string{schema} })

	t.Run("without the file the service is not ready and says which fields do not fit", func(t *testing.T) {
		cfg := config(t, c)
		changes := salesforcev1.NewChangeServiceClient(startService(t, cfg).plain(t))
		var err error
		require.Eventually(t, func() bool {
			_, err = changes.GetUsage(t.Context(), &salesforcev1.GetUsageRequest{})
			return fault.ReasonOf(fault.FromStatus(err)) == systemsalesforce.ReasonMismatch
		}, waitFor, tick)
		err = fault.FromStatus(err)
		require.Equal(t, fault.Unavailable, fault.KindOf(err))
		require.ErrorContains(t, err, "objects.account.fields.erp_number: Account has no field ERP_Customer_Number__c")
		require.ErrorContains(t, err, "objects.account.fields.external_id")
	})
	t.Run("with it everything works as before", func(t *testing.T) {
		cfg := config(t, c)
		cfg.Salesforce.MappingFile = filepath.Join(dir, "mapping.yaml")
		require.NoError(t, os.WriteFile(cfg.Salesforce.MappingFile, []byte("version: 1\nobjects:\n  account:\n    fields:\n      erp_number: {field: SAP_No__c}\n      external_id: {field: Golden_Id__c}\n"), 0o600))
		s := startReady(t, cfg)
		w := s.watch(t, "")
		u := account("S-1", "Renamed")
		u.Account.ErpNumber = "4711"
		require.Equal(t, salesforcev1.Outcome_OUTCOME_CREATED, s.upsert(t, u)[0].GetOutcome())
		require.Equal(t, salesforcev1.Outcome_OUTCOME_UPDATED, s.upsert(t, u)[0].GetOutcome())
		got := w.changes(1)[0].GetAccount()
		require.Equal(t, "4711", got.GetErpNumber())
		require.Equal(t, "S-1", got.GetExternalId())
	})
}

func TestLimit(t *testing.T) {
	t.Parallel()
	c := startSandbox(t, func(cfg *sandbox.Config) { cfg.DailyAPILimit = 100 })
	s := startReady(t, config(t, c))
	list := func(ctx context.Context) error {
		_, err := s.accounts.ListAccounts(ctx, &salesforcev1.ListAccountsRequest{})
		return fault.FromStatus(err)
	}
	var err error
	for range 100 {
		if err = list(t.Context()); err != nil {
			break
		}
	}
	require.Equal(t, fault.Exhausted, fault.KindOf(err))
	require.Equal(t, "API_BUDGET_EXHAUSTED", fault.ReasonOf(err))
	require.Positive(t, fault.RetryAfter(err))
	fe, _ := fault.As(err)
	resume, perr := time.Parse(time.RFC3339, fe.Meta["resume_time"])
	require.NoError(t, perr)
	require.True(t, resume.After(time.Now()))
	before, err := s.changes.GetUsage(t.Context(), &salesforcev1.GetUsageRequest{})
	require.NoError(t, err)
	require.EqualValues(t, 100, before.GetLimit())
	require.LessOrEqual(t, before.GetUsed(), int64(90), "a tenth is kept")
	_, err = s.accounts.BatchUpsertAccounts(t.Context(), &salesforcev1.BatchUpsertAccountsRequest{Upserts: []*salesforcev1.AccountUpsert{account("S", "n")}})
	require.Equal(t, fault.Exhausted, fault.KindOf(err), "what was not written is never reported as written")
	require.Zero(t, c.live("Account"))
	after, err := s.changes.GetUsage(t.Context(), &salesforcev1.GetUsageRequest{})
	require.NoError(t, err)
	require.Equal(t, before.GetOwnCalls(), after.GetOwnCalls(), "no call is wasted on an allowance that is used up")
	require.NoError(t, list(priority.Outgoing(t.Context(), priority.Interactive)), "for whoever waits it was kept")
}

func TestStart_SalesforceAway(t *testing.T) {
	t.Parallel()
	cfg := config(t, nil)
	web, webBack := away(t)
	bus, busBack := away(t)
	cfg.Salesforce.LoginURL, cfg.Salesforce.PubSubEndpoint = "http://"+web.Addr().String(), bus.Addr().String()
	s := startService(t, cfg)
	status := func(health grpc_health_v1.HealthClient) grpc_health_v1.HealthCheckResponse_ServingStatus {
		resp, err := health.Check(t.Context(), &grpc_health_v1.HealthCheckRequest{})
		require.NoError(t, err)
		return resp.GetStatus()
	}
	conn, err := grpc.NewClient(s.addrs.GRPC, grpc.WithTransportCredentials(insecure.NewCredentials())) // without health checks of its own
	require.NoError(t, err)
	defer conn.Close()
	plain := salesforcev1.NewAccountServiceClient(conn)
	require.Eventually(t, func() bool {
		_, err := plain.GetAccount(t.Context(), &salesforcev1.GetAccountRequest{Id: "001000000000001AAA"})
		return fault.ReasonOf(err) == "SALESFORCE_UNREACHABLE" && fault.KindOf(err) == fault.Unavailable
	}, waitFor, tick)
	require.Equal(t, grpc_health_v1.HealthCheckResponse_NOT_SERVING, status(grpc_health_v1.NewHealthClient(conn)))
	resp, err := http.Get("http://" + s.addrs.Ops + "/readyz")
	require.NoError(t, err)
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	http.DefaultClient.CloseIdleConnections()
	require.Equal(t, http.StatusServiceUnavailable, resp.StatusCode)
	require.Contains(t, string(text), "salesforce")

	webBack()
	busBack()
	startSandbox(t, func(cfg *sandbox.Config) { cfg.HTTPListener, cfg.PubSubListener = web, bus })
	s.waitReady(t)
	require.Eventually(t, func() bool { return status(s.health) == grpc_health_v1.HealthCheckResponse_SERVING }, waitFor, 50*time.Millisecond)
	require.Equal(t, salesforcev1.Outcome_OUTCOME_CREATED, s.upsert(t, account("S-1", "Caught up"))[0].GetOutcome())
}
