package store

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	"github.com/selfsame-io/selfsame/pkg/db"
)

// leaveRoom has PostgreSQL fill the pages of tables whose rows are changed again and again not to the brim: a new version of a
// row that finds room beside the old one needs no new entry in any index, and leaves nothing behind for VACUUM to find. Pages
// that are full already stay as they are, and so does a table for which somebody has chosen otherwise.
func leaveRoom(ctx context.Context, d *db.DB) error {
	if d.Engine() != db.PostgreSQL {
		return nil
	}
	for _, table := range []string{"golden", "source_record", "pending"} {
		var options string
		err := d.Read().QueryRowContext(ctx, "SELECT COALESCE(CAST(reloptions AS TEXT), '') FROM pg_class WHERE oid = CAST($1 AS regclass)", table).Scan(&options)
		if err != nil {
			return fmt.Errorf("read options of %s: %w", table, err)
		}
		if strings.Contains(options, "fillfactor") {
			continue
		}
		err = d.Tx(ctx, func(ctx context.Context, tx *sql.Tx) error {
			_, err := tx.ExecContext(ctx, "ALTER TABLE "+table+" SET (fillfactor = 80)")
			return err
		})
		if err != nil {
			return fmt.Errorf("leave room in %s: %w", table, err)
		}
	}
	return nil
}
