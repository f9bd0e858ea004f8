package store

import (
	"context"
	"strings"
	"sync/atomic"

	"github.com/selfsame-io/selfsame/pkg/db"
)

// learner has PostgreSQL look at the tables while a first load fills them. Without statistics it takes every table for
// nearly empty and reads it whole; by itself it looks after a minute at the earliest, which is most of a load. A table that
// it knows about as it is, such as a large one that another process has filled, is left alone: to look at a million rows takes
// as long as to take in some thousand changes. It is safe for concurrent use; the zero value is usable.
type learner struct {
	written atomic.Int64 // rows, by this process
	looked  atomic.Int64 // the milestone that was passed last
}

const (
	firstLook = 500
	lookAgain = 4       // times as many rows
	lastLook  = 500_000 // a table of that size is looked at by the server when a tenth of it has changed
)

// grown are the tables that have twice the size that the server knows of, or more.
const grown = `SELECT c.relname FROM pg_class c WHERE c.oid IN (CAST('golden' AS regclass), CAST('source_record' AS regclass), CAST('match_key' AS regclass),
	CAST('pending' AS regclass), CAST('inbox' AS regclass), CAST('subject_key' AS regclass))
	AND pg_relation_size(c.oid) > 2 * GREATEST(c.relpages, 1) * CAST(current_setting('block_size') AS BIGINT) ORDER BY c.relname`

// note counts rows that were committed. Statistics are only a hint: without them everything is right, but slow.
func (l *learner) note(ctx context.Context, d *db.DB, rows int64) {
	if rows == 0 || d.Engine() != db.PostgreSQL {
		return
	}
	written, passed := l.written.Add(rows), l.looked.Load()
	next := max(firstLook, passed*lookAgain)
	if written < next || next > lastLook || !l.looked.CompareAndSwap(passed, written) {
		return
	}
	if tables := unknown(ctx, d); len(tables) > 0 {
		_, _ = d.Exec(ctx, "ANALYZE "+strings.Join(tables, ", "))
	}
}

// unknown returns the tables that the server should look at.
func unknown(ctx context.Context, d *db.DB) []string {
	rows, err := d.Read().QueryContext(ctx, grown)
	if err != nil {
		return nil
	}
	defer rows.Close()
	var tables []string
	for rows.Next() {
		var name string
		if rows.Scan(&name) != nil {
			return nil
		}
		tables = append(tables, name)
	}
	if rows.Err() != nil {
		return nil
	}
	return tables
}
