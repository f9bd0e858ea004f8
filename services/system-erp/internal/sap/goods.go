package sap

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/selfsame-io/selfsame/services/system-erp/internal/backend"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/erp"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/sap/odata"
)

const availability = "DetermineAvailabilityAt"

// product is A_Product.
type product struct {
	ID       string `json:"Product"`
	BaseUnit string
	Group    string `json:"ProductGroup"`
	GTIN     string `json:"ProductStandardID"`
	Serial   string `json:"SerialNumberProfile"`
	Status   string `json:"CrossPlantStatus"`
	Deleted  bool   `json:"IsMarkedForDeletion"`
	Changed  string `json:"LastChangeDateTime"`
	Texts    *list[struct {
		Language string
		Text     string `json:"ProductDescription"`
	}] `json:"to_Description"`
}

func (s *System) product(p product) erp.Product {
	out := erp.Product{
		SKU: p.ID, Name: p.ID, Unit: s.codes.rec20(p.BaseUnit), GTIN: p.GTIN, Group: p.Group, Serialised: p.Serial != "", Active: !p.Deleted && p.Status == "",
	}
	for i, t := range items(p.Texts) {
		if i == 0 || strings.EqualFold(t.Language, language) {
			out.Name = cmp.Or(t.Text, out.Name)
		}
	}
	if at, err := odata.ParseDate(p.Changed); err == nil {
		out.Updated, out.Version = at, at.UnixMilli()
	}
	return out
}

func (s *System) readProducts(rows []json.RawMessage) ([]erp.Product, error) {
	out := make([]erp.Product, len(rows))
	for i, row := range rows {
		var p product
		if err := json.Unmarshal(row, &p); err != nil {
			return nil, unreadable(err)
		}
		out[i] = s.product(p)
	}
	return out, nil
}

// skuFits tells whether SAP can have such a product number.
func (s *System) skuFits(f *features, sku string) bool {
	length := f.product.Field("A_Product", "Product").MaxLength
	if length == 0 {
		length = f.stock.Field("A_MatlStkInAcctMod", "Material").MaxLength
	}
	return sku != "" && len(sku) <= length
}

// Products implements remote.Goods. SAP knows one product by several spellings ("0012", "12"); we know it by SAP's own.
func (s *System) Products(ctx context.Context, skus []string) ([]erp.Product, error) {
	f, err := s.knowing(ctx, "products", productService)
	if err != nil {
		return nil, err
	}
	var filters []string
	skus = slices.DeleteFunc(slices.Clone(skus), func(sku string) bool { return !s.skuFits(f, sku) })
	if len(skus) == 0 {
		return nil, nil
	}
	for chunk := range slices.Chunk(skus, group) {
		filters = append(filters, anyOf("Product", chunk))
	}
	rows, err := s.entities(ctx, productService, "A_Product", "to_Description", filters)
	if err != nil {
		return nil, err
	}
	found, err := s.readProducts(rows)
	if err != nil {
		return nil, err
	}
	found = slices.DeleteFunc(found, func(p erp.Product) bool { return !slices.Contains(skus, p.SKU) })
	return found, s.prices(ctx, f, found)
}

// ListProducts implements remote.Goods. The order is SAP's own: numbers count as numbers.
func (s *System) ListProducts(ctx context.Context, after string, limit int) ([]erp.Product, error) {
	f, err := s.knowing(ctx, "products", productService)
	if err != nil {
		return nil, err
	}
	q := url.Values{"$orderby": {"Product"}, "$top": {fmt.Sprint(limit)}, "$expand": {"to_Description"}}
	if after != "" {
		q.Set("$filter", "Product gt "+odata.Quote(after))
	}
	rows, _, err := s.client.Page(ctx, productService, "A_Product", q)
	if err != nil {
		return nil, s.told(err, nil)
	}
	found, err := s.readProducts(rows)
	if err != nil {
		return nil, err
	}
	return found, s.prices(ctx, f, found)
}

