package rpc

import (
	"context"
	"slices"

	"github.com/selfsame-io/selfsame/pkg/caller"
	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/telemetry"
	customerv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/customer/v1"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
)

// flows returns what operators have paused or slowed down.
func flows(ctx context.Context, r store.Reader) ([]*customerv1.Flow, error) {
	controls, err := r.Controls(ctx)
	var out []*customerv1.Flow
	for _, c := range controls {
		if c.Paused || c.PerMinute > 0 || c.Shadow {
			out = append(out, flow(c))
		}
	}
	return out, err
}

func flow(c store.Control) *customerv1.Flow {
	return &customerv1.Flow{
		System: c.System, Direction: c.Direction, Paused: c.Paused, PerMinute: c.PerMinute, Reason: c.Reason, Actor: c.Actor, Since: stamp(c.Since),
		Shadow: c.Shadow,
	}
}

func (s *operations) SetFlow(ctx context.Context, req *customerv1.SetFlowRequest) (*customerv1.SetFlowResponse, error) {
	if !slices.Contains(s.systems(), req.GetSystem()) {
		return nil, fault.New(fault.NotFound, "SYSTEM_UNKNOWN", "no such system is configured")
	}
	if req.GetPerMinute() > 0 && req.GetDirection() != store.DirectionDeliver {
		return nil, fault.InvalidField("per_minute", "", "only deliveries can be slowed down")
	}
	if req.GetShadow() && req.GetDirection() != store.DirectionDeliver {
		return nil, fault.InvalidField("shadow", "", "only deliveries can be shadowed")
	}
	asked := store.Control{
		System: req.GetSystem(), Direction: req.GetDirection(), Paused: req.GetPaused(), PerMinute: req.GetPerMinute(), Reason: req.GetReason(),
		Actor: caller.From(ctx).Name, Since: s.d.Now(),
	}
	var want store.Control
	err := s.d.Store.Tx(ctx, func(ctx context.Context, tx *store.Tx) error {
		want = asked
		if err := tx.LockIdentity(ctx); err != nil {
			return err
		}
		have, err := tx.Control(ctx, want.System, want.Direction)
		if err != nil {
			return err
		}
		want.Shadow = have.Shadow
		if req.Shadow != nil {
			want.Shadow = req.GetShadow()
		}
		if have.Paused == want.Paused && have.PerMinute == want.PerMinute && have.Shadow == want.Shadow && have.Reason == want.Reason {
			want = have
			return nil
		}
		if err := tx.SetControl(ctx, want); err != nil {
			return err
		}
		if have.Shadow && !want.Shadow {
			if err := tx.EndShadow(ctx, want.System, telemetry.Traceparent(ctx), want.Since); err != nil {
				return err
			}
		}
		return tx.AddEvents(ctx, []store.Event{{
			At: want.Since, Kind: flowKind(want), System: want.System, Fields: []string{want.Direction}, Note: want.Reason, Traceparent: telemetry.Traceparent(ctx),
		}})
	})
	if err != nil {
		return nil, err
	}
	s.d.Poke(want.System)
	return &customerv1.SetFlowResponse{Flow: flow(want)}, nil
}

func flowKind(c store.Control) string {
	switch {
	case c.Paused:
		return "paused"
	case c.Shadow:
		return "shadowed"
	case c.PerMinute > 0:
		return "throttled"
	default:
		return "resumed"
	}
}
