package sqlstore

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/erp"
)

// prices reads the prices of products for everybody and for one customer, best first.
func prices(ctx context.Context, q querier, skus []string, customerID string) (map[string][]erp.Price, error) {
	out := make(map[string][]erp.Price)
	if len(skus) == 0 {
		return out, nil
	}
	list, args := in(skus)
	err := each(ctx, q, func(scan func(...any) error) error {
		var p erp.Price
		if err := scan(&p.SKU, &p.CustomerID, &p.Amount.Currency, decimal{to: &p.MinQuantity, micro: true}, &p.From, &p.Until,
			decimal{to: &p.Amount.Amount}); err != nil {
			return err
		}
		out[p.SKU] = append(out[p.SKU], p)
		return nil
	}, fmt.Sprintf(`SELECT sku, customer_id, currency, min_quantity, valid_from, valid_until, amount FROM price
		WHERE sku IN %s AND customer_id IN ('', $%d)`, list, len(args)+1), append(args, customerID)...)
	if err != nil {
		return nil, fmt.Errorf("read prices: %w", err)
	}
	for _, l := range out {
		slices.SortFunc(l, erp.ComparePrices)
	}
	return out, nil
}

// priced gives lines without a price the best one that holds, if there is one better than the list price.
func (s *Store) priced(ctx context.Context, q querier, o *erp.Order, known map[string]erp.Product) error {
	var skus []string
	for _, it := range o.Items {
		if !it.Price.Given() && !slices.Contains(skus, it.SKU) {
			skus = append(skus, it.SKU)
		}
	}
	list, err := prices(ctx, q, skus, o.CustomerID)
	if err != nil {
		return err
	}
	on := o.Ordered.UTC().Format(time.DateOnly)
	for i := range o.Items {
		it := &o.Items[i]
		if it.Price.Given() {
			continue
		}
		currency := o.Currency
		if currency == "" && known[it.SKU].Price.Given() {
			currency = known[it.SKU].Price.Currency
		}
		if best, ok := erp.BestPrice(list[it.SKU], it.Quantity, on, currency); ok {
			it.Price = best
		}
	}
	return nil
}

// Prices implements backend.Pricing.
func (s *Store) Prices(ctx context.Context, skus []string, customerID string) ([]erp.Price, error) {
	skus = slices.Compact(slices.Sorted(slices.Values(skus)))
	found, err := prices(ctx, s.db.Read(), skus, customerID)
	if err != nil {
		return nil, err
	}
	known, err := s.Products(ctx, skus)
	if err != nil {
		return nil, err
	}
	var out []erp.Price
	for _, sku := range skus {
		out = append(out, found[sku]...)
		if p, ok := known[sku]; ok && p.Price.Given() {
			out = append(out, erp.Price{SKU: sku, Amount: p.Price})
		}
	}
	return out, nil
}

// UpsertPrices implements backend.Pricing.
func (s *Store) UpsertPrices(ctx context.Context, list []erp.Price) (int, error) {
	var skus, customers []string
	seen := make(map[string]bool, len(list))
	for i, p := range list {
		path := fmt.Sprintf("prices[%d]", i)
		if err := p.Check(path); err != nil {
			return 0, err
		}
		key := strings.Join([]string{p.SKU, p.CustomerID, p.Amount.Currency, p.MinQuantity.String(), p.From}, "\x00")
		if seen[key] {
			return 0, fault.InvalidField(path, erp.ReasonDuplicate, "the request names the same price twice")
		}
		seen[key] = true
		skus = append(skus, p.SKU)
		if p.CustomerID != "" {
			customers = append(customers, p.CustomerID)
		}
	}
	changed := 0
	err := s.inTx(ctx, func(ctx context.Context, q txn) error {
		known, err := products(ctx, q, slices.Compact(slices.Sorted(slices.Values(skus))), "")
		if err != nil {
			return err
		}
		states, err := customerStates(ctx, q, slices.Clone(customers))
		if err != nil {
			return err
		}
		now := db.Micros(s.stamp())
		rows := make([][]any, 0, len(list))
		for i, p := range list {
			if _, ok := known[p.SKU]; !ok {
				return fault.InvalidField(fmt.Sprintf("prices[%d].sku", i), erp.ReasonUnknownRecord, "no product has this SKU")
			}
			if deleted, ok := states[p.CustomerID]; p.CustomerID != "" && (!ok || deleted) {
				return fault.InvalidField(fmt.Sprintf("prices[%d].customer_id", i), erp.ReasonUnknownRecord, "no customer has this id")
			}
			rows = append(rows, []any{
				p.SKU, p.CustomerID, p.Amount.Currency, p.MinQuantity.Micro().Int64(), p.From, p.Until, p.Amount.Amount.String(), now,
			})
		}
		changed, err = insert(ctx, q, "price", []string{"sku", "customer_id", "currency", "min_quantity", "valid_from", "valid_until", "amount", "updated"},
			` ON CONFLICT (sku, customer_id, currency, min_quantity, valid_from) DO UPDATE SET valid_until = excluded.valid_until,
			amount = excluded.amount, updated = excluded.updated
			WHERE price.valid_until <> excluded.valid_until OR price.amount <> excluded.amount`, rows)
		return err
	})
	return changed, err
}
