package sqlstore

import (
	"context"
	"fmt"
	"strings"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/erp"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/store"
)

const warrantyColumns = "serial, sku, customer_id, order_id, starts, ends, terms"

func scanWarranty(scan func(...any) error) (erp.Warranty, error) {
	var w erp.Warranty
	err := scan(&w.Serial, &w.SKU, &w.CustomerID, optional{&w.OrderID}, moment{&w.Start}, moment{&w.End}, &w.Terms)
	return w, err
}

// ListWarranties implements store.Catalog.
func (s *Store) ListWarranties(ctx context.Context, customerID string, after *store.WarrantyCursor, limit int) ([]erp.Warranty, error) {
	query := "SELECT " + warrantyColumns + " FROM warranty WHERE customer_id = $1"
	args := []any{customerID, limit}
	if after != nil {
		query += " AND (starts, serial) < ($3, $4)"
		args = append(args, after.Start, after.Serial)
	}
	var out []erp.Warranty
	err := each(ctx, s.db.Read(), func(scan func(...any) error) error {
		w, err := scanWarranty(scan)
		out = append(out, w)
		return err
	}, query+" ORDER BY starts DESC, serial DESC LIMIT $2", args...)
	if err != nil {
		return nil, fmt.Errorf("list warranties: %w", err)
	}
	return out, nil
}

// UpsertWarranty implements store.Catalog. The customer is kept before the warranty is locked: a merge takes them in that order.
func (s *Store) UpsertWarranty(ctx context.Context, w erp.Warranty) (erp.Warranty, erp.Outcome, error) {
	w.Start, w.End = db.FromMicros(db.Micros(w.Start)), db.FromMicros(db.Micros(w.End))
	if !w.Start.Before(w.End) {
		return erp.Warranty{}, erp.Refused, fault.InvalidField("warranty.end_time", fault.ReasonValidationFailed, "a warranty ends after it starts")
	}
	outcome := erp.Refused
	err := s.inTx(ctx, func(ctx context.Context, q txn) error {
		gone, err := s.checkWarranty(ctx, q, w)
		if err != nil {
			return err
		}
		var before []erp.Warranty
		if err := each(ctx, q, func(scan func(...any) error) error {
			have, err := scanWarranty(scan)
			before = append(before, have)
			return err
		}, "SELECT "+warrantyColumns+" FROM warranty WHERE serial = $1"+s.lockRows(), w.Serial); err != nil {
			return fmt.Errorf("read a warranty: %w", err)
		}
		if gone && (len(before) == 0 || before[0].CustomerID != w.CustomerID) {
			return fault.InvalidField("warranty.customer_id", erp.ReasonDeleted, "the customer was deleted")
		}
		clause := " ON CONFLICT (serial) DO NOTHING"
		outcome = erp.Created
		if len(before) > 0 {
			if w.Same(before[0]) {
				outcome = erp.Unchanged
				return nil
			}
			outcome = erp.Updated
			clause = ` ON CONFLICT (serial) DO UPDATE SET sku = excluded.sku, customer_id = excluded.customer_id,
				order_id = excluded.order_id, starts = excluded.starts, ends = excluded.ends, terms = excluded.terms`
		}
		n, err := insert(ctx, q, "warranty", strings.Split(warrantyColumns, ", "), clause,
			[][]any{{w.Serial, w.SKU, w.CustomerID, null(w.OrderID), db.Micros(w.Start), db.Micros(w.End), w.Terms}})
		if err == nil && n != 1 {
			err = errRace
		}
		return err
	})
	if err != nil {
		return erp.Warranty{}, erp.Refused, err
	}
	return w, outcome, nil
}

// checkWarranty refuses what names something unknown, and tells whether the customer was deleted: it keeps the warranties it has
// and gets no other one. So a message that is repeated after a merge does not bring a warranty back to the duplicate.
func (s *Store) checkWarranty(ctx context.Context, q txn, w erp.Warranty) (gone bool, err error) {
	known, err := products(ctx, q, []string{w.SKU}, "")
	if err != nil {
		return false, err
	}
	if _, ok := known[w.SKU]; !ok {
		return false, fault.InvalidField("warranty.sku", erp.ReasonUnknownRecord, "no product has this SKU")
	}
	customers, err := s.keptCustomers(ctx, q, []string{w.CustomerID})
	if err != nil {
		return false, err
	}
	gone, ok := customers[w.CustomerID]
	if !ok {
		return false, fault.InvalidField("warranty.customer_id", erp.ReasonUnknownRecord, "no customer has this id")
	}
	if w.OrderID == "" {
		return gone, nil
	}
	orders, err := loadOrders(ctx, q, "WHERE id = $1", w.OrderID)
	if err != nil {
		return false, err
	}
	if len(orders) == 0 {
		return false, fault.InvalidField("warranty.order_id", erp.ReasonUnknownRecord, "no order has this id")
	}
	return gone, nil
}
