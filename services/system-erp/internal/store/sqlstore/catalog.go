package sqlstore

import (
	"context"
	"fmt"
	"math/big"
	"slices"
	"strings"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/erp"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/store"
)

const productColumns = "sku, name, description, unit, gtin, product_group, price, currency, serialised, active, " +
	"warranty_months, version, updated"

// decimal scans an exact number out of text or a whole number of millionths.
type decimal struct {
	to    *erp.Decimal
	micro bool
}

// Scan implements sql.Scanner.
func (d decimal) Scan(src any) error {
	var raw string
	if err := (optional{&raw}).Scan(src); err != nil {
		return err
	}
	if d.micro {
		n, ok := new(big.Int).SetString(raw, 10)
		if !ok {
			return fmt.Errorf("scan a quantity: %w", erp.ErrDecimal)
		}
		*d.to = erp.Micro(n)
		return nil
	}
	v, err := erp.ParseDecimal(raw)
	if err != nil {
		return fmt.Errorf("scan a number: %w", err)
	}
	*d.to = v
	return nil
}

func scanProduct(scan func(...any) error) (erp.Product, error) {
	var p erp.Product
	err := scan(&p.SKU, &p.Name, &p.Description, &p.Unit, &p.GTIN, &p.Group, decimal{to: &p.Price.Amount}, &p.Price.Currency,
		&p.Serialised, &p.Active, &p.WarrantyMonths, &p.Version, moment{&p.Updated})
	return p, err
}

// Products implements store.Catalog.
func (s *Store) Products(ctx context.Context, skus []string) (map[string]erp.Product, error) {
	return products(ctx, s.db.Read(), skus, "")
}

func products(ctx context.Context, q querier, skus []string, lock string) (map[string]erp.Product, error) {
	out := make(map[string]erp.Product, len(skus))
	if len(skus) == 0 {
		return out, nil
	}
	list, args := in(skus)
	err := each(ctx, q, func(scan func(...any) error) error {
		p, err := scanProduct(scan)
		out[p.SKU] = p
		return err
	}, "SELECT "+productColumns+" FROM product WHERE sku IN "+list+" ORDER BY sku"+lock, args...)
	if err != nil {
		return nil, fmt.Errorf("read products: %w", err)
	}
	return out, nil
}

// ListProducts implements store.Catalog.
func (s *Store) ListProducts(ctx context.Context, after string, limit int) ([]erp.Product, error) {
	var out []erp.Product
	err := each(ctx, s.db.Read(), func(scan func(...any) error) error {
		p, err := scanProduct(scan)
		out = append(out, p)
		return err
	}, "SELECT "+productColumns+" FROM product WHERE sku > $1 ORDER BY sku LIMIT $2", after, limit)
	if err != nil {
		return nil, fmt.Errorf("list products: %w", err)
	}
	return out, nil
}

// UpsertProducts implements store.Catalog.
func (s *Store) UpsertProducts(ctx context.Context, batch []erp.Product) ([]store.Result[erp.Product], error) {
	var results []store.Result[erp.Product]
	count := make(map[string]int, len(batch))
	skus := make([]string, 0, len(batch))
	for _, p := range batch {
		if count[p.SKU]++; count[p.SKU] == 1 {
			skus = append(skus, p.SKU)
		}
	}
	slices.Sort(skus)
	err := s.inTx(ctx, func(ctx context.Context, q txn) error {
		results = make([]store.Result[erp.Product], len(batch))
		old, err := products(ctx, q, skus, s.lockRows())
		if err != nil {
			return err
		}
		var rows [][]any
		for i, p := range batch {
			if count[p.SKU] > 1 {
				results[i].Err = fault.New(fault.Invalid, store.ReasonDuplicate, "the request names the same product twice")
				continue
			}
			if results[i].Err = p.Tidy(); results[i].Err != nil {
				continue
			}
			before, known := old[p.SKU]
			if known && p.Same(before) {
				results[i] = store.Result[erp.Product]{Outcome: erp.Unchanged, Record: before}
				continue
			}
			p.Version, p.Updated = before.Version+1, s.stamp()
			results[i] = store.Result[erp.Product]{Outcome: erp.Created, Record: p}
			if known {
				results[i].Outcome = erp.Updated
			}
			rows = append(rows, []any{
				p.SKU, p.Name, p.Description, p.Unit, p.GTIN, p.Group, p.Price.Amount.String(), p.Price.Currency,
				p.Serialised, p.Active, p.WarrantyMonths, p.Version, db.Micros(p.Updated),
			})
		}
		return saveProducts(ctx, q, rows)
	})
	if err != nil {
		return nil, err
	}
	return results, nil
}

func saveProducts(ctx context.Context, q txn, rows [][]any) error {
	slices.SortFunc(rows, func(a, b []any) int { return strings.Compare(a[0].(string), b[0].(string)) })
	columns := strings.Split(productColumns, ", ")
	sets := make([]string, 0, len(columns))
	for _, c := range columns[1:] {
		sets = append(sets, c+" = excluded."+c)
	}
	n, err := insert(ctx, q, "product", columns, " ON CONFLICT (sku) DO UPDATE SET "+strings.Join(sets, ", ")+
		" WHERE product.version = excluded.version - 1", rows)
	if err == nil && n != len(rows) {
		return errRace
	}
	return err
}

