package store

import (
	"context"
	"database/sql"

	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
)

// EachLastMatchRecord calls fn with the records of the units of a kind that came last, the latest first.
func (r Reader) EachLastMatchRecord(ctx context.Context, obj golden.Object, limit int, fn func(number int64, record []byte)) error {
	above, below := unitRange(obj)
	return r.query(ctx, "read the last match records", "SELECT number, record FROM match_unit WHERE live AND number > $2 AND number < $3 ORDER BY number DESC LIMIT $1",
		[]any{limit, above, below}, func(rows *sql.Rows) error {
			var n int64
			var record []byte
			err := rows.Scan(&n, &record)
			fn(n, record)
			return err
		})
}

// EachJudgedPair calls fn with the score of each pair of a kind that a person has decided, where it is still kept.
func (r Reader) EachJudgedPair(ctx context.Context, obj golden.Object, fn func(bits float64, same bool)) error {
	above, below := unitRange(obj)
	return r.query(ctx, "read decided pairs", "SELECT e.bits, v.same FROM match_verdict v JOIN match_edge e ON e.a = v.a AND e.b = v.b WHERE v.a > $1 AND v.a < $2",
		[]any{above, below},
		func(rows *sql.Rows) error {
			var bits float64
			var same bool
			err := rows.Scan(&bits, &same)
			fn(bits, same)
			return err
		})
}
