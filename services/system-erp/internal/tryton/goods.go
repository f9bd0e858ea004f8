package tryton

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/selfsame-io/selfsame/services/system-erp/internal/backend"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/erp"
)

var productFields = []string{"code", "name", "description", "list_price", "default_uom", "sale_uom", "active", "salable", "type", "create_date", "write_date"}

// Products implements remote.Goods. Tryton keeps codes unique among active products only: of several the active one counts.
func (s *System) Products(ctx context.Context, skus []string) ([]erp.Product, error) {
	rows, err := s.products(ctx, []any{clause("code", "in", skus)}, 0)
	if err != nil {
		return nil, err
	}
	out := make([]erp.Product, 0, len(rows))
	for _, r := range rows {
		out = append(out, r.Product)
	}
	return out, nil
}

// product is a product with its id.
type product struct {
	erp.Product
	id  int64
	uom int64 // of sales
}

func (s *System) products(ctx context.Context, domain []any, limit int) ([]product, error) {
	m, err := s.data(ctx)
	if err != nil {
		return nil, err
	}
	rows, err := s.find(ctx, "product.product", domain, limit, productFields...)
	if err != nil {
		return nil, err
	}
	byCode := make(map[string]product, len(rows))
	for _, r := range rows {
		price, err := r.decimal("list_price")
		if err != nil {
			return nil, err
		}
		unit := r.id("sale_uom")
		if unit == 0 {
			unit = r.id("default_uom")
		}
		p := product{id: r.id("id"), uom: unit, Product: erp.Product{
			SKU: r.str("code"), Name: r.str("name"), Description: r.str("description"), Unit: m.uoms[unit].code,
			Active: r.flag("active") && r.flag("salable"), Updated: r.changed(), Version: r.changed().UnixMicro(),
			Price: erp.Money{Amount: price, Currency: m.currency},
		}}
		if p.SKU == "" {
			continue
		}
		if have, ok := byCode[p.SKU]; !ok || p.Active && !have.Active {
			byCode[p.SKU] = p
		}
	}
	out := make([]product, 0, len(byCode))
	for _, p := range byCode {
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b product) int { return strings.Compare(a.SKU, b.SKU) })
	return out, nil
}

// ListProducts implements remote.Goods. The database's own order of codes depends on its language, so codes are read, a page
// at a time, and put in order here: only codes are held, not products.
func (s *System) ListProducts(ctx context.Context, after string, limit int) ([]erp.Product, error) {
	var codes []string
	for last := int64(0); ; {
		rows, err := s.find(ctx, "product.product", []any{clause("id", ">", last), clause("code", "!=", nil)}, 1000, "code")
		if err != nil {
			return nil, err
		}
		for _, r := range rows {
			if code := r.str("code"); code > after {
				codes = append(codes, code)
			}
			last = r.id("id")
		}
		slices.Sort(codes)
		codes = slices.Compact(codes)
		codes = codes[:min(len(codes), limit)]
		if len(rows) < 1000 {
			break
		}
	}
	if len(codes) == 0 {
		return nil, nil
	}
	return s.Products(ctx, codes)
}

// PutProduct implements remote.Goods: products of an ERP are made where their accounts and taxes are known.
func (s *System) PutProduct(context.Context, erp.Product) error {
	return backend.Missing(Kind, "write products")
}

// SetInventory implements remote.Goods.
func (s *System) SetInventory(context.Context, erp.Stock) error {
	return backend.Missing(Kind, "set stock")
}

// Inventory implements remote.Goods: on hand is today's stock of each warehouse, available what its planned moves leave.
func (s *System) Inventory(ctx context.Context, skus []string) ([]erp.Stock, error) {
	m, err := s.data(ctx)
	if err != nil {
		return nil, err
	}
	found, err := s.products(ctx, []any{clause("code", "in", skus)}, 0)
	if err != nil || len(found) == 0 {
		return nil, err
	}
	ids := make([]int64, len(found))
	for i, p := range found {
		ids[i] = p.id
	}
	quantities := func(w warehouse, field, until string) (map[int64]erp.Decimal, error) {
		var rows []record
		err := s.client.call(ctx, false, &rows, "model.product.product.read", ids, []string{"id", field}, s.context(ctx, map[string]any{
			"locations": []int64{w.id}, "stock_date_end": date(until), "with_childs": true,
		}))
		out := make(map[int64]erp.Decimal, len(rows))
		for _, r := range rows {
			if err == nil {
				out[r.id("id")], err = r.decimal(field)
			}
		}
		return out, err
	}
	var out []erp.Stock
	for _, w := range m.warehouses {
		at := time.Now().UTC()
		onHand, err := quantities(w, "quantity", at.Format(time.DateOnly))
		if err != nil {
			return nil, err
		}
		forecast, err := quantities(w, "forecast_quantity", "9999-12-31")
		if err != nil {
			return nil, err
		}
		for _, p := range found {
			st := erp.Stock{SKU: p.SKU, Site: w.site, OnHand: onHand[p.id], Unit: p.Unit, AsOf: at}
			if free := forecast[p.id]; free.Cmp(st.OnHand) < 0 {
				st.Reserved = st.OnHand.Sub(free)
			}
			if free := st.OnHand.Sub(st.Reserved); free.Sign() > 0 {
				st.Available = free
			}
			out = append(out, st)
		}
	}
	slices.SortFunc(out, func(a, b erp.Stock) int {
		if c := strings.Compare(a.SKU, b.SKU); c != 0 {
			return c
		}
		return strings.Compare(a.Site, b.Site)
	})
	return out, nil
}