// Inventory implements store.Catalog.
func (s *Store) Inventory(ctx context.Context, skus []string) ([]erp.Stock, error) {
	var out []erp.Stock
	list, args := in(skus)
	err := each(ctx, s.db.Read(), func(scan func(...any) error) error {
		var st erp.Stock
		err := scan(&st.SKU, &st.Site, decimal{to: &st.OnHand}, &st.Unit)
		out = append(out, st)
		return err
	}, "SELECT i.sku, i.site, i.on_hand, p.unit FROM inventory i JOIN product p ON p.sku = i.sku WHERE i.sku IN "+list, args...)
	if err != nil {
		return nil, fmt.Errorf("read stock: %w", err)
	}
	reserved, err := s.reserved(ctx, skus)
	if err != nil {
		return nil, err
	}
	// Sorted here, because the databases collate differently and the sites of a product must be one run.
	slices.SortFunc(out, func(a, b erp.Stock) int {
		if c := strings.Compare(a.SKU, b.SKU); c != 0 {
			return c
		}
		return strings.Compare(a.Site, b.Site)
	})
	now := s.stamp()
	for from := 0; from < len(out); {
		to := from
		for to < len(out) && out[to].SKU == out[from].SKU {
			out[to].AsOf = now
			to++
		}
		erp.Reserve(out[from:to], reserved[out[from].SKU])
		from = to
	}
	return out, nil
}

// reserved sums what open orders hold of each product. Whole units and the rest are summed apart, so that the sum of many
// large quantities overflows on neither engine.
func (s *Store) reserved(ctx context.Context, skus []string) (map[string]erp.Decimal, error) {
	out := make(map[string]erp.Decimal)
	list, args := in(skus)
	n := len(args)
	args = append(args, int64(erp.OrderCompleted), int64(erp.OrderCancelled), int64(erp.ProgressFull))
	err := each(ctx, s.db.Read(), func(scan func(...any) error) error {
		var sku, whole, rest string
		if err := scan(&sku, &whole, &rest); err != nil {
			return err
		}
		w, ok := new(big.Int).SetString(whole, 10)
		r, ok2 := new(big.Int).SetString(rest, 10)
		if !ok || !ok2 {
			return erp.ErrDecimal
		}
		out[sku] = erp.Micro(w.Mul(w, big.NewInt(1_000_000)).Add(w, r))
		return nil
	}, fmt.Sprintf(`SELECT i.sku, SUM((i.quantity - i.delivered) / 1000000), SUM((i.quantity - i.delivered) %% 1000000) FROM order_item i
		JOIN sales_order o ON o.id = i.order_id
		WHERE i.sku IN %s AND o.state <> $%d AND o.state <> $%d AND o.fulfilment <> $%d GROUP BY i.sku`,
		list, n+1, n+2, n+3), args...)
	if err != nil {
		return nil, fmt.Errorf("sum reservations: %w", err)
	}
	return out, nil
}

// SetInventory implements store.Catalog.
func (s *Store) SetInventory(ctx context.Context, st erp.Stock) (erp.Stock, erp.Outcome, error) {
	outcome := erp.Refused
	err := s.inTx(ctx, func(ctx context.Context, q txn) error {
		known, err := products(ctx, q, []string{st.SKU}, "")
		if err != nil {
			return err
		}
		p, ok := known[st.SKU]
		if !ok {
			return fault.InvalidField("inventory.sku", erp.ReasonUnknownRecord, "no product has this SKU")
		}
		if st.Unit != "" && st.Unit != p.Unit {
			return fault.InvalidField("inventory.unit", "UNIT_MISMATCH", "the product is kept in another unit")
		}
		outcome, err = s.state(ctx, q, st)
		return err
	})
	if err != nil {
		return erp.Stock{}, erp.Refused, err
	}
	all, err := s.Inventory(ctx, []string{st.SKU})
	if err != nil {
		return erp.Stock{}, erp.Refused, err
	}
	for _, have := range all {
		if have.Site == st.Site {
			return have, outcome, nil
		}
	}
	return erp.Stock{}, erp.Refused, fmt.Errorf("stock of a site is missing")
}

// state writes what is on hand of a product at a site when it is not so already.
func (s *Store) state(ctx context.Context, q txn, st erp.Stock) (erp.Outcome, error) {
	var have erp.Decimal
	known := false
	err := each(ctx, q, func(scan func(...any) error) error {
		known = true
		return scan(decimal{to: &have})
	}, "SELECT on_hand FROM inventory WHERE sku = $1 AND site = $2"+s.lockRows(), st.SKU, st.Site)
	if err != nil {
		return erp.Refused, fmt.Errorf("read stock: %w", err)
	}
	switch {
	case known && have.Cmp(st.OnHand) == 0:
		return erp.Unchanged, nil
	case known:
		if _, err := q.ExecContext(ctx, "UPDATE inventory SET on_hand = $1, updated = $2 WHERE sku = $3 AND site = $4", st.OnHand.String(),
			db.Micros(s.stamp()), st.SKU, st.Site); err != nil {
			return erp.Refused, fmt.Errorf("write stock: %w", err)
		}
		return erp.Updated, nil
	}
	n, err := insert(ctx, q, "inventory", []string{"sku", "site", "on_hand", "updated"}, " ON CONFLICT (sku, site) DO NOTHING",
		[][]any{{st.SKU, st.Site, st.OnHand.String(), db.Micros(s.stamp())}})
	if err == nil && n != 1 {
		err = errRace
	}
	return erp.Created, err
}
