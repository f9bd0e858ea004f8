package rpc

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/selfsame-io/selfsame/pkg/caller"
	"github.com/selfsame-io/selfsame/pkg/fault"
	customerv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/customer/v1"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source/sourcetest"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
)

func TestListAudit(t *testing.T) {
	w, a, _ := setup(t)
	record := w.SF.Create(golden.Customer, "", golden.Values{golden.Name: "Acme", golden.Phone: "1"})
	w.Settle()
	w.SF.Edit(golden.Customer, record, golden.Values{golden.Phone: "2"})
	w.Settle()
	id := string(w.Golden(w.SF, golden.Customer, record).ID)
	list := func(req *customerv1.ListAuditRequest) []*customerv1.AuditEntry {
		resp, err := a.operations.ListAudit(t.Context(), req)
		require.NoError(t, err)
		return resp.GetEntries()
	}
	var kinds []string
	for _, e := range list(&customerv1.ListAuditRequest{Id: id, Field: golden.Phone, ShowValues: true}) {
		for _, c := range e.GetChanges() {
			if c.GetField() == golden.Phone {
				kinds = append(kinds, e.GetKind()+" "+e.GetSystem()+" "+c.GetBefore()+">"+c.GetAfter())
			}
		}
	}
	require.Equal(t, []string{"created salesforce >1", "delivered_new erp >1", "changed salesforce 1>2", "delivered erp 1>2"}, kinds,
		"who said what, and what was written where")
	for _, e := range list(&customerv1.ListAuditRequest{Id: id}) {
		require.Empty(t, e.GetChanges(), "values only for whoever asks")
	}
	require.Len(t, list(&customerv1.ListAuditRequest{Id: record}), len(list(&customerv1.ListAuditRequest{Id: id})), "a system's id will do")
	require.Empty(t, list(&customerv1.ListAuditRequest{Id: "nobody"}))
	require.Empty(t, list(&customerv1.ListAuditRequest{Id: id, From: timestamppb.New(w.Clock.Now())}))

	all := list(&customerv1.ListAuditRequest{Id: id})
	var paged []*customerv1.AuditEntry
	for token := ""; ; {
		resp, err := a.operations.ListAudit(t.Context(), &customerv1.ListAuditRequest{Id: id, PageSize: 2, PageToken: token})
		require.NoError(t, err)
		paged = append(paged, resp.GetEntries()...)
		if token = resp.GetNextPageToken(); token == "" {
			break
		}
		_, err = a.operations.ListAudit(t.Context(), &customerv1.ListAuditRequest{PageSize: 2, PageToken: token})
		require.Equal(t, fault.Invalid, fault.KindOf(err), "a token is good for its own question")
	}
	require.Len(t, paged, len(all))
}

func TestListAudit_WhoDidIt(t *testing.T) {
	w, a, _ := setup(t)
	record := w.SF.Create(golden.Customer, "", golden.Values{golden.Name: "Acme"})
	require.NoError(t, w.Read(t.Context()))
	w.ERP.Refuse(string(w.Golden(w.SF, golden.Customer, record).ID), -1, sourcetest.Permanent())
	w.Settle()
	ada := caller.With(t.Context(), caller.Identity{Name: "ada", Verified: true})
	_, err := a.operations.DiscardDeadLetter(ada, &customerv1.DiscardDeadLetterRequest{Id: w.Dead()[0].ID, Reason: "asked Mrs Smith"})
	require.NoError(t, err)
	resp, err := a.operations.ListAudit(t.Context(), &customerv1.ListAuditRequest{Actor: "ada", ShowValues: true})
	require.NoError(t, err)
	require.Len(t, resp.GetEntries(), 1)
	require.Equal(t, "discarded", resp.GetEntries()[0].GetKind())
	require.Equal(t, "asked Mrs Smith", resp.GetEntries()[0].GetNote())
}

func TestVerifyAudit(t *testing.T) {
	w, a, _ := setup(t)
	w.SF.Create(golden.Customer, "", golden.Values{golden.Name: "Acme"})
	w.Settle()
	verify := func(noted string) *customerv1.VerifyAuditResponse {
		resp, err := a.operations.VerifyAudit(t.Context(), &customerv1.VerifyAuditRequest{Noted: noted})
		require.NoError(t, err)
		return resp
	}
	good := verify("")
	require.Empty(t, good.GetProblems())
	require.Positive(t, good.GetChecked())
	require.Empty(t, good.GetNextPageToken())
	require.True(t, verify(good.GetHead()).GetNotedKnown())
	require.Empty(t, verify(good.GetHead()).GetProblems())
	_, err := a.operations.VerifyAudit(t.Context(), &customerv1.VerifyAuditRequest{Noted: "nonsense"})
	require.Equal(t, fault.Invalid, fault.KindOf(err))

	require.NoError(t, w.Store.Tx(t.Context(), func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.SQL().ExecContext(ctx, "UPDATE event SET kind = 'x' WHERE position = 1")
		return err
	}))
	bad := verify("")
	require.Len(t, bad.GetProblems(), 1)
	require.EqualValues(t, 1, bad.GetProblems()[0].GetPosition())
	require.Equal(t, "ENTRY_CHANGED", bad.GetProblems()[0].GetKind())
}
