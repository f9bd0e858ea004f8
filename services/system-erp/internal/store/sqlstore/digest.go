package sqlstore

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/selfsame-io/selfsame/services/system-erp/internal/store"
)

func end(s store.Span) int64 {
	if s.Until == 0 {
		return math.MaxInt64
	}
	return s.Until
}

// Digest implements store.Digests. All spans are one statement, which reads the table's times once.
func (t *records[R]) Digest(ctx context.Context, spans []store.Span) ([]store.Digest, error) {
	var parts []string
	var args []any
	for i, s := range spans {
		n := len(args)
		// The remainder keeps the sum in 64 bits.
		parts = append(parts, fmt.Sprintf(`SELECT CAST(%d AS BIGINT) AS span, COUNT(*) AS n, COALESCE(MIN(updated), 0) AS first, COALESCE(MAX(updated), 0) AS last,
			CAST(COALESCE(SUM(updated %% %d), 0) AS BIGINT) AS sum FROM %s WHERE NOT deleted AND updated >= $%d AND updated < $%d`,
			i, store.DigestModulus, t.table.name, n+1, n+2))
		args = append(args, s.From, end(s))
	}
	out := make([]store.Digest, len(spans))
	err := each(ctx, t.db.Read(), func(scan func(...any) error) error {
		var i int
		var d store.Digest
		if err := scan(&i, &d.Count, &d.First, &d.Last, &d.Sum); err != nil {
			return err
		}
		out[i] = d
		return nil
	}, strings.Join(parts, " UNION ALL "), args...)
	if err != nil {
		return nil, fmt.Errorf("sum up %s: %w", t.table.name, err)
	}
	return out, nil
}

// Stamps implements store.Digests.
func (t *records[R]) Stamps(ctx context.Context, span store.Span, after *store.StampCursor, limit int) ([]store.Stamped, error) {
	where, args := "", []any{span.From, end(span)}
	if after != nil {
		where = " AND (updated, id) > ($3, $4)"
		args = append(args, after.At, after.ID)
	}
	args = append(args, limit)
	var out []store.Stamped
	err := each(ctx, t.db.Read(), func(scan func(...any) error) error {
		var s store.Stamped
		err := scan(&s.ID, &s.At)
		out = append(out, s)
		return err
	}, "SELECT id, updated FROM "+t.table.name+" WHERE NOT deleted AND updated >= $1 AND updated < $2"+where+
		" ORDER BY updated, id LIMIT $"+strconv.Itoa(len(args)), args...)
	if err != nil {
		return nil, fmt.Errorf("list times of %s: %w", t.table.name, err)
	}
	return out, nil
}
