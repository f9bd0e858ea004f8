package sqlstore

import (
	"context"
	"fmt"
	"slices"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/erp"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/store"
)

// MergeCustomers implements backend.Merging: one transaction, so that nobody sees a duplicate that is gone whose contacts or
// orders are still its own. The feed tells the contacts first, then that the duplicate is gone.
func (s *Store) MergeCustomers(ctx context.Context, duplicate, survivor string) (store.Result[erp.Customer], error) {
	if duplicate == survivor {
		return store.Result[erp.Customer]{}, fault.InvalidField("into", erp.ReasonDuplicate, "a customer is not merged into itself")
	}
	var out store.Result[erp.Customer]
	err := s.inTx(ctx, func(ctx context.Context, q txn) error {
		out = store.Result[erp.Customer]{}
		t := s.customers
		// Whoever gives the duplicate a contact or an order at this moment is waited for, or waits and finds it gone.
		found, err := t.loadAll(ctx, q, []string{duplicate, survivor}, s.lockWhole())
		if err != nil {
			return err
		}
		old, heir := found[duplicate], found[survivor]
		switch {
		case old == nil:
			return fault.New(fault.NotFound, fault.ReasonNotFound, "no customer has this id")
		case heir == nil:
			return fault.InvalidField("into", erp.ReasonUnknownRecord, "no customer has this id")
		case old.MergedInto == survivor:
			out = store.Result[erp.Customer]{Record: *old, Outcome: erp.Unchanged}
			return nil
		case old.Deleted:
			return fault.New(fault.Precondition, erp.ReasonDeleted, "the customer was deleted")
		case heir.Deleted:
			return fault.InvalidField("into", erp.ReasonDeleted, "the customer was deleted")
		}
		now := s.stamp()
		entries, err := s.moveContacts(ctx, q, duplicate, survivor)
		if err != nil {
			return err
		}
		if err := s.moveBelongings(ctx, q, duplicate, survivor, db.Micros(now)); err != nil {
			return err
		}
		rec := t.table.schema.Replace(*old, survivor, now)
		n, err := insert(ctx, q, t.table.name, t.table.columns, t.saveClause(), [][]any{t.table.values(&rec)})
		if err != nil {
			return err
		}
		if n != 1 {
			return errRace
		}
		if err := t.table.save(ctx, q, []change[erp.Customer]{{old: old, rec: &rec, kind: store.ChangeDeleted}}); err != nil {
			return err
		}
		if err := s.gone(ctx, q.raw, []string{duplicate}); err != nil {
			return err
		}
		out = store.Result[erp.Customer]{Record: rec, Outcome: erp.Updated}
		return s.publish(ctx, q, now, append(entries, entry{object: t.table.object, id: duplicate, kind: store.ChangeDeleted}))
	})
	if err != nil {
		return store.Result[erp.Customer]{}, err
	}
	if out.Outcome == erp.Updated {
		s.committed()
	}
	return out, nil
}

// mergePage is how many contacts are read at once.
const mergePage = 500

// moveContacts gives the live contacts of one customer to another one and returns what the feed has to tell.
func (s *Store) moveContacts(ctx context.Context, q txn, from, to string) ([]entry, error) {
	t := s.contacts
	var ids []string
	err := each(ctx, q, func(scan func(...any) error) error {
		var id string
		err := scan(&id)
		ids = append(ids, id)
		return err
	}, "SELECT id FROM contact WHERE customer_id = $1 AND NOT deleted ORDER BY id", from)
	if err != nil {
		return nil, fmt.Errorf("find the contacts of a duplicate: %w", err)
	}
	var out []entry
	for page := range slices.Chunk(ids, mergePage) {
		found, err := t.loadAll(ctx, q, page, s.lockRows())
		if err != nil {
			return nil, err
		}
		rows := make([][]any, 0, len(page))
		for _, id := range page {
			c := found[id]
			if c == nil || c.Deleted || c.CustomerID != from {
				continue // somebody was faster
			}
			moved, _, err := t.table.schema.Merge(*c, erp.Contact{CustomerID: to}, erp.Mask{}, erp.Ref{}, s.stamp())
			if err != nil {
				return nil, err
			}
			rows = append(rows, t.table.values(&moved))
			out = append(out, entry{object: t.table.object, id: id, kind: store.ChangeUpdated})
		}
		n, err := insert(ctx, q, t.table.name, t.table.columns, t.saveClause(), rows)
		if err != nil {
			return nil, err
		}
		if n != len(rows) {
			return nil, errRace
		}
	}
	return out, nil
}

// moveBelongings gives orders, warranties and agreed prices of one customer to another one. What was agreed with the survivor
// itself stays; an order keeps its lines, its steps and the fingerprint it is recognised by.
func (s *Store) moveBelongings(ctx context.Context, q txn, from, to string, now int64) error {
	for _, move := range []struct {
		query string
		args  []any
	}{
		{`UPDATE sales_order SET customer_id = $1, version = version + 1, updated = CASE WHEN updated < $3 THEN $3 ELSE updated END,
			ship_to = CASE WHEN ship_to = $2 THEN $1 ELSE ship_to END, bill_to = CASE WHEN bill_to = $2 THEN $1 ELSE bill_to END,
			payer = CASE WHEN payer = $2 THEN $1 ELSE payer END WHERE customer_id = $2`, []any{to, from, now}},
		{"UPDATE warranty SET customer_id = $1 WHERE customer_id = $2", []any{to, from}},
		{`UPDATE price SET customer_id = $1 WHERE customer_id = $2 AND NOT EXISTS (SELECT 1 FROM price own WHERE own.customer_id = $1
			AND own.sku = price.sku AND own.currency = price.currency AND own.min_quantity = price.min_quantity
			AND own.valid_from = price.valid_from)`, []any{to, from}},
	} {
		if _, err := q.ExecContext(ctx, move.query, move.args...); err != nil {
			return fmt.Errorf("move what belongs to a duplicate: %w", err)
		}
	}
	return nil
}

// keptCustomers tells which of the customers that something is about to refer to exist, and whether they were deleted. Those
// that are there are not merged away until the end of the transaction. It sorts ids.
func (s *Store) keptCustomers(ctx context.Context, q querier, ids []string) (map[string]bool, error) {
	states := make(map[string]bool)
	if len(ids) == 0 {
		return states, nil
	}
	slices.Sort(ids)
	list, args := in(slices.Compact(ids))
	err := each(ctx, q, func(scan func(...any) error) error {
		var id string
		var deleted bool
		err := scan(&id, &deleted)
		states[id] = deleted
		return err
	}, "SELECT id, deleted FROM customer WHERE id IN "+list+" ORDER BY id"+s.keepRows(), args...)
	if err != nil {
		return nil, fmt.Errorf("look up customers: %w", err)
	}
	return states, nil
}

// lockWhole is lockRows for customers of which nobody may be about to use the id meanwhile; see keepRows.
func (s *Store) lockWhole() string {
	if s.db.Engine() == db.PostgreSQL {
		return " FOR UPDATE"
	}
	return ""
}
