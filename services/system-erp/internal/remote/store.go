// Package remote makes a back end of a foreign ERP that has neither upserts nor unique external keys nor a feed of changes.
//
// The invariant: for one reference at most one record is made there, whatever gets lost. It rests on four things:
//   - a claim on every name of a write (reference, number, client reference) in our own table, with a lease and a fencing
//     number, so that one writer at a time decides about a record;
//   - a mark, derived from the reference, that every new record carries: before anything is made it is looked for, so a
//     record whose answer was lost, or whose maker died before he could note it, is found and adopted;
//   - what was sent is noted before it is sent. An answer that did not come leaves the name uncertain: then nothing is sent
//     again until the other system had time to finish (Settle) and was asked once more;
//   - several records where there may be one are an error that names them.
//
// What has been read or written is mirrored in our own database (package sqlstore): versions, references, the feed without
// holes and the lists come from there. Changes made by others are looked for, with an overlap, and all records are compared
// now and then, because no clock of another system can be trusted to show everything.
//
// The package knows no vendor; a vendor is a System.
package remote

import (
	"context"
	"crypto/rand"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/retry"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/backend"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/erp"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/store"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/store/sqlstore"
)

//go:embed migrations/*.sql
var migrations embed.FS

const migrationTable = "erp_remote_migration"

// Options are times and limits; each has a default that is used when it is zero.
type Options struct {
	// Lease is how long a writer is believed to be alive: 2 min. Calls to the other system take at most three quarters of it.
	Lease time.Duration
	// Wait is how long a write waits for another one under the same name: 10 s.
	Wait time.Duration
	// Settle is how long after a lost answer the other system may still finish what it was sent: 10 min. Before that nothing
	// is sent a second time.
	Settle time.Duration
	// Poll is how often changes are looked for: 15 s. Overlap is how far back each look begins before the last one: 2 min.
	Poll, Overlap time.Duration
	// Compare is how often all records are compared: 24 h.
	Compare time.Duration
	// Calm is the least time between the beginnings of two looks that were asked for by Poke: 1 s.
	Calm time.Duration
	// Retention is how long is remembered what protects nothing any more (see [Store.Forget]): 90 d. It must be longer than
	// Settle. An order that is completed and not wholly billed is compared for as long. Forget is how often what is older is looked for, and after how long the first time: 1 h.
	Retention, Forget time.Duration
	// ForgetBatch bounds how many rows of a table one transaction removes, and so how long writers wait for it: 500.
	ForgetBatch int
	// ProductTTL is how long a product is used without asking again: 4 h. StaleFor is how long it is still used after that
	// when the other system does not answer: 24 h.
	ProductTTL, StaleFor time.Duration
	// StockStale is how long stock figures are shown, with their age, when the other system does not answer: 10 min.
	StockStale time.Duration
	// Locked is how a record that somebody works on is tried again.
	Locked retry.Backoff
	// LockedTries is how often: 5.
	LockedTries int
	// Now is the clock of what is stored and measured; time.Now when nil.
	Now func() time.Time
	// Committed is called after a commit that added to the feed; nil for nobody.
	Committed func()
	// Gone runs in the transaction that notes that records are gone, whoever deleted them, with their ids: see sqlstore.Options.
	Gone func(ctx context.Context, tx *sql.Tx, ids []string) error
	// Meter receives metrics; nil for none. Log receives problems of the background work.
	Meter metric.Meter
	Log   *slog.Logger
}