// condition is A_SlsPrcgCndnRecdValidity with its record.
type condition struct {
	Material     string
	Organization string `json:"SalesOrganization"`
	Channel      string `json:"DistributionChannel"`
	Customer     string
	From         string `json:"ConditionValidityStartDate"`
	Until        string `json:"ConditionValidityEndDate"`
	Record       struct {
		Rate     string `json:"ConditionRateValue"`
		Currency string `json:"ConditionRateValueUnit"`
		Quantity string `json:"ConditionQuantity"`
		Deleted  bool   `json:"ConditionIsDeleted"`
	} `json:"to_SlsPrcgConditionRecord"`
}

// prices adds the list prices of our sales organization, where the system offers its condition records. A record that is for
// one customer is no list price.
func (s *System) prices(ctx context.Context, f *features, products []erp.Product) error {
	if !f.prices || len(products) == 0 {
		return nil
	}
	var filters []string
	for chunk := range slices.Chunk(products, group) {
		skus := make([]string, len(chunk))
		for i, p := range chunk {
			skus[i] = p.SKU
		}
		filters = append(filters, fmt.Sprintf("ConditionType eq %s and SalesOrganization eq %s and (%s)",
			odata.Quote(s.cfg.PriceCondition), odata.Quote(s.cfg.SalesOrganization), anyOf("Material", skus)))
	}
	rows, err := s.entities(ctx, priceService, "A_SlsPrcgCndnRecdValidity", "to_SlsPrcgConditionRecord", filters)
	if err != nil {
		return err
	}
	now := s.client.Clock()
	for _, row := range rows {
		var c condition
		if err := json.Unmarshal(row, &c); err != nil {
			return unreadable(err)
		}
		i := slices.IndexFunc(products, func(p erp.Product) bool { return p.SKU == c.Material })
		if i < 0 || c.Customer != "" || c.Record.Deleted || !c.valid(now) {
			continue
		}
		if price, ok := perUnit(c.Record.Rate, c.Record.Quantity); ok {
			products[i].Price = erp.Money{Amount: price, Currency: c.Record.Currency}
		}
	}
	return nil
}

func (c condition) valid(now time.Time) bool {
	from, err := odata.ParseDate(c.From)
	if err == nil && now.Before(from) {
		return false
	}
	until, err := odata.ParseDate(c.Until)
	return err != nil || now.Before(until.Add(24*time.Hour))
}

// perUnit is a rate for a quantity as a price of one; false when it has more digits than we can hold exactly.
func perUnit(rate, quantity string) (erp.Decimal, bool) {
	r, ok := new(big.Rat).SetString(rate)
	if !ok {
		return erp.Decimal{}, false
	}
	if q, ok := new(big.Rat).SetString(quantity); ok && q.Sign() > 0 {
		r.Quo(r, q)
	}
	return exact(r)
}

// exact is a number with six digits after the point; false when it has more.
func exact(r *big.Rat) (erp.Decimal, bool) {
	micro := new(big.Rat).Mul(r, big.NewRat(1_000_000, 1))
	if !micro.IsInt() {
		return erp.Decimal{}, false
	}
	return erp.Micro(micro.Num()), true
}

// PutProduct implements remote.Goods: products belong to SAP.
func (s *System) PutProduct(context.Context, erp.Product) error {
	return backend.Missing(Kind, "write products")
}

// SetInventory implements remote.Goods: stock moves by SAP's own documents.
func (s *System) SetInventory(context.Context, erp.Stock) error {
	return backend.Missing(Kind, "set stock")
}

// stockRow is A_MatlStkInAcctMod.
type stockRow struct {
	Material string
	Plant    string
	Unit     string `json:"MaterialBaseUnit"`
	Quantity string `json:"MatlWrhsStkQtyInMatlBaseUnit"`
}

