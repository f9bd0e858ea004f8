package store

import (
	"context"
	"database/sql"

	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
)

// Touch says that something happened to a golden record.
type Touch struct {
	Position int64
	GoldenID golden.ID
}

// Touched returns what happened after a position, oldest first. Positions are given out by a row that every writer locks
// until it commits, so nothing appears later at or before a position that was read.
func (r Reader) Touched(ctx context.Context, after int64, limit int) ([]Touch, error) {
	return r.touches(ctx, "read changes", "SELECT position, golden_id FROM event WHERE position > $1 ORDER BY position LIMIT $2", []any{after, limit})
}

// TouchedOf returns what happened last to each of these records after a position, oldest first.
func (r Reader) TouchedOf(ctx context.Context, ids []golden.ID, after int64, limit int) ([]Touch, error) {
	return r.touches(ctx, "read changes of some", "SELECT MAX(position), golden_id FROM event WHERE position > $1 AND golden_id "+r.oneOf(2, len(ids))+
		" GROUP BY golden_id ORDER BY 1 LIMIT $2", bound(r, []any{after, limit}, texts(ids)))
}

func (r Reader) touches(ctx context.Context, what, query string, args []any) (out []Touch, err error) {
	err = r.query(ctx, what, query, args, func(rows *sql.Rows) error {
		var t Touch
		err := rows.Scan(&t.Position, &t.GoldenID)
		out = append(out, t)
		return err
	})
	return out, err
}

// Positions returns the oldest position that is kept, zero when there is none, and the last that was given out.
func (r Reader) Positions(ctx context.Context) (oldest, last int64, err error) {
	err = r.query(ctx, "read positions", "SELECT (SELECT COALESCE(MIN(position), 0) FROM event), value FROM sequence WHERE name = 'event'", nil,
		func(rows *sql.Rows) error { return rows.Scan(&oldest, &last) })
	return oldest, last, err
}
