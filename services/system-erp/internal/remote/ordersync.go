package remote

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/erp"
)

// removed is why an order that is not in the other system any more is called off here.
const removed = "removed in the ERP"

// syncOrders notes the steps of orders that changed, and now and then compares all that are open.
func (s *Store) syncOrders(ctx context.Context) error {
	since, compared, err := s.cursor(ctx, objectOrder)
	if err != nil {
		return err
	}
	from := since.Add(-s.o.Overlap)
	if since.IsZero() {
		// The history begins with this service: what was before cannot be seen step by step.
		from = s.o.Now().Add(-s.o.Overlap)
	}
	newest, begun := since, s.o.Now()
	err = s.sys.ChangedOrders(ctx, from, func(page []erp.Order) error {
		for _, o := range page {
			if err := s.step(ctx, o); err != nil {
				return err
			}
			if o.Updated.After(newest) {
				newest = o.Updated
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	// What was read stays read, whatever becomes of the comparison.
	if err := s.advanceCursor(ctx, objectOrder, s.readUntil(newest, begun), time.Time{}); err != nil {
		return err
	}
	if !compared.IsZero() && begun.Sub(compared) < s.o.Compare {
		return nil
	}
	if compared, err = s.compareOrders(ctx, begun); err != nil {
		return err
	}
	return s.advanceCursor(ctx, objectOrder, time.Time{}, compared)
}

// round is a comparison of orders that is under way. One that fails goes on at the next Sync where it failed, so that it comes to
// its end although the other system is never there for as long as all of it takes.
type round struct {
	mu    sync.Mutex
	after string    // the last order that was compared
	begun time.Time // zero when none is under way
}

// resume returns where to go on, and when the comparison began: now when none is under way.
func (r *round) resume(now time.Time) (after string, begun time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.begun.IsZero() {
		return "", now
	}
	return r.after, r.begun
}

// keep notes how far the comparison has come; a zero time ends it.
func (r *round) keep(after string, begun time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.after, r.begun = after, begun
}

// compareOrders reads every order that has been seen and is not at its end, page by page, and notes what no stamp has shown: a
// facet that a job of the other system set without moving the order's stamp, an order that was removed. Orders at their end
// are left out, so that what this costs follows the open ones and those completed lately, and not all there ever were. It returns
// since when all of them have been compared.
func (s *Store) compareOrders(ctx context.Context, now time.Time) (since time.Time, err error) {
	after, since := s.round.resume(now)
	for {
		ids, err := s.openOrders(ctx, after)
		if err != nil {
			return since, err
		}
		if len(ids) == 0 {
			s.round.keep("", time.Time{})
			return since, nil
		}
		if err := s.comparePage(ctx, ids); err != nil {
			return since, err
		}
		after = ids[len(ids)-1]
		s.round.keep(after, since)
	}
}

func (s *Store) comparePage(ctx context.Context, ids []string) error {
	found, err := s.sys.Orders(ctx, ids)
	if err != nil {
		return err
	}
	for _, id := range ids {
		i := slices.IndexFunc(found, func(o erp.Order) bool { return o.ID == id })
		if i < 0 {
			err = s.gone(ctx, id)
		} else {
			err = s.compared(ctx, found[i])
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// openOrders returns a page of the ids of orders whose last step is not their last one. A completed order is at its end when it is
// wholly billed; one that never will be (nothing in it is billed) is taken for it after the retention.
func (s *Store) openOrders(ctx context.Context, after string) ([]string, error) {
	rows, err := s.db.Read().QueryContext(ctx, `SELECT order_id FROM remote_step WHERE order_id > $1
		AND sequence = (SELECT MAX(sequence) FROM remote_step newer WHERE newer.order_id = remote_step.order_id)
		AND state <> $2 AND NOT (state = $3 AND (billing = $4 OR seen < $5)) ORDER BY order_id LIMIT $6`,
		after, int64(erp.OrderCancelled), int64(erp.OrderCompleted), int64(erp.ProgressFull), db.Micros(s.o.Now().Add(-s.o.Retention)), syncPage)
	if err != nil {
		return nil, fmt.Errorf("list open orders: %w", err)
	}
	defer rows.Close()
	var ids []string
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return nil, fmt.Errorf("list open orders: %w", err)
		}
		ids = append(ids, id)
	}
	return ids, rows.Err()
}

// compared notes the step of an order that the comparison read.
func (s *Store) compared(ctx context.Context, o erp.Order) error {
	noted, err := s.noteStep(ctx, o)
	if noted {
		s.counters.drift(ctx, "order")
	}
	return err
}

// gone closes the history of an order that the other system does not know any more.
func (s *Store) gone(ctx context.Context, id string) error {
	seen, err := s.steps(ctx, s.db.Read(), id)
	if err != nil || len(seen) == 0 {
		return err
	}
	last := seen[len(seen)-1]
	s.o.Log.WarnContext(ctx, "an order was removed in the ERP", "record_id", id)
	return s.compared(ctx, erp.Order{
		ID: id, State: erp.OrderCancelled, Fulfilment: last.Fulfilment, Billing: last.Billing, BlockReason: removed,
	})
}

// Rounder is a System whose ERP does not round the amount of a line with halves away from zero, to the currency's digits. With
// it a dry run says what the ERP's own document will say.
type Rounder interface {
	// Amount is quantity × price as the ERP rounds it.
	Amount(ctx context.Context, quantity, price erp.Decimal, currency string) (erp.Decimal, error)
}

// total adds up the lines of an order as the other system does.
func (s *Store) total(ctx context.Context, o *erp.Order) error {
	r, ok := s.sys.(Rounder)
	if !ok {
		return nil
	}
	var sum erp.Decimal
	for _, it := range o.Items {
		amount, err := r.Amount(ctx, it.Quantity, it.Price.Amount, o.Currency)
		if err != nil {
			return err
		}
		sum = sum.Add(amount)
	}
	o.Total.Amount = sum
	return nil
}

// History implements backend.Fulfilment. What was seen of an order is kept when the order itself was removed.
func (s *Store) History(ctx context.Context, orderID string) ([]erp.OrderEvent, error) {
	_, err := s.Order(ctx, orderID)
	if err != nil && !fault.Is(err, fault.NotFound) {
		return nil, err
	}
	seen, serr := s.steps(ctx, s.db.Read(), orderID)
	if serr != nil {
		return nil, serr
	}
	if len(seen) == 0 {
		return nil, err
	}
	return seen, nil
}
