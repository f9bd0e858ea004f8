package db

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"hash/fnv"
	"strings"
	"sync"
	"time"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/telemetry"
)

// Engine names the database behind a DB.
type Engine uint8

const (
	// SQLite is an embedded file.
	SQLite Engine = iota + 1
	// PostgreSQL is a server, shared by any number of replicas.
	PostgreSQL
)

// String returns "sqlite" or "postgres".
func (e Engine) String() string {
	switch e {
	case SQLite:
		return "sqlite"
	case PostgreSQL:
		return "postgres"
	default:
		return "unknown"
	}
}

var (
	// ErrClosed is returned by Tx after Close.
	ErrClosed = errors.New("database is closed")
	// ErrNested is returned by Tx inside the function of another Tx: on SQLite it would wait for itself for ever,
	// on PostgreSQL it would not be part of the outer transaction.
	ErrNested = errors.New("transaction inside a transaction")
)

// Querier reads. *sql.DB, *sql.Conn and *sql.Tx are Queriers.
type Querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// DB is an open database, safe for concurrent use.
type DB struct {
	engine  Engine
	write   *sql.DB  // SQLite: one connection; PostgreSQL: the pool
	read    *sql.DB  // SQLite: read-only connections; PostgreSQL: the same pool
	brief   *brief   // SQLite only: further connections, for statements that are over at once
	group   *group   // SQLite only
	meter   *meter   // PostgreSQL only: measures what does not pass otelsql
	private *private // of a private database; nil otherwise

	mu       sync.Mutex
	closed   bool
	inflight sync.WaitGroup
}

// Open opens the database that dsn names and checks that it answers:
//
//	sqlite:/path/file.db     a file; it and its directory are created, readable by the owner only
//	sqlite::memory:          a private database that Close deletes, for tests and demonstrations
//	postgres://…             a server; pool_max_conns=N in the query bounds the pool (default 10)
//
// Statements are traced and measured with t; their parameters are not recorded.
func Open(ctx context.Context, dsn string, t *telemetry.Telemetry) (*DB, error) {
	if t == nil {
		t = telemetry.Discard()
	}
	switch {
	case strings.HasPrefix(dsn, "sqlite:"):
		return openSQLite(ctx, strings.TrimPrefix(dsn, "sqlite:"), nil, t)
	case strings.HasPrefix(dsn, "postgres://"), strings.HasPrefix(dsn, "postgresql://"):
		return openPostgres(ctx, dsn, t)
	default:
		// The text is not repeated: it may hold a password.
		return nil, errors.New("open database: want sqlite:FILE, sqlite::memory: or postgres://…")
	}
}

// OpenCopy opens a private database, as sqlite::memory: does, that has what is in file: the content of an SQLite database that is closed.
func OpenCopy(ctx context.Context, file []byte, t *telemetry.Telemetry) (*DB, error) {
	if t == nil {
		t = telemetry.Discard()
	}
	return openSQLite(ctx, ":memory:", file, t)
}

// Engine returns which database this is.
func (d *DB) Engine() Engine { return d.engine }

// Read returns where to read outside a transaction. On SQLite these are other connections than the writer's: they
// see what is committed, never wait for it, and refuse to write.
func (d *DB) Read() Querier { return d.read }

// SkipLocked returns the clause that makes a SELECT claim rows that no other replica holds: " FOR UPDATE SKIP
// LOCKED" on PostgreSQL, nothing on SQLite, whose single writer needs none.
func (d *DB) SkipLocked() string {
	if d.engine == PostgreSQL {
		return " FOR UPDATE SKIP LOCKED"
	}
	return ""
}

