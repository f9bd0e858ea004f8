package db

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"

	"github.com/pressly/goose/v3"
)

// Migrate brings the schema up to date with the *.sql files in the root of fsys (goose format, portable SQL) and
// notes in table what has been applied. Packages that keep their own tables use their own name for it. Any number of
// replicas may call it at once: on PostgreSQL one migrates and the others wait. A file that failed is rolled back
// and tried again by the next call.
func (d *DB) Migrate(ctx context.Context, fsys fs.FS, table string) error {
	dialect := goose.DialectSQLite3
	opts := []goose.ProviderOption{
		goose.WithTableName(table),
		goose.WithDisableGlobalRegistry(true),
		goose.WithSlog(slog.New(slog.DiscardHandler)), // goose prints to standard output by default
	}
	if d.engine == PostgreSQL {
		dialect = goose.DialectPostgres
		opts = append(opts, goose.WithSessionLocker(sessionLock{lockID("migrate")}))
	}
	p, err := goose.NewProvider(dialect, d.write, fsys, opts...)
	if err != nil {
		return fmt.Errorf("migrate %s: %w", table, err)
	}
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("migrate %s: %w", table, err)
	}
	return nil
}
