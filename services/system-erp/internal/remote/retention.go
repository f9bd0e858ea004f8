package remote

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/erp"
)

const (
	// forgetEvery is how often old rows are looked for.
	forgetEvery = time.Hour
	// forgetBatch bounds how many orders one request asks the other system for.
	forgetBatch = 100
)

// Forget removes what is older than the retention and protects nothing any more:
//   - names under which nothing was sent, or something so long ago that the other system finished it or never will: the next
//     write looks for its record before it makes one, with or without the row;
//   - the client references of orders, but only when the other system itself still finds the order by what it carries. One that
//     was removed or renamed there is known by our row alone, so the row stays.
//
// An order that still owes steps is never forgotten, a name whose claim may be held neither. Documents are summed up by day:
// the counts stay. It is safe to run it in several processes at once.
func (s *Store) Forget(ctx context.Context) error {
	before := s.o.Now().Add(-s.o.Retention)
	return errors.Join(s.forgetNames(ctx, before), s.forgetOrders(ctx, before), s.sumDocuments(ctx, before))
}

// forgetNames removes the names of writes that crashed or were never answered.
func (s *Store) forgetNames(ctx context.Context, before time.Time) error {
	var n int64
	err := s.db.Tx(ctx, func(ctx context.Context, tx *sql.Tx) error {
		res, err := tx.ExecContext(ctx, `DELETE FROM remote_write WHERE state IN ($1, $2, $3, $4) AND updated < $5 AND sent < $5 AND lease < $5`,
			int64(stateFree), int64(stateClaimed), int64(stateSent), int64(stateUncertain), db.Micros(before))
		if err != nil {
			return err
		}
		n, err = res.RowsAffected()
		return err
	})
	if err != nil {
		return fmt.Errorf("forget names: %w", err)
	}
	s.counters.forgot(ctx, "write", n)
	return nil
}

// forgetOrders removes the names of orders that the other system finds by itself. What it does not find is looked at again
// after another retention.
func (s *Store) forgetOrders(ctx context.Context, before time.Time) error {
	for {
		list, err := s.oldOrders(ctx, before)
		if err != nil || len(list) == 0 {
			return err
		}
		found, err := s.carried(ctx, list)
		if err != nil {
			return fmt.Errorf("look for old orders: %w", err)
		}
		var n int64
		err = s.db.Tx(ctx, func(ctx context.Context, tx *sql.Tx) error {
			n = 0
			now := db.Micros(s.o.Now())
			for i, r := range list {
				// Who claimed the name meanwhile has raised its fencing number.
				text, args := "UPDATE remote_write SET updated = $1 WHERE object = $2 AND name = $3 AND fence = $4 AND state = $5", []any{now}
				if found[i] {
					text, args = "DELETE FROM remote_write WHERE object = $1 AND name = $2 AND fence = $3 AND state = $4", nil
				}
				res, err := tx.ExecContext(ctx, text, append(args, int64(objectOrder), r.name, r.fence, int64(stateDone))...)
				if err != nil {
					return err
				}
				if gone, err := res.RowsAffected(); err != nil {
					return err
				} else if found[i] {
					n += gone
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("forget orders: %w", err)
		}
		s.counters.forgot(ctx, "write", n)
	}
}

// oldOrders are names of orders without steps to do that nobody asked for since a moment.
func (s *Store) oldOrders(ctx context.Context, before time.Time) ([]row, error) {
	rows, err := s.db.Read().QueryContext(ctx, `SELECT name, mark, fence, record_id FROM remote_write
		WHERE state = $1 AND updated < $2 AND lease < $2 AND object = $3 ORDER BY updated, name LIMIT $4`,
		int64(stateDone), db.Micros(before), int64(objectOrder), forgetBatch)
	if err != nil {
		return nil, fmt.Errorf("list old orders: %w", err)
	}
	defer rows.Close()
	var list []row
	for rows.Next() {
		var r row
		if err := rows.Scan(&r.name, &r.mark, &r.fence, &r.record); err != nil {
			return nil, fmt.Errorf("list old orders: %w", err)
		}
		list = append(list, r)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("list old orders: %w", err)
	}
	return list, nil
}

// carried tells for each name whether the search that comes before every order would find its order.
func (s *Store) carried(ctx context.Context, list []row) ([]bool, error) {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	ids := make([]string, len(list))
	for i, r := range list {
		ids[i] = r.record
	}
	slices.Sort(ids)
	orders, err := s.sys.Orders(ctx, slices.Compact(ids))
	if err != nil {
		return nil, err
	}
	references := make(map[string]string, len(orders))
	for _, o := range orders {
		references[o.ID] = o.ClientRef
	}
	out := make([]bool, len(list))
	for i, r := range list {
		reference, there := references[r.record]
		if !there {
			continue
		}
		if out[i] = hashed("client_ref", reference) == r.name; out[i] {
			continue
		}
		// Its reference did not fit there, or it had none: it carries the mark.
		marked, err := s.sys.FindOrders(ctx, Key{Mark: r.mark})
		if err != nil {
			return nil, err
		}
		out[i] = slices.ContainsFunc(marked, func(o erp.Order) bool { return o.ID == r.record })
	}
	return out, nil
}

// sumDocuments replaces the documents of old days by their sums.
func (s *Store) sumDocuments(ctx context.Context, before time.Time) error {
	var n int64
	err := s.db.Tx(ctx, func(ctx context.Context, tx *sql.Tx) error {
		if err := s.db.Lock(ctx, tx, "erp/documents"); err != nil {
			return err
		}
		until := db.Micros(day(before))
		if _, err := tx.ExecContext(ctx, `INSERT INTO remote_document_sum (object, day, documents, lines)
			SELECT object, day, COUNT(*), SUM(lines) FROM remote_document WHERE day < $1 GROUP BY object, day
			ON CONFLICT (object, day) DO UPDATE SET documents = remote_document_sum.documents + excluded.documents,
			lines = remote_document_sum.lines + excluded.lines`, until); err != nil {
			return err
		}
		res, err := tx.ExecContext(ctx, "DELETE FROM remote_document WHERE day < $1", until)
		if err != nil {
			return err
		}
		n, err = res.RowsAffected()
		return err
	})
	if err != nil {
		return fmt.Errorf("sum up documents: %w", err)
	}
	s.counters.forgot(ctx, "document", n)
	return nil
}
