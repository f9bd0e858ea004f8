package rpc

import (
	"context"
	"slices"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/page"
	"github.com/selfsame-io/selfsame/pkg/telemetry"
	customerv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/customer/v1"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
)

const (
	heldPage = 100
	heldMost = 1000
)

// held is where a page of held deletions ends.
type held struct {
	Micros int64  `json:"t"`
	System string `json:"s"`
	ID     string `json:"i"`
}

// ListHeldDeletions implements OperationsService.
func (s *operations) ListHeldDeletions(ctx context.Context, req *customerv1.ListHeldDeletionsRequest) (*customerv1.ListHeldDeletionsResponse, error) {
	size, err := page.Size(req.GetPageSize(), heldPage, heldMost)
	if err != nil {
		return nil, err
	}
	filter := page.Hash("held deletions", req.GetSystem())
	var at held
	if err := page.Decode(req.GetPageToken(), filter, &at); err != nil {
		return nil, err
	}
	after := store.Held{System: at.System, GoldenID: golden.ID(at.ID)}
	if at.Micros > 0 {
		after.Since = db.FromMicros(at.Micros)
	}
	found, err := s.d.Store.Read().Held(ctx, req.GetSystem(), after, size+1)
	if err != nil {
		return nil, err
	}
	resp := &customerv1.ListHeldDeletionsResponse{}
	if len(found) > size {
		found = found[:size]
		last := found[size-1]
		if resp.NextPageToken, err = page.Encode(filter, held{db.Micros(last.Since), last.System, string(last.GoldenID)}); err != nil {
			return nil, err
		}
	}
	for _, h := range found {
		resp.Deletions = append(resp.Deletions, &customerv1.HeldDeletion{
			System: h.System, Object: string(h.Object), GoldenId: string(h.GoldenID), HoldTime: stamp(h.Since),
		})
	}
	return resp, nil
}

// ConfirmDeletions implements OperationsService.
func (s *operations) ConfirmDeletions(ctx context.Context, req *customerv1.ConfirmDeletionsRequest) (*customerv1.ConfirmDeletionsResponse, error) {
	if !slices.Contains(s.systems(), req.GetSystem()) {
		return nil, fault.New(fault.NotFound, "SYSTEM_UNKNOWN", "no such system is configured")
	}
	var n int64
	err := s.d.Store.Tx(ctx, func(ctx context.Context, tx *store.Tx) error {
		if err := tx.LockIdentity(ctx); err != nil {
			return err
		}
		now := s.d.Now()
		var err error
		if n, err = tx.Confirm(ctx, req.GetSystem(), req.GetHeldUntil().AsTime(), now); err != nil || n == 0 {
			return err
		}
		return tx.AddEvents(ctx, []store.Event{{
			At: now, Kind: "deletions_confirmed", System: req.GetSystem(), Note: req.GetReason(), Traceparent: telemetry.Traceparent(ctx),
		}})
	})
	if err != nil {
		return nil, err
	}
	return &customerv1.ConfirmDeletionsResponse{Confirmed: n}, nil
}
