package store

import (
	"context"
	"database/sql"
	"time"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
)

// Move says that a record went from one golden record to another when the first was merged into the second.
type Move struct {
	From, To golden.ID
	Ref      golden.Ref
	At       time.Time
}

// Moves returns what went away from a golden record.
func (r Reader) Moves(ctx context.Context, from golden.ID) ([]Move, error) {
	return r.moves(ctx, "from_id = $1 ORDER BY system, object, record_id", []any{string(from)})
}

// MovesFrom is Moves of several golden records.
func (r Reader) MovesFrom(ctx context.Context, from []golden.ID) ([]Move, error) {
	var out []Move
	err := chunks(r, from, func(ids []golden.ID) error {
		got, err := r.moves(ctx, "from_id "+r.among(0, len(ids))+" ORDER BY from_id, system, object, record_id", bound(r, nil, texts(ids)))
		out = append(out, got...)
		return err
	})
	return out, err
}

// MovesTo returns what came to golden records by merges.
func (r Reader) MovesTo(ctx context.Context, to []golden.ID) ([]Move, error) {
	var out []Move
	err := chunks(r, to, func(ids []golden.ID) error {
		got, err := r.moves(ctx, "to_id "+r.among(0, len(ids))+" ORDER BY from_id, system, object, record_id", bound(r, nil, texts(ids)))
		out = append(out, got...)
		return err
	})
	return out, err
}

// MovesOf returns where a record went, the last move last.
func (r Reader) MovesOf(ctx context.Context, ref golden.Ref) ([]Move, error) {
	return r.moves(ctx, "system = $1 AND object = $2 AND record_id = $3 ORDER BY at_us, from_id", []any{ref.System, string(ref.Object), ref.RecordID})
}

func (r Reader) moves(ctx context.Context, where string, args []any) ([]Move, error) {
	var out []Move
	err := r.query(ctx, "read moves", "SELECT from_id, system, object, record_id, to_id, at_us FROM identity_move WHERE "+where, args, func(rows *sql.Rows) error {
		var m Move
		var at int64
		err := rows.Scan(&m.From, &m.Ref.System, &m.Ref.Object, &m.Ref.RecordID, &m.To, &at)
		m.At = db.FromMicros(at)
		out = append(out, m)
		return err
	})
	return out, err
}

// AddMoves notes where records went.
func (t *Tx) AddMoves(ctx context.Context, moves []Move) error {
	rows := make([][]any, len(moves))
	for i, m := range moves {
		rows[i] = []any{string(m.From), m.Ref.System, string(m.Ref.Object), m.Ref.RecordID, string(m.To), db.Micros(m.At)}
	}
	return t.insert(ctx, "write moves", "INSERT INTO identity_move (from_id, system, object, record_id, to_id, at_us)",
		"ON CONFLICT (from_id, system, object, record_id) DO UPDATE SET to_id = excluded.to_id, at_us = excluded.at_us", rows)
}

// DropMoves forgets what went away from a golden record, once it is back.
func (t *Tx) DropMoves(ctx context.Context, from golden.ID) error {
	_, err := t.exec(ctx, "drop moves", "DELETE FROM identity_move WHERE from_id = $1", string(from))
	return err
}

// DropMovesOf forgets that golden records had a record, once it belongs to one that was merged into them.
func (t *Tx) DropMovesOf(ctx context.Context, from []golden.ID, ref golden.Ref) error {
	return chunks(t.Reader, from, func(ids []golden.ID) error {
		_, err := t.exec(ctx, "drop moves of a record", "DELETE FROM identity_move WHERE system = $1 AND object = $2 AND record_id = $3 AND from_id "+
			t.among(3, len(ids)), bound(t.Reader, []any{ref.System, string(ref.Object), ref.RecordID}, texts(ids))...)
		return err
	})
}
