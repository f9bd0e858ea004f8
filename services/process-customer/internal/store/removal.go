package store

import (
	"context"
	"database/sql"
	"time"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
)

// Held is a deletion that is not carried out in a system before a person confirms it.
type Held struct {
	System   string
	Object   golden.Object
	GoldenID golden.ID
	Since    time.Time
}

// waiting says that a mark is a deletion that waits for a person.
const waiting = "held_us > 0 AND NOT confirmed"

// Hold gives claimed marks of one system back: their deletions wait for a person. They are looked at again when they are
// due, because the record may have been undeleted meanwhile.
func (t *Tx) Hold(ctx context.Context, system string, claimed []Claimed, reason string, now, due time.Time) error {
	back := make([]Retry, len(claimed))
	for i, c := range claimed {
		back[i] = Retry{Claimed: c, Due: due, Reason: reason}
	}
	if err := t.Again(ctx, system, back); err != nil {
		return err
	}
	_, err := t.exec(ctx, "hold deletions", "UPDATE pending SET held_us = $3 WHERE system = $1 AND reason = $2 AND held_us = 0", system, reason, db.Micros(now))
	return err
}

// Confirm lets the deletions of one system be carried out that were held at or before a time, and returns how many these
// are. Those that are held later wait.
func (t *Tx) Confirm(ctx context.Context, system string, until, now time.Time) (int64, error) {
	return t.exec(ctx, "confirm deletions", "UPDATE pending SET confirmed = TRUE, reason = '', due_us = $2 WHERE system = $1 AND held_us <= $3 AND "+waiting,
		system, db.Micros(now), db.Micros(until))
}

// Holds reports whether deletions of a system wait for a person.
func (r Reader) Holds(ctx context.Context, system string) (bool, error) {
	held := false
	err := r.query(ctx, "look for held deletions", "SELECT 1 FROM pending WHERE system = $1 AND "+waiting+" LIMIT 1", []any{system}, func(rows *sql.Rows) error {
		var one int
		held = true
		return rows.Scan(&one)
	})
	return held, err
}

// Held returns the deletions that wait for a person, oldest first, after the given one; the zero Held begins. An empty
// system means all.
func (r Reader) Held(ctx context.Context, system string, after Held, limit int) ([]Held, error) {
	var since int64
	if !after.Since.IsZero() {
		since = db.Micros(after.Since)
	}
	var out []Held
	err := r.query(ctx, "read held deletions", "SELECT system, object, golden_id, held_us FROM pending WHERE "+waiting+
		" AND (CAST($1 AS TEXT) = '' OR system = $1) AND (held_us, system, golden_id) > ($2, $3, $4) ORDER BY held_us, system, golden_id LIMIT $5",
		[]any{system, since, after.System, string(after.GoldenID), limit}, func(rows *sql.Rows) error {
			var h Held
			var us int64
			err := rows.Scan(&h.System, &h.Object, &h.GoldenID, &us)
			h.Since = db.FromMicros(us)
			out = append(out, h)
			return err
		})
	return out, err
}

// NoteRemovals notes that records are about to be deleted in a system of which nobody was asked, and returns how many there
// are within the window that ends now, these included. A record counts once.
func (t *Tx) NoteRemovals(ctx context.Context, system string, ids []golden.ID, now time.Time, window time.Duration) (n int64, err error) {
	if _, err := t.exec(ctx, "forget deletions", "DELETE FROM removal WHERE system = $1 AND at_us < $2", system, db.Micros(now.Add(-window))); err != nil {
		return 0, err
	}
	rows := make([][]any, len(ids))
	for i, id := range ids {
		rows[i] = []any{system, string(id), db.Micros(now)}
	}
	if err := t.insert(ctx, "note deletions", "INSERT INTO removal (system, golden_id, at_us)", "ON CONFLICT (system, golden_id) DO UPDATE SET at_us = excluded.at_us", rows); err != nil {
		return 0, err
	}
	err = t.query(ctx, "count deletions", "SELECT COUNT(*) FROM removal WHERE system = $1", []any{system}, func(rows *sql.Rows) error { return rows.Scan(&n) })
	return n, err
}

// DropRemovals forgets what was noted at a time: it is not deleted, after all.
func (t *Tx) DropRemovals(ctx context.Context, system string, at time.Time) error {
	_, err := t.exec(ctx, "forget deletions", "DELETE FROM removal WHERE system = $1 AND at_us = $2", system, db.Micros(at))
	return err
}
