package db

import (
	"context"
	"database/sql"
	"time"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/retry"
)

// Execer reads and writes. *sql.DB, *sql.Conn and *sql.Tx are Execers.
type Execer interface {
	Querier
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

// Single runs fn, which runs one statement: on PostgreSQL a transaction of its own in one round trip instead of three,
// on SQLite a transaction like any other. What holds for Tx holds for fn, except that an error of the connection leaves
// open whether the statement was executed, as always without a transaction.
func (d *DB) Single(ctx context.Context, fn func(ctx context.Context, e Execer) error) error {
	if d.engine != PostgreSQL {
		return d.Tx(ctx, func(ctx context.Context, tx *sql.Tx) error { return fn(ctx, tx) })
	}
	if ctx.Value(inTx{}) == d {
		return ErrNested
	}
	if err := d.enter(); err != nil {
		return err
	}
	defer d.inflight.Done()
	return outside(repeat(ctx, func() error { return fn(ctx, d.write) }))
}

// Busy returns how many connections of the pool are in use; on SQLite, which has one writer, how many callers want it.
func (d *DB) Busy() int {
	if d.group != nil {
		return int(d.group.callers.Load())
	}
	return d.write.Stats().InUse
}

// Relaxed is Single for a statement whose loss with the machine would be harmless: on SQLite its commit survives the end of
// the process, but not surely that of the machine, until a later commit of Tx or Single. It costs no fsync, and it is never
// behind one in the queue. On PostgreSQL it is Single.
func (d *DB) Relaxed(ctx context.Context, fn func(ctx context.Context, e Execer) error) error {
	if d.group == nil {
		return d.Single(ctx, fn)
	}
	if ctx.Value(inTx{}) == d {
		return ErrNested
	}
	if err := d.enter(); err != nil {
		return err
	}
	defer d.inflight.Done()
	ctx = context.WithValue(ctx, inTx{}, d)
	return outside(d.group.relax(ctx, func(ctx context.Context, tx *sql.Tx) error { return fn(ctx, tx) }))
}

// Exec runs one statement as a transaction of its own, like Single, and returns how many rows it changed. On SQLite it
// costs less than Single: it never needs protection from the others who share the commit.
func (d *DB) Exec(ctx context.Context, text string, args ...any) (int64, error) {
	return d.exec(ctx, false, text, args)
}

// ExecRelaxed is Exec with what Relaxed promises.
func (d *DB) ExecRelaxed(ctx context.Context, text string, args ...any) (int64, error) {
	return d.exec(ctx, true, text, args)
}

func (d *DB) exec(ctx context.Context, relaxed bool, text string, args []any) (n int64, err error) {
	if ctx.Value(inTx{}) == d {
		return 0, ErrNested
	}
	if err := d.enter(); err != nil {
		return 0, err
	}
	defer d.inflight.Done()
	if d.group != nil {
		queue := d.group.queue
		if relaxed {
			queue = d.group.relaxed
		}
		n, err = d.group.exec(ctx, queue, text, args)
		return n, outside(err)
	}
	err = repeat(ctx, func() error {
		res, err := d.write.ExecContext(ctx, text, args...)
		if err != nil {
			return err
		}
		n, err = res.RowsAffected()
		return err
	})
	return n, outside(err)
}

// repeat runs a transaction again after a deadlock or serialization failure.
func repeat(ctx context.Context, once func() error) error {
	backoff := retry.Backoff{Min: 2 * time.Millisecond, Max: 200 * time.Millisecond, Jitter: 0.5}
	for attempt := 1; ; attempt++ {
		err := once()
		if !serialization(err) {
			return err
		}
		if attempt == maxTxAttempts {
			return fault.Wrap(fault.Conflict, "TRANSACTION_CONFLICT", err, "too many concurrent changes")
		}
		timer := time.NewTimer(backoff.Next(attempt))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return err
		}
	}
}
