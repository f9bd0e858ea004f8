package db

import (
	"cmp"
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/binary"
	"fmt"
	"runtime"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
	"go.opentelemetry.io/otel/trace"
)

// Scanner is the current row of a result. *sql.Rows is a Scanner.
type Scanner interface{ Scan(dest ...any) error }

// eachTries is how often a connection that turns out to be dead is replaced, as database/sql does.
const eachTries = 3

// Each reads a few rows by their keys, many times a second, and calls row for each of them; its error ends the reading and is
// returned. It is for what [DB.Brief] is for, and on SQLite it is that. On PostgreSQL the rows do not pass database/sql, where a
// row of many columns costs more than in the server; destinations are pointers to basic types, to []byte and, until
// the next row, to sql.RawBytes.
func (d *DB) Each(ctx context.Context, row func(Scanner) error, text string, args ...any) error {
	if d.engine != PostgreSQL || trace.SpanFromContext(ctx).IsRecording() {
		rows, err := d.Brief().QueryContext(ctx, text, args...)
		if err != nil {
			return outside(err)
		}
		defer rows.Close()
		for rows.Next() {
			if err := row(rows); err != nil {
				return err
			}
		}
		return outside(rows.Err())
	}
	for try := 1; ; try++ {
		dead, err := d.pgEach(ctx, row, text, args)
		switch {
		case dead && ctx.Err() != nil: // nothing was sent because of that
			return ctx.Err()
		case !dead || try == eachTries:
			return outside(err)
		}
	}
}

// EachIn is Each inside of a transaction that Tx has begun with ctx, for any number of rows. On PostgreSQL row must not use the
// transaction.
func (d *DB) EachIn(ctx context.Context, tx *sql.Tx, row func(Scanner) error, text string, args ...any) error {
	e, ok := ctx.Value(endKey{}).(*end)
	if !ok || e.tx != tx || e.conn == nil || trace.SpanFromContext(ctx).IsRecording() {
		rows, err := tx.QueryContext(ctx, text, args...)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			if err := row(rows); err != nil {
				return err
			}
		}
		return rows.Err()
	}
	// The connection is the transaction's until that ends, so nothing else uses it meanwhile. To read inside of Raw would be to wait
	// for ever if row panics: Raw then closes the connection, for which it waits until the transaction has ended.
	var under *pgConn
	if err := e.conn.Raw(func(c any) (err error) {
		under, err = pgUnder(c)
		return err
	}); err != nil {
		return err
	}
	if err := under.open(ctx); err != nil {
		return err
	}
	begun := time.Now()
	rows, err := under.Conn().Query(ctx, text, args...)
	var failed error
	if err == nil {
		failed, err = scanEach(pgRow{rows}, row)
	}
	d.meter.record(ctx, time.Since(begun), opQuery, err)
	return cmp.Or(failed, err)
}

// pgEach reports whether the connection was dead before anything was sent.
func (d *DB) pgEach(ctx context.Context, row func(Scanner) error, text string, args []any) (dead bool, err error) {
	conn, err := d.read.Conn(ctx)
	if err != nil {
		return false, fmt.Errorf("database connection: %w", err)
	}
	defer conn.Close() // a connection that is closed below is not kept
	var failed error
	err = conn.Raw(func(c any) error {
		under, err := pgUnder(c)
		if err != nil {
			return err
		}
		if d.Busy() <= runtime.GOMAXPROCS(0) { // else there is work for every processor already
			defer watch(under.Conn().PgConn().Conn())()
		}
		begun := time.Now() // the wait for the connection is not the statement's
		rows, err := under.Conn().Query(ctx, text, pgArgs(args)...)
		if err == nil {
			failed, err = scanEach(pgRow{rows}, row)
		}
		d.meter.record(ctx, time.Since(begun), opQuery, err)
		if dead = err != nil && pgconn.SafeToRetry(err); dead {
			return driver.ErrBadConn // it is thrown away
		}
		if err != nil {
			failed = under.gone(err)
		}
		return nil
	})
	if failed != nil {
		err = failed
	}
	return dead, err
}

// pgArgs returns the arguments as pgx encodes them without reflection.
func pgArgs(args []any) []any {
	for i, a := range args {
		if list, ok := a.([][]byte); ok {
			args = slices.Clone(args)
			args[i] = pgList(list)
		}
	}
	return args
}

// pgList is a list of bytea.
type pgList [][]byte

// Dimensions implements pgtype.ArrayGetter.
func (l pgList) Dimensions() []pgtype.ArrayDimension {
	if l == nil {
		return nil
	}
	return []pgtype.ArrayDimension{{Length: int32(len(l)), LowerBound: 1}} //nolint:gosec // of a few keys
}

// Index implements pgtype.ArrayGetter.
func (l pgList) Index(i int) any { return (*pgBytes)(&l[i]) }

// IndexType implements pgtype.ArrayGetter.
func (pgList) IndexType() any { return &pgBytes{} }

// pgBytes is a bytea; a pointer to it is an interface without an allocation.
type pgBytes []byte

// BytesValue implements pgtype.BytesValuer.
func (b *pgBytes) BytesValue() ([]byte, error) { return *b, nil }

// scanEach tells the error of row from that of the rows.
func scanEach(rows pgRow, row func(Scanner) error) (failed, err error) {
	defer rows.Close()
	for rows.Next() {
		if failed = row(rows); failed != nil {
			return failed, nil
		}
	}
	return nil, rows.Err()
}

// pgRow is a row of pgx. What it is made for it scans by itself: to find out again for each statement how each of many columns
// is to be scanned takes pgx longer than to scan it.
type pgRow struct{ pgx.Rows }

// Scan implements Scanner.
func (r pgRow) Scan(dest ...any) error {
	values, fields := r.RawValues(), r.FieldDescriptions()
	if len(values) != len(dest) || len(fields) != len(dest) {
		return r.Rows.Scan(dest...)
	}
	for i, d := range dest {
		if !scanRaw(d, values[i], fields[i].DataTypeOID, fields[i].Format) {
			return r.Rows.Scan(dest...) // all of them, or says what is wrong
		}
	}
	return nil
}

// scanRaw scans a value of a few types into a pointer to their own type in Go; false for any other, and for a NULL that such a
// pointer cannot hold.
func scanRaw(dest any, v []byte, oid uint32, format int16) bool {
	inBinary := format == pgx.BinaryFormatCode
	switch d := dest.(type) {
	case *[]byte:
		if oid != pgtype.ByteaOID || !inBinary {
			return false
		}
		if *d = nil; v != nil {
			*d = append(make([]byte, 0, len(v)), v...) // v is the connection's
		}
	case *sql.RawBytes:
		if oid != pgtype.ByteaOID || !inBinary {
			return false
		}
		*d = v
	case *string:
		if v == nil || oid != pgtype.TextOID {
			return false
		}
		*d = string(v)
	case *int64:
		if len(v) != 8 || oid != pgtype.Int8OID || !inBinary {
			return false
		}
		*d = int64(binary.BigEndian.Uint64(v)) //nolint:gosec // the bits are the number
	case *bool:
		if len(v) != 1 || oid != pgtype.BoolOID || !inBinary {
			return false
		}
		*d = v[0] != 0
	default:
		return false
	}
	return true
}

// pgUnder returns the connection below database/sql and otelsql.
func pgUnder(c any) (*pgConn, error) {
	for {
		switch inner := c.(type) {
		case *pgConn:
			return inner, nil
		case interface{ Raw() driver.Conn }: // otelsql
			c = inner.Raw()
		default:
			return nil, fmt.Errorf("a connection of type %T", c)
		}
	}
}
