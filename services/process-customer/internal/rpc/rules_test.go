package rpc

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/fault"
	customerv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/customer/v1"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/rulebook"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/survive"
)

func TestRules(t *testing.T) {
	w, a, _ := setup(t)
	o := a.operations
	id := w.ERP.Create(golden.Customer, "", golden.Values{golden.Name: "Acme", golden.TaxID: "DE100000001", golden.Phone: "1"})
	w.Settle()
	g := w.Golden(w.ERP, golden.Customer, id)
	w.SF.Edit(golden.Customer, w.Twin(g.ID, w.SF).Ref.RecordID, golden.Values{golden.Phone: "2"})
	w.Settle()

	// What is in force.
	got, err := o.GetRules(t.Context(), &customerv1.GetRulesRequest{})
	require.NoError(t, err)
	require.Equal(t, string(survive.DefaultText()), got.GetActive().GetContent())
	require.EqualValues(t, 50, got.GetBrakePercent())
	require.Nil(t, got.GetWaiting())

	// Rules with mistakes are refused, each mistake with its place.
	_, err = o.TryRules(t.Context(), &customerv1.TryRulesRequest{Rules: "version: x\nobjcts: {}\n"})
	require.Equal(t, fault.Invalid, fault.KindOf(err))
	refused, ok := fault.As(err)
	require.True(t, ok)
	require.Equal(t, rulebook.ReasonInvalid, refused.Reason)
	require.Len(t, refused.Fields, 3)

	// A trial says what would change, and that a person would have to agree.
	byERP := strings.Replace(string(survive.DefaultText()), "version: 1", "version: 2", 1)
	byERP = strings.Replace(byERP, "phone: {strategy: latest}", "phone: {strategy: master, master: [erp]}", 1)
	try, err := o.TryRules(t.Context(), &customerv1.TryRulesRequest{Rules: byERP})
	require.NoError(t, err)
	require.EqualValues(t, 1, try.GetChanged())
	require.Equal(t, rulebook.ReasonTouchesTooMuch, try.GetReason())
	require.Equal(t, "phone", try.GetFields()[0].GetField())
	require.Equal(t, []string{"2", "latest", "1", "master erp"}, []string{
		try.GetChanges()[0].GetBefore(), try.GetChanges()[0].GetRuleBefore(), try.GetChanges()[0].GetAfter(), try.GetChanges()[0].GetRuleAfter(),
	})
	_, err = o.ConfirmRules(t.Context(), &customerv1.ConfirmRulesRequest{Digest: try.GetDigest()})
	require.Equal(t, fault.NotFound, fault.KindOf(err), "they were only tried")

	// A pin stands over the rules, and explain says so.
	_, err = o.PinField(t.Context(), &customerv1.PinFieldRequest{Id: string(g.ID), Field: golden.Phone, Value: "555", Hold: customerv1.PinHold_PIN_HOLD_ALWAYS})
	require.NoError(t, err)
	w.Settle()
	e, err := o.Explain(t.Context(), &customerv1.ExplainRequest{Id: string(g.ID), Field: golden.Phone})
	require.NoError(t, err)
	require.EqualValues(t, 1, e.GetRulesNumber())
	f := e.GetFields()[0]
	require.Equal(t, []string{"555", "pin", "objects.customer.fields.phone"}, []string{f.GetValue(), f.GetRule(), f.GetRulePath()})
	require.Equal(t, "2", f.GetLosers()[0].GetValue())
	got2, err := a.customers.GetCustomer(t.Context(), &customerv1.GetCustomerRequest{Id: string(g.ID)})
	require.NoError(t, err)
	require.Equal(t, "555", got2.GetCustomer().GetPhone())
	require.Len(t, got2.GetCustomer().GetSources(), 2, "a pin is no system")
	_, err = o.UnpinField(t.Context(), &customerv1.UnpinFieldRequest{Id: string(g.ID), Field: golden.Phone})
	require.NoError(t, err)
	w.Settle()
	w.Check()
	_, err = o.PinField(t.Context(), &customerv1.PinFieldRequest{Id: string(g.ID), Field: "shoe_size"})
	require.Equal(t, fault.Invalid, fault.KindOf(err))

	// Nothing is asked under these rules.
	asked, err := o.ListQuestions(t.Context(), &customerv1.ListQuestionsRequest{})
	require.NoError(t, err)
	require.Empty(t, asked.GetQuestions())
	_, err = o.AnswerQuestion(t.Context(), &customerv1.AnswerQuestionRequest{System: "erp", RecordId: id, Field: golden.Phone})
	require.Equal(t, fault.NotFound, fault.KindOf(err))

	// Two customers that are one after all.
	other := w.ERP.Create(golden.Customer, "", golden.Values{golden.Name: "Acme (old)", golden.TaxID: "DE100000002"})
	w.Settle()
	from := w.Golden(w.ERP, golden.Customer, other)
	_, err = o.MergeRecords(t.Context(), &customerv1.MergeRecordsRequest{Into: string(g.ID), From: string(from.ID)})
	require.NoError(t, err)
	w.Deleting = true
	w.Settle()
	w.Check()
	got2, err = a.customers.GetCustomer(t.Context(), &customerv1.GetCustomerRequest{Id: string(from.ID)})
	require.NoError(t, err)
	require.Equal(t, string(g.ID), got2.GetCustomer().GetId(), "the old id leads to the new one")
	_, err = o.UnmergeRecord(t.Context(), &customerv1.UnmergeRecordRequest{Id: string(from.ID)})
	require.NoError(t, err)
	w.Settle()
	w.Check()
	_, err = o.UnmergeRecord(t.Context(), &customerv1.UnmergeRecordRequest{Id: "nonsense"})
	require.Equal(t, fault.NotFound, fault.KindOf(err))
}
