package sqlstore

import (
	"context"
	"database/sql"
	"time"

	"github.com/selfsame-io/selfsame/services/system-erp/internal/erp"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/store"
)

// After runs at the end of the transaction that writes a batch, also when nothing changed; an error undoes the batch. It may
// run more than once.
type After[R any] func(ctx context.Context, tx *sql.Tx, results []store.Result[R]) error

// Mirror keeps copies of records that live in another system: what that system says is so, with versions and a feed of our
// own. It is for one writer per record at a time; a second one is planned again, as everywhere.
type Mirror[R any] interface {
	store.Records[R]
	// Put brings copies to what the other system says: a record is made under the id it has there, changed in the fields
	// of its mask (all with a zero mask; references are only ever added), or buried when it is Deleted, with the name of the
	// record in its place if it was merged. A tombstone stays
	// one: it is answered as it is. Expected is not used. AsOf is when the other system was asked: a copy that has been
	// written since then is newer than what it said and is answered as it is; with a zero time every copy is written.
	Put(ctx context.Context, batch []store.Upsert[R], asOf time.Time, after After[R]) ([]store.Result[R], error)
}

// CustomerMirror is for customers that live in another system.
func (s *Store) CustomerMirror() Mirror[erp.Customer] { return s.customers }

// ContactMirror is for contacts that live in another system.
func (s *Store) ContactMirror() Mirror[erp.Contact] { return s.contacts }

// Put implements Mirror.
func (t *records[R]) Put(ctx context.Context, batch []store.Upsert[R], asOf time.Time, after After[R]) ([]store.Result[R], error) {
	return t.write(ctx, modePut, batch, nil, put[R]{asOf: asOf, after: after})
}

// put is what only Put says about a batch.
type put[R any] struct {
	asOf  time.Time
	after After[R]
}

// put decides about one copy.
func (p *plan[R]) put(i int, old *R) (*R, store.ChangeKind, error) {
	u, s := &p.batch[i], p.t.table.schema
	gone, heir := s.Head(&u.Record).Deleted, s.Heir(&u.Record)
	switch {
	case old == nil:
		rec, err := s.New(u.Record, u.Key, s.Head(&u.Record).ID, p.now)
		if err == nil {
			err = p.conflict(nil, &rec, u.Key)
		}
		if err == nil && gone {
			rec = s.Replace(rec, heir, p.now)
		}
		return &rec, store.ChangeCreated, err
	case s.Head(old).Deleted && gone && heir != "" && s.Heir(old) == "":
		rec := s.Replace(*old, heir, p.now) // that it was a merge is known later than that it is gone
		return &rec, store.ChangeDeleted, nil
	case s.Head(old).Deleted, !p.asOf.IsZero() && s.Head(old).Updated.After(p.asOf):
		return old, 0, nil
	case gone:
		rec := s.Replace(*old, heir, p.now)
		return &rec, store.ChangeDeleted, nil
	}
	rec, differs, err := s.Merge(*old, u.Record, u.Mask, u.Key, p.now)
	if err != nil || !differs {
		return old, 0, err
	}
	return &rec, store.ChangeUpdated, p.conflict(old, &rec, u.Key)
}
