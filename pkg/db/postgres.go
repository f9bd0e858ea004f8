package db

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"go.opentelemetry.io/otel/attribute"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/telemetry"
)

const (
	defaultPool   = 10
	maxTxAttempts = 20
)

func openPostgres(ctx context.Context, dsn string, t *telemetry.Telemetry) (*DB, error) {
	u, err := url.Parse(dsn)
	if err != nil {
		return nil, errors.New("open postgres: the URL cannot be parsed") // the cause would quote the password
	}
	pool := defaultPool
	q := u.Query()
	if v := q.Get("pool_max_conns"); v != "" {
		if pool, err = strconv.Atoi(v); err != nil || pool < 1 {
			return nil, errors.New("open postgres: pool_max_conns: want a positive number")
		}
		q.Del("pool_max_conns")
		u.RawQuery = q.Encode()
	}
	cfg, err := pgx.ParseConfig(u.String())
	if err != nil {
		return nil, fmt.Errorf("open postgres: %w", err) // pgx redacts the password
	}
	if cfg.ConnectTimeout == 0 {
		cfg.ConnectTimeout = 5 * time.Second
	}
	cfg.DialFunc = eagerly(cfg.DialFunc)
	// Rows are looked up by key, in memory or on disks without heads: the default of 4 makes the planner read a table whole
	// that is far from small.
	if cfg.RuntimeParams["random_page_cost"] == "" {
		cfg.RuntimeParams["random_page_cost"] = "1.1"
	}
	cfg.RuntimeParams["default_transaction_isolation"] = "read committed" // whatever the server or the URL says, see begin
	attrs := []attribute.KeyValue{attribute.String("db.system.name", "postgresql"), attribute.String("db.namespace", cfg.Database)}
	m, err := newMeter(t, attrs...)
	if err != nil {
		return nil, fmt.Errorf("open postgres: %w", err)
	}
	var db *sql.DB
	if t.Recording {
		db = open(pgConnector{Connector: stdlib.GetConnector(*cfg)}, t, attrs...)
	} else {
		db = sql.OpenDB(pgConnector{stdlib.GetConnector(*cfg), m})
	}
	db.SetMaxOpenConns(pool)
	db.SetMaxIdleConns(pool)
	db.SetConnMaxIdleTime(5 * time.Minute)
	db.SetConnMaxLifetime(30 * time.Minute)
	d := &DB{engine: PostgreSQL, write: db, read: db, meter: m}
	if err := d.Ping(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("open postgres: %w", err), db.Close())
	}
	return d, nil
}

// pgTx runs fn at READ COMMITTED and again after a deadlock or serialization failure.
func (d *DB) pgTx(ctx context.Context, fn func(ctx context.Context, tx *sql.Tx) error) error {
	return repeat(ctx, func() error { return d.pgOnce(ctx, fn) })
}

func (d *DB) pgOnce(ctx context.Context, fn func(ctx context.Context, tx *sql.Tx) error) error {
	conn, err := d.write.Conn(ctx)
	if err != nil {
		return fmt.Errorf("database connection: %w", err)
	}
	defer conn.Close()
	// Without cancellation: database/sql would otherwise roll back behind our back, and a cancel in the middle of
	// COMMIT would leave the outcome unknown. The statements of fn still end with ctx.
	tx, err := conn.BeginTx(context.WithoutCancel(ctx), &sql.TxOptions{Isolation: sql.LevelReadCommitted})
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	committed := false
	defer func() {
		if !committed {
			_ = tx.Rollback() // also after a panic; fails only if the transaction is over or the connection gone
		}
	}()
	e := &end{tx: tx, conn: conn}
	if err := fn(context.WithValue(ctx, endKey{}, e), tx); err != nil {
		if lost(conn) {
			return fmt.Errorf("%w: %w", errGone, err)
		}
		return err
	}
	if len(e.last) > 0 {
		if err := e.putOff(conn); err != nil {
			return fmt.Errorf("commit: %w", err)
		}
	}
	committed = true
	err = tx.Commit()
	if e.err != nil {
		return e.err
	}
	return commitError(err)
}

var (
	// errGone is that of a transaction that ended with its connection, before COMMIT. Drivers say so in many ways, one of which, an
	// unexpected end, may as well be about something that was read.
	errGone = errors.New("the connection to the database is lost")
	// errUnanswered is that of a COMMIT that may have been executed.
	errUnanswered = errors.New("no answer to commit")
)

// lost reports whether a connection is of no use any more.
func lost(conn *sql.Conn) bool {
	closed := true // if database/sql has noticed
	_ = conn.Raw(func(c any) error {
		under, err := pgUnder(c)
		closed = err == nil && under.Conn().IsClosed()
		return nil
	})
	return closed
}

// commitError tells a refused COMMIT, which the server answered, from one whose answer was lost.
func commitError(err error) error {
	if err == nil {
		return nil
	}
	if _, answered := errors.AsType[*pgconn.PgError](err); answered || pgconn.SafeToRetry(err) ||
		errors.Is(err, errGone) || errors.Is(err, pgx.ErrTxCommitRollback) || errors.Is(err, sql.ErrTxDone) {
		return fmt.Errorf("commit: %w", err)
	}
	return fault.Wrap(fault.Uncertain, fault.ReasonOutcomeUncertain, err, "the connection broke during commit")
}

// sessionLock lets one replica migrate while the others wait.
type sessionLock struct{ id int64 }

func (l sessionLock) SessionLock(ctx context.Context, conn *sql.Conn) error {
	_, err := conn.ExecContext(ctx, "SELECT pg_advisory_lock($1)", l.id)
	return err
}

func (l sessionLock) SessionUnlock(ctx context.Context, conn *sql.Conn) error {
	_, err := conn.ExecContext(ctx, "SELECT pg_advisory_unlock($1)", l.id)
	return err
}
