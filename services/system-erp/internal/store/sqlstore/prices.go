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

const priceColumns = "sku, customer_id, currency, min_quantity, valid_from, valid_until, amount"

func scanPrice(scan func(...any) error) (erp.Price, error) {
	var p erp.Price
	err := scan(&p.SKU, &p.CustomerID, &p.Amount.Currency, decimal{to: &p.MinQuantity, micro: true}, &p.From, &p.Until,
		decimal{to: &p.Amount.Amount})
	return p, err
}

// prices reads the prices of products for everybody and for one customer, best first.
func prices(ctx context.Context, q querier, skus []string, customerID string) (map[string][]erp.Price, error) {
	out := make(map[string][]erp.Price)
	if len(skus) == 0 {
		return out, nil
	}
	list, args := in(skus)
	err := each(ctx, q, func(scan func(...any) error) error {
		p, err := scanPrice(scan)
		out[p.SKU] = append(out[p.SKU], p)
		return err
	}, fmt.Sprintf(`SELECT `+priceColumns+` FROM price WHERE sku IN %s AND customer_id IN ('', $%d)`, list, len(args)+1), append(args, customerID)...)
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
func (s *Store) UpsertPrices(ctx context.Context, list []erp.Price) ([]erp.Outcome, error) {
	var skus, customers []string
	seen := make(map[string]bool, len(list))
	for i, p := range list {
		path := fmt.Sprintf("prices[%d]", i)
		if err := p.Check(path); err != nil {
			return nil, err
		}
		key := priceKey(p)
		if seen[key] {
			return nil, fault.InvalidField(path, erp.ReasonDuplicate, "the request names the same price twice")
		}
		seen[key] = true
		skus = append(skus, p.SKU)
		if p.CustomerID != "" {
			customers = append(customers, p.CustomerID)
		}
	}
	outcomes := make([]erp.Outcome, len(list))
	err := s.inTx(ctx, func(ctx context.Context, q txn) error {
		known, err := products(ctx, q, slices.Compact(slices.Sorted(slices.Values(skus))), "")
		if err != nil {
			return err
		}
		states, err := s.keptCustomers(ctx, q, slices.Clone(customers))
		if err != nil {
			return err
		}
		before, err := s.pricesOf(ctx, q, skus, customers)
		if err != nil {
			return err
		}
		now := db.Micros(s.stamp())
		var fresh, changed [][]any
		for i, p := range list {
			if _, ok := known[p.SKU]; !ok {
				return fault.InvalidField(fmt.Sprintf("prices[%d].sku", i), erp.ReasonUnknownRecord, "no product has this SKU")
			}
			switch deleted, ok := states[p.CustomerID]; {
			case p.CustomerID == "":
			case !ok:
				return fault.InvalidField(fmt.Sprintf("prices[%d].customer_id", i), erp.ReasonUnknownRecord, "no customer has this id")
			case deleted:
				return fault.InvalidField(fmt.Sprintf("prices[%d].customer_id", i), erp.ReasonDeleted, "the customer was deleted")
			}
			row := []any{
				p.SKU, p.CustomerID, p.Amount.Currency, p.MinQuantity.Micro().Int64(), p.From, p.Until, p.Amount.Amount.String(), now,
			}
			switch old, ok := before[priceKey(p)]; {
			case !ok:
				outcomes[i], fresh = erp.Created, append(fresh, row)
			case old.Until == p.Until && old.Amount.Equal(p.Amount):
				outcomes[i] = erp.Unchanged
			default:
				outcomes[i], changed = erp.Updated, append(changed, row)
			}
		}
		return savePrices(ctx, q, fresh, changed)
	})
	if err != nil {
		return nil, err
	}
	return outcomes, nil
}

// priceKey is what identifies a price.
func priceKey(p erp.Price) string {
	return strings.Join([]string{p.SKU, p.CustomerID, p.Amount.Currency, p.MinQuantity.String(), p.From}, "\x00")
}

// pricesOf reads and locks the prices of products for everybody and for some customers.
func (s *Store) pricesOf(ctx context.Context, q txn, skus, customers []string) (map[string]erp.Price, error) {
	out := make(map[string]erp.Price)
	list, args := in(slices.Compact(slices.Sorted(slices.Values(skus))))
	buyers := slices.Compact(slices.Sorted(slices.Values(append([]string{""}, customers...))))
	marks := make([]string, len(buyers))
	for i, id := range buyers {
		args = append(args, id)
		marks[i] = fmt.Sprintf("$%d", len(args))
	}
	// The order of the key makes concurrent writers lock rows in one order.
	err := each(ctx, q, func(scan func(...any) error) error {
		p, err := scanPrice(scan)
		out[priceKey(p)] = p
		return err
	}, "SELECT "+priceColumns+" FROM price WHERE sku IN "+list+" AND customer_id IN ("+strings.Join(marks, ",")+
		") ORDER BY sku, customer_id, currency, min_quantity, valid_from"+s.lockRows(), args...)
	if err != nil {
		return nil, fmt.Errorf("read prices: %w", err)
	}
	return out, nil
}

// savePrices writes new prices and, over the rows that are locked, changed ones. A new one that is there already was written by
// somebody faster.
func savePrices(ctx context.Context, q txn, fresh, changed [][]any) error {
	columns := strings.Split(priceColumns+", updated", ", ")
	const conflict = " ON CONFLICT (sku, customer_id, currency, min_quantity, valid_from) DO "
	for _, part := range []struct {
		clause string
		rows   [][]any
	}{
		{conflict + "NOTHING", fresh},
		{conflict + "UPDATE SET valid_until = excluded.valid_until, amount = excluded.amount, updated = excluded.updated", changed},
	} {
		slices.SortFunc(part.rows, func(a, b []any) int { return strings.Compare(fmt.Sprint(a[:5]...), fmt.Sprint(b[:5]...)) })
		n, err := insert(ctx, q, "price", columns, part.clause, part.rows)
		if err != nil {
			return err
		}
		if n != len(part.rows) {
			return errRace
		}
	}
	return nil
}
