package db

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
)

// Last runs a statement as the last one of a transaction that Tx has begun with ctx, after everything that the function of Tx
// does itself. On PostgreSQL it is sent together with COMMIT, which saves its round trip; on SQLite the writer runs it, which
// saves the way through database/sql while others wait. So its error is that of Tx, not of Last, and how many rows it changed
// stays unknown. With a ctx that is not that of tx it is executed at once. Either way refused, if not nil, translates its error.
func (d *DB) Last(ctx context.Context, tx *sql.Tx, refused func(error) error, text string, args ...any) error {
	if e, ok := ctx.Value(endKey{}).(*end); ok && e.tx == tx {
		l := last{text: text, args: args, refused: refused}
		if d.group != nil {
			values, err := named(args)
			if err != nil {
				return err
			}
			l.values = values
		}
		e.last = append(e.last, l)
		return nil
	}
	_, err := tx.ExecContext(ctx, text, args...)
	if err != nil && refused != nil {
		err = refused(err)
	}
	return err
}

// end is how a transaction will end.
type end struct {
	tx   *sql.Tx
	conn *sql.Conn // that it runs on, on PostgreSQL
	last []last
	err  error // of one of them, on PostgreSQL
}

type endKey struct{}

// last is a statement that goes with COMMIT.
type last struct {
	text    string
	args    []any
	refused func(error) error

	// SQLite only.
	values []driver.NamedValue
	took   time.Duration
}

// pgConnector makes connections that save round trips. With a meter they measure statements and commits as otelsql would, which
// takes it longer the smaller they are; without one somebody else does.
type pgConnector struct {
	driver.Connector

	meter *meter
}

// Connect implements driver.Connector.
func (c pgConnector) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	std, ok := conn.(*stdlib.Conn)
	if !ok {
		return nil, errors.Join(fmt.Errorf("a connection of type %T", conn), conn.Close())
	}
	return &pgConn{stdConn: std, meter: c.meter}, nil
}

type stdConn = stdlib.Conn

// pgConn sends BEGIN with the first statement of a transaction, if that has parameters, and the last ones with COMMIT: a
// transaction of two statements takes two round trips instead of four. Like every driver.Conn it is used by one goroutine
// at a time.
type pgConn struct {
	*stdConn

	meter *meter // nil: somebody else measures

	tx      *pgTx // the last transaction
	pending bool  // its BEGIN was not sent yet
}

// pgTx is a transaction at READ COMMITTED.
type pgTx struct {
	ctx  context.Context //nolint:containedctx // that of BEGIN, which COMMIT has none of
	conn *pgConn
	end  *end
}

// begin is as openPostgres sets it up: at READ COMMITTED. To say so costs the server a look at all of its settings when the
// transaction ends.
const begin = "begin"

// BeginTx implements driver.ConnBeginTx.
func (c *pgConn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	if sql.IsolationLevel(opts.Isolation) != sql.LevelReadCommitted || opts.ReadOnly {
		return c.stdConn.BeginTx(ctx, opts)
	}
	if c.Conn().IsClosed() {
		return nil, driver.ErrBadConn
	}
	c.tx, c.pending = &pgTx{ctx: ctx, conn: c}, true
	return c.tx, nil
}

// open sends the BEGIN that was put off.
func (c *pgConn) open(ctx context.Context) error {
	if !c.pending {
		return nil
	}
	_, err := c.Conn().Exec(ctx, begin)
	c.begun()
	return err
}

// begun notes whether the server is inside the transaction; a failure may have come before BEGIN or after it.
func (c *pgConn) begun() {
	if c.inside() || c.Conn().IsClosed() {
		c.pending = false
	}
}

func (c *pgConn) inside() bool { return c.Conn().PgConn().TxStatus() != 'I' }

// ExecContext implements driver.ExecerContext. A text without parameters may be several statements, which cannot go together with
// BEGIN.
func (c *pgConn) ExecContext(ctx context.Context, text string, args []driver.NamedValue) (_ driver.Result, err error) {
	defer c.meter.since(ctx, time.Now(), opExec, &err)
	if !c.pending || len(args) == 0 {
		if err := c.open(ctx); err != nil {
			return nil, err
		}
		return c.stdConn.ExecContext(ctx, text, args)
	}
	values := make([]any, len(args))
	for i := range args {
		values[i] = args[i].Value
	}
	var b pgx.Batch
	b.Queue(begin)
	b.Queue(text, values...)
	tag, _, err := c.send(ctx, &b)
	c.begun()
	if err != nil {
		return nil, err
	}
	return driver.RowsAffected(tag.RowsAffected()), nil
}

