package rpc

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/telemetry"
	customerv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/customer/v1"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/engine/enginetest"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/reconcile"
)

// comparer returns a reconciler of the world's systems.
func comparer(t *testing.T, w *enginetest.World) *reconcile.Reconciler {
	t.Helper()
	r, err := reconcile.New(reconcile.Deps{
		Store: w.Store, Folder: w.Folder, Systems: w.Systems, Take: w.Intake.Take, Now: w.Clock.Now, Marked: w.Wake, Telemetry: telemetry.Discard(),
	})
	require.NoError(t, err)
	return r
}

func TestReconciliation(t *testing.T) {
	w, a, _ := setup(t)
	for _, name := range []string{"Alpha", "Beta", "Gamma"} {
		w.SF.Create(golden.Customer, "", golden.Values{golden.Name: name})
	}
	w.Settle()
	for _, rec := range w.SF.Records(golden.Customer) {
		w.SF.Drop(1)
		w.SF.Edit(golden.Customer, rec.Ref.RecordID, golden.Values{golden.Phone: "7"})
	}
	w.Clock.Advance(time.Hour)
	run := func(repair bool) *customerv1.Reconciliation {
		started, err := a.operations.StartReconciliation(t.Context(), &customerv1.StartReconciliationRequest{System: "salesforce", Repair: repair})
		require.NoError(t, err)
		require.True(t, started.GetStarted())
		require.Equal(t, "QUEUED", started.GetReconciliation().GetState())
		again, err := a.operations.StartReconciliation(t.Context(), &customerv1.StartReconciliationRequest{System: "salesforce"})
		require.NoError(t, err)
		require.False(t, again.GetStarted())
		require.Equal(t, started.GetReconciliation().GetId(), again.GetReconciliation().GetId())
		_, err = a.operations.d.Reconciler.(*reconcile.Reconciler).Step(t.Context())
		require.NoError(t, err)
		got, err := a.operations.GetReconciliation(t.Context(), &customerv1.GetReconciliationRequest{Id: started.GetReconciliation().GetId()})
		require.NoError(t, err)
		require.Equal(t, "DONE", got.GetReconciliation().GetState())
		return got.GetReconciliation()
	}
	require.EqualValues(t, 3, run(false).GetCompared())
	list := func(req *customerv1.ListFindingsRequest) []*customerv1.Finding {
		var all []*customerv1.Finding
		for {
			resp, err := a.operations.ListFindings(t.Context(), req)
			require.NoError(t, err)
			all = append(all, resp.GetFindings()...)
			if req.PageToken = resp.GetNextPageToken(); req.PageToken == "" {
				return all
			}
		}
	}
	findings := list(&customerv1.ListFindingsRequest{PageSize: 2})
	require.Len(t, findings, 3)
	require.Equal(t, "phone", findings[0].GetChanges()[0].GetField())
	require.Empty(t, findings[0].GetChanges()[0].GetAfter(), "values only for whoever asks")
	require.Equal(t, "7", list(&customerv1.ListFindingsRequest{ShowValues: true})[0].GetChanges()[0].GetAfter())
	require.Empty(t, list(&customerv1.ListFindingsRequest{Kind: "DUPLICATE"}))

	rule := &customerv1.CreateIgnoreRuleRequest{
		Id: "rule-0001", System: "salesforce", RecordId: findings[0].GetRecordId(), Field: "phone", Reason: "known", ExpireTime: timestamppb.New(w.Clock.Now().Add(time.Hour)),
	}
	for range 2 { // a repeated call makes one rule
		_, err := a.operations.CreateIgnoreRule(t.Context(), rule)
		require.NoError(t, err)
	}
	rules, err := a.operations.ListIgnoreRules(t.Context(), &customerv1.ListIgnoreRulesRequest{System: "salesforce"})
	require.NoError(t, err)
	require.Len(t, rules.GetRules(), 1)
	require.EqualValues(t, 2, run(true).GetRepaired())
	require.Len(t, list(&customerv1.ListFindingsRequest{State: "IGNORED"}), 1)
	require.Len(t, list(&customerv1.ListFindingsRequest{State: "REPAIRED"}), 2)
	for range 2 {
		_, err = a.operations.DeleteIgnoreRule(t.Context(), &customerv1.DeleteIgnoreRuleRequest{Id: "rule-0001"})
		require.NoError(t, err)
	}
	w.Clock.Advance(time.Hour)
	require.EqualValues(t, 1, run(true).GetRepaired())
	runs, err := a.operations.ListReconciliations(t.Context(), &customerv1.ListReconciliationsRequest{})
	require.NoError(t, err)
	require.Len(t, runs.GetReconciliations(), 3)

	w.SF.Slip(golden.Customer, findings[1].GetRecordId(), golden.Values{golden.Phone: "8"})
	started, err := a.operations.StartReconciliation(t.Context(), &customerv1.StartReconciliationRequest{System: "salesforce", Values: true})
	require.NoError(t, err)
	require.Equal(t, []any{true, true, int64(1)}, []any{
		started.GetReconciliation().GetDeep(), started.GetReconciliation().GetValues(), started.GetReconciliation().GetReadCalls(),
	})
	_, err = a.operations.d.Reconciler.(*reconcile.Reconciler).Step(t.Context())
	require.NoError(t, err)
	require.Len(t, list(&customerv1.ListFindingsRequest{State: "OPEN"}), 1)

	rule.Id, rule.ExpireTime = "rule-0002", timestamppb.New(w.Clock.Now().Add(-time.Hour))
	_, err = a.operations.CreateIgnoreRule(t.Context(), rule)
	require.Equal(t, fault.Invalid, fault.KindOf(err))
	_, err = a.operations.GetReconciliation(t.Context(), &customerv1.GetReconciliationRequest{Id: "r_none"})
	require.Equal(t, "RECONCILIATION_UNKNOWN", fault.ReasonOf(err))
	_, err = a.operations.StartReconciliation(t.Context(), &customerv1.StartReconciliationRequest{System: "none"})
	require.Equal(t, fault.NotFound, fault.KindOf(err))
}
