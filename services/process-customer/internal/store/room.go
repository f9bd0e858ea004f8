package store

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	"github.com/selfsame-io/selfsame/pkg/db"
)

// leaveRoom has PostgreSQL fill the pages of tables whose rows change again and again not to the brim: a new version of a row
// that finds room beside the old one needs no new entry in any index. Pages that are full stay as they are, and so does a table
// for which somebody has chosen otherwise. It is about speed only, so whoever may not alter the tables, or would have to wait
// for it, goes on without.
func leaveRoom(ctx context.Context, d *db.DB) {
	if d.Engine() != db.PostgreSQL {
		return
	}
	for _, table := range []string{"golden", "source_record", "pending"} {
		var options string
		err := d.Read().QueryRowContext(ctx, "SELECT COALESCE(CAST(reloptions AS TEXT), '') FROM pg_class WHERE oid = CAST($1 AS regclass)", table).Scan(&options)
		if err != nil || strings.Contains(options, "fillfactor") {
			continue
		}
		_ = d.Tx(ctx, func(ctx context.Context, tx *sql.Tx) error {
			for _, text := range []string{"SET LOCAL lock_timeout = '1s'", "ALTER TABLE " + table + " SET (fillfactor = 80)"} {
				if _, err := tx.ExecContext(ctx, text); err != nil {
					return fmt.Errorf("leave room in %s: %w", table, err)
				}
			}
			return nil
		})
	}
}
