package db

import (
	"context"
	"database/sql"
	"fmt"
)

// A file keeps so many empty pages, and so large a share of them, for what will be stored next.
const (
	spareShare = 4 // one in four
	sparePages = 256
)

// Shrink gives empty pages of a SQLite file back to the file system, at most so many, and returns how many. It returns 0
// when few enough are left, on a file that was made by a release without this ("VACUUM" with the service stopped changes
// that), and on PostgreSQL, which does it by itself.
func (d *DB) Shrink(ctx context.Context, pages int) (freed int, err error) {
	if d.group == nil {
		return 0, nil
	}
	var empty, all int
	if err := d.Read().QueryRowContext(ctx, "SELECT freelist_count, page_count FROM pragma_freelist_count(), pragma_page_count()").Scan(&empty, &all); err != nil {
		return 0, fmt.Errorf("count empty pages: %w", err)
	}
	if empty < sparePages || empty*spareShare < all {
		return 0, nil
	}
	if err := d.enter(); err != nil {
		return 0, err
	}
	defer d.inflight.Done()
	err = d.group.relax(ctx, func(ctx context.Context, tx *sql.Tx) error {
		freed = 0
		rows, err := tx.QueryContext(ctx, fmt.Sprintf("PRAGMA incremental_vacuum(%d)", pages))
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() { // each step frees a page
			freed++
		}
		return rows.Err()
	})
	if err != nil {
		return 0, outside(err)
	}
	return freed, nil
}
