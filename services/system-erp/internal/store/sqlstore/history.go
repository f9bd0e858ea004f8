package sqlstore

import (
	"context"
	"fmt"
	"time"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/backend"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/erp"
)

// saveStep notes the order's present step: the first one, or (sequence 0) the one after the last. The caller has the order's row
// locked, or has just made it.
func saveStep(ctx context.Context, q txn, o erp.Order, sequence int64) error {
	next := "$2"
	if sequence == 0 {
		next = "(SELECT COALESCE(MAX(sequence), 0) + 1 FROM order_event WHERE order_id = $1) + $2"
	}
	if _, err := q.ExecContext(ctx, `INSERT INTO order_event (order_id, sequence, taken, state, fulfilment, billing, block_reason)
		VALUES ($1, `+next+`, $3, $4, $5, $6, $7)`, o.ID, sequence, db.Micros(o.Updated), int64(o.State), int64(o.Fulfilment),
		int64(o.Billing), o.BlockReason); err != nil {
		return fmt.Errorf("note the step of an order: %w", err)
	}
	return nil
}

// History implements backend.Fulfilment.
func (s *Store) History(ctx context.Context, orderID string) ([]erp.OrderEvent, error) {
	var out []erp.OrderEvent
	err := each(ctx, s.db.Read(), func(scan func(...any) error) error {
		var e erp.OrderEvent
		err := scan(&e.Sequence, moment{&e.At}, &e.State, &e.Fulfilment, &e.Billing, &e.BlockReason)
		out = append(out, e)
		return err
	}, `SELECT sequence, taken, state, fulfilment, billing, block_reason FROM order_event WHERE order_id = $1 ORDER BY sequence`, orderID)
	if err != nil {
		return nil, fmt.Errorf("read the steps of an order: %w", err)
	}
	if len(out) == 0 {
		return nil, noOrder() // an order has at least the step of being placed
	}
	return out, nil
}

// day is a day's width in microseconds.
const day = int64(24 * time.Hour / time.Microsecond)

// Documents implements backend.Backend. Nothing is counted while writing, which would make all writers of a day queue for one
// row: what was created is there to be counted, by a scan that operators wait for now and then.
func (s *Store) Documents(ctx context.Context, from, until time.Time) ([]backend.DocumentCount, error) {
	first, end := db.Micros(from.UTC().Truncate(24*time.Hour)), db.Micros(until.UTC().Truncate(24*time.Hour))
	var out []backend.DocumentCount
	err := each(ctx, s.db.Read(), func(scan func(...any) error) error {
		var c backend.DocumentCount
		var n int64
		err := scan(&n, &c.Object, &c.Documents, &c.Lines)
		c.Day = db.FromMicros(n * day)
		out = append(out, c)
		return err
	}, fmt.Sprintf(`SELECT day, object, COUNT(*), SUM(lines) FROM (
			SELECT created / %[1]d AS day, 'customer' AS object, CAST(1 AS BIGINT) AS lines FROM customer WHERE created >= $1 AND created < $2
			UNION ALL SELECT created / %[1]d, 'contact', CAST(1 AS BIGINT) FROM contact WHERE created >= $1 AND created < $2
			UNION ALL SELECT e.taken / %[1]d, 'order', (SELECT COUNT(*) FROM order_item i WHERE i.order_id = e.order_id)
				FROM order_event e WHERE e.sequence = 1 AND e.taken >= $1 AND e.taken < $2
		) made GROUP BY day, object ORDER BY day, object`, day), first, end)
	if err != nil {
		return nil, fmt.Errorf("count documents: %w", err)
	}
	return out, nil
}
