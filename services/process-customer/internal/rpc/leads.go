package rpc

import (
	"context"

	customerv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/customer/v1"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/identify"
)

// The answers about a lead.
const (
	leadExists = "EXISTS"
	leadAsk    = "ASK"
	leadNew    = "NEW"
)

func (s *operations) CheckLeads(ctx context.Context, req *customerv1.CheckLeadsRequest) (*customerv1.CheckLeadsResponse, error) {
	m, err := s.matching()
	if err != nil {
		return nil, err
	}
	known := make([]identify.Known, len(req.GetLeads()))
	var ids []golden.ID
	for i, l := range req.GetLeads() {
		if known[i], err = m.Lead(ctx, leadOf(l)); err != nil {
			return nil, err
		}
		for _, c := range known[i].Candidates {
			ids = append(ids, c.Customer)
		}
	}
	sides, err := s.sides(ctx, ids)
	if err != nil {
		return nil, err
	}
	resp := &customerv1.CheckLeadsResponse{}
	for _, k := range known {
		a := &customerv1.LeadAnswer{Answer: leadNew, ContactId: string(k.Contact)}
		switch {
		case k.Same != "":
			a.Answer = leadExists
		case len(k.Candidates) > 0:
			a.Answer = leadAsk
		}
		for _, c := range k.Candidates {
			a.Candidates = append(a.Candidates, &customerv1.LeadCandidate{Customer: sides[c.Customer], Probability: c.Probability})
		}
		resp.Answers = append(resp.Answers, a)
	}
	return resp, nil
}

// leadOf returns what a lead says about its company and about its person.
func leadOf(l *customerv1.Lead) identify.Lead {
	company := valuesOf(&customerv1.Customer{
		Name: l.GetCompany(), TaxId: l.GetTaxId(), Email: l.GetEmail(), Phone: l.GetPhone(), Website: l.GetWebsite(), Address: l.GetAddress(),
	}, golden.Fields(golden.Customer))
	person := golden.Values{golden.FirstName: l.GetFirstName(), golden.LastName: l.GetLastName(), golden.Email: l.GetEmail()}
	for field, value := range person {
		person[field] = golden.Canonical(golden.Contact, field, value)
	}
	return identify.Lead{Company: company, Person: person}
}

func (s *operations) GetMatchDrift(ctx context.Context, req *customerv1.GetMatchDriftRequest) (*customerv1.GetMatchDriftResponse, error) {
	m, err := s.matching()
	if err != nil {
		return nil, err
	}
	customers := int(req.GetCustomers())
	if customers == 0 {
		customers = identify.DriftSample
	}
	d, err := m.Drift(ctx, kindOf(req.GetKind()), customers)
	if err != nil {
		return nil, err
	}
	resp := &customerv1.GetMatchDriftResponse{Customers: int32(d.Customers), Pairs: d.Pairs} //nolint:gosec // at most 20000
	resp.Mode, resp.Model = m.Model(kindOf(req.GetKind()))
	for _, c := range d.Comparisons {
		out := &customerv1.ComparisonDrift{
			Comparison: c.Comparison, Same: c.Same, Others: c.Others, FilledLearned: c.FilledLearned, FilledSeen: c.FilledSeen,
		}
		for _, l := range c.Levels {
			out.Levels = append(out.Levels, &customerv1.LevelDrift{
				Level: l.Level, SameLearned: l.SameLearned, SameSeen: l.SameSeen, OthersLearned: l.OthersLearned, OthersSeen: l.OthersSeen,
			})
		}
		resp.Comparisons = append(resp.Comparisons, out)
	}
	for _, b := range d.Bands {
		resp.Bands = append(resp.Bands, &customerv1.ScoreBand{
			From: b.From, Below: b.Below, Pairs: b.Pairs, Confirmed: b.Confirmed, Rejected: b.Rejected, Expected: b.Expected,
		})
	}
	return resp, nil
}
