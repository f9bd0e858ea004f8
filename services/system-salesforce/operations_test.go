package systemsalesforce_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	salesforcev1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/salesforce/v1"
	systemsalesforce "github.com/selfsame-io/selfsame/services/system-salesforce"
)

// plain connects as an operator does: also to a service that says it is not ready.
func (s *service) plain(t *testing.T) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(s.addrs.GRPC, grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close()) })
	return conn
}

func (s *service) operations(t *testing.T) salesforcev1.OperationsServiceClient {
	t.Helper()
	return salesforcev1.NewOperationsServiceClient(s.plain(t))
}

func TestBudget(t *testing.T) {
	t.Parallel()
	c := startSandbox(t)
	s := startReady(t, config(t, c))
	ops := s.operations(t)
	_, err := s.accounts.ListAccounts(t.Context(), &salesforcev1.ListAccountsRequest{})
	require.NoError(t, err)
	var b *salesforcev1.GetBudgetResponse
	require.Eventually(t, func() bool {
		b, err = ops.GetBudget(t.Context(), &salesforcev1.GetBudgetRequest{})
		return err == nil && len(b.GetAllowances()) > 0
	}, waitFor, tick, "the limits are read by themselves")
	require.EqualValues(t, 100_000, b.GetLimit())
	require.Positive(t, b.GetUsed())
	require.GreaterOrEqual(t, b.GetEstimate(), b.GetUsed())
	require.NotNil(t, b.GetObserveTime())
	require.Nil(t, b.GetExhaustionTime())
	require.Len(t, b.GetPriorities(), 4)
	interactive, audit := b.GetPriorities()[0], b.GetPriorities()[3]
	require.Equal(t, "interactive", interactive.GetPriority())
	require.Positive(t, interactive.GetOwnCallsLastDay(), "the start's own")
	require.Positive(t, b.GetPriorities()[1].GetOwnCallsLastDay(), "calls that say nothing are sync")
	require.Less(t, audit.GetRemaining(), interactive.GetRemaining())
	names := map[string]int64{}
	for _, a := range b.GetAllowances() {
		names[a.GetName()] = a.GetRemaining()
	}
	require.Positive(t, names["DailyDeliveredPlatformEvents"])

	// The names that deploy/prometheus/salesforce.rules.yaml counts on.
	text := s.metrics(t)
	for _, want := range []string{
		`selfsame_salesforce_budget_remaining\{[^}]*priority="sync"`, `selfsame_salesforce_budget_closed\{[^}]*priority="interactive"`,
		`selfsame_salesforce_budget_calls_total\{[^}]*outcome="served"`, `selfsame_salesforce_allowance_remaining\{[^}]*name="DailyDeliveredPlatformEvents"`,
		`selfsame_salesforce_allowance_limit\{`, `selfsame_salesforce_concurrency_limit(\{|\s)`, `selfsame_salesforce_api_usage(\{|\s)`,
	} {
		require.Regexp(t, want, text)
	}
}

// TestBudget_Replicas has two processes share one account: what one has used the other knows.
func TestBudget_Replicas(t *testing.T) {
	t.Parallel()
	c := startSandbox(t)
	cfg := config(t, c)
	one, two := startReady(t, cfg), startReady(t, cfg)
	for range 20 {
		_, err := one.accounts.ListAccounts(t.Context(), &salesforcev1.ListAccountsRequest{})
		require.NoError(t, err)
	}
	ops := two.operations(t)
	require.Eventually(t, func() bool {
		b, err := ops.GetBudget(t.Context(), &salesforcev1.GetBudgetRequest{})
		require.NoError(t, err)
		return b.GetPriorities()[1].GetOwnCallsLastDay() >= 20
	}, waitFor, tick)
}

func finding(all []*salesforcev1.Finding, check, subject string) *salesforcev1.Finding {
	for _, f := range all {
		if f.GetCheck() == check && (subject == "" || f.GetSubject() == subject) {
			return f
		}
	}
	return nil
}

