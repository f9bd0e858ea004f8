package db

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"
	sqlitelib "modernc.org/sqlite/lib"

	"github.com/selfsame-io/selfsame/pkg/fault"
)

// IsUnique reports whether err is the violation of a unique constraint or primary key. On PostgreSQL the
// transaction is then aborted: prefer ON CONFLICT where the conflict is expected.
func IsUnique(err error) bool {
	if pe, ok := errors.AsType[*pgconn.PgError](err); ok {
		return pe.Code == "23505"
	}
	if se, ok := errors.AsType[*sqlite.Error](err); ok {
		switch se.Code() {
		case sqlitelib.SQLITE_CONSTRAINT_UNIQUE, sqlitelib.SQLITE_CONSTRAINT_PRIMARYKEY, sqlitelib.SQLITE_CONSTRAINT_ROWID:
			return true
		}
	}
	return false
}

// IsRetryable reports whether the same transaction may simply be tried again: a deadlock, a serialization failure,
// a busy SQLite file. Tx has by then tried PostgreSQL's several times.
func IsRetryable(err error) bool {
	if serialization(err) {
		return true
	}
	if se, ok := errors.AsType[*sqlite.Error](err); ok {
		primary := se.Code() & 0xff
		return primary == sqlitelib.SQLITE_BUSY || primary == sqlitelib.SQLITE_LOCKED
	}
	return false
}

func serialization(err error) bool {
	pe, ok := errors.AsType[*pgconn.PgError](err)
	return ok && (pe.Code == "40001" || pe.Code == "40P01")
}

// outside gives a driver error that means "not now" its kind, so that callers need not know drivers. Everything
// else, the errors of fn included, passes unchanged.
func outside(err error) error {
	if err == nil {
		return nil
	}
	if _, classified := errors.AsType[*fault.Error](err); classified {
		return err
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || !unavailable(err) {
		return err
	}
	return fault.Wrap(fault.Unavailable, fault.ReasonStoreUnavailable, err, "the database is not available")
}

func unavailable(err error) bool {
	if pe, ok := errors.AsType[*pgconn.PgError](err); ok {
		// 08 connection, 53 resources (too many connections, disk full), 57P shutdown; 25006 a read-only standby.
		return strings.HasPrefix(pe.Code, "08") || strings.HasPrefix(pe.Code, "53") ||
			strings.HasPrefix(pe.Code, "57P") || pe.Code == "25006"
	}
	if se, ok := errors.AsType[*sqlite.Error](err); ok {
		switch se.Code() & 0xff {
		case sqlitelib.SQLITE_BUSY, sqlitelib.SQLITE_LOCKED, sqlitelib.SQLITE_FULL, sqlitelib.SQLITE_IOERR,
			sqlitelib.SQLITE_CANTOPEN, sqlitelib.SQLITE_READONLY:
			return true
		}
		return false
	}
	if _, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		return true
	}
	if _, ok := errors.AsType[net.Error](err); ok {
		return true
	}
	return errors.Is(err, errGone) || errors.Is(err, driver.ErrBadConn) || errors.Is(err, sql.ErrConnDone) || pgconn.SafeToRetry(err)
}
