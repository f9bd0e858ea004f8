package sqlstore

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/erp"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/store"
)

// stored is an order with what only the store knows about it.
type stored struct {
	erp.Order
	fingerprint []byte
}

// loadOrders reads orders with their lines; tail is everything after FROM.
func loadOrders(ctx context.Context, q querier, tail string, args ...any) ([]*stored, error) {
	var out []*stored
	byID := make(map[string]*stored)
	var ids []string
	err := each(ctx, q, func(scan func(...any) error) error {
		o := new(stored)
		if err := scan(&o.ID, optional{&o.ClientRef}, &o.fingerprint, &o.CustomerID, &o.CustomerPO, moment{&o.Ordered}, &o.State,
			&o.Fulfilment, &o.Billing, &o.BlockReason, decimal{to: &o.Total.Amount}, &o.Total.Currency, &o.Version,
			moment{&o.Updated}, &o.ShipToID, &o.BillToID, &o.PayerID, &o.Requested, &o.Note); err != nil {
			return err
		}
		o.Currency = o.Total.Currency
		out, ids, byID[o.ID] = append(out, o), append(ids, o.ID), o
		return nil
	}, `SELECT id, client_ref, fingerprint, customer_id, customer_po, ordered, state, fulfilment, billing, block_reason, total,
		currency, version, updated, ship_to, bill_to, payer, requested, note FROM sales_order `+tail, args...)
	if err != nil {
		return nil, fmt.Errorf("read orders: %w", err)
	}
	if len(out) == 0 {
		return nil, nil
	}
	// Of the lines only what was delivered changes after the order was placed; it may be a moment newer than the row before.
	list, lineArgs := in(ids)
	err = each(ctx, q, func(scan func(...any) error) error {
		var id string
		var it erp.Item
		if err := scan(&id, &it.Line, &it.SKU, decimal{to: &it.Quantity, micro: true}, &it.Unit, decimal{to: &it.Price.Amount},
			&it.Price.Currency, &it.Name, &it.Requested, decimal{to: &it.Delivered, micro: true}); err != nil {
			return err
		}
		byID[id].Items = append(byID[id].Items, it)
		return nil
	}, "SELECT order_id, line, sku, quantity, unit, price, currency, name, requested, delivered FROM order_item WHERE order_id IN "+list+
		" ORDER BY order_id, line", lineArgs...)
	if err != nil {
		return nil, fmt.Errorf("read order lines: %w", err)
	}
	return out, nil
}

// Order implements store.Orders.
func (s *Store) Order(ctx context.Context, id string) (erp.Order, error) {
	found, err := loadOrders(ctx, s.db.Read(), "WHERE id = $1", id)
	if err != nil {
		return erp.Order{}, err
	}
	if len(found) == 0 {
		return erp.Order{}, noOrder()
	}
	return found[0].Order, nil
}

func noOrder() error { return fault.New(fault.NotFound, fault.ReasonNotFound, "no order has this id") }

// ListOrders implements store.Orders.
func (s *Store) ListOrders(ctx context.Context, customerIDs []string, after *store.OrderCursor, limit int) ([]erp.Order, error) {
	list, args := in(customerIDs)
	tail := "WHERE customer_id IN " + list
	if after != nil {
		tail += fmt.Sprintf(" AND (ordered, id) < ($%d, $%d)", len(args)+1, len(args)+2)
		args = append(args, after.Ordered, after.ID)
	}
	tail += fmt.Sprintf(" ORDER BY ordered DESC, id DESC LIMIT $%d", len(args)+1)
	found, err := loadOrders(ctx, s.db.Read(), tail, append(args, limit)...)
	if err != nil {
		return nil, err
	}
	out := make([]erp.Order, len(found))
	for i, o := range found {
		out[i] = o.Order
	}
	return out, nil
}

// CreateOrder implements store.Orders.
func (s *Store) CreateOrder(ctx context.Context, asked erp.Order) (erp.Order, erp.Outcome, error) {
	print := asked.Fingerprint()
	var result erp.Order
	var outcome erp.Outcome
	err := s.inTx(ctx, func(ctx context.Context, q txn) error {
		outcome = erp.Refused
		if asked.ClientRef != "" {
			first, err := loadOrders(ctx, q, "WHERE client_ref = $1", asked.ClientRef)
			if err != nil {
				return err
			}
			if len(first) > 0 {
				if !bytes.Equal(first[0].fingerprint, print[:]) {
					return fault.New(fault.AlreadyExists, store.ReasonClientRef,
						"an order with other content has this client reference").WithMeta("record_id", first[0].ID)
				}
				result, outcome = first[0].Order, erp.Unchanged
				return nil
			}
		}
		o, err := s.place(ctx, q, asked)
		if err != nil {
			return err
		}
		o.ID = newID(o.Updated)
		if err := saveOrder(ctx, q, o, print[:]); err != nil {
			return err
		}
		result, outcome = o, erp.Created
		return nil
	})
	if err != nil {
		return erp.Order{}, erp.Refused, err
	}
	return result, outcome, nil
}

