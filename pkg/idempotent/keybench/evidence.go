package keybench

import (
	"context"
	"errors"
	"time"
)

// Evidence is what replays left behind in PostgreSQL.
type Evidence struct {
	// Replays is how many were made, Windows in how many portions.
	Replays int `json:"replays"`
	Windows int `json:"windows"`
	// Silent is in how many of them the server neither wrote nor flushed any log, nor gave out a transaction id. Whatever
	// else the server does spoils some.
	Silent int `json:"silent"`
	// Locked is how many were answered while another transaction held the lock of the record.
	Locked int `json:"locked"`
	// Unchanged tells that the row is the same as before: version, locker, place.
	Unchanged bool `json:"unchanged"`
}

const (
	sqlServer = `SELECT pg_current_wal_insert_lsn()::text || ' ' || pg_current_wal_flush_lsn()::text || ' ' || pg_snapshot_xmax(pg_current_snapshot())::text`
	sqlRow    = `SELECT coalesce(string_agg(k::text || xmin::text || ' ' || xmax::text || ' ' || ctid::text, ',' ORDER BY k), '') FROM idempotency`
)

// evidence looks what replays do to the server.
func (b *Bench) evidence(ctx context.Context, w *world) error {
	b.progress("%s: what replays leave behind", GroupPostgres)
	// A store with a single record; what was measured before is removed, with its open ends.
	if _, err := w.raw.ExecContext(ctx, "TRUNCATE idempotency, raw, effect"); err != nil {
		return err
	}
	replay, err := w.replay(ctx, 1)
	if err != nil {
		return err
	}
	if _, err := w.raw.ExecContext(ctx, "CHECKPOINT"); err != nil && ctx.Err() != nil {
		return err // without the right to do that the server does it by itself
	}
	text := func(query string) (v string, err error) {
		err = w.raw.QueryRowContext(ctx, query).Scan(&v)
		return v, err
	}
	before, err := text(sqlRow)
	if err != nil {
		return err
	}
	e := &Evidence{}
	for end := time.Now().Add(25 * b.o.Round); e.Silent < 20 && time.Now().Before(end); {
		from, err := text(sqlServer)
		if err != nil {
			return err
		}
		for range 20 {
			if err := replay(ctx); err != nil {
				return err
			}
			e.Replays++
		}
		to, err := text(sqlServer)
		if err != nil {
			return err
		}
		if e.Windows++; from == to {
			e.Silent++
		}
	}
	if err := e.whileLocked(ctx, w, replay); err != nil {
		return err
	}
	after, err := text(sqlRow)
	e.Unchanged = before == after
	b.results.Evidence = e
	return err
}

// whileLocked replays while somebody else holds the lock of the record.
func (e *Evidence) whileLocked(ctx context.Context, w *world, replay work) error {
	tx, err := w.raw.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, "LOCK TABLE idempotency IN EXCLUSIVE MODE") // nobody else may lock a row, let alone change one
	for range 100 {
		if err == nil {
			if err = replay(ctx); err == nil {
				e.Locked++
			}
		}
	}
	return errors.Join(err, tx.Rollback())
}
