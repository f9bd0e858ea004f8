// Package sqlstore implements the store contract on SQLite and PostgreSQL with one SQL text for both.
//
// The invariant: every write is planned and applied inside one transaction whose last statements take positions in the feed.
// A writer that loses a race (a unique constraint, a moved version) is rolled back as a whole and planned again against what
// the winner left, so nobody ever sees half a write. Batches cost a handful of statements, not a handful per record.
//
// The engines differ in one place only: PostgreSQL locks the rows it is about to change; SQLite has a single writer.
package sqlstore

import (
	"context"
	"crypto/rand"
	"database/sql"
	"embed"
	"encoding/base32"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/erp"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/store"
)

//go:embed migrations/*.sql
var migrations embed.FS

// migrationTable is where the applied migrations of this service are noted.
const migrationTable = "erp_migration"

// maxRaces is how often a writer that lost a race is planned again before the caller is asked to come back.
const maxRaces = 20

// errRace means another writer was faster: plan again.
var errRace = errors.New("lost a race")

// Options are the store's few choices.
type Options struct {
	// Now gives the times that are stored; time.Now when nil.
	Now func() time.Time
	// Committed is called after a commit that added to the feed; it must not block. Nil for nobody.
	Committed func()
	// Gone writes something of the caller's into the transaction that buries records, by their ids: what is kept about them
	// elsewhere in the database goes with them. An error undoes it. It may run more than once. Nil for nothing.
	Gone func(ctx context.Context, tx *sql.Tx, ids []string) error
}

// Store is the SQL store. Make it with Open; it does not own the database and needs no closing.
type Store struct {
	db        *db.DB
	now       func() time.Time
	committed func()
	gone      func(ctx context.Context, tx *sql.Tx, ids []string) error
	customers *records[erp.Customer]
	contacts  *records[erp.Contact]
	// wrap, when set, stands between the store and a transaction; only tests of failures set it.
	wrap func(execer) execer
}

var _ store.Store = (*Store)(nil)

// execer is what a transaction offers to the store.
type execer interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// txn is a running transaction.
type txn struct {
	execer
	raw *sql.Tx
	// params bounds the parameters of one statement. SQLite looks every parameter up in a list of names, so that a statement
	// with thousands of them costs more than many small ones; for PostgreSQL the round trips weigh more.
	params int
}

// Open migrates the database and returns the store. Several replicas may open one database at once.
func Open(ctx context.Context, d *db.DB, o Options) (*Store, error) {
	s := &Store{db: d, now: o.Now, committed: o.Committed, gone: o.Gone}
	if s.now == nil {
		s.now = time.Now
	}
	if s.committed == nil {
		s.committed = func() {}
	}
	if s.gone == nil {
		s.gone = func(context.Context, *sql.Tx, []string) error { return nil }
	}
	s.customers = &records[erp.Customer]{Store: s, table: customerTable()}
	s.contacts = &records[erp.Contact]{Store: s, table: contactTable()}
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, fmt.Errorf("find migrations: %w", err)
	}
	if err := d.Migrate(ctx, files, migrationTable); err != nil {
		return nil, fmt.Errorf("migrate the database: %w", err)
	}
	if err := s.startFeed(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

// Customers keeps customers.
func (s *Store) Customers() store.Records[erp.Customer] { return s.customers }

// Contacts keeps contacts.
func (s *Store) Contacts() store.Records[erp.Contact] { return s.contacts }

// startFeed makes the one row of the feed with a new epoch, once in the life of a database.
func (s *Store) startFeed(ctx context.Context) error {
	epoch := make([]byte, 16)
	_, _ = rand.Read(epoch) // never fails
	return s.db.Tx(ctx, func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO feed (id, epoch, position, committed, purged, purged_committed)
			VALUES (1, $1, 0, 0, 0, 0) ON CONFLICT (id) DO NOTHING`, hex.EncodeToString(epoch))
		if err != nil {
			return fmt.Errorf("start the feed: %w", err)
		}
		return nil
	})
}

// Secret returns the random secret of this database, making it on first use. It is the same for all replicas.
func (s *Store) Secret(ctx context.Context) ([]byte, error) {
	fresh := make([]byte, 32)
	_, _ = rand.Read(fresh) // never fails
	var secret []byte
	err := s.inTx(ctx, func(ctx context.Context, q txn) error {
		if _, err := q.ExecContext(ctx, "INSERT INTO setting (name, value) VALUES ('secret', $1) ON CONFLICT (name) DO NOTHING",
			fresh); err != nil {
			return fmt.Errorf("make the secret: %w", err)
		}
		err := each(ctx, q, func(scan func(...any) error) error { return scan(&secret) },
			"SELECT value FROM setting WHERE name = 'secret'")
		if err != nil {
			return fmt.Errorf("read the secret: %w", err)
		}
		return nil
	})
	return secret, err
}

// inTx runs fn in a transaction and again, from the start, when it lost a race.
func (s *Store) inTx(ctx context.Context, fn func(ctx context.Context, q txn) error) error {
	for range maxRaces {
		err := s.db.Tx(ctx, func(ctx context.Context, tx *sql.Tx) error {
			q := txn{execer: tx, raw: tx, params: s.params()}
			if s.wrap != nil {
				q.execer = s.wrap(tx)
			}
			return fn(ctx, q)
		})
		if !errors.Is(err, errRace) && !db.IsUnique(err) {
			return err
		}
	}
	return fault.New(fault.Conflict, store.ReasonContention, "too many writers change the same record; try again").
		WithRetryAfter(time.Second)
}

// stamp is the current time as it is stored: UTC in whole microseconds.
func (s *Store) stamp() time.Time { return s.now().UTC().Truncate(time.Microsecond) }

func (s *Store) params() int {
	if s.db.Engine() == db.PostgreSQL {
		return 2000
	}
	return 128
}

// lockRows is the clause that locks the rows of a SELECT until the end of the transaction. It must not block the key-share
// locks of foreign keys, hence no plain FOR UPDATE.
func (s *Store) lockRows() string {
	if s.db.Engine() == db.PostgreSQL {
		return " FOR NO KEY UPDATE"
	}
	return ""
}

// keepRows is the clause that keeps customers from being merged away until the end of the transaction, which is about to
// refer to them: the lock that a foreign key takes, only earlier. It holds up nobody but a merge.
func (s *Store) keepRows() string {
	if s.db.Engine() == db.PostgreSQL {
		return " FOR KEY SHARE"
	}
	return ""
}

// newID returns an id that sorts by the time of its making: 48 bits of milliseconds, 80 random bits.
func newID(now time.Time) string {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], uint64(now.UnixMilli())<<16)
	_, _ = rand.Read(b[6:]) // never fails
	return base32.NewEncoding("0123456789ABCDEFGHJKMNPQRSTVWXYZ").WithPadding(base32.NoPadding).EncodeToString(b[:])
}
