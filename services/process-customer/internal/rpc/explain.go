package rpc

import (
	"context"
	"slices"

	"github.com/selfsame-io/selfsame/pkg/fault"
	customerv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/customer/v1"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/fold"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/survive"
)

func (s *operations) Explain(ctx context.Context, req *customerv1.ExplainRequest) (*customerv1.ExplainResponse, error) {
	r := s.d.Store.Read()
	g, err := find(ctx, r, "", req.GetId())
	if err != nil {
		return nil, err
	}
	if req.GetField() != "" && !golden.HasField(g.Object, req.GetField()) {
		return nil, fault.InvalidField("field", "", "is not a field of this kind of record")
	}
	rows, err := r.SourcesOf(ctx, []golden.ID{g.ID})
	if err != nil {
		return nil, err
	}
	rules := s.d.Rules()
	resp := &customerv1.ExplainResponse{
		Id: string(g.ID), Object: string(g.Object), RulesVersion: rules.Digest(), RulesNumber: int64(rules.Version()),
	}
	var decisions []golden.Decision
	for _, d := range fold.Decide(g.Object, rows, rules) {
		if req.GetField() == "" || d.Field == req.GetField() {
			decisions = append(decisions, d)
		}
	}
	e := explainer{rules: rules}
	if e.traces, err = traces(ctx, r, decisions); err != nil {
		return nil, err
	}
	for _, d := range decisions {
		f := &customerv1.FieldExplanation{Field: d.Field, Value: d.Value, Rule: d.Rule, RulePath: d.Path}
		if d.Winner != nil {
			f.Winner = e.claim(*d.Winner)
		}
		for _, c := range d.Parts {
			f.Parts = append(f.Parts, e.claim(c))
		}
		for _, c := range d.Losers {
			f.Losers = append(f.Losers, e.claim(c))
		}
		resp.Fields = append(resp.Fields, f)
	}
	return resp, nil
}

// traces finds the traces of the changes that brought claims, by system and change id.
func traces(ctx context.Context, r store.Reader, decisions []golden.Decision) (map[string]map[string]string, error) {
	ids := map[string][]string{}
	add := func(c golden.Claim) {
		if !slices.Contains(ids[c.Ref.System], c.ChangeID) {
			ids[c.Ref.System] = append(ids[c.Ref.System], c.ChangeID)
		}
	}
	for _, d := range decisions {
		if d.Winner != nil {
			add(*d.Winner)
		}
		for _, c := range slices.Concat(d.Parts, d.Losers) {
			add(c)
		}
	}
	out := map[string]map[string]string{}
	for system, list := range ids {
		found, err := r.Traces(ctx, system, list)
		if err != nil {
			return nil, err
		}
		out[system] = found
	}
	return out, nil
}

type explainer struct {
	rules  *survive.Rules
	traces map[string]map[string]string
}

func (e explainer) claim(c golden.Claim) *customerv1.Claim {
	out := &customerv1.Claim{
		System: c.Ref.System, RecordId: c.Ref.RecordID, Value: c.Value, Version: c.Version, EventTime: stamp(c.EventTime), ChangeId: c.ChangeID,
		Traceparent: e.traces[c.Ref.System][c.ChangeID],
	}
	if !c.Received.IsZero() {
		out.ReceiveTime = stamp(c.Received)
	}
	if at := e.rules.At(&c); !at.Equal(c.EventTime) {
		out.EffectiveTime = stamp(at)
	}
	return out
}
