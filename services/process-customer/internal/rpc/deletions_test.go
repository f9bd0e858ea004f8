package rpc

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/selfsame-io/selfsame/pkg/caller"
	"github.com/selfsame-io/selfsame/pkg/fault"
	customerv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/customer/v1"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/rulebook"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/survive"
)

func TestHeldDeletions(t *testing.T) {
	w, a, _ := setup(t)
	rules, err := survive.Parse([]byte(`{version: 1, systems: {erp: {priority: 2}, salesforce: {priority: 1}}, objects: {customer: {delete: [erp]}}}`))
	require.NoError(t, err)
	book, ok := a.operations.d.Book.(*rulebook.Book)
	require.True(t, ok)
	require.NoError(t, book.Open(t.Context(), rules))
	w.Rules, w.DeleteBrake, w.Deleting = rules, 1, true
	w.Start()
	var ids []string
	for _, name := range []string{"Anker", "Brandt", "Clausen"} {
		ids = append(ids, w.ERP.Create(golden.Customer, "", golden.Values{golden.Name: name}))
	}
	w.Settle()
	for _, id := range ids {
		w.ERP.Delete(golden.Customer, id)
	}
	require.NoError(t, w.Turn(t.Context()))

	req := &customerv1.ListHeldDeletionsRequest{PageSize: 2}
	var seen []*customerv1.HeldDeletion
	for {
		page, err := a.operations.ListHeldDeletions(t.Context(), req)
		require.NoError(t, err)
		seen = append(seen, page.GetDeletions()...)
		if req.PageToken = page.GetNextPageToken(); req.GetPageToken() == "" {
			break
		}
	}
	require.Len(t, seen, 3)
	require.Equal(t, "salesforce", seen[0].GetSystem())
	status, err := a.operations.GetStatus(t.Context(), &customerv1.GetStatusRequest{})
	require.NoError(t, err)
	for _, target := range status.GetTargets() {
		require.Equal(t, map[string]int64{"salesforce": 3, "erp": 0}[target.GetSystem()], target.GetHeldDeletions())
	}

	ada := caller.With(t.Context(), caller.Identity{Name: "ada"})
	confirm := func(until time.Time) int64 {
		resp, err := a.operations.ConfirmDeletions(ada, &customerv1.ConfirmDeletionsRequest{System: "salesforce", HeldUntil: timestamppb.New(until), Reason: "moved away"})
		require.NoError(t, err)
		return resp.GetConfirmed()
	}
	last := seen[2].GetHoldTime().AsTime()
	require.Zero(t, confirm(last.Add(-time.Second)), "nobody confirms what was held after he looked")
	require.EqualValues(t, 3, confirm(last))
	require.Zero(t, confirm(last), "confirming twice is confirming once")
	w.Settle()
	require.Empty(t, w.SF.Records(golden.Customer))
	trail, err := a.operations.ListAudit(t.Context(), &customerv1.ListAuditRequest{Operators: true, Actor: "ada", ShowValues: true})
	require.NoError(t, err)
	require.Len(t, trail.GetEntries(), 1)
	require.Equal(t, []string{"deletions_confirmed", "ada", "moved away"}, []string{trail.GetEntries()[0].GetKind(), trail.GetEntries()[0].GetActor(), trail.GetEntries()[0].GetNote()})

	_, err = a.operations.ConfirmDeletions(t.Context(), &customerv1.ConfirmDeletionsRequest{System: "moon", HeldUntil: timestamppb.New(last), Reason: "x"})
	require.Equal(t, fault.NotFound, fault.KindOf(err))
}
