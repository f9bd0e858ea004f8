package rpc

import (
	"context"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/page"
	erpv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/erp/v1"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/erp"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/store"
)

type productServer struct {
	erpv1.UnimplementedProductServiceServer
	*Server
}

func (s *productServer) GetProduct(ctx context.Context, req *erpv1.GetProductRequest) (*erpv1.GetProductResponse, error) {
	found, err := s.store.Products(ctx, []string{req.GetSku()})
	if err != nil {
		return nil, err
	}
	p, ok := found[req.GetSku()]
	if !ok {
		return nil, fault.New(fault.NotFound, fault.ReasonNotFound, "no product has this SKU")
	}
	return &erpv1.GetProductResponse{Product: fromProduct(p)}, nil
}

func (s *productServer) ListProducts(ctx context.Context, req *erpv1.ListProductsRequest) (*erpv1.ListProductsResponse, error) {
	size, err := page.Size(req.GetPageSize(), 100, 1000)
	if err != nil {
		return nil, err
	}
	found, next, err := paged(req.GetPageToken(), page.Hash("products"), size, func(after *string, limit int) ([]erp.Product, error) {
		return s.store.ListProducts(ctx, deref(after), limit)
	}, func(p erp.Product) string { return p.SKU })
	if err != nil {
		return nil, err
	}
	return &erpv1.ListProductsResponse{Products: each(found, fromProduct), NextPageToken: next}, nil
}

func (s *productServer) BatchUpsertProducts(ctx context.Context, req *erpv1.BatchUpsertProductsRequest) (*erpv1.BatchUpsertProductsResponse, error) {
	results, err := batch(ctx, s.Server, "product", req.GetProducts(), toProduct, s.store.UpsertProducts)
	if err != nil {
		return nil, err
	}
	return &erpv1.BatchUpsertProductsResponse{Results: each(results, func(r store.Result[erp.Product]) *erpv1.ProductUpsertResult {
		if r.Err != nil {
			return &erpv1.ProductUpsertResult{Outcome: fromOutcome(erp.Refused), Error: recordError(r.Err)}
		}
		return &erpv1.ProductUpsertResult{Outcome: fromOutcome(r.Outcome), Product: fromProduct(r.Record)}
	})}, nil
}

func (s *productServer) ListInventory(ctx context.Context, req *erpv1.ListInventoryRequest) (*erpv1.ListInventoryResponse, error) {
	found, err := s.store.Inventory(ctx, req.GetSkus())
	if err != nil {
		return nil, err
	}
	return &erpv1.ListInventoryResponse{Inventory: each(found, s.fromStock)}, nil
}

func (s *productServer) SetInventory(ctx context.Context, req *erpv1.SetInventoryRequest) (*erpv1.SetInventoryResponse, error) {
	m := req.GetInventory()
	onHand, err := toDecimal(m.GetOnHand(), "inventory.on_hand")
	if err != nil {
		return nil, err
	}
	st, outcome, err := s.store.SetInventory(ctx, erp.Stock{SKU: m.GetSku(), Site: m.GetSite(), OnHand: onHand, Unit: m.GetUnit()})
	s.counted(ctx, "inventory", outcome, err)
	if err != nil {
		return nil, err
	}
	return &erpv1.SetInventoryResponse{Inventory: s.fromStock(st), Outcome: fromOutcome(outcome)}, nil
}

func (s *productServer) ListWarranties(ctx context.Context, req *erpv1.ListWarrantiesRequest) (*erpv1.ListWarrantiesResponse, error) {
	size, err := page.Size(req.GetPageSize(), 100, 1000)
	if err != nil {
		return nil, err
	}
	found, next, err := paged(req.GetPageToken(), page.Hash("warranties", req.GetCustomerId()), size,
		func(after *store.WarrantyCursor, limit int) ([]erp.Warranty, error) {
			return s.store.ListWarranties(ctx, req.GetCustomerId(), after, limit)
		}, func(w erp.Warranty) store.WarrantyCursor {
			return store.WarrantyCursor{Start: db.Micros(w.Start), Serial: w.Serial}
		})
	if err != nil {
		return nil, err
	}
	return &erpv1.ListWarrantiesResponse{Warranties: each(found, s.fromWarranty), NextPageToken: next}, nil
}

func (s *productServer) UpsertWarranty(ctx context.Context, req *erpv1.UpsertWarrantyRequest) (*erpv1.UpsertWarrantyResponse, error) {
	m := req.GetWarranty()
	w, outcome, err := s.store.UpsertWarranty(ctx, erp.Warranty{
		Serial: m.GetSerialNumber(), SKU: m.GetSku(), CustomerID: m.GetCustomerId(), OrderID: m.GetOrderId(),
		Start: toTime(m.GetStartTime()), End: toTime(m.GetEndTime()), Terms: m.GetTerms(),
	})
	s.counted(ctx, "warranty", outcome, err)
	if err != nil {
		return nil, err
	}
	return &erpv1.UpsertWarrantyResponse{Warranty: s.fromWarranty(w), Outcome: fromOutcome(outcome)}, nil
}

func (s *productServer) fromWarranty(w erp.Warranty) *erpv1.Warranty {
	return &erpv1.Warranty{
		SerialNumber: w.Serial, Sku: w.SKU, CustomerId: w.CustomerID, OrderId: w.OrderID, StartTime: fromTime(w.Start),
		EndTime: fromTime(w.End), Terms: w.Terms, Status: erpv1.WarrantyStatus(w.Status(s.now())),
	}
}

func toProduct(m *erpv1.Product) (erp.Product, error) {
	price, err := toMoney(m.GetPrice(), "product.price")
	return erp.Product{
		SKU: m.GetSku(), Name: m.GetName(), Description: m.GetDescription(), Unit: m.GetUnit(), GTIN: m.GetGtin(),
		Group: m.GetGroup(), Price: price, Serialised: m.GetSerialised(), Active: m.GetActive(),
		WarrantyMonths: m.GetWarrantyMonths(),
	}, err
}

func fromProduct(p erp.Product) *erpv1.Product {
	return &erpv1.Product{
		Sku: p.SKU, Name: p.Name, Description: p.Description, Unit: p.Unit, Gtin: p.GTIN, Group: p.Group,
		Price: fromMoney(p.Price), Serialised: p.Serialised, Active: p.Active, WarrantyMonths: p.WarrantyMonths,
		Version: p.Version, UpdateTime: fromTime(p.Updated),
	}
}

func (s *productServer) fromStock(st erp.Stock) *erpv1.Inventory {
	return &erpv1.Inventory{
		Sku: st.SKU, Site: st.Site, OnHand: st.OnHand.String(), Reserved: st.Reserved.String(), Available: st.Available.String(),
		Unit: st.Unit, AsOf: fromTime(st.AsOf), Age: durationpb.New(max(0, s.now().Sub(st.AsOf))),
	}
}
