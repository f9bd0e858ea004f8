package idempotent

import (
	"embed"
	"errors"
	"io/fs"
	"path"

	"github.com/selfsame-io/selfsame/pkg/db"
)

//go:embed migrations
var migrations embed.FS

// migrationsOf are the files of an engine: those for both, and those of its own.
type migrationsOf db.Engine

func (e migrationsOf) own() string { return path.Join("migrations", db.Engine(e).String()) }

// Open implements fs.FS.
func (e migrationsOf) Open(name string) (fs.File, error) {
	f, err := migrations.Open(path.Join(e.own(), name))
	if errors.Is(err, fs.ErrNotExist) || name == "." {
		return migrations.Open(path.Join("migrations", name))
	}
	return f, err
}

// ReadDir implements fs.ReadDirFS.
func (e migrationsOf) ReadDir(name string) ([]fs.DirEntry, error) {
	all, err := migrations.ReadDir(path.Join("migrations", name))
	if err != nil {
		return nil, err
	}
	own, err := migrations.ReadDir(path.Join(e.own(), name))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return append(all, own...), nil
}
