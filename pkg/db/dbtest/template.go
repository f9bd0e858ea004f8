package dbtest

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/pkg/telemetry"
)

// Template is a SQLite database that has its schema already, for tests that are about something else: each starts with a
// copy of the file, and bringing a schema up to date that is so costs nearly nothing. PostgreSQL makes the schema anew each
// time. It is safe for concurrent use.
type Template struct {
	file func() ([]byte, error)
}

// NewTemplate returns a template made by prepare, which brings the schema up to date the way the service does. It runs once,
// when the first test asks.
func NewTemplate(prepare func(ctx context.Context, d *db.DB) error) *Template {
	return &Template{sync.OnceValues(func() ([]byte, error) { return prepared(prepare) })}
}

func prepared(prepare func(ctx context.Context, d *db.DB) error) (file []byte, err error) {
	dir, err := os.MkdirTemp("", "selfsame-template-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	name := filepath.Join(dir, "template.db")
	d, err := db.Open(context.Background(), "sqlite:"+name, telemetry.Discard())
	if err != nil {
		return nil, err
	}
	if err := prepare(context.Background(), d); err != nil {
		d.Close()
		return nil, err
	}
	if err := d.Close(); err != nil { // the last connection moves the log into the file
		return nil, err
	}
	return os.ReadFile(name)
}

// Each is [Each] with databases of the template.
func (p *Template) Each(t *testing.T, fn func(t *testing.T, d *db.DB)) {
	t.Helper()
	each(t, p.Open, fn)
}

// Open is [Open] with a database of the template.
func (p *Template) Open(t testing.TB, engine string) *db.DB {
	t.Helper()
	return open(t, p.DSN(t, engine))
}

// Private returns a private database, as sqlite::memory: is, of the template. The caller closes it.
func (p *Template) Private(ctx context.Context) (*db.DB, error) {
	file, err := p.file()
	if err != nil {
		return nil, err
	}
	return db.OpenCopy(ctx, file, telemetry.Discard())
}

// DSN is [DSN] with a database of the template.
func (p *Template) DSN(t testing.TB, engine string) string {
	t.Helper()
	dsn := DSN(t, engine)
	if name, ok := strings.CutPrefix(dsn, "sqlite:"); ok {
		file, err := p.file()
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(name, file, 0o600))
	}
	return dsn
}
