package store

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"

	"github.com/selfsame-io/selfsame/pkg/db"
)

// Intercept sees every statement before it runs, inside and outside transactions. It returns what is to run instead, or
// the error that the statement ends with without having run.
type Intercept func(ctx context.Context, query string, args []any) (string, []any, error)

// Through returns a store on the same database whose statements go through intercept. It is how tests make any one
// statement fail, stop a process between two of them, or break what the package promises in order to see it noticed.
func (s *Store) Through(intercept Intercept) *Store {
	return &Store{db: s.db, intercept: intercept, learner: s.learner}
}

// querier is what runs statements; a transaction executes them, too.
type querier interface {
	db.Querier
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

// conn is where the statements of a reader or a transaction run.
type conn struct {
	db        *db.DB
	raw       *sql.Tx // nil outside a transaction
	read      db.Querier
	write     querier // nil outside a transaction
	intercept Intercept
	arrays    bool  // it takes an array for many values
	late      *late // nil outside a transaction
}

// late are statements that run, one after the other, while their caller goes on. A transaction runs one statement at a time, so
// every other one waits for them. Like the transaction it is for one goroutine.
type late struct {
	last *aside // the last of them; nil: none
	err  error  // of the first that failed: nothing of the transaction will remain
}

// aside is something that runs while its caller goes on.
type aside struct {
	over chan struct{} // closed when it is over
	err  error         // from then on
}

// wait returns once it is over. There may be nothing to wait for.
func (a *aside) wait() error {
	if a == nil {
		return nil
	}
	<-a.over
	return a.err
}

// wait returns once nothing runs any more, with the error of what has failed so far.
func (l *late) wait() error {
	if l == nil {
		return nil
	}
	l.err = cmp.Or(l.err, l.last.wait())
	l.last = nil
	return l.err
}

func (c conn) before(ctx context.Context, query string, args []any) (string, []any, error) {
	if c.intercept == nil {
		return query, args, nil
	}
	return c.intercept(ctx, query, args)
}

// QueryContext runs a statement that returns rows.
func (c conn) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	query, args, err := c.before(ctx, query, args)
	if err != nil {
		return nil, err
	}
	if err := c.late.wait(); err != nil {
		return nil, err
	}
	return c.read.QueryContext(ctx, query, args...)
}

// QueryRowContext runs a statement that returns at most one row.
func (c conn) QueryRowContext(ctx context.Context, query string, args ...any) row {
	query, args, err := c.before(ctx, query, args)
	if err != nil {
		return row{err: err}
	}
	if err := c.late.wait(); err != nil {
		return row{err: err}
	}
	return row{row: c.read.QueryRowContext(ctx, query, args...)}
}

// each runs a statement that returns rows and calls scan for each of them. Inside a transaction destinations are pointers to basic
// types and to []byte: what is read by the thousand does not pass database/sql.
func (c conn) each(ctx context.Context, scan func(db.Scanner) error, query string, args []any) error {
	if c.raw == nil {
		rows, err := c.QueryContext(ctx, query, args...)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			if err := scan(rows); err != nil {
				return err
			}
		}
		return rows.Err()
	}
	query, args, err := c.before(ctx, query, args)
	if err == nil {
		err = c.late.wait()
	}
	if err != nil {
		return err
	}
	return c.db.EachIn(ctx, c.raw, scan, query, args...)
}

// ExecContext runs a statement inside a transaction.
func (c conn) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	query, args, err := c.before(ctx, query, args)
	if err != nil {
		return nil, err
	}
	if err := c.late.wait(); err != nil {
		return nil, err
	}
	return c.write.ExecContext(ctx, query, args...)
}

// behind runs a statement of which nothing matters but that it succeeds. On PostgreSQL, which does it in a process of its own,
// the caller goes on meanwhile, and an error is that of the next statement that is waited for, or of the transaction.
func (c conn) behind(ctx context.Context, what, query string, args []any) error {
	query, args, err := c.before(ctx, query, args)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	_, err = c.aside(func() error {
		if _, err := c.write.ExecContext(ctx, query, args...); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		return nil
	})
	return err
}

// ask is behind for a statement that returns rows: scan is called for each, from wherever it runs, with destinations as those of each.
func (c conn) ask(ctx context.Context, what, query string, args []any, scan func(db.Scanner) error) (*aside, error) {
	query, args, err := c.before(ctx, query, args)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	return c.aside(func() error {
		if err := c.db.EachIn(ctx, c.raw, scan, query, args...); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		return nil
	})
}

// aside runs what behind describes after everything that runs already, if that succeeds.
func (c conn) aside(run func() error) (*aside, error) {
	if !c.arrays {
		return nil, run()
	}
	if c.late.err != nil {
		return nil, c.late.err
	}
	first, next := c.late.last, &aside{over: make(chan struct{})}
	c.late.last = next
	go func() {
		defer close(next.over)
		if next.err = first.wait(); next.err == nil {
			next.err = run()
		}
	}()
	return next, nil
}

// row is a *sql.Row, or why there is none.
type row struct {
	row *sql.Row
	err error
}

// Scan copies the row, as that of *sql.Row does.
func (r row) Scan(dest ...any) error {
	if r.err != nil {
		return r.err
	}
	return r.row.Scan(dest...)
}
