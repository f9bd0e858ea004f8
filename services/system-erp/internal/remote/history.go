package remote

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/backend"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/erp"
)

// step notes the present step of an order when it is another one than the last.
func (s *Store) step(ctx context.Context, o erp.Order) error {
	_, err := s.noteStep(ctx, o)
	return err
}

// noteStep is step, and tells whether there was anything to note.
func (s *Store) noteStep(ctx context.Context, o erp.Order) (noted bool, err error) {
	seen, err := s.steps(ctx, s.db.Read(), o.ID)
	if err != nil {
		return false, err
	}
	if n := len(seen); n > 0 && seen[n-1].SameStep(o.Event()) {
		return false, nil
	}
	err = s.db.Tx(ctx, func(ctx context.Context, tx *sql.Tx) error {
		if err := s.db.Lock(ctx, tx, "erp/step/"+o.ID); err != nil {
			return err
		}
		noted = false
		seen, err := s.steps(ctx, tx, o.ID)
		if err != nil {
			return err
		}
		at := s.o.Now()
		if n := len(seen); n > 0 {
			if seen[n-1].SameStep(o.Event()) {
				return nil
			}
			if seen[n-1].At.After(at) {
				at = seen[n-1].At
			}
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO remote_step (order_id, sequence, seen, state, fulfilment, billing, block_reason)
			VALUES ($1, $2, $3, $4, $5, $6, $7)`, o.ID, len(seen)+1, db.Micros(at), int64(o.State), int64(o.Fulfilment), int64(o.Billing),
			o.BlockReason)
		noted = err == nil
		return err
	})
	if err != nil {
		return false, fmt.Errorf("note the step of an order: %w", err)
	}
	return noted, nil
}

func (s *Store) steps(ctx context.Context, q db.Querier, id string) ([]erp.OrderEvent, error) {
	rows, err := q.QueryContext(ctx, `SELECT sequence, seen, state, fulfilment, billing, block_reason FROM remote_step
		WHERE order_id = $1 ORDER BY sequence`, id)
	if err != nil {
		return nil, fmt.Errorf("read the steps of an order: %w", err)
	}
	defer rows.Close()
	var out []erp.OrderEvent
	for rows.Next() {
		var e erp.OrderEvent
		var at int64
		if err := rows.Scan(&e.Sequence, &at, &e.State, &e.Fulfilment, &e.Billing, &e.BlockReason); err != nil {
			return nil, fmt.Errorf("read the steps of an order: %w", err)
		}
		e.At = db.FromMicros(at)
		out = append(out, e)
	}
	return out, rows.Err()
}

// document counts a record that this service created, once.
func (s *Store) document(ctx context.Context, tx *sql.Tx, object erp.Object, id string, lines int) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO remote_document (object, record_id, day, lines) VALUES ($1, $2, $3, $4)
		ON CONFLICT (object, record_id) DO NOTHING`, int64(object), id, db.Micros(day(s.o.Now())), lines)
	if err != nil {
		return fmt.Errorf("count a document: %w", err)
	}
	return nil
}

func day(t time.Time) time.Time { return t.UTC().Truncate(24 * time.Hour) }

// Documents implements backend.Backend.
func (s *Store) Documents(ctx context.Context, from, until time.Time) ([]backend.DocumentCount, error) {
	rows, err := s.db.Read().QueryContext(ctx, `SELECT day, object, CAST(SUM(documents) AS BIGINT), CAST(SUM(lines) AS BIGINT) FROM (
		SELECT day, object, 1 AS documents, lines FROM remote_document WHERE day >= $1 AND day < $2
		UNION ALL SELECT day, object, documents, lines FROM remote_document_sum WHERE day >= $1 AND day < $2) counted
		GROUP BY day, object ORDER BY day, object`, db.Micros(day(from)), db.Micros(day(until)))
	if err != nil {
		return nil, fmt.Errorf("count documents: %w", err)
	}
	defer rows.Close()
	var out []backend.DocumentCount
	for rows.Next() {
		var c backend.DocumentCount
		var at int64
		var object erp.Object
		if err := rows.Scan(&at, &object, &c.Documents, &c.Lines); err != nil {
			return nil, fmt.Errorf("count documents: %w", err)
		}
		c.Day, c.Object = db.FromMicros(at), objectName(object)
		out = append(out, c)
	}
	return out, rows.Err()
}

func objectName(o erp.Object) string {
	switch o {
	case objectOrder:
		return "order"
	case objectProduct:
		return "product"
	case erp.ObjectContact:
		return "contact"
	default:
		return "customer"
	}
}
