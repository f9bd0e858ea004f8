package sqlstore

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/erp"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/store"
)

// loadDeliveries reads deliveries with their items; tail is everything after FROM.
func loadDeliveries(ctx context.Context, q querier, tail string, args ...any) ([]erp.Delivery, error) {
	var out []erp.Delivery
	at := make(map[string]int)
	var ids []string
	err := each(ctx, q, func(scan func(...any) error) error {
		var d erp.Delivery
		if err := scan(&d.ID, &d.OrderID, &d.State, &d.Carrier, &d.Tracking, moment{&d.Shipped}, &d.Version, moment{&d.Updated}); err != nil {
			return err
		}
		at[d.ID] = len(out)
		out, ids = append(out, d), append(ids, d.ID)
		return nil
	}, "SELECT id, order_id, state, carrier, tracking, shipped, version, updated FROM delivery "+tail, args...)
	if err != nil {
		return nil, fmt.Errorf("read deliveries: %w", err)
	}
	if len(ids) == 0 {
		return nil, nil
	}
	list, itemArgs := in(ids)
	err = each(ctx, q, func(scan func(...any) error) error {
		var id, serials string
		var it erp.DeliveryItem
		if err := scan(&id, &it.Line, &it.SKU, decimal{to: &it.Quantity, micro: true}, &it.Unit, &serials); err != nil {
			return err
		}
		if serials != "" {
			if err := json.Unmarshal([]byte(serials), &it.Serials); err != nil {
				return fmt.Errorf("scan serial numbers: %w", err)
			}
		}
		out[at[id]].Items = append(out[at[id]].Items, it)
		return nil
	}, "SELECT delivery_id, line, sku, quantity, unit, serials FROM delivery_item WHERE delivery_id IN "+list+
		" ORDER BY delivery_id, position", itemArgs...)
	if err != nil {
		return nil, fmt.Errorf("read delivery items: %w", err)
	}
	return out, nil
}

// Deliveries implements backend.Fulfilment.
func (s *Store) Deliveries(ctx context.Context, orderID string) ([]erp.Delivery, error) {
	if _, err := s.Order(ctx, orderID); err != nil {
		return nil, err
	}
	return loadDeliveries(ctx, s.db.Read(), "WHERE order_id = $1 ORDER BY created, id", orderID)
}

// RecordDelivery implements backend.Fulfilment. A delivery may change until it has left; then it stays.
func (s *Store) RecordDelivery(ctx context.Context, d erp.Delivery) (erp.Delivery, erp.Order, erp.Outcome, error) {
	var order erp.Order
	var outcome erp.Outcome
	asked := d
	err := s.inTx(ctx, func(ctx context.Context, q txn) error {
		d = asked
		found, err := loadOrders(ctx, q, "WHERE id = $1"+s.lockRows(), d.OrderID)
		if err != nil {
			return err
		}
		if len(found) == 0 {
			return fault.InvalidField("delivery.order_id", erp.ReasonUnknownRecord, "no order has this id")
		}
		order = found[0].Order
		before, err := loadDeliveries(ctx, q, "WHERE id = $1", d.ID)
		if err != nil {
			return err
		}
		if d, err = order.Deliver(d, before, s.stamp()); err != nil {
			return err
		}
		if len(before) > 0 && d.Version == before[0].Version {
			outcome = erp.Unchanged
			return nil
		}
		outcome = erp.Created
		if len(before) > 0 {
			outcome = erp.Updated
		}
		if err := saveDelivery(ctx, q, d); err != nil {
			return err
		}
		if d.State != erp.DeliveryShipped {
			return nil
		}
		return s.saveDelivered(ctx, q, &order)
	})
	if err != nil {
		return erp.Delivery{}, erp.Order{}, erp.Refused, err
	}
	return d, order, outcome, nil
}

// saveDelivered writes what has been delivered of each line, and the order's fulfilment when that moved it.
func (s *Store) saveDelivered(ctx context.Context, q txn, o *erp.Order) error {
	for _, it := range o.Items {
		if _, err := q.ExecContext(ctx, "UPDATE order_item SET delivered = $1 WHERE order_id = $2 AND line = $3 AND delivered <> $1",
			it.Delivered.Micro().Int64(), o.ID, it.Line); err != nil {
			return fmt.Errorf("note what was delivered: %w", err)
		}
	}
	moved, err := o.Move(0, o.Shipped(), 0)
	if err != nil || !moved {
		return err
	}
	*o, err = s.saveMove(ctx, q, *o)
	return err
}

func saveDelivery(ctx context.Context, q txn, d erp.Delivery) error {
	n, err := insert(ctx, q, "delivery", []string{"id", "order_id", "state", "carrier", "tracking", "shipped", "created", "version", "updated"},
		` ON CONFLICT (id) DO UPDATE SET state = excluded.state, carrier = excluded.carrier, tracking = excluded.tracking,
		shipped = excluded.shipped, version = excluded.version, updated = excluded.updated
		WHERE delivery.version = excluded.version - 1`,
		[][]any{{d.ID, d.OrderID, int64(d.State), d.Carrier, d.Tracking, db.Micros(d.Shipped), db.Micros(d.Updated), d.Version, db.Micros(d.Updated)}})
	if err != nil {
		return err
	}
	if n != 1 {
		return errRace
	}
	if _, err := q.ExecContext(ctx, "DELETE FROM delivery_item WHERE delivery_id = $1", d.ID); err != nil {
		return fmt.Errorf("clear delivery items: %w", err)
	}
	rows := make([][]any, len(d.Items))
	for i, it := range d.Items {
		serials := ""
		if len(it.Serials) > 0 {
			raw, err := json.Marshal(it.Serials)
			if err != nil {
				return fmt.Errorf("write serial numbers: %w", err)
			}
			serials = string(raw)
		}
		rows[i] = []any{d.ID, i + 1, it.Line, it.SKU, it.Quantity.Micro().Int64(), it.Unit, serials}
	}
	_, err = insert(ctx, q, "delivery_item", []string{"delivery_id", "position", "line", "sku", "quantity", "unit", "serials"}, "", rows)
	return err
}

// ValidateOrder implements backend.Advice.
func (s *Store) ValidateOrder(ctx context.Context, o erp.Order) (erp.Order, error) {
	if o.ClientRef != "" {
		first, err := loadOrders(ctx, s.db.Read(), "WHERE client_ref = $1", o.ClientRef)
		if err != nil {
			return o, err
		}
		if print := o.Fingerprint(); len(first) > 0 && !slices.Equal(first[0].fingerprint, print[:]) {
			return o, fault.New(fault.AlreadyExists, store.ReasonClientRef,
				"an order with other content has this client reference").WithMeta("record_id", first[0].ID)
		}
	}
	placed, err := s.place(ctx, s.db.Read(), o)
	placed.Version = 0
	return placed, err
}
