package remote

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/pkg/telemetry"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/erp"
)

// forgetRest is how long it rests between batches.
const forgetRest = 200 * time.Millisecond

// Sweep forgets what is too old, batch by batch with a rest between them, every so often until ctx ends, and then returns nil.
// A failure is logged and counted; the next round does the work.
func (s *Store) Sweep(ctx context.Context) error {
	removal, err := telemetry.NewRemoval(s.o.Meter, "writes of the ERP", s.o.Forget)
	if err != nil {
		return err
	}
	for wait := s.o.Forget; sleep(ctx, wait); {
		more, err := s.Forget(ctx)
		if removal.Done(ctx, err) {
			s.o.Log.WarnContext(ctx, "what is too old cannot be forgotten", "error", err)
		}
		wait = s.o.Forget
		if more && err == nil {
			wait = forgetRest
		}
	}
	return nil
}

// Forget removes a batch of what is older than the retention and protects nothing any more, and tells whether there may be
// more of it:
//   - names of customers and contacts under which nothing was sent, or something so long ago that the other system finished it
//     or never will: the next write looks for its record before it makes one, with or without the row;
//   - documents, which are summed up by day: the counts stay.
//
// Names of orders are kept for ever. Such a row alone knows which content a client reference stands for, that the order's
// steps were taken and must not be taken again, and that an order which arrives late is one of ours.
//
// It asks the other system nothing, and is safe to run in several processes at once.
func (s *Store) Forget(ctx context.Context) (more bool, err error) {
	before := s.o.Now().Add(-s.o.Retention)
	names, err := s.forgetNames(ctx, before)
	documents, derr := s.sumDocuments(ctx, before)
	return names == s.o.ForgetBatch || documents == s.o.ForgetBatch, errors.Join(err, derr)
}

// chosen are the keys of the rows that a batch removes, by kind of record.
type chosen map[erp.Object][]any

func (c chosen) add(object erp.Object, key string) { c[object] = append(c[object], key) }

// remove deletes the rows of a table that were chosen. All of them must be there still.
func (c chosen) remove(ctx context.Context, tx *sql.Tx, table, key string) error {
	for object, keys := range c {
		marks := make([]string, len(keys))
		for i := range keys {
			marks[i] = "$" + strconv.Itoa(i+2)
		}
		res, err := tx.ExecContext(ctx, "DELETE FROM "+table+" WHERE object = $1 AND "+key+" IN ("+strings.Join(marks, ",")+")",
			append([]any{int64(object)}, keys...)...)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil {
			return err
		} else if n != int64(len(keys)) {
			return fmt.Errorf("%d of %d rows of %s were there", n, len(keys), table)
		}
	}
	return nil
}

// forgetNames removes a batch of the names of writes that crashed or were never answered, and tells how many.
func (s *Store) forgetNames(ctx context.Context, before time.Time) (n int, err error) {
	// Names that somebody claims at this moment are not old, and nobody waits for us.
	lock := ""
	if s.db.Engine() == db.PostgreSQL {
		lock = " FOR UPDATE SKIP LOCKED"
	}
	err = s.db.Tx(ctx, func(ctx context.Context, tx *sql.Tx) error {
		n = 0
		rows, err := tx.QueryContext(ctx, `SELECT object, name FROM remote_write WHERE state IN ($1, $2, $3, $4) AND object <> $5
			AND updated < $6 AND sent < $6 AND lease < $6 LIMIT $7`+lock,
			int64(stateFree), int64(stateClaimed), int64(stateSent), int64(stateUncertain), int64(objectOrder), db.Micros(before), s.o.ForgetBatch)
		if err != nil {
			return err
		}
		defer rows.Close()
		old := make(chosen)
		for ; rows.Next(); n++ {
			var object erp.Object
			var name string
			if err := rows.Scan(&object, &name); err != nil {
				return err
			}
			old.add(object, name)
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			return err
		}
		return old.remove(ctx, tx, "remote_write", "name")
	})
	if err != nil {
		return 0, fmt.Errorf("forget names: %w", err)
	}
	s.counters.forgot(ctx, "write", int64(n))
	return n, nil
}

// total is what the documents of one kind and day add up to.
type total struct {
	object erp.Object
	day    int64
}

// sumDocuments adds a batch of the documents of old days to the sums of their days, removes them, and tells how many.
func (s *Store) sumDocuments(ctx context.Context, before time.Time) (n int, err error) {
	err = s.db.Tx(ctx, func(ctx context.Context, tx *sql.Tx) error {
		n = 0
		// Who else sums up would choose the same rows.
		if err := s.db.Lock(ctx, tx, "erp/documents"); err != nil {
			return err
		}
		rows, err := tx.QueryContext(ctx, "SELECT object, record_id, day, lines FROM remote_document WHERE day < $1 ORDER BY day LIMIT $2",
			db.Micros(day(before)), s.o.ForgetBatch)
		if err != nil {
			return err
		}
		defer rows.Close()
		old, sums := make(chosen), make(map[total][2]int64)
		for ; rows.Next(); n++ {
			var of total
			var id string
			var lines int64
			if err := rows.Scan(&of.object, &id, &of.day, &lines); err != nil {
				return err
			}
			old.add(of.object, id)
			sums[of] = [2]int64{sums[of][0] + 1, sums[of][1] + lines}
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			return err
		}
		for of, sum := range sums {
			if _, err := tx.ExecContext(ctx, `INSERT INTO remote_document_sum (object, day, documents, lines) VALUES ($1, $2, $3, $4)
				ON CONFLICT (object, day) DO UPDATE SET documents = remote_document_sum.documents + excluded.documents,
				lines = remote_document_sum.lines + excluded.lines`, int64(of.object), of.day, sum[0], sum[1]); err != nil {
				return err
			}
		}
		return old.remove(ctx, tx, "remote_document", "record_id")
	})
	if err != nil {
		return 0, fmt.Errorf("sum up documents: %w", err)
	}
	s.counters.forgot(ctx, "document", int64(n))
	return n, nil
}
