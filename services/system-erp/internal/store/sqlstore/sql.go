package sqlstore

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/selfsame-io/selfsame/pkg/db"
)

// querier is what reads need; transactions and the read pool both offer it.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// tuples writes "($1,$2),($3,$4)" for n rows of width columns.
func tuples(n, width int) string {
	var b strings.Builder
	b.Grow(n * width * 6)
	arg := 0
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteByte('(')
		for j := range width {
			if j > 0 {
				b.WriteByte(',')
			}
			arg++
			b.WriteByte('$')
			b.WriteString(strconv.Itoa(arg))
		}
		b.WriteByte(')')
	}
	return b.String()
}

// in writes "($1,$2,…)" and the arguments for a list of texts, which must not be empty.
func in(values []string) (string, []any) {
	args := make([]any, len(values))
	for i, v := range values {
		args[i] = v
	}
	return tuples(1, len(values)), args
}

// insert adds rows in a few statements and returns how many were written. The clause ("ON CONFLICT …") may be empty.
func insert(ctx context.Context, q txn, table string, columns []string, clause string, rows [][]any) (int, error) {
	written := 0
	for chunk := range slices.Chunk(rows, max(1, q.params/len(columns))) {
		args := make([]any, 0, len(chunk)*len(columns))
		for _, r := range chunk {
			args = append(args, r...)
		}
		res, err := q.ExecContext(ctx, "INSERT INTO "+table+" ("+strings.Join(columns, ", ")+") VALUES "+
			tuples(len(chunk), len(columns))+clause, args...)
		if err != nil {
			return 0, fmt.Errorf("write %s: %w", table, err)
		}
		n, err := res.RowsAffected()
		if err != nil {
			return 0, fmt.Errorf("write %s: %w", table, err)
		}
		written += int(n)
	}
	return written, nil
}

// each runs a query and calls row for every row, which scans it.
func each(ctx context.Context, q querier, row func(scan func(...any) error) error, query string, args ...any) (err error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := rows.Close(); err == nil {
			err = cerr
		}
	}()
	for rows.Next() {
		if err := row(rows.Scan); err != nil {
			return err
		}
	}
	return rows.Err()
}

// moment scans microseconds into a time.
type moment struct{ at *time.Time }

// Scan implements sql.Scanner.
func (m moment) Scan(src any) error {
	var n sql.NullInt64
	if err := n.Scan(src); err != nil {
		return fmt.Errorf("scan a time: %w", err)
	}
	*m.at = db.FromMicros(n.Int64)
	return nil
}

// optional scans a text that may be NULL, which is empty.
type optional struct{ to *string }

// Scan implements sql.Scanner.
func (o optional) Scan(src any) error {
	var s sql.NullString
	if err := s.Scan(src); err != nil {
		return fmt.Errorf("scan a text: %w", err)
	}
	*o.to = s.String
	return nil
}

// null stores an empty text as NULL, for columns that refer to another table or are unique when set.
func null(s string) sql.NullString { return sql.NullString{String: s, Valid: s != ""} }
