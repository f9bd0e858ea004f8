package remote

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/backend"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/erp"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/store"
)

// syncPage bounds how many records are mirrored in one transaction.
const syncPage = 200

// Run meets the other system, keeps the mirror up to date and finishes what was left, until ctx ends. That the other system is
// away ends nothing: it is asked again at every poll.
func (s *Store) Run(ctx context.Context) error {
	tick := time.NewTicker(s.o.Poll)
	defer tick.Stop()
	for {
		begun := time.Now()
		rest := s.look(ctx)
		if err := s.Settle(ctx); err != nil && ctx.Err() == nil {
			s.o.Log.WarnContext(ctx, "open orders cannot be finished", "error", err)
		}
		if rest > 0 && !sleep(ctx, rest) { // a poke does not make it shorter
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-s.poked:
			if !sleep(ctx, s.o.Calm-time.Since(begun)) {
				return nil
			}
		}
	}
}

// Poke has Run look for changes now instead of at its next poll. It never blocks; however often it is called while a look is
// under way, one more follows, and looks for which it is the reason begin at least Options.Calm apart. What a look finds is what
// the other system says when it is asked: a poke carries nothing.
func (s *Store) Poke() {
	select {
	case s.poked <- struct{}{}:
	default:
	}
}

// Sync reads what changed since the last time, or everything when that is due. Customers come before contacts, which refer to
// them. It is safe to run it in several processes at once: what is already mirrored is left alone.
func (s *Store) Sync(ctx context.Context) error {
	if err := syncOne(ctx, s.customers); err != nil {
		return fmt.Errorf("read customers: %w", err)
	}
	if s.contacts != nil {
		if err := syncOne(ctx, s.contacts); err != nil {
			return fmt.Errorf("read contacts: %w", err)
		}
	}
	if err := s.syncOrders(ctx); err != nil && fault.ReasonOf(err) != backend.ReasonCapability {
		return fmt.Errorf("read orders: %w", err)
	}
	return nil
}

// Compare reads everything at the next Sync.
func (s *Store) Compare(ctx context.Context) error {
	s.round.keep("", time.Time{})
	err := s.db.Tx(ctx, func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "UPDATE remote_cursor SET compared = 0")
		return err
	})
	if err != nil {
		return fmt.Errorf("ask for a comparison: %w", err)
	}
	return nil
}

// cursor is how far changes have been read, and when everything was read last; zero times for never.
func (s *Store) cursor(ctx context.Context, object erp.Object) (since, compared time.Time, err error) {
	var a, b int64
	err = s.db.Read().QueryRowContext(ctx, "SELECT since, compared FROM remote_cursor WHERE object = $1", int64(object)).Scan(&a, &b)
	if errors.Is(err, sql.ErrNoRows) {
		return time.Time{}, time.Time{}, nil
	}
	if err != nil {
		return since, compared, fmt.Errorf("read how far changes were read: %w", err)
	}
	return db.FromMicros(a), db.FromMicros(b), nil
}

