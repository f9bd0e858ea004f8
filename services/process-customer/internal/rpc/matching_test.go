package rpc

import (
	"context"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/selfsame-io/selfsame/pkg/fault"
	customerv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/customer/v1"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/engine/enginetest"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/identify"
)

// asking has matching ask about what it finds.
func asking(t *testing.T, w *enginetest.World, api *API) {
	t.Helper()
	d, err := identify.New(identify.Deps{Config: identify.Config{Mode: identify.Ask}, Now: w.Clock.Now, Log: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	require.NoError(t, d.Open(t.Context(), w.Store))
	w.Identity = d
	w.Start()
	desk := identify.NewDesk(d, w.Store, w.Folder, w.Wake)
	api.operations.d.Matching, api.customers.d.Matching = desk, desk
	api.customers.d.Writer = w.Intake
}

func TestMatching_AsksConfirmsAndPreviews(t *testing.T) {
	w, api, _ := setup(t)
	asking(t, w, api)
	create := func(key string, c *customerv1.Customer) *customerv1.CreateCustomerResponse {
		resp, err := api.customers.CreateCustomer(keyed(t, key), &customerv1.CreateCustomerRequest{Customer: c})
		require.NoError(t, err)
		return resp
	}
	first := &customerv1.Customer{Name: "Brauerei Zapfhahn GmbH", Phone: "+49 951 2233445", Address: &customerv1.Address{Street: "Lindenallee 17", City: "Bamberg", PostalCode: "96047", Country: "DE"}}
	second, ok := proto.Clone(first).(*customerv1.Customer)
	require.True(t, ok)
	second.Name = "Brauerei Zapfhan"
	a := create("first", first)
	require.Empty(t, a.GetPossibleDuplicates())
	b := create("second", second)
	require.False(t, b.GetExisting(), "nothing is joined unasked")
	require.Len(t, b.GetPossibleDuplicates(), 1, "but the caller hears of it")
	require.Equal(t, a.GetCustomer().GetId(), b.GetPossibleDuplicates()[0].GetCustomerId())
	w.Settle()

	o := api.operations
	list, err := o.ListMatchQuestions(t.Context(), &customerv1.ListMatchQuestionsRequest{})
	require.NoError(t, err)
	require.Len(t, list.GetQuestions(), 1)
	require.Empty(t, list.GetNextPageToken())
	require.Equal(t, "96047 Bamberg", list.GetQuestions()[0].GetLeft().GetPlace())
	p, err := o.PreviewMatching(t.Context(), &customerv1.PreviewMatchingRequest{Samples: 3})
	require.NoError(t, err)
	require.Equal(t, []int64{1, 1, 2}, []int64{p.GetGroups(), p.GetMerged(), p.GetLargest()})
	require.Len(t, p.GetSamples(), 1)
	require.Len(t, p.GetSamples()[0].GetCustomers(), 2)

	pair := []*customerv1.MatchAnswer{{LeftId: a.GetCustomer().GetId(), RightId: b.GetCustomer().GetId()}}
	unknown, err := golden.DeriveID(golden.Customer, "nobody")
	require.NoError(t, err)
	answer := func(ctx context.Context, same bool, pairs ...*customerv1.MatchAnswer) []*customerv1.MatchResult {
		resp, err := o.AnswerMatches(ctx, &customerv1.AnswerMatchesRequest{Pairs: pairs, Same: same, Reason: "seen"})
		require.NoError(t, err)
		return resp.GetResults()
	}
	got := answer(t.Context(), true, &customerv1.MatchAnswer{LeftId: a.GetCustomer().GetId(), RightId: string(unknown)}, pair[0])
	require.Equal(t, []string{identify.ReasonUnknown, ""}, []string{got[0].GetRefused(), got[1].GetRefused()}, "one that is refused stops none")
	w.Settle()
	c, err := o.CompareCustomers(t.Context(), &customerv1.CompareCustomersRequest{LeftId: pair[0].GetLeftId(), RightId: pair[0].GetRightId()})
	require.NoError(t, err)
	require.True(t, c.GetTogether())
	require.Equal(t, []string{"SAME", "seen"}, []string{c.GetVerdict(), c.GetVerdictNote()})
	require.NotEmpty(t, c.GetEvidence())
	st, err := o.GetMatching(t.Context(), &customerv1.GetMatchingRequest{})
	require.NoError(t, err)
	require.Equal(t, identify.Ask, st.GetMode())
	require.Equal(t, []int64{2, 0, 1, 1}, []int64{st.GetCustomers(), st.GetAsked(), st.GetJoined(), st.GetConfirmed()})

	leads, err := o.CheckLeads(t.Context(), &customerv1.CheckLeadsRequest{Leads: []*customerv1.Lead{
		{Company: "Optik Weitblick", Email: "anna@weitblick.example"},
		{Company: "BRAUEREI ZAPFHAHN", LastName: "Hopf", Phone: "0951 2233445", Address: first.GetAddress()},
	}})
	require.NoError(t, err)
	require.Len(t, leads.GetAnswers(), 2)
	require.Equal(t, []string{"NEW", "EXISTS"}, []string{leads.GetAnswers()[0].GetAnswer(), leads.GetAnswers()[1].GetAnswer()})
	require.Equal(t, a.GetCustomer().GetId(), leads.GetAnswers()[1].GetCandidates()[0].GetCustomer().GetCustomerId(), "the customer of both records")

	drift, err := o.GetMatchDrift(t.Context(), &customerv1.GetMatchDriftRequest{})
	require.NoError(t, err)
	require.Equal(t, int32(2), drift.GetCustomers())
	require.InDelta(t, 1, drift.GetPairs(), 0.5)
	require.NotEmpty(t, drift.GetComparisons())
	var seen, said int64
	for _, band := range drift.GetBands() {
		seen, said = seen+band.GetPairs(), said+band.GetConfirmed()
	}
	require.Equal(t, []int64{1, 1}, []int64{seen, said})
	w.Check()
}

func TestMatching_RefusesWhatMakesNoSense(t *testing.T) {
	w, api, _ := setup(t)
	o := api.operations
	_, err := o.ListMatchQuestions(t.Context(), &customerv1.ListMatchQuestionsRequest{})
	require.Equal(t, "MATCHING_OFF", fault.ReasonOf(err))
	st, err := o.GetMatching(t.Context(), &customerv1.GetMatchingRequest{})
	require.NoError(t, err)
	require.Equal(t, identify.Off, st.GetMode())
	_, err = o.CheckLeads(t.Context(), &customerv1.CheckLeadsRequest{})
	require.Equal(t, "MATCHING_OFF", fault.ReasonOf(err))
	_, err = o.GetMatchDrift(t.Context(), &customerv1.GetMatchDriftRequest{})
	require.Equal(t, "MATCHING_OFF", fault.ReasonOf(err))
	asking(t, w, api)
	id, err := golden.DeriveID(golden.Customer, "x")
	require.NoError(t, err)
	contact, err := golden.DeriveID(golden.Contact, "x")
	require.NoError(t, err)
	for name, pair := range map[string][2]string{"one id twice": {string(id), string(id)}, "a contact": {string(id), string(contact)}, "no id": {"x", string(id)}} {
		_, err := o.CompareCustomers(t.Context(), &customerv1.CompareCustomersRequest{LeftId: pair[0], RightId: pair[1]})
		require.Equal(t, fault.Invalid, fault.KindOf(err), name)
		_, err = o.AnswerMatches(t.Context(), &customerv1.AnswerMatchesRequest{Pairs: []*customerv1.MatchAnswer{{LeftId: pair[0], RightId: pair[1]}}})
		require.Equal(t, fault.Invalid, fault.KindOf(err), name)
	}
}