// place checks what the order refers to and completes it.
func (s *Store) place(ctx context.Context, q querier, o erp.Order) (erp.Order, error) {
	lock := ""
	if _, writes := q.(txn); writes { // a dry run refers to nobody
		lock = s.keepRows()
	}
	if err := mayOrder(ctx, q, o, lock); err != nil {
		return o, err
	}
	skus := make([]string, len(o.Items))
	for i, it := range o.Items {
		skus[i] = it.SKU
	}
	slices.Sort(skus)
	known, err := products(ctx, q, slices.Compact(skus), "")
	if err != nil {
		return o, err
	}
	now := s.stamp()
	if o.Ordered.IsZero() {
		o.Ordered = now
	}
	o.Ordered = db.FromMicros(db.Micros(o.Ordered))
	o.Items = slices.Clone(o.Items)
	if err := s.priced(ctx, q, &o, known); err != nil {
		return o, err
	}
	if err := o.Place(known); err != nil {
		return o, err
	}
	slices.SortFunc(o.Items, func(a, b erp.Item) int { return int(a.Line) - int(b.Line) })
	o.Version, o.Updated = 1, now
	return o, nil
}

// mayOrder refuses customers that are not there or may not order; lock is keepRows.
func mayOrder(ctx context.Context, q querier, o erp.Order, lock string) error {
	type state struct{ deleted, blocked bool }
	named := [...]struct{ path, id string }{
		{"order.customer_id", o.CustomerID}, {"order.ship_to_id", o.ShipToID}, {"order.bill_to_id", o.BillToID}, {"order.payer_id", o.PayerID},
	}
	ids := []string{o.CustomerID}
	for _, p := range named[1:] {
		if p.id != "" && !slices.Contains(ids, p.id) {
			ids = append(ids, p.id)
		}
	}
	known := make(map[string]state, len(ids))
	list, args := in(ids)
	err := each(ctx, q, func(scan func(...any) error) error {
		var id string
		var st state
		err := scan(&id, &st.deleted, &st.blocked)
		known[id] = st
		return err
	}, "SELECT id, deleted, order_block FROM customer WHERE id IN "+list+" ORDER BY id"+lock, args...)
	if err != nil {
		return fmt.Errorf("look up customers: %w", err)
	}
	for i, p := range named {
		if i > 0 && p.id == "" {
			continue
		}
		switch st, ok := known[p.id]; {
		case !ok:
			return fault.InvalidField(p.path, erp.ReasonUnknownRecord, "no customer has this id")
		case st.deleted:
			return fault.InvalidField(p.path, erp.ReasonDeleted, "the customer was deleted")
		case st.blocked && i == 0:
			return fault.New(fault.Precondition, store.ReasonBlocked, "the customer is blocked for orders")
		}
	}
	return nil
}

func saveOrder(ctx context.Context, q txn, o erp.Order, print []byte) error {
	n, err := insert(ctx, q, "sales_order", []string{
		"id", "client_ref", "fingerprint", "customer_id", "customer_po", "ordered", "state", "fulfilment", "billing",
		"block_reason", "total", "currency", "version", "updated", "ship_to", "bill_to", "payer", "requested", "note",
	}, " ON CONFLICT (client_ref) DO NOTHING", [][]any{{
		o.ID, null(o.ClientRef), print, o.CustomerID, o.CustomerPO, db.Micros(o.Ordered), int64(o.State), int64(o.Fulfilment),
		int64(o.Billing), o.BlockReason, o.Total.Amount.String(), o.Total.Currency, o.Version, db.Micros(o.Updated),
		o.ShipToID, o.BillToID, o.PayerID, o.Requested, o.Note,
	}})
	if err != nil {
		return err
	}
	if n != 1 {
		return errRace
	}
	rows := make([][]any, len(o.Items))
	for i, it := range o.Items {
		rows[i] = []any{
			o.ID, it.Line, it.SKU, it.Quantity.Micro().Int64(), it.Unit, it.Price.Amount.String(), it.Price.Currency, it.Name,
			it.Requested,
		}
	}
	if _, err := insert(ctx, q, "order_item",
		[]string{"order_id", "line", "sku", "quantity", "unit", "price", "currency", "name", "requested"}, "", rows); err != nil {
		return err
	}
	return saveStep(ctx, q, o, 1)
}

// MoveOrder implements store.Orders.
func (s *Store) MoveOrder(ctx context.Context, id string, state erp.OrderState, fulfilment, billing erp.Progress) (erp.Order, erp.Outcome, error) {
	var result erp.Order
	outcome := erp.Refused
	err := s.inTx(ctx, func(ctx context.Context, q txn) error {
		found, err := loadOrders(ctx, q, "WHERE id = $1"+s.lockRows(), id)
		if err != nil {
			return err
		}
		if len(found) == 0 {
			return noOrder()
		}
		o := found[0].Order
		changed, err := o.Move(state, fulfilment, billing)
		if err != nil || !changed {
			result, outcome = o, erp.Unchanged
			return err
		}
		if o, err = s.saveMove(ctx, q, o); err != nil {
			return err
		}
		result, outcome = o, erp.Updated
		return nil
	})
	if err != nil {
		return erp.Order{}, erp.Refused, err
	}
	return result, outcome, nil
}

// saveMove writes the facets of an order that has moved, as a new version and a new step.
func (s *Store) saveMove(ctx context.Context, q txn, o erp.Order) (erp.Order, error) {
	before := o.Version
	o.Version++
	if now := s.stamp(); now.After(o.Updated) {
		o.Updated = now
	}
	res, err := q.ExecContext(ctx, `UPDATE sales_order SET state = $1, fulfilment = $2, billing = $3, version = $4,
		updated = $5 WHERE id = $6 AND version = $7`, int64(o.State), int64(o.Fulfilment), int64(o.Billing), o.Version,
		db.Micros(o.Updated), o.ID, before)
	if err != nil {
		return o, fmt.Errorf("move order: %w", err)
	}
	if n, err := res.RowsAffected(); err != nil {
		return o, fmt.Errorf("move order: %w", err)
	} else if n != 1 {
		return o, errRace
	}
	return o, saveStep(ctx, q, o, 0)
}
