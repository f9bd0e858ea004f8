package db

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"path"
	"strings"

	"github.com/pressly/goose/v3"
)

// Migrate brings the schema up to date with the *.sql files in the root of fsys (goose format, portable SQL) and
// notes in table what has been applied. Files in a folder with the name of the engine (sqlite, postgres) are applied as if they
// were in the root: what only one engine needs. Packages that keep their own tables use their own name for it. Any number of
// replicas may call it at once: on PostgreSQL one migrates and the others wait. A file that failed is rolled back
// and tried again by the next call. The statements of a file are run together, in its transaction.
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
	p, err := goose.NewProvider(dialect, d.write, engineFS{fsys, d.engine}, opts...)
	if err != nil {
		return fmt.Errorf("migrate %s: %w", table, err)
	}
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("migrate %s: %w", table, err)
	}
	return nil
}

// engineFS is the root of files with those of one engine added.
type engineFS struct {
	fs.FS
	engine Engine
}

// Open implements fs.FS.
func (e engineFS) Open(name string) (fs.File, error) {
	f, err := e.FS.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		f, err = e.FS.Open(path.Join(e.engine.String(), name))
	}
	if err != nil || path.Ext(name) != ".sql" {
		return f, err
	}
	return asOne(f)
}

// asOne returns a file of statements that are run together: goose need not look for the end of each, for which it takes 4 MiB of memory
// at each line, and PostgreSQL gets all of them in one round trip. A file with annotations of its own stays as it is.
func asOne(f fs.File) (fs.File, error) {
	const up, annotation = "-- +goose Up\n", "+goose"
	text, err := io.ReadAll(f)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if body, ok := strings.CutPrefix(string(text), up); ok && !strings.Contains(body, annotation) {
		text = []byte(up + "-- +goose StatementBegin\n" + body + "\n-- +goose StatementEnd\n")
	}
	return textFile{f, bytes.NewReader(text)}, nil
}

// textFile is a file that is read already.
type textFile struct {
	fs.File
	text io.Reader
}

// Read implements fs.File.
func (f textFile) Read(p []byte) (int, error) { return f.text.Read(p) }

// ReadDir implements fs.ReadDirFS.
func (e engineFS) ReadDir(name string) ([]fs.DirEntry, error) {
	all, err := fs.ReadDir(e.FS, name)
	if err != nil {
		return nil, err
	}
	own, err := fs.ReadDir(e.FS, path.Join(e.engine.String(), name))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return append(all, own...), nil
}
