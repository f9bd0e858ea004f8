package rpc

import (
	"context"
	"errors"
	"strings"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/page"
	customerv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/customer/v1"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/identify"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
)

// Matching is where people decide who is the same customer.
type Matching interface {
	Status(ctx context.Context, obj golden.Object) (identify.Status, error)
	Asked(ctx context.Context, obj golden.Object, after store.MatchEdge, limit int) ([]identify.Pair, error)
	Of(ctx context.Context, r store.Reader, id golden.ID) ([]identify.Pair, error)
	Show(ctx context.Context, left, right golden.ID) (identify.Comparison, error)
	Answer(ctx context.Context, left, right golden.ID, same bool, note string) error
	Preview(ctx context.Context, obj golden.Object, limit float64, samples int) (identify.Preview, error)
	Drift(ctx context.Context, obj golden.Object, records int) (identify.Drift, error)
	Lead(ctx context.Context, l identify.Lead) (identify.Known, error)
	Model(obj golden.Object) (mode, digest string)
}

// matching returns where people decide, or why nobody does.
func (s *operations) matching() (Matching, error) {
	if s.d.Matching == nil {
		return nil, fault.New(fault.Precondition, "MATCHING_OFF", "matching is off: match.mode")
	}
	return s.d.Matching, nil
}

// kindOf returns the kind that a request names, customers when it names none.
func kindOf(kind string) golden.Object {
	if kind == "" {
		return golden.Customer
	}
	return golden.Object(kind)
}

func (s *operations) GetMatching(ctx context.Context, req *customerv1.GetMatchingRequest) (*customerv1.GetMatchingResponse, error) {
	if s.d.Matching == nil {
		return &customerv1.GetMatchingResponse{Mode: identify.Off}, nil
	}
	st, err := s.d.Matching.Status(ctx, kindOf(req.GetKind()))
	if err != nil {
		return nil, err
	}
	return &customerv1.GetMatchingResponse{
		Mode: st.Mode, Model: st.Model, ReviewFrom: st.Bands.Review, JoinFrom: st.Bands.Auto, Customers: st.Units, Waiting: st.Waiting,
		Asked: st.Asked, Joined: st.Joined, Confirmed: st.Same, Rejected: st.Different,
	}, nil
}

// pairEnd is where a page of questions ends.
type pairEnd struct {
	Bits float64 `json:"s"`
	A    int64   `json:"a"`
	B    int64   `json:"b"`
}

func (s *operations) ListMatchQuestions(ctx context.Context, req *customerv1.ListMatchQuestionsRequest) (*customerv1.ListMatchQuestionsResponse, error) {
	m, err := s.matching()
	if err != nil {
		return nil, err
	}
	size, err := page.Size(req.GetPageSize(), 50, 500)
	if err != nil {
		return nil, err
	}
	filter := page.Hash("match questions", req.GetKind())
	var at pairEnd
	if err := page.Decode(req.GetPageToken(), filter, &at); err != nil {
		return nil, err
	}
	asked, err := m.Asked(ctx, golden.Object(req.GetKind()), store.MatchEdge{MatchPair: store.MatchPair{A: at.A, B: at.B}, Bits: at.Bits}, size+1)
	if err != nil {
		return nil, err
	}
	resp := &customerv1.ListMatchQuestionsResponse{}
	if len(asked) > size {
		asked = asked[:size]
		last := asked[size-1].Edge
		if resp.NextPageToken, err = page.Encode(filter, pairEnd{last.Bits, last.A, last.B}); err != nil {
			return nil, err
		}
	}
	var ids []golden.ID
	for _, p := range asked {
		ids = append(ids, p.Left, p.Right)
	}
	sides, err := s.sides(ctx, ids)
	if err != nil {
		return nil, err
	}
	for _, p := range asked {
		resp.Questions = append(resp.Questions, &customerv1.MatchQuestion{
			Left: sides[p.Left], Right: sides[p.Right], Probability: p.Probability, AskTime: stamp(p.Edge.Since),
		})
	}
	return resp, nil
}

// sides names customers and contacts so that a person knows them.
func (s *operations) sides(ctx context.Context, ids []golden.ID) (map[golden.ID]*customerv1.MatchSide, error) {
	goldens, err := s.d.Store.Read().Goldens(ctx, ids)
	if err != nil {
		return nil, err
	}
	var parents []golden.ID
	for _, g := range goldens {
		if id, ok := golden.ParseID(g.Values[golden.Parent]); ok && g.Object == golden.Contact {
			parents = append(parents, id)
		}
	}
	works, err := s.d.Store.Read().Goldens(ctx, parents)
	if err != nil {
		return nil, err
	}
	names := map[string]string{}
	for _, g := range works {
		names[string(g.ID)] = g.Values[golden.Name]
	}
	out := map[golden.ID]*customerv1.MatchSide{}
	for _, id := range ids {
		out[id] = &customerv1.MatchSide{CustomerId: string(id)}
	}
	for _, g := range goldens {
		if g.Object == golden.Contact {
			out[g.ID].Name = strings.TrimSpace(g.Values[golden.FirstName] + " " + g.Values[golden.LastName])
			out[g.ID].Place = names[g.Values[golden.Parent]]
			continue
		}
		place := g.Values[golden.PostalCode]
		if city := g.Values[golden.City]; place != "" && city != "" {
			place += " " + city
		} else {
			place += city
		}
		out[g.ID].Name, out[g.ID].Place = g.Values[golden.Name], place
	}
	return out, nil
}