func TestDiagnose(t *testing.T) {
	t.Parallel()
	c := startSandbox(t)
	cfg := config(t, c)
	t.Run("an org that is set up passes, before any service runs", func(t *testing.T) {
		d, err := systemsalesforce.Diagnose(t.Context(), cfg)
		require.NoError(t, err)
		require.True(t, d.GetPassed(), "%v", d.GetFindings())
		require.Equal(t, salesforcev1.Severity_SEVERITY_OK, finding(d.GetFindings(), "session", "").GetSeverity())
		require.Equal(t, salesforcev1.Severity_SEVERITY_OK, finding(d.GetFindings(), "object", "Account").GetSeverity())
		require.Equal(t, salesforcev1.Severity_SEVERITY_OK, finding(d.GetFindings(), "external-id", "Account.Selfsame_Id__c").GetSeverity())
		require.Equal(t, salesforcev1.Severity_SEVERITY_OK, finding(d.GetFindings(), "pub-sub", "/data/AccountChangeEvent").GetSeverity())
		require.Equal(t, salesforcev1.Severity_SEVERITY_OK, finding(d.GetFindings(), "change-events", "Account").GetSeverity())
		require.Equal(t, salesforcev1.Severity_SEVERITY_OK, finding(d.GetFindings(), "clock", "").GetSeverity())
		require.Equal(t, salesforcev1.Severity_SEVERITY_OK, finding(d.GetFindings(), "visibility", "Account").GetSeverity())
		require.Equal(t, salesforcev1.Severity_SEVERITY_OK, finding(d.GetFindings(), "visibility", "Contact").GetSeverity())
		require.Equal(t, salesforcev1.Severity_SEVERITY_OK, finding(d.GetFindings(), "limits", "DailyApiRequests").GetSeverity())
	})
	t.Run("too much is warned of, a hidden field and an object without change events fail", func(t *testing.T) {
		c.do("PUT", "/__sandbox__/access", map[string]any{
			"hidden": []string{"Account.VAT_Id__c"}, "read_only": []string{"Account.Phone"}, "permissions": []string{"ModifyAllData"}, "unselected": []string{"Contact"},
			"shared": []string{"Contact"},
		})
		t.Cleanup(func() { c.do("DELETE", "/__sandbox__/access", nil) })
		d, err := systemsalesforce.Diagnose(t.Context(), cfg)
		require.NoError(t, err)
		require.False(t, d.GetPassed())
		var fields []string
		for _, f := range d.GetFindings() {
			if f.GetCheck() == "field" && f.GetSubject() == "Account" {
				require.Equal(t, salesforcev1.Severity_SEVERITY_FAILED, f.GetSeverity())
				require.NotEmpty(t, f.GetAdvice())
				fields = append(fields, f.GetMessage())
			}
		}
		require.Len(t, fields, 2)
		require.Contains(t, fields[0]+fields[1], "VAT_Id__c")
		require.Contains(t, fields[0]+fields[1], "may not write Account.Phone")
		require.Equal(t, salesforcev1.Severity_SEVERITY_WARNING, finding(d.GetFindings(), "permissions", "").GetSeverity())
		require.Contains(t, finding(d.GetFindings(), "permissions", "").GetMessage(), "Modify All Data")
		require.Equal(t, salesforcev1.Severity_SEVERITY_FAILED, finding(d.GetFindings(), "change-events", "Contact").GetSeverity())
		require.Equal(t, salesforcev1.Severity_SEVERITY_OK, finding(d.GetFindings(), "change-events", "Account").GetSeverity())
		require.Equal(t, salesforcev1.Severity_SEVERITY_OK, finding(d.GetFindings(), "visibility", "Account").GetSeverity())
		require.Equal(t, salesforcev1.Severity_SEVERITY_WARNING, finding(d.GetFindings(), "visibility", "Contact").GetSeverity())
	})
	t.Run("without a login nothing is passed", func(t *testing.T) {
		other := cfg
		other.Salesforce.ClientID = "nobody"
		d, err := systemsalesforce.Diagnose(t.Context(), other)
		require.NoError(t, err)
		require.False(t, d.GetPassed())
		require.Contains(t, finding(d.GetFindings(), "session", "").GetMessage(), "SALESFORCE_LOGIN_REFUSED")
		require.Equal(t, salesforcev1.Severity_SEVERITY_SKIPPED, finding(d.GetFindings(), "object", "").GetSeverity())
	})
	t.Run("a service that is not ready answers all the same", func(t *testing.T) {
		c.do("PUT", "/__sandbox__/access", map[string]any{"hidden": []string{"Account.VAT_Id__c"}})
		quiet := cfg
		quiet.Telemetry.LogLevel = "error"
		s := startService(t, quiet)
		d, err := s.operations(t).Diagnose(t.Context(), &salesforcev1.DiagnoseRequest{})
		require.NoError(t, err)
		require.False(t, d.GetPassed())
		c.do("DELETE", "/__sandbox__/access", nil)
		s.waitReady(t) // it notices by itself
	})
}
