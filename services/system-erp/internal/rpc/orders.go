package rpc

import (
	"context"
	"fmt"
	"slices"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/pkg/page"
	erpv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/erp/v1"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/erp"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/store"
)

type orderServer struct {
	erpv1.UnimplementedOrderServiceServer
	*Server
}

func (s *orderServer) GetOrder(ctx context.Context, req *erpv1.GetOrderRequest) (*erpv1.GetOrderResponse, error) {
	o, err := s.store.Order(ctx, req.GetId())
	if err != nil {
		return nil, err
	}
	return &erpv1.GetOrderResponse{Order: fromOrder(o)}, nil
}

func (s *orderServer) ListOrders(ctx context.Context, req *erpv1.ListOrdersRequest) (*erpv1.ListOrdersResponse, error) {
	size, err := page.Size(req.GetPageSize(), 50, 200)
	if err != nil {
		return nil, err
	}
	customers := slices.Clone(req.GetCustomerIds())
	slices.Sort(customers)
	customers = slices.Compact(customers)
	found, next, err := paged(req.GetPageToken(), page.Hash(append([]string{"orders"}, customers...)...), size,
		func(after *store.OrderCursor, limit int) ([]erp.Order, error) {
			return s.store.ListOrders(ctx, customers, after, limit)
		}, func(o erp.Order) store.OrderCursor {
			return store.OrderCursor{Ordered: db.Micros(o.Ordered), ID: o.ID}
		})
	if err != nil {
		return nil, err
	}
	return &erpv1.ListOrdersResponse{Orders: each(found, fromOrder), NextPageToken: next}, nil
}

func (s *orderServer) CreateOrder(ctx context.Context, req *erpv1.CreateOrderRequest) (*erpv1.CreateOrderResponse, error) {
	o, err := toOrder(req.GetOrder())
	if err != nil {
		return nil, err
	}
	placed, outcome, err := s.store.CreateOrder(ctx, o)
	s.counted(ctx, "order", outcome, err)
	if err != nil {
		return nil, err
	}
	warn(ctx, placed.Warnings)
	return &erpv1.CreateOrderResponse{Order: fromOrder(placed), Outcome: fromOutcome(outcome)}, nil
}

func (s *orderServer) SetOrderStatus(ctx context.Context, req *erpv1.SetOrderStatusRequest) (*erpv1.SetOrderStatusResponse, error) {
	o, outcome, err := s.store.MoveOrder(ctx, req.GetId(), erp.OrderState(req.GetState()), //nolint:gosec // validated enums
		erp.Progress(req.GetFulfilment()), erp.Progress(req.GetBilling())) //nolint:gosec // validated enums
	s.counted(ctx, "order", outcome, err)
	if err != nil {
		return nil, err
	}
	return &erpv1.SetOrderStatusResponse{Order: fromOrder(o), Outcome: fromOutcome(outcome)}, nil
}

// toOrder reads a new order and refuses what the ERP assigns.
func toOrder(m *erpv1.Order) (erp.Order, error) {
	for _, f := range []struct {
		path string
		set  bool
	}{
		{"id", m.GetId() != ""},
		{"state", m.GetState() != 0},
		{"fulfilment", m.GetFulfilment() != 0},
		{"billing", m.GetBilling() != 0},
		{"total", m.GetTotal() != nil},
		{"version", m.GetVersion() != 0},
		{"update_time", m.GetUpdateTime() != nil},
	} {
		if f.set {
			return erp.Order{}, notWritable("order." + f.path)
		}
	}
	o := erp.Order{
		ClientRef: m.GetClientRef(), CustomerID: m.GetCustomerId(), CustomerPO: m.GetCustomerPo(),
		Ordered: toTime(m.GetOrderTime()), BlockReason: m.GetBlockReason(), ShipToID: m.GetShipToId(), BillToID: m.GetBillToId(),
		PayerID: m.GetPayerId(), Requested: m.GetRequestedDate(), Currency: m.GetCurrency(), Note: m.GetNote(),
	}
	for i, it := range m.GetItems() {
		path := fmt.Sprintf("order.items[%d]", i)
		if it.GetDeliveredQuantity() != "" {
			return erp.Order{}, notWritable(path + ".delivered_quantity")
		}
		quantity, err := toDecimal(it.GetQuantity(), path+".quantity")
		if err != nil {
			return erp.Order{}, err
		}
		price, err := toMoney(it.GetUnitPrice(), path+".unit_price")
		if err != nil {
			return erp.Order{}, err
		}
		o.Items = append(o.Items, erp.Item{
			Line: it.GetLine(), SKU: it.GetSku(), Quantity: quantity, Unit: it.GetUnit(), Price: price, Name: it.GetName(),
			Requested: it.GetRequestedDate(),
		})
	}
	return o, nil
}

func fromOrder(o erp.Order) *erpv1.Order {
	m := &erpv1.Order{
		Id: o.ID, ClientRef: o.ClientRef, CustomerId: o.CustomerID, CustomerPo: o.CustomerPO, OrderTime: fromTime(o.Ordered),
		State: erpv1.OrderState(o.State), Fulfilment: erpv1.Progress(o.Fulfilment), Billing: erpv1.Progress(o.Billing),
		BlockReason: o.BlockReason, Total: fromMoney(o.Total), Version: o.Version, UpdateTime: fromTime(o.Updated),
		ShipToId: o.ShipToID, BillToId: o.BillToID, PayerId: o.PayerID, RequestedDate: o.Requested, Currency: o.Currency, Note: o.Note,
	}
	for _, it := range o.Items {
		m.Items = append(m.Items, &erpv1.OrderItem{
			Line: it.Line, Sku: it.SKU, Quantity: it.Quantity.String(), Unit: it.Unit, UnitPrice: fromMoney(it.Price), Name: it.Name,
			RequestedDate: it.Requested, DeliveredQuantity: it.Delivered.String(),
		})
	}
	return m
}
