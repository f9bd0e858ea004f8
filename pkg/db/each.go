package db

import (
	"context"
	"database/sql/driver"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"go.opentelemetry.io/otel/trace"
)

// Scanner is the current row of a result. *sql.Rows is a Scanner.
type Scanner interface{ Scan(dest ...any) error }

// eachTries is how often a connection that turns out to be dead is replaced, as database/sql does.
const eachTries = 3

// Each reads a few rows by their keys, many times a second, and calls row for each of them; its error ends the reading and is
// returned. It is for what [DB.Brief] is for, and on SQLite it is that. On PostgreSQL the rows do not pass database/sql, where a
// row of many columns costs more than in the server; destinations are pointers to basic types and to []byte.
func (d *DB) Each(ctx context.Context, row func(Scanner) error, text string, args ...any) error {
	if d.engine != PostgreSQL || trace.SpanFromContext(ctx).IsRecording() {
		rows, err := d.Brief().QueryContext(ctx, text, args...)
		if err != nil {
			return outside(err)
		}
		defer rows.Close()
		for rows.Next() {
			if err := row(rows); err != nil {
				return err
			}
		}
		return outside(rows.Err())
	}
	for try := 1; ; try++ {
		dead, err := d.pgEach(ctx, row, text, args)
		if !dead || try == eachTries || ctx.Err() != nil {
			return outside(err)
		}
	}
}

// pgEach reports whether the connection was dead before anything was sent.
func (d *DB) pgEach(ctx context.Context, row func(Scanner) error, text string, args []any) (dead bool, err error) {
	conn, err := d.read.Conn(ctx)
	if err != nil {
		return false, fmt.Errorf("database connection: %w", err)
	}
	defer conn.Close() // a connection that is closed below is not kept
	var failed error
	err = conn.Raw(func(c any) error {
		under, err := pgUnder(c)
		if err != nil {
			return err
		}
		begun := time.Now() // the wait for the connection is not the statement's
		rows, err := under.Conn().Query(ctx, text, args...)
		if err == nil {
			failed, err = scanEach(rows, row)
		}
		d.meter.record(ctx, time.Since(begun), d.meter.query, err)
		if dead = err != nil && pgconn.SafeToRetry(err); dead {
			return driver.ErrBadConn // it is thrown away
		}
		if err != nil {
			failed = err
		}
		return nil
	})
	if failed != nil {
		err = failed
	}
	return dead, err
}

// scanEach tells the error of row from that of the rows.
func scanEach(rows pgx.Rows, row func(Scanner) error) (failed, err error) {
	defer rows.Close()
	for rows.Next() {
		if failed = row(rows); failed != nil {
			return failed, nil
		}
	}
	return nil, rows.Err()
}

// pgUnder returns the connection below database/sql and otelsql.
func pgUnder(c any) (*pgConn, error) {
	for {
		switch inner := c.(type) {
		case *pgConn:
			return inner, nil
		case interface{ Raw() driver.Conn }: // otelsql
			c = inner.Raw()
		default:
			return nil, fmt.Errorf("a connection of type %T", c)
		}
	}
}
