package store

import (
	"context"
	"database/sql"

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
	return c.read.QueryContext(ctx, query, args...)
}

// QueryRowContext runs a statement that returns at most one row.
func (c conn) QueryRowContext(ctx context.Context, query string, args ...any) row {
	query, args, err := c.before(ctx, query, args)
	if err != nil {
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
	return c.write.ExecContext(ctx, query, args...)
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