// advanceCursor never goes back.
func (s *Store) advanceCursor(ctx context.Context, object erp.Object, since, compared time.Time) error {
	err := s.db.Tx(ctx, func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO remote_cursor (object, since, compared) VALUES ($1, $2, $3)
			ON CONFLICT (object) DO UPDATE SET
			since = CASE WHEN remote_cursor.since < excluded.since THEN excluded.since ELSE remote_cursor.since END,
			compared = CASE WHEN remote_cursor.compared < excluded.compared THEN excluded.compared ELSE remote_cursor.compared END`,
			int64(object), db.Micros(since), db.Micros(compared))
		return err
	})
	if err != nil {
		return fmt.Errorf("note how far changes were read: %w", err)
	}
	return nil
}

// loaded tells whether all customers have been read once.
func (s *Store) loaded(ctx context.Context) error {
	_, compared, err := s.cursor(ctx, erp.ObjectCustomer)
	if err == nil && compared.IsZero() {
		// A comparison that was asked for does not take the list away: the cursor says that there was one.
		var n int
		err = s.db.Read().QueryRowContext(ctx, "SELECT COUNT(*) FROM remote_cursor WHERE object = $1", int64(erp.ObjectCustomer)).Scan(&n)
		if err == nil && n == 0 {
			return fault.Wrap(fault.Unavailable, fault.ReasonNotReady, errNotLoaded, "the records of the ERP have not all been read yet").
				WithRetryAfter(5 * time.Second)
		}
	}
	return err
}

// syncOne reads the changes of one kind of record, page by page; no more than a page is held.
func syncOne[R any](ctx context.Context, t *records[R]) error {
	since, compared, err := t.s.cursor(ctx, t.object)
	if err != nil {
		return err
	}
	now := t.s.o.Now()
	full := compared.IsZero() || now.Sub(compared) >= t.s.o.Compare
	from := since.Add(-t.s.o.Overlap)
	if full || since.IsZero() {
		from = time.Time{}
	}
	newest := since
	asked := now // when the page at hand was asked for
	err = t.source.Changed(ctx, from, func(page []Snapshot[R]) error {
		asOf := asked
		defer func() { asked = t.s.o.Now() }()
		for len(page) > 0 {
			n := min(len(page), syncPage)
			if err := t.mirrorPage(ctx, page[:n], asOf); err != nil {
				return err
			}
			for i := range page[:n] {
				if at := t.schema.Head(&page[i].Record).Updated; at.After(newest) {
					newest = at
				}
			}
			page = page[n:]
		}
		return nil
	})
	if err != nil {
		return err
	}
	if full {
		if err := t.gone(ctx); err != nil {
			return err
		}
		compared = now
	}
	return t.s.advanceCursor(ctx, t.object, t.s.readUntil(newest, now), compared)
}

// readUntil is the moment of the ERP's clock up to which a reading that began at a moment of ours has seen every change. What
// changed while it went on may have been on a page that had been read already, so as much as it took is taken off. Zero stays
// zero: nothing was there.
func (s *Store) readUntil(newest, begun time.Time) time.Time {
	if newest.IsZero() {
		return newest
	}
	return newest.Add(-s.o.Now().Sub(begun))
}

// mirrorPage mirrors records as the other system has them. One that stands in the way of another is left out and reported: it
// must not stop the rest.
func (t *records[R]) mirrorPage(ctx context.Context, page []Snapshot[R], asOf time.Time) error {
	last := make(map[string]int, len(page)) // a page may show a record twice
	for i := range page {
		last[t.id(&page[i].Record)] = i
	}
	ups := make([]store.Upsert[R], 0, len(page))
	for i, snap := range page {
		if last[t.id(&page[i].Record)] == i {
			ups = append(ups, t.write(snap, erp.Ref{}))
		}
	}
	results, err := t.put(ctx, ups, asOf, nil)
	if err != nil {
		return err
	}
	for i, res := range results {
		if res.Err != nil {
			t.s.counters.unmirrored(ctx, t.schema.Name())
			t.s.o.Log.WarnContext(ctx, "a record of the ERP cannot be mirrored", "object", t.schema.Name(),
				"record_id", t.id(&ups[i].Record), "reason", fault.ReasonOf(res.Err))
		}
	}
	return nil
}

// gone buries what the other system does not know any more.
func (t *records[R]) gone(ctx context.Context) error {
	for after := ""; ; {
		list, err := t.Mirror.List(ctx, after, syncPage)
		if err != nil || len(list) == 0 {
			return err
		}
		ids := make([]string, len(list))
		for i := range list {
			ids[i] = t.id(&list[i])
		}
		after = ids[len(ids)-1]
		asked := t.s.o.Now()
		found, err := t.source.Read(ctx, ids)
		if err != nil {
			return err
		}
		have := make(map[string]bool, len(found))
		for i := range found {
			have[t.id(&found[i].Record)] = true
		}
		var ups []store.Upsert[R]
		for i := range list {
			if !have[ids[i]] {
				t.schema.Head(&list[i]).Deleted = true
				ups = append(ups, store.Upsert[R]{Record: list[i]})
			}
		}
		if len(ups) > 0 {
			if _, err := t.Put(ctx, ups, asked, nil); err != nil {
				return err
			}
		}
	}
}

// parents brings the customers of contacts into the mirror.
func (s *Store) parents(ctx context.Context, list []erp.Contact) error {
	var ids []string
	for _, c := range list {
		if c.CustomerID != "" {
			ids = append(ids, c.CustomerID)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	have, err := s.mirror.Customers().Get(ctx, ids)
	if err != nil {
		return err
	}
	var missing []string
	for _, id := range ids {
		if _, ok := have[id]; !ok {
			missing = append(missing, id)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	_, err = s.customers.Get(ctx, missing)
	return err
}

// Settle finishes orders that were made and not brought to their last step, up to 100 at a time.
func (s *Store) Settle(ctx context.Context) error {
	type open struct{ name, id string }
	var list []open
	rows, err := s.db.Read().QueryContext(ctx, `SELECT name, record_id FROM remote_write WHERE state = $1 AND updated < $2 AND object = $3
		ORDER BY updated LIMIT 100`, int64(stateMade), db.Micros(s.o.Now().Add(-s.o.Lease)), int64(objectOrder))
	if err != nil {
		return fmt.Errorf("list open orders: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var o open
		if err := rows.Scan(&o.name, &o.id); err != nil {
			return fmt.Errorf("list open orders: %w", err)
		}
		list = append(list, o)
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("list open orders: %w", err)
	}
	var errs []error
	for _, o := range list {
		errs = append(errs, s.settle(ctx, o.name))
	}
	return errors.Join(errs...)
}

func (s *Store) settle(ctx context.Context, name string) error {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	cl, unlock, err := s.claims.take(ctx, objectOrder, name)
	if err != nil {
		return err
	}
	defer unlock()
	if cl.state == stateMade {
		_, _, err = s.advance(ctx, cl, cl.record, cl.print, erp.Unchanged)
	}
	if !cl.closed {
		nctx, cancel := s.noting(ctx)
		defer cancel()
		err = errors.Join(err, s.claims.drop(nctx, cl))
	}
	return err
}
