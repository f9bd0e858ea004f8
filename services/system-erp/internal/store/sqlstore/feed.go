package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/erp"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/store"
)

// entry is one row of the feed before it has a position.
type entry struct {
	object erp.Object
	id     string
	kind   store.ChangeKind
}

// publish adds entries to the feed. It is the last thing a transaction does: the update of the feed's one row makes every
// later writer wait until this one has committed or rolled back. A sequence would be faster and wrong: its values become
// visible out of order, and a reader would walk past the change of a slow transaction.
func (s *Store) publish(ctx context.Context, q txn, now time.Time, entries []entry) error {
	var last, committed int64
	err := each(ctx, q, func(scan func(...any) error) error {
		return scan(&last, &committed)
	}, `UPDATE feed SET position = position + $1, committed = CASE WHEN committed < $2 THEN $2 ELSE committed END
		WHERE id = 1 RETURNING position, committed`, len(entries), db.Micros(now))
	if err != nil {
		return fmt.Errorf("take positions in the feed: %w", err)
	}
	if last == 0 {
		return errors.New("take positions in the feed: the feed has no row")
	}
	rows := make([][]any, len(entries))
	for i, e := range entries {
		rows[i] = []any{last - int64(len(entries)-1-i), int64(e.object), e.id, int64(e.kind), committed}
	}
	_, err = insert(ctx, q, "change", []string{"position", "object", "record_id", "kind", "committed"}, "", rows)
	return err
}

// Bounds implements store.Feed.
func (s *Store) Bounds(ctx context.Context) (store.Bounds, error) {
	return bounds(ctx, s.db.Read())
}

func bounds(ctx context.Context, q querier) (store.Bounds, error) {
	var b store.Bounds
	err := each(ctx, q, func(scan func(...any) error) error {
		return scan(&b.Epoch, &b.Newest, &b.NewestStamp, &b.Oldest, &b.OldestStamp)
	}, "SELECT epoch, position, committed, purged, purged_committed FROM feed WHERE id = 1")
	if err != nil {
		return b, fmt.Errorf("read the bounds of the feed: %w", err)
	}
	if b.Epoch == "" {
		return b, errors.New("read the bounds of the feed: the feed has no row")
	}
	return b, nil
}

// Changes implements store.Feed.
func (s *Store) Changes(ctx context.Context, after int64, limit int) ([]store.Change, error) {
	type row struct {
		change store.Change
		object erp.Object
		id     string
	}
	var rows []row
	var customers, contacts []string
	err := each(ctx, s.db.Read(), func(scan func(...any) error) error {
		var r row
		if err := scan(&r.change.Position, &r.object, &r.id, &r.change.Kind, moment{&r.change.Committed}); err != nil {
			return err
		}
		if r.object == erp.ObjectContact {
			contacts = append(contacts, r.id)
		} else {
			customers = append(customers, r.id)
		}
		rows = append(rows, r)
		return nil
	}, "SELECT position, object, record_id, kind, committed FROM change WHERE position > $1 ORDER BY position LIMIT $2",
		after, limit)
	if err != nil {
		return nil, fmt.Errorf("read the feed: %w", err)
	}
	// Asked after the rows: rows that a purge removed before they were read are then known to be gone.
	b, err := s.Bounds(ctx)
	if err != nil {
		return nil, err
	}
	if after < b.Oldest || after > b.Newest {
		return nil, expired()
	}
	foundCustomers, err := s.customers.read(ctx, customers)
	if err != nil {
		return nil, err
	}
	foundContacts, err := s.contacts.read(ctx, contacts)
	if err != nil {
		return nil, err
	}
	out := make([]store.Change, len(rows))
	for i, r := range rows {
		out[i] = r.change
		if r.object == erp.ObjectContact {
			out[i].Contact = foundContacts[r.id]
		} else {
			out[i].Customer = foundCustomers[r.id]
		}
	}
	return out, nil
}

// expired is the refusal of a place in the feed that is not kept any more.
func expired() error {
	return fault.New(fault.Precondition, fault.ReasonResumeTokenExpired,
		"changes after the resume token are not kept any more; compare all records, then go on from now")
}

// Stamp implements store.Feed.
func (s *Store) Stamp(ctx context.Context, position int64) (int64, bool, error) {
	var stamp int64
	found := false
	err := each(ctx, s.db.Read(), func(scan func(...any) error) error {
		found = true
		return scan(&stamp)
	}, "SELECT committed FROM change WHERE position = $1", position)
	if err != nil {
		return 0, false, fmt.Errorf("read the feed: %w", err)
	}
	return stamp, found, nil
}

// Purge implements store.Feed. Commit times never decrease along the feed, so what is old enough is a prefix of it.
func (s *Store) Purge(ctx context.Context, before time.Time, limit int) (int, error) {
	purged := 0
	err := s.inTx(ctx, func(ctx context.Context, q txn) error {
		purged = 0
		var last, committed int64
		err := each(ctx, q, func(scan func(...any) error) error {
			return scan(&last, &committed)
		}, `SELECT position, committed FROM (SELECT position, committed FROM change ORDER BY position LIMIT $2) oldest
			WHERE committed < $1 ORDER BY position DESC LIMIT 1`, db.Micros(before), limit)
		if err != nil {
			return fmt.Errorf("find old changes: %w", err)
		}
		if last == 0 {
			return nil
		}
		res, err := q.ExecContext(ctx, "DELETE FROM change WHERE position <= $1", last)
		if err != nil {
			return fmt.Errorf("purge the feed: %w", err)
		}
		n, err := res.RowsAffected()
		if err != nil {
			return fmt.Errorf("purge the feed: %w", err)
		}
		if _, err := q.ExecContext(ctx, "UPDATE feed SET purged = $1, purged_committed = $2 WHERE id = 1 AND purged < $1",
			last, committed); err != nil {
			return fmt.Errorf("note the purge: %w", err)
		}
		purged = int(n)
		return nil
	})
	return purged, err
}
