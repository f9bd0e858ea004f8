package db

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/XSAM/otelsql"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
	"modernc.org/sqlite"

	"github.com/selfsame-io/selfsame/pkg/telemetry"
)

// openSQLite opens the file, or a private one that begins with content.
func openSQLite(ctx context.Context, path string, content []byte, t *telemetry.Telemetry) (*DB, error) {
	d := &DB{engine: SQLite}
	sync := "FULL"
	if path == ":memory:" {
		// A file in a private directory rather than SQLite's own memory mode: that has no WAL, so readers would
		// wait for the writer and a test could see deadlocks that production does not have.
		dir, err := newPrivate(os.TempDir())
		if err != nil {
			return nil, fmt.Errorf("open sqlite: %w", err)
		}
		d.private, path, sync = dir, filepath.Join(dir.path, "private.db"), "OFF"
		if err := os.WriteFile(path, content, 0o600); err != nil {
			return nil, errors.Join(fmt.Errorf("open sqlite: %w", err), d.private.remove())
		}
	}
	if err := d.openFiles(ctx, path, sync, t); err != nil {
		return nil, errors.Join(fmt.Errorf("open sqlite %s: %w", path, err), d.private.remove())
	}
	return d, nil
}

func (d *DB) openFiles(ctx context.Context, path, sync string, t *telemetry.Telemetry) error {
	if path == "" {
		return errors.New("no file name")
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	// SQLite would make it readable by everyone; the WAL takes over the mode of the file.
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	pragmas := []string{"busy_timeout(10000)", "journal_mode(WAL)", "synchronous(" + sync + ")", "foreign_keys(1)"}
	// The first has an effect on a new file only, and there only before everything else. Checkpoints are made beside the writer.
	// Random keys touch a page each: of 16 MiB of pages the writer finds most where SQLite's own 2 MiB have to be read again.
	writer := sqliteConnector(path, "immediate",
		slices.Concat([]string{"auto_vacuum(INCREMENTAL)"}, pragmas, []string{"wal_autocheckpoint(0)", "cache_size(-16384)"}))
	m, err := newMeter(t, sqliteSystem())
	if err != nil {
		return err
	}
	d.write = openPool(writer, t, m)
	d.write.SetMaxOpenConns(1)
	d.write.SetMaxIdleConns(1)
	if err := d.write.PingContext(ctx); err != nil {
		return errors.Join(err, d.write.Close())
	}
	readers := sqliteConnector(path, "deferred", append(pragmas, "query_only(1)"))
	d.read = openPool(readers, t, m)
	n := max(4, 2*runtime.GOMAXPROCS(0))
	d.read.SetMaxOpenConns(n)
	d.read.SetMaxIdleConns(n)
	if err := d.read.PingContext(ctx); err != nil {
		return errors.Join(err, d.read.Close(), d.write.Close())
	}
	d.brief = openBrief(readers, t, m)
	d.group = newGroup(d.write, writer, m)
	return nil
}

// openPool returns connections that are measured. Where no spans are recorded they are without otelsql, which measures each query
// three times: it, its rows, and the reset of its connection.
func openPool(c connector, t *telemetry.Telemetry, m *meter) *sql.DB {
	if t.Recording {
		return open(c, t, sqliteSystem())
	}
	return sql.OpenDB(measuredConnector{c, m})
}

// connector makes SQLite connections without registering a driver name.
type connector struct {
	driver *sqlite.Driver
	name   string
	lock   string // that a transaction takes when it begins: "immediate" or "deferred"
}

func (c connector) Connect(context.Context) (driver.Conn, error) {
	conn, err := c.driver.Open(c.name)
	if err != nil {
		return nil, err
	}
	return keep(conn, "BEGIN "+strings.ToUpper(c.lock))
}

func (c connector) Driver() driver.Driver { return c.driver }

func sqliteConnector(path, lock string, pragmas []string) connector {
	q := url.Values{"_txlock": {lock}, "_pragma": pragmas}
	u := url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: q.Encode()}
	return connector{&sqlite.Driver{}, u.String(), lock}
}

// open wraps a connector with spans and metrics. Spans hold the statement, whose values are parameters, and no
// error text, which may quote a value.
func open(c driver.Connector, t *telemetry.Telemetry, attrs ...attribute.KeyValue) *sql.DB {
	return otelsql.OpenDB(c,
		otelsql.WithTracerProvider(t.Tracer),
		otelsql.WithMeterProvider(t.Meter),
		otelsql.WithAttributes(attrs...),
		otelsql.WithSpanOptions(otelsql.SpanOptions{
			DisableErrSkip: true, OmitConnResetSession: true, OmitConnPrepare: true, OmitRows: true,
			OmitConnectorConnect: true,
			RecordError:          func(error) bool { return false },
			SpanFilter: func(ctx context.Context, _ otelsql.Method, _ string, _ []driver.NamedValue) bool {
				return trace.SpanFromContext(ctx).IsRecording()
			},
		}))
}
