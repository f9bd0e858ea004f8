package rpc

import (
	"context"
	"slices"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/page"
	customerv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/customer/v1"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/shadow"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
)

// known refuses a system that is not configured.
func (s *operations) known(system string) error {
	if !slices.ContainsFunc(s.d.Targets, func(t Target) bool { return t.System() == system }) {
		return fault.New(fault.NotFound, "SYSTEM_UNKNOWN", "no such system is configured")
	}
	return nil
}

func (s *operations) GetShadow(ctx context.Context, req *customerv1.GetShadowRequest) (*customerv1.GetShadowResponse, error) {
	if err := s.known(req.GetSystem()); err != nil {
		return nil, err
	}
	r := s.d.Store.Read()
	control, err := r.Control(ctx, req.GetSystem(), store.DirectionDeliver)
	if err != nil {
		return nil, err
	}
	resp := &customerv1.GetShadowResponse{Shadow: control.Shadow}
	if control.Shadow {
		resp.Since = stamp(control.Since)
	}
	if resp.Records, err = r.CountShadowed(ctx, req.GetSystem()); err != nil {
		return nil, err
	}
	lines, err := shadow.Parity(ctx, r, req.GetSystem())
	if err != nil {
		return nil, err
	}
	for _, l := range lines {
		resp.Fields = append(resp.Fields, &customerv1.FieldParity{
			Object: string(l.Object), Field: l.Field, Matched: l.Count[shadow.Matched], Waiting: l.Count[shadow.Waiting], Different: l.Count[shadow.Different],
		})
	}
	return resp, nil
}

// shadowed is where a page of shadow writes ends.
type shadowed struct {
	GoldenID string `json:"g"`
	RecordID string `json:"r"`
	Field    string `json:"f"`
}

func (s *operations) ListShadowWrites(ctx context.Context, req *customerv1.ListShadowWritesRequest) (*customerv1.ListShadowWritesResponse, error) {
	size, err := page.Size(req.GetPageSize(), 50, 500)
	if err != nil {
		return nil, err
	}
	if err := s.known(req.GetSystem()); err != nil {
		return nil, err
	}
	filter := page.Hash("shadow writes", req.GetSystem(), req.GetState())
	var at shadowed
	if err := page.Decode(req.GetPageToken(), filter, &at); err != nil {
		return nil, err
	}
	after := store.ShadowWrite{GoldenID: golden.ID(at.GoldenID), RecordID: at.RecordID, Field: at.Field}
	writes, next, err := shadow.Page(ctx, s.d.Store.Read(), req.GetSystem(), after, size)
	if err != nil {
		return nil, err
	}
	resp := &customerv1.ListShadowWritesResponse{}
	if next != nil {
		if resp.NextPageToken, err = page.Encode(filter, shadowed{string(next.GoldenID), next.RecordID, next.Field}); err != nil {
			return nil, err
		}
	}
	for _, w := range writes {
		if req.GetState() != "" && req.GetState() != string(w.State) {
			continue
		}
		m := &customerv1.ShadowWrite{
			GoldenId: string(w.GoldenID), Object: string(w.Object), RecordId: w.RecordID, Kind: w.Kind, Field: w.Field, State: string(w.State), Since: stamp(w.Since),
		}
		if req.GetValues() {
			m.Before, m.Intended, m.Holds = w.Before, w.Intended, w.Holds
		}
		resp.Writes = append(resp.Writes, m)
	}
	return resp, nil
}