// Lock takes the named lock until the transaction ends, waiting for it. On SQLite every transaction already excludes
// every other, so it does nothing.
//
// From then on PostgreSQL plans the statements of the transaction for its tables as they are. A plan kept from when they
// were empty reads them whole until the next ANALYZE, and lookups of hundreds of rows at once, which is what such a
// transaction is for, are the ones it is kept for.
func (d *DB) Lock(ctx context.Context, tx *sql.Tx, name string) error {
	if d.engine != PostgreSQL {
		return nil
	}
	if _, err := tx.ExecContext(ctx, "SELECT pg_advisory_xact_lock($1), set_config('plan_cache_mode', 'force_custom_plan', true)", lockID(name)); err != nil {
		return fmt.Errorf("lock %s: %w", name, err)
	}
	return nil
}

func lockID(name string) int64 {
	h := fnv.New64a()
	h.Write([]byte("selfsame/" + name))
	return int64(h.Sum64()) //nolint:gosec // the bits are the id, the sign does not matter
}

// Ping reports whether the database answers; the error is of kind Unavailable.
func (d *DB) Ping(ctx context.Context) error {
	var one int
	if err := d.read.QueryRowContext(ctx, "SELECT 1").Scan(&one); err != nil {
		return fault.Wrap(fault.Unavailable, fault.ReasonStoreUnavailable, err, "the database does not answer")
	}
	return nil
}

// Tx runs fn in a transaction and commits it if fn returns nil; if fn fails or panics, nothing of it remains.
//
// fn must use tx and the ctx it is given, must not commit or roll back itself, and must not wait for anything but
// the database. On SQLite it runs on another goroutine, unless it panics or ends that: then it runs again, on its caller's.
// It may run more than once before Tx returns (PostgreSQL: a deadlock or serialization failure; SQLite: also because
// another caller of the same commit failed after it had changed something), so variables it sets must be set anew each
// time, and what it does outside of tx must wait until Tx has returned.
//
// On SQLite, ctx ends the wait for the transaction but not fn once it has begun: SQLite answers an interrupted
// statement by rolling back the whole transaction, which here belongs to other callers too.
//
// Besides the error of fn it returns ErrClosed, ErrNested, or a fault of kind Unavailable, or Uncertain when the
// connection broke during COMMIT.
func (d *DB) Tx(ctx context.Context, fn func(ctx context.Context, tx *sql.Tx) error) error {
	if ctx.Value(inTx{}) == d {
		return ErrNested
	}
	if err := d.enter(); err != nil {
		return err
	}
	defer d.inflight.Done()
	ctx = context.WithValue(ctx, inTx{}, d)
	if d.group != nil {
		return outside(d.group.tx(ctx, fn))
	}
	return outside(d.pgTx(ctx, fn))
}

// Rehearse makes SQLite run each function of Tx twice from now on, and undo what it does the first time. It is for tests,
// which so find a function that must not be repeated as Tx may do. If the first run fails that is the end of it. On PostgreSQL it
// does nothing.
func (d *DB) Rehearse() {
	if d.group != nil {
		d.group.rehearse.Store(true)
	}
}

type inTx struct{}

func (d *DB) enter() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return ErrClosed
	}
	d.inflight.Add(1)
	return nil
}

// Close waits for the transactions that have begun or queue, refuses new ones, and closes the database. Calling it
// again does nothing.
func (d *DB) Close() error {
	d.mu.Lock()
	if d.closed {
		d.mu.Unlock()
		return nil
	}
	d.closed = true
	d.mu.Unlock()

	d.inflight.Wait()
	var errs []error
	if d.group != nil {
		errs = append(errs, d.group.stop())
	}
	errs = append(errs, d.read.Close())
	if d.write != d.read {
		errs = append(errs, d.brief.db.Close(), d.write.Close())
	}
	errs = append(errs, d.private.remove())
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close database: %w", err)
	}
	return nil
}

// Micros returns t as stored: microseconds since 1970 UTC. The zero time is 0.
func Micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

// FromMicros returns the stored time in UTC; 0 is the zero time.
func FromMicros(us int64) time.Time {
	if us == 0 {
		return time.Time{}
	}
	return time.UnixMicro(us).UTC()
}
