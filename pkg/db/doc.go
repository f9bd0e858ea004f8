// Package db opens the one database of a service: an SQLite file or PostgreSQL, behind the same portable SQL.
//
// The invariant: when [DB.Tx] returns nil, everything its function wrote is on disk, together; when it returns an
// error, nothing is, unless the error is of kind Uncertain (the connection broke during COMMIT). Both engines are
// used the way that measured best: SQLite has one writer that commits all waiting callers with one fsync, and runs
// them again without one that fails; PostgreSQL runs plain concurrent transactions at READ COMMITTED.
//
// SQL is written once: parameters $1 … $n, BYTEA, BIGINT microseconds, ON CONFLICT … RETURNING. READ COMMITTED lets
// two readers race where SQLite does not, so every update that depends on a read compares what it read
// (WHERE version = $n). What differs is behind [DB.SkipLocked] and [DB.Lock].
//
// The package has no query builder and no mapping, and it never calls a remote system inside a transaction;
// neither should you.
package db