func (s *operations) CompareCustomers(ctx context.Context, req *customerv1.CompareCustomersRequest) (*customerv1.CompareCustomersResponse, error) {
	m, err := s.matching()
	if err != nil {
		return nil, err
	}
	left, right, err := idPair(req.GetLeftId(), req.GetRightId())
	if err != nil {
		return nil, err
	}
	c, err := m.Show(ctx, left, right)
	if err != nil {
		return nil, err
	}
	resp := &customerv1.CompareCustomersResponse{Probability: c.Probability, Veto: c.Veto, Together: c.Together, Asked: c.Edge.Asked}
	for _, f := range golden.Fields(left.Object()) {
		if l, r := c.LeftValues[f], c.RightValues[f]; l != "" || r != "" {
			resp.Fields = append(resp.Fields, &customerv1.ComparedField{Field: f, Left: l, Right: r})
		}
	}
	for _, e := range c.Evidence {
		resp.Evidence = append(resp.Evidence, &customerv1.MatchEvidence{Comparison: e.Comparison, Level: e.Level, Bits: e.Bits})
	}
	if v := c.Verdict; v != nil {
		resp.Verdict = map[bool]string{true: "SAME", false: "DIFFERENT"}[v.Same]
		resp.VerdictActor, resp.VerdictNote, resp.VerdictTime = v.Actor, v.Note, stamp(v.At)
	}
	return resp, nil
}

// idPair returns the ids of two customers or of two contacts.
func idPair(left, right string) (a, b golden.ID, err error) {
	a, ok := golden.ParseID(left)
	b, ok2 := golden.ParseID(right)
	switch {
	case !ok:
		return "", "", fault.InvalidField("left_id", "", "is not the id of a customer or contact")
	case !ok2:
		return "", "", fault.InvalidField("right_id", "", "is not the id of a customer or contact")
	case a.Object() != b.Object():
		return "", "", fault.InvalidField("right_id", "", "is of another kind than left_id")
	case a == b:
		return "", "", fault.InvalidField("right_id", "", "is the same id")
	}
	return a, b, nil
}

func (s *operations) AnswerMatches(ctx context.Context, req *customerv1.AnswerMatchesRequest) (*customerv1.AnswerMatchesResponse, error) {
	m, err := s.matching()
	if err != nil {
		return nil, err
	}
	resp := &customerv1.AnswerMatchesResponse{}
	for _, p := range req.GetPairs() {
		left, right, err := idPair(p.GetLeftId(), p.GetRightId())
		if err != nil {
			return nil, err
		}
		result := &customerv1.MatchResult{LeftId: p.GetLeftId(), RightId: p.GetRightId()}
		if err := m.Answer(ctx, left, right, req.GetSame(), req.GetReason()); err != nil {
			var f *fault.Error
			if !errors.As(err, &f) || (f.Kind != fault.Precondition && f.Kind != fault.NotFound) {
				return nil, err // what was answered before stays so; asking again changes nothing
			}
			result.Refused = f.Reason
		}
		resp.Results = append(resp.Results, result)
	}
	return resp, nil
}

func (s *operations) PreviewMatching(ctx context.Context, req *customerv1.PreviewMatchingRequest) (*customerv1.PreviewMatchingResponse, error) {
	m, err := s.matching()
	if err != nil {
		return nil, err
	}
	p, err := m.Preview(ctx, kindOf(req.GetKind()), req.GetJoinFrom(), int(req.GetSamples()))
	if err != nil {
		return nil, err
	}
	resp := &customerv1.PreviewMatchingResponse{
		JoinFrom: p.Limit, Customers: p.Units, Waiting: p.Waiting, Pairs: int64(p.Pairs), Refused: int64(p.Refused), Asked: int64(p.Asked),
		Groups: int64(p.Groups), Merged: int64(p.Vanish), Largest: int64(p.Largest),
	}
	for _, g := range p.Samples {
		sides, err := s.sides(ctx, g)
		if err != nil {
			return nil, err
		}
		group := &customerv1.MatchGroup{}
		for _, id := range g {
			group.Customers = append(group.Customers, sides[id])
		}
		resp.Samples = append(resp.Samples, group)
	}
	return resp, nil
}

// possible returns the customers that a new one may be the same as.
func (s *customers) possible(ctx context.Context, r store.Reader, id golden.ID) ([]*customerv1.PossibleDuplicate, error) {
	if s.d.Matching == nil {
		return nil, nil
	}
	pairs, err := s.d.Matching.Of(ctx, r, id)
	if err != nil {
		return nil, err
	}
	var out []*customerv1.PossibleDuplicate
	for _, p := range pairs {
		out = append(out, &customerv1.PossibleDuplicate{CustomerId: string(p.Right), Probability: p.Probability})
	}
	return out, nil
}