// Inventory implements remote.Goods: stock in unrestricted use by plant, and of that what the availability check promises.
func (s *System) Inventory(ctx context.Context, skus []string) ([]erp.Stock, error) {
	f, err := s.knowing(ctx, "stock", stockService)
	if err != nil {
		return nil, err
	}
	var filters []string
	skus = slices.DeleteFunc(slices.Clone(skus), func(sku string) bool { return !s.skuFits(f, sku) })
	if len(skus) == 0 {
		return nil, nil
	}
	for chunk := range slices.Chunk(skus, group) {
		filters = append(filters, "InventoryStockType eq '01' and InventorySpecialStockType eq '' and ("+anyOf("Material", chunk)+")")
	}
	rows, err := s.entities(ctx, stockService, "A_MatlStkInAcctMod", "", filters)
	if err != nil {
		return nil, err
	}
	var out []erp.Stock
	sums := map[[2]string]*big.Rat{}
	for _, row := range rows {
		var r stockRow
		if err := json.Unmarshal(row, &r); err != nil {
			return nil, unreadable(err)
		}
		q, ok := new(big.Rat).SetString(r.Quantity)
		if !ok || !slices.Contains(skus, r.Material) {
			continue
		}
		key := [2]string{r.Material, r.Plant}
		if sums[key] == nil {
			sums[key] = new(big.Rat)
			out = append(out, erp.Stock{SKU: r.Material, Site: r.Plant, Unit: s.codes.rec20(r.Unit), AsOf: s.client.Clock()})
		}
		sums[key].Add(sums[key], q)
	}
	for i := range out {
		sum := sums[[2]string{out[i].SKU, out[i].Site}]
		out[i].OnHand = rounded(sum)
		if out[i].Available = out[i].OnHand; sum.Sign() < 0 {
			out[i].Available = erp.Decimal{}
		}
	}
	slices.SortFunc(out, func(a, b erp.Stock) int {
		return cmp.Or(strings.Compare(a.SKU, b.SKU), strings.Compare(a.Site, b.Site))
	})
	if !f.atp || len(out) == 0 {
		return out, nil
	}
	return out, s.promised(ctx, out)
}

// rounded is a quantity of SAP, which has up to 14 digits after the point, with six: towards zero, so that nothing is promised
// that is not there.
func rounded(r *big.Rat) erp.Decimal {
	micro := new(big.Rat).Mul(r, big.NewRat(1_000_000, 1))
	return erp.Micro(new(big.Int).Quo(micro.Num(), micro.Denom()))
}

// promised asks the availability check, for all products and plants in one batch.
func (s *System) promised(ctx context.Context, stock []erp.Stock) error {
	at := s.client.Clock()
	for chunk := range slices.Chunk(stock, 100) {
		parts := make([]odata.Part, len(chunk))
		for i, st := range chunk {
			parts[i] = odata.Part{{Method: http.MethodGet, Path: availability, Query: url.Values{
				"SupplyingPlant": {odata.Quote(st.Site)}, "Material": {odata.Quote(st.SKU)}, "ATPCheckingRule": {odata.Quote(s.cfg.CheckingRule)},
				"RequestedUTCDateTime": {odata.Offset(at)},
			}}}
		}
		answers, err := s.client.Batch(ctx, atpService, parts)
		if err != nil {
			return s.told(err, nil)
		}
		for i, a := range answers {
			if a.Err != nil {
				return s.told(a.Err, nil)
			}
			free, err := available(a.Answers[0].Body)
			if err != nil {
				return unreadable(err)
			}
			st := &chunk[i]
			if st.Available = rounded(free); st.Available.Cmp(st.OnHand) > 0 {
				st.Available = st.OnHand // planned receipts are not on hand
			}
			if st.Reserved = st.OnHand.Sub(st.Available); st.Reserved.Sign() < 0 {
				st.Reserved = erp.Decimal{}
			}
		}
	}
	return nil
}

// available reads the answer of the function, which some releases wrap in its name.
func available(body json.RawMessage) (*big.Rat, error) {
	type record struct {
		Quantity string `json:"AvailableQuantityInBaseUnit"`
	}
	var in struct {
		record
		Inner *record `json:"DetermineAvailabilityAt"`
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, err
	}
	if in.Inner != nil {
		in.record = *in.Inner
	}
	q, ok := new(big.Rat).SetString(in.Quantity)
	if !ok {
		return nil, errors.New("no quantity")
	}
	if q.Sign() < 0 {
		return new(big.Rat), nil
	}
	return q, nil
}
