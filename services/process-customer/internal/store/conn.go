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
	read      db.Querier
	write     querier // nil outside a transaction
	intercept Intercept
	arrays    bool  // it takes an array for many values
	late      *late // nil outside a transaction
}

// late is a statement that runs while its caller prepares the next one. A transaction runs one statement at a time, so every
// other one waits for it. Like the transaction it is for one goroutine.
type late struct {
	running chan error // nil: none
	err     error      // of the first that failed: nothing of the transaction will remain
}

// wait returns once nothing runs any more, with the error of what has failed so far.
func (l *late) wait() error {
	if l == nil || l.running == nil {
		return l.failed()
	}
	err := <-l.running
	l.running = nil
	l.err = cmp.Or(l.err, err)
	return l.err
}

func (l *late) failed() error {
	if l == nil {
		return nil
	}
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
// the caller goes on meanwhile, and an error is that of the next statement or of the transaction.
func (c conn) behind(ctx context.Context, what, query string, args []any) error {
	query, args, err := c.before(ctx, query, args)
	if err == nil {
		err = c.late.wait()
	}
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return c.aside(func() error {
		if _, err := c.write.ExecContext(ctx, query, args...); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		return nil
	})
}

// aside runs what behind describes; nothing else may be running.
func (c conn) aside(run func() error) error {
	if !c.arrays {
		return run()
	}
	running := make(chan error, 1)
	c.late.running = running
	go func() { running <- run() }()
	return nil
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
