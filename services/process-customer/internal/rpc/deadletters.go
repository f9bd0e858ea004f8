package rpc

import (
	"context"

	customerv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/customer/v1"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/deadletter"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
)

func redriveMode(m customerv1.RedriveMode) deadletter.Mode {
	switch m {
	case customerv1.RedriveMode_REDRIVE_MODE_FROM_START:
		return deadletter.FromStart
	case customerv1.RedriveMode_REDRIVE_MODE_CURRENT_RULES:
		return deadletter.CurrentRules
	default:
		return deadletter.SameStep
	}
}

// count32 fits a count into a message.
func count32(n int) int32 { return int32(min(n, 1<<30)) } //nolint:gosec // bounded

func (s *operations) PreviewDeadLetters(ctx context.Context, req *customerv1.PreviewDeadLettersRequest) (*customerv1.PreviewDeadLettersResponse, error) {
	sel, err := s.d.Desk.Preview(ctx, store.LetterFilter{
		System: req.GetSystem(), Direction: req.GetDirection(), Reason: req.GetReason(), Object: golden.Object(req.GetObject()),
		From: moment(req.GetFrom()), Until: moment(req.GetUntil()),
	})
	if err != nil {
		return nil, err
	}
	resp := &customerv1.PreviewDeadLettersResponse{Selection: sel.Token, Letters: count32(len(sel.Letters)), More: sel.More, ExpireTime: stamp(sel.Expires)}
	for _, g := range sel.Groups() {
		resp.Groups = append(resp.Groups, &customerv1.DeadLetterGroup{
			Direction: g.Direction, System: g.System, Reason: g.Reason, Field: g.Field, Letters: count32(g.Letters),
		})
	}
	return resp, nil
}

func (s *operations) RedriveDeadLetters(ctx context.Context, req *customerv1.RedriveDeadLettersRequest) (*customerv1.RedriveDeadLettersResponse, error) {
	p, err := s.d.Desk.RedriveSelection(ctx, req.GetSelection(), redriveMode(req.GetMode()))
	if err != nil {
		return nil, err
	}
	return &customerv1.RedriveDeadLettersResponse{Redriven: count32(p.Done), Skipped: count32(p.Skipped), Left: count32(p.Left)}, nil
}

func (s *operations) DiscardDeadLetters(ctx context.Context, req *customerv1.DiscardDeadLettersRequest) (*customerv1.DiscardDeadLettersResponse, error) {
	p, err := s.d.Desk.DiscardSelection(ctx, req.GetSelection(), req.GetReason())
	if err != nil {
		return nil, err
	}
	return &customerv1.DiscardDeadLettersResponse{Discarded: count32(p.Done), Skipped: count32(p.Skipped), Left: count32(p.Left)}, nil
}
