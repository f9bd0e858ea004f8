// Package store keeps what the process service must not forget: feeds, inbox, source records, golden records, match
// keys, pending deliveries, dead letters, the audit trail and the ledger.
//
// The invariant: a change's inbox row, its effect on the golden record, the deliveries it causes and the feed's resume
// token are written by one transaction ([Store.Tx]) or not at all. Whoever reads identities in order to write them
// takes [Tx.LockIdentity] first, so two changes never create the same customer twice, whatever the number of replicas.
//
// The statements are portable text that runs on SQLite and on PostgreSQL; JSON is opaque to them. They take and return
// many rows at once, because a batch of changes must not cost a round trip per record. The package decides nothing:
// what a change means is the business of intake, what is written where that of deliver.
package store

import (
	"cmp"
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/selfsame-io/selfsame/pkg/db"
)

//go:embed migrations/*.sql migrations/sqlite/*.sql
var migrations embed.FS

// ErrFenced is returned by a write under a lease that another process has taken over.
var ErrFenced = errors.New("the lease was taken over by another process")

// ErrNotFound is returned when a named row does not exist.
var ErrNotFound = errors.New("no such row")

// Store is the database of the process service. It is safe for concurrent use.
type Store struct {
	db        *db.DB
	intercept Intercept // nil but in tests
	learner   *learner
}

// Open brings the schema up to date and returns the store. The caller closes d.
func Open(ctx context.Context, d *db.DB) (*Store, error) {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	if err := d.Migrate(ctx, files, "process_customer_migration"); err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	leaveRoom(ctx, d)
	return &Store{db: d, learner: &learner{}}, nil
}

// Tx runs fn in one transaction. fn may run more than once; it must call no other system.
func (s *Store) Tx(ctx context.Context, fn func(ctx context.Context, tx *Tx) error) error {
	var rows int64
	err := s.db.Tx(ctx, func(ctx context.Context, tx *sql.Tx) error {
		l := &late{}
		defer func() { _ = l.wait() }() // also after a panic
		c := conn{db: s.db, raw: tx, read: tx, write: tx, intercept: s.intercept, arrays: s.arrays(), late: l}
		t := &Tx{Reader: Reader{q: c}, db: s.db, tx: c, raw: tx}
		err := fn(ctx, t)
		if err == nil {
			err = t.writeTotals(ctx)
		}
		rows = t.inserted
		return cmp.Or(l.wait(), err) // what failed first is the cause of what followed
	})
	if err == nil {
		s.learner.note(ctx, s.db, rows)
	}
	return err
}

// Read returns a reader of what is committed.
func (s *Store) Read() Reader {
	return Reader{q: conn{read: s.db.Read(), intercept: s.intercept, arrays: s.arrays()}}
}

// Brief returns the same for a read that is over at once; see [db.DB.Brief].
func (s *Store) Brief() Reader {
	return Reader{q: conn{read: s.db.Brief(), intercept: s.intercept, arrays: s.arrays()}}
}

// Ping reports whether the database answers.
func (s *Store) Ping(ctx context.Context) error { return s.db.Ping(ctx) }

// Single reports whether this process is the only one that can use the database.
func (s *Store) Single() bool { return s.db.Engine() == db.SQLite }

// arrays reports whether the database takes arrays.
func (s *Store) arrays() bool { return s.db.Engine() == db.PostgreSQL }

// Reader reads rows. The zero value is not usable.
type Reader struct{ q conn }

// Tx reads and writes inside one transaction. It must not be used after the function it was given to.
type Tx struct {
	Reader
	db       *db.DB
	tx       conn
	raw      *sql.Tx
	inserted int64             // rows
	keys     map[string][]byte // of subjects, as they are read ahead: once reading is over
	reading  *aside
	totals   map[total]int64
	counted  []func() // add to totals what statements behind have counted, once nothing runs any more
}

// SQL returns the transaction itself, for a package that keeps its own tables in the same database.
func (t *Tx) SQL() *sql.Tx {
	_ = t.tx.late.wait() // an error is that of the transaction, too
	return t.raw
}

// LockIdentity makes this transaction the only one that decides which record belongs to which golden record, until it
// ends. Take it before reading anything the decision depends on.
func (t *Tx) LockIdentity(ctx context.Context) error { return t.db.Lock(ctx, t.SQL(), "identity") }

func (t *Tx) exec(ctx context.Context, what, query string, args ...any) (int64, error) {
	res, err := t.tx.ExecContext(ctx, query, args...)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", what, err)
	}
	n, err := res.RowsAffected()
	if err != nil {
		return 0, fmt.Errorf("%s: %w", what, err)
	}
	return n, nil
}

// query runs a statement and calls scan for each row.
func (r Reader) query(ctx context.Context, what, text string, args []any, scan func(*sql.Rows) error) error {
	rows, err := r.q.QueryContext(ctx, text, args...)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return each(rows, what, scan)
}

// many is query for what is read by the thousand; see conn.each.
func (r Reader) many(ctx context.Context, what, text string, args []any, scan func(db.Scanner) error) error {
	if err := r.q.each(ctx, scan, text, args); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// each calls scan for each row and closes them.
func each(rows *sql.Rows, what string, scan func(*sql.Rows) error) error {
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// Secret returns a secret of 32 bytes that this database keeps, made by the first caller.
func (s *Store) Secret(ctx context.Context, rand io.Reader) ([]byte, error) {
	fresh := make([]byte, 32)
	if _, err := io.ReadFull(rand, fresh); err != nil {
		return nil, fmt.Errorf("make secret: %w", err)
	}
	var kept []byte
	err := s.Tx(ctx, func(ctx context.Context, tx *Tx) error {
		if _, err := tx.exec(ctx, "keep secret", "INSERT INTO secret (name, value) VALUES ('idempotency', $1) ON CONFLICT (name) DO NOTHING", fresh); err != nil {
			return err
		}
		return tx.tx.QueryRowContext(ctx, "SELECT value FROM secret WHERE name = 'idempotency'").Scan(&kept)
	})
	if err != nil {
		return nil, fmt.Errorf("read secret: %w", err)
	}
	return kept, nil
}
