package rpc

import (
	"context"

	customerv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/customer/v1"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/enrich"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
)

// Viewer asks the systems for what belongs to a customer. It never fails.
type Viewer interface {
	View(ctx context.Context, id golden.ID, links map[string][]string) enrich.View
}

func (s *customers) GetCustomerView(ctx context.Context, req *customerv1.GetCustomerViewRequest) (*customerv1.GetCustomerViewResponse, error) {
	c, err := shown(ctx, s.d.Store.Brief(), req.GetId())
	if err != nil {
		return nil, err
	}
	resp := &customerv1.GetCustomerViewResponse{Customer: customer(c.Golden, c.Links, c.Marked)}
	if req.GetLocalOnly() {
		return resp, nil
	}
	links := map[string][]string{}
	for _, l := range c.Links {
		if links[l.Ref.System] == nil && !golden.Own(l.Ref.System) {
			if ids := recordsIn(c.Links, l.Ref.System); len(ids) > 0 {
				links[l.Ref.System] = ids
			}
		}
	}
	v := s.d.View.View(ctx, c.Golden.ID, links)
	resp.OrdersStatus, resp.CasesStatus, resp.WarrantiesStatus = section(v.Orders), section(v.Cases), section(v.Warranties)
	for _, o := range v.Orders.Items {
		resp.Orders = append(resp.Orders, orderSummary(o))
	}
	for _, c := range v.Cases.Items {
		resp.Cases = append(resp.Cases, &customerv1.CaseSummary{
			Id: c.ID, Number: c.Number, Subject: c.Subject, Status: c.Status, Priority: c.Priority, CreateTime: stamp(c.Created),
		})
	}
	for _, w := range v.Warranties.Items {
		resp.Warranties = append(resp.Warranties, &customerv1.WarrantySummary{
			SerialNumber: w.SerialNumber, Sku: w.SKU, Status: w.Status, EndTime: stamp(w.End),
		})
	}
	return resp, nil
}

func section[T any](s enrich.Section[T]) *customerv1.SectionStatus {
	state := customerv1.SectionState_SECTION_STATE_UNSPECIFIED
	switch s.State {
	case enrich.OK:
		state = customerv1.SectionState_SECTION_STATE_OK
	case enrich.Stale:
		state = customerv1.SectionState_SECTION_STATE_STALE
	case enrich.Unavailable:
		state = customerv1.SectionState_SECTION_STATE_UNAVAILABLE
	}
	return &customerv1.SectionStatus{System: s.System, State: state, AsOf: stamp(s.AsOf), Reason: s.Reason}
}