func (o Options) filled() Options {
	set := func(d *time.Duration, to time.Duration) {
		if *d <= 0 {
			*d = to
		}
	}
	set(&o.Lease, 2*time.Minute)
	set(&o.Wait, 10*time.Second)
	set(&o.Settle, 10*time.Minute)
	set(&o.Poll, 15*time.Second)
	set(&o.Overlap, 2*time.Minute)
	set(&o.Compare, 24*time.Hour)
	set(&o.Calm, time.Second)
	set(&o.Retention, 90*24*time.Hour)
	set(&o.Forget, time.Hour)
	set(&o.ProductTTL, 4*time.Hour)
	set(&o.StaleFor, 24*time.Hour)
	set(&o.StockStale, 10*time.Minute)
	if o.ForgetBatch <= 0 {
		o.ForgetBatch = 500
	}
	if o.LockedTries <= 0 {
		o.LockedTries = 5
	}
	if o.Locked.Min <= 0 {
		o.Locked = retry.Backoff{Min: 100 * time.Millisecond, Max: 2 * time.Second, Factor: 2, Jitter: 0.5}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

// Store is the back end. Make it with Open; it does not own the database. Run keeps it up to date, Sweep small.
type Store struct {
	sys       System
	o         Options
	db        *db.DB
	mirror    *sqlstore.Store
	claims    *claims
	customers *records[erp.Customer]
	contacts  *records[erp.Contact]
	goods     *goods
	caps      atomic.Pointer[backend.Capabilities]
	counters  counters
	poked     chan struct{}
	round     round
}

var _ backend.Backend = (*Store)(nil)

// Open migrates the database and returns the back end. The other system need not answer yet.
func Open(ctx context.Context, d *db.DB, sys System, o Options) (*Store, error) {
	o = o.filled()
	mirror, err := sqlstore.Open(ctx, d, sqlstore.Options{Now: o.Now, Committed: o.Committed, Gone: o.Gone})
	if err != nil {
		return nil, err
	}
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, fmt.Errorf("find migrations: %w", err)
	}
	if err := d.Migrate(ctx, files, migrationTable); err != nil {
		return nil, fmt.Errorf("migrate the database: %w", err)
	}
	s := &Store{sys: sys, o: o, db: d, mirror: mirror, poked: make(chan struct{}, 1), claims: &claims{
		db: d, now: o.Now, owner: rand.Text(), lease: o.Lease, wait: o.Wait,
	}}
	s.customers = newRecords(s, erp.ObjectCustomer, erp.Customers(), sys.Customers(), mirror.CustomerMirror())
	if src := sys.Contacts(); src != nil {
		s.contacts = newRecords(s, erp.ObjectContact, erp.Contacts(), src, mirror.ContactMirror())
		s.contacts.before = s.parents
	}
	s.goods = newGoods(sys, o)
	if s.counters, err = newCounters(o.Meter, sys.Kind()); err != nil {
		return nil, fmt.Errorf("metrics of the back end: %w", err)
	}
	return s, nil
}

// Secret returns the random secret of the database.
func (s *Store) Secret(ctx context.Context) ([]byte, error) { return s.mirror.Secret(ctx) }

// Customers implements store.Store.
func (s *Store) Customers() store.Records[erp.Customer] { return s.customers }

// Contacts implements store.Store. Where the ERP keeps none they are kept by the mirror alone: ours, and with all promises.
func (s *Store) Contacts() store.Records[erp.Contact] {
	if s.contacts == nil {
		return s.mirror.Contacts()
	}
	return s.contacts
}

// Capabilities implements backend.Backend.
func (s *Store) Capabilities(ctx context.Context) (backend.Capabilities, error) {
	if c := s.caps.Load(); c != nil {
		return *c, nil
	}
	c, err := s.sys.Capabilities(ctx)
	if err != nil {
		return c, err
	}
	c.PollInterval = s.o.Poll
	c.WriteWarranties = true
	c.WriteContacts = true
	s.caps.Store(&c)
	return c, nil
}

// Bounds implements store.Feed.
func (s *Store) Bounds(ctx context.Context) (store.Bounds, error) { return s.mirror.Bounds(ctx) }

// Changes implements store.Feed.
func (s *Store) Changes(ctx context.Context, after int64, limit int) ([]store.Change, error) {
	return s.mirror.Changes(ctx, after, limit)
}

// Stamp implements store.Feed.
func (s *Store) Stamp(ctx context.Context, position int64) (int64, bool, error) {
	return s.mirror.Stamp(ctx, position)
}

// Purge implements store.Feed.
func (s *Store) Purge(ctx context.Context, before time.Time, limit int) (int, error) {
	return s.mirror.Purge(ctx, before, limit)
}

// bounded is ctx for calls to the other system: they end before the lease does.
func (s *Store) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, s.o.Lease*3/4)
}

// noting is ctx for what must be noted after something was sent, even when the caller has gone.
func (s *Store) noting(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
}

// isUncertain tells whether a write may have been executed. What is no fault at all, or a defect, may have been.
func isUncertain(err error) bool {
	switch fault.KindOf(err) {
	case fault.Uncertain, fault.Timeout, fault.Canceled, fault.Internal:
		return true
	default:
		return false
	}
}

// asUncertain makes the answer to a write whose outcome is not known.
func asUncertain(err error) error {
	if fault.Is(err, fault.Uncertain) {
		return err
	}
	return fault.Wrap(fault.Uncertain, fault.ReasonOutcomeUncertain, err, "the ERP did not answer; the same call later finds out")
}

// duplicates is the refusal of several records where there may be one.
func (s *Store) duplicates(what string, ids []string) error {
	list := ""
	for i, id := range ids {
		if i > 0 {
			list += ","
		}
		list += id
	}
	return fault.New(fault.Precondition, backend.ReasonDuplicate,
		"several %ss of the ERP carry the same reference: %s; one must be changed there", what, list).
		WithMeta("record_ids", list).WithMeta(backend.MetaSystem, s.sys.Kind())
}

var errNotLoaded = errors.New("the records of the ERP have not all been read yet")