// send sends statements in one round trip. It returns the tag of the last, or the index of the one that failed.
func (c *pgConn) send(ctx context.Context, b *pgx.Batch) (tag pgconn.CommandTag, failed int, err error) {
	results := c.Conn().SendBatch(ctx, b)
	for failed = range b.QueuedQueries {
		if tag, err = results.Exec(); err != nil {
			break
		}
	}
	if closing := results.Close(); err == nil {
		err = closing
	}
	return tag, failed, err
}

// QueryContext implements driver.QueryerContext.
func (c *pgConn) QueryContext(ctx context.Context, text string, args []driver.NamedValue) (_ driver.Rows, err error) {
	defer c.meter.since(ctx, time.Now(), opQuery, &err)
	if err := c.open(ctx); err != nil {
		return nil, err
	}
	rows, err := c.stdConn.QueryContext(ctx, text, args)
	if errors.Is(err, driver.ErrBadConn) { // another connection is tried
		return nil, err
	}
	if err != nil {
		return nil, c.gone(err)
	}
	std, ok := rows.(*stdlib.Rows)
	if !ok {
		return nil, errors.Join(fmt.Errorf("rows of type %T", rows), rows.Close())
	}
	return &pgRows{std, c}, nil
}

// gone gives an error its kind, if what was read has ended with the connection.
func (c *pgConn) gone(err error) error {
	if err != nil && c.Conn().IsClosed() {
		return outside(fmt.Errorf("%w: %w", errGone, err))
	}
	return err
}

type stdRows = stdlib.Rows

// pgRows are rows whose connection may be lost on the way.
type pgRows struct {
	*stdRows

	conn *pgConn
}

// Next implements driver.Rows.
func (r *pgRows) Next(dest []driver.Value) error {
	err := r.stdRows.Next(dest)
	if err == nil || err == io.EOF { //nolint:errorlint // the end, as database/sql knows it
		return err
	}
	return r.conn.gone(err)
}

// Close implements driver.Rows. It reads what nobody wanted to see.
func (r *pgRows) Close() error { return r.conn.gone(r.stdRows.Close()) }

// PrepareContext implements driver.ConnPrepareContext.
func (c *pgConn) PrepareContext(ctx context.Context, text string) (driver.Stmt, error) {
	if err := c.open(ctx); err != nil {
		return nil, err
	}
	return c.stdConn.PrepareContext(ctx, text)
}

// Commit implements driver.Tx.
func (t *pgTx) Commit() (err error) {
	defer t.conn.meter.since(t.ctx, time.Now(), opCommit, &err)
	var b pgx.Batch
	first := 0
	if t.conn.pending {
		t.conn.pending = false
		if t.end == nil {
			return nil // nothing was done
		}
		b.Queue(begin)
		first = 1
	}
	if t.conn.Conn().IsClosed() {
		return errGone
	}
	if t.end == nil {
		tag, err := t.conn.Conn().Exec(t.ctx, "commit")
		return t.ended(tag, err)
	}
	for _, l := range t.end.last {
		b.Queue(l.text, l.args...)
	}
	b.Queue("commit")
	tag, failed, err := t.conn.send(t.ctx, &b)
	if err != nil && t.conn.inside() && !t.conn.Conn().IsClosed() {
		// COMMIT was not executed: the error is certain, and that of a statement.
		t.end.err = err
		if at := failed - first; at >= 0 && at < len(t.end.last) && t.end.last[at].refused != nil {
			t.end.err = t.end.last[at].refused(err)
		}
	}
	return t.ended(tag, err)
}

// ended leaves no transaction open behind a failed COMMIT.
func (t *pgTx) ended(tag pgconn.CommandTag, err error) error {
	switch {
	case err == nil && tag.String() == "ROLLBACK":
		return pgx.ErrTxCommitRollback
	case errors.Is(err, pgconn.ErrConnClosed): // what pgx says, too, when the connection ends after COMMIT was sent
		return errUnanswered
	case err != nil && !t.conn.Conn().IsClosed() && t.conn.inside():
		_ = t.Rollback() // if that fails too the connection is closed
	}
	return err
}

// Rollback implements driver.Tx.
func (t *pgTx) Rollback() error {
	if t.conn.pending {
		t.conn.pending = false
		return nil
	}
	_, err := t.conn.Conn().Exec(t.ctx, "rollback")
	if err != nil {
		_ = t.conn.Conn().Close(t.ctx) // the transaction ends with its connection
	}
	return err
}

// putOff hands the last statements of a transaction to its connection, for COMMIT.
func (e *end) putOff(conn *sql.Conn) error {
	return conn.Raw(func(c any) error {
		under, err := pgUnder(c)
		if err == nil {
			under.tx.end = e
		}
		return err
	})
}
