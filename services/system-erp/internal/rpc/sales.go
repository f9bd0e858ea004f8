package rpc

import (
	"context"
	"fmt"

	erpv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/erp/v1"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/backend"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/erp"
)

func (s *orderServer) ValidateOrder(ctx context.Context, req *erpv1.ValidateOrderRequest) (*erpv1.ValidateOrderResponse, error) {
	o, err := toOrder(req.GetOrder())
	if err != nil {
		return nil, err
	}
	dry, err := s.store.ValidateOrder(ctx, o)
	if err != nil {
		return nil, err
	}
	return &erpv1.ValidateOrderResponse{Order: fromOrder(dry)}, nil
}

// ValidateCancellation asks the rule by which orders move in every ERP.
func (s *orderServer) ValidateCancellation(ctx context.Context, req *erpv1.ValidateCancellationRequest) (*erpv1.ValidateCancellationResponse, error) {
	can, err := s.store.Capabilities(ctx)
	if err != nil {
		return nil, err
	}
	if !can.SetOrderStatus {
		return nil, backend.Missing(can.Kind, "set the status of an order")
	}
	o, err := s.store.Order(ctx, req.GetId())
	if err != nil {
		return nil, err
	}
	if _, err := o.Move(erp.OrderCancelled, 0, 0); err != nil {
		return nil, err
	}
	return &erpv1.ValidateCancellationResponse{Order: fromOrder(o)}, nil
}

func (s *orderServer) ListDeliveries(ctx context.Context, req *erpv1.ListDeliveriesRequest) (*erpv1.ListDeliveriesResponse, error) {
	found, err := s.store.Deliveries(ctx, req.GetOrderId())
	if err != nil {
		return nil, err
	}
	return &erpv1.ListDeliveriesResponse{Deliveries: each(found, fromDelivery)}, nil
}

func (s *orderServer) RecordDelivery(ctx context.Context, req *erpv1.RecordDeliveryRequest) (*erpv1.RecordDeliveryResponse, error) {
	d, err := toDelivery(req.GetDelivery())
	if err != nil {
		return nil, err
	}
	stored, order, outcome, err := s.store.RecordDelivery(ctx, d)
	s.counted(ctx, "delivery", outcome, err)
	if err != nil {
		return nil, err
	}
	return &erpv1.RecordDeliveryResponse{Delivery: fromDelivery(stored), Order: fromOrder(order), Outcome: fromOutcome(outcome)}, nil
}

func (s *orderServer) ListOrderEvents(ctx context.Context, req *erpv1.ListOrderEventsRequest) (*erpv1.ListOrderEventsResponse, error) {
	steps, err := s.store.History(ctx, req.GetOrderId())
	if err != nil {
		return nil, err
	}
	return &erpv1.ListOrderEventsResponse{Events: each(steps, func(e erp.OrderEvent) *erpv1.OrderEvent {
		return &erpv1.OrderEvent{
			Sequence: e.Sequence, EventTime: fromTime(e.At), State: erpv1.OrderState(e.State), Fulfilment: erpv1.Progress(e.Fulfilment),
			Billing: erpv1.Progress(e.Billing), BlockReason: e.BlockReason,
		}
	})}, nil
}

// toDelivery reads a delivery and refuses what the ERP assigns.
func toDelivery(m *erpv1.Delivery) (erp.Delivery, error) {
	switch {
	case m.GetVersion() != 0:
		return erp.Delivery{}, notWritable("delivery.version")
	case m.GetUpdateTime() != nil:
		return erp.Delivery{}, notWritable("delivery.update_time")
	}
	d := erp.Delivery{
		ID: m.GetId(), OrderID: m.GetOrderId(), State: erp.DeliveryState(m.GetState()), //nolint:gosec // validated enum
		Carrier: m.GetCarrier(), Tracking: m.GetTracking(), Shipped: toTime(m.GetShipTime()),
	}
	for i, it := range m.GetItems() {
		quantity, err := toDecimal(it.GetQuantity(), fmt.Sprintf("delivery.items[%d].quantity", i))
		if err != nil {
			return erp.Delivery{}, err
		}
		d.Items = append(d.Items, erp.DeliveryItem{
			Line: it.GetLine(), SKU: it.GetSku(), Quantity: quantity, Unit: it.GetUnit(), Serials: it.GetSerialNumbers(),
		})
	}
	return d, nil
}

func fromDelivery(d erp.Delivery) *erpv1.Delivery {
	m := &erpv1.Delivery{
		Id: d.ID, OrderId: d.OrderID, State: erpv1.DeliveryState(d.State), Carrier: d.Carrier, Tracking: d.Tracking,
		ShipTime: fromTime(d.Shipped), Version: d.Version, UpdateTime: fromTime(d.Updated),
	}
	for _, it := range d.Items {
		m.Items = append(m.Items, &erpv1.DeliveryItem{
			Line: it.Line, Sku: it.SKU, Quantity: it.Quantity.String(), Unit: it.Unit, SerialNumbers: it.Serials,
		})
	}
	return m
}

func (s *productServer) ListPrices(ctx context.Context, req *erpv1.ListPricesRequest) (*erpv1.ListPricesResponse, error) {
	found, err := s.store.Prices(ctx, req.GetSkus(), req.GetCustomerId())
	if err != nil {
		return nil, err
	}
	return &erpv1.ListPricesResponse{Prices: each(found, func(p erp.Price) *erpv1.Price {
		return &erpv1.Price{
			Sku: p.SKU, CustomerId: p.CustomerID, MinQuantity: p.MinQuantity.String(), ValidFrom: p.From, ValidUntil: p.Until,
			Amount: fromMoney(p.Amount),
		}
	})}, nil
}

func (s *productServer) BatchUpsertPrices(ctx context.Context, req *erpv1.BatchUpsertPricesRequest) (*erpv1.BatchUpsertPricesResponse, error) {
	list := make([]erp.Price, len(req.GetPrices()))
	for i, m := range req.GetPrices() {
		path := fmt.Sprintf("prices[%d]", i)
		amount, err := toMoney(m.GetAmount(), path+".amount")
		if err != nil {
			return nil, err
		}
		list[i] = erp.Price{SKU: m.GetSku(), CustomerID: m.GetCustomerId(), From: m.GetValidFrom(), Until: m.GetValidUntil(), Amount: amount}
		if m.GetMinQuantity() != "" {
			if list[i].MinQuantity, err = toDecimal(m.GetMinQuantity(), path+".min_quantity"); err != nil {
				return nil, err
			}
		}
	}
	outcomes, err := s.store.UpsertPrices(ctx, list)
	if err != nil {
		return nil, err
	}
	resp := &erpv1.BatchUpsertPricesResponse{Outcomes: each(outcomes, fromOutcome)}
	for _, o := range outcomes {
		s.count(ctx, "price", o)
		if o != erp.Unchanged {
			resp.Changed++
		}
	}
	return resp, nil
}
