package rpc

import (
	"context"
	"errors"
	"time"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/page"
	customerv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/customer/v1"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/erase"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
)

// Eraser forgets golden records.
type Eraser interface {
	Erase(ctx context.Context, req erase.Request) ([]store.Erasure, error)
	PublicKey(ctx context.Context) ([]byte, error)
}

func (s *operations) EraseRecord(ctx context.Context, req *customerv1.EraseRecordRequest) (*customerv1.EraseRecordResponse, error) {
	id, ok := golden.ParseID(req.GetId())
	if !ok {
		return nil, fault.New(fault.NotFound, erase.ReasonUnknown, "there is no such record")
	}
	// An id of a record that was merged means the one it was merged into.
	if g, err := find(ctx, s.d.Store.Read(), "", req.GetId()); err == nil {
		id = g.ID
	} else if !fault.Is(err, fault.NotFound) {
		return nil, err
	}
	erasures, err := s.d.Eraser.Erase(ctx, erase.Request{ID: id, Systems: req.GetSystems(), Contacts: req.GetWithContacts(), Reason: req.GetReason()})
	if err != nil {
		return nil, err
	}
	resp := &customerv1.EraseRecordResponse{}
	for i := range erasures {
		m, err := s.erasure(ctx, &erasures[i])
		if err != nil {
			return nil, err
		}
		resp.Erasures = append(resp.Erasures, m)
	}
	return resp, nil
}

func (s *operations) erasure(ctx context.Context, e *store.Erasure) (*customerv1.Erasure, error) {
	m := &customerv1.Erasure{
		Id: e.ID, GoldenId: string(e.GoldenID), Object: string(e.Object), Systems: e.Systems, State: e.State, Actor: e.Actor, RequestTime: stamp(e.Requested),
		RefusedChanges: e.Refused, Receipt: e.Receipt, Signature: e.Signature,
	}
	if !e.Done.IsZero() {
		m.DoneTime = stamp(e.Done)
	}
	for _, x := range e.Steps {
		step := &customerv1.ErasureStep{System: x.Ref.System, Object: string(x.Ref.Object), State: x.State, Reason: x.Reason, Attempts: count32(x.Attempts)}
		if !x.Done.IsZero() {
			step.DoneTime = stamp(x.Done)
		}
		m.Steps = append(m.Steps, step)
	}
	if e.Receipt == "" {
		return m, nil
	}
	var err error
	m.PublicKey, err = s.d.Eraser.PublicKey(ctx)
	return m, err
}

func (s *operations) GetErasure(ctx context.Context, req *customerv1.GetErasureRequest) (*customerv1.GetErasureResponse, error) {
	e, err := s.d.Store.Read().Erasure(ctx, req.GetId())
	if errors.Is(err, store.ErrNotFound) {
		return nil, fault.Wrap(fault.NotFound, "ERASURE_UNKNOWN", err, "there is no such erasure")
	}
	if err != nil {
		return nil, err
	}
	m, err := s.erasure(ctx, &e)
	return &customerv1.GetErasureResponse{Erasure: m}, err
}

func (s *operations) ListErasures(ctx context.Context, req *customerv1.ListErasuresRequest) (*customerv1.ListErasuresResponse, error) {
	size, err := page.Size(req.GetPageSize(), 50, 500)
	if err != nil {
		return nil, err
	}
	which := "all"
	if req.GetOpenOnly() {
		which = "open"
	}
	filter := page.Hash("erasures", which)
	var at parked
	if err := page.Decode(req.GetPageToken(), filter, &at); err != nil {
		return nil, err
	}
	var after time.Time
	if at.Micros > 0 {
		after = time.UnixMicro(at.Micros)
	}
	erasures, err := s.d.Store.Read().ListErasures(ctx, req.GetOpenOnly(), after, at.ID, size+1)
	if err != nil {
		return nil, err
	}
	resp := &customerv1.ListErasuresResponse{}
	if len(erasures) > size {
		erasures = erasures[:size]
		last := erasures[size-1]
		if resp.NextPageToken, err = page.Encode(filter, parked{last.Requested.UnixMicro(), last.ID}); err != nil {
			return nil, err
		}
	}
	for i := range erasures {
		m, err := s.erasure(ctx, &erasures[i])
		if err != nil {
			return nil, err
		}
		resp.Erasures = append(resp.Erasures, m)
	}
	return resp, nil
}
