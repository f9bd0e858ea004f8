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
	var fresh []string
	for i, c := range claimed {
		back[i] = Retry{Claimed: c, Due: due, Reason: reason}
		if !c.Held {
			fresh = append(fresh, string(c.GoldenID))
		}
	}
	if err := t.Again(ctx, system, back); err != nil {
		return err
	}
	return chunks(t.Reader, fresh, func(ids []string) error {
		_, err := t.exec(ctx, "hold deletions", "UPDATE pending SET held_us = $3 WHERE system = $1 AND reason = $2 AND held_us = 0 AND golden_id "+t.among(3, len(ids)),
			bound(t.Reader, []any{system, reason, db.Micros(now)}, ids)...)
		return err
	})
}

// Release forgets what was held or confirmed of marks of one system that are no deletions any more: the next deletion of these
// records is asked about anew.
func (t *Tx) Release(ctx context.Context, system string, ids []golden.ID) error {
	return chunks(t.Reader, texts(ids), func(ids []string) error {
		_, err := t.exec(ctx, "release deletions", "UPDATE pending SET held_us = 0, confirmed = FALSE WHERE system = $1 AND golden_id "+t.among(1, len(ids)),
			bound(t.Reader, []any{system}, ids)...)
		return err
	})
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

// NoteRemovals notes that records are about to be deleted in a system of which nobody was asked. It reports false, and notes
// nothing, if these were more than the limit within the window that ends now. A record counts once.
func (t *Tx) NoteRemovals(ctx context.Context, system string, ids []golden.ID, limit int, now time.Time, window time.Duration) (bool, error) {
	if _, err := t.exec(ctx, "forget deletions", "DELETE FROM removal WHERE system = $1 AND at_us < $2", system, db.Micros(now.Add(-window))); err != nil {
		return false, err
	}
	all := map[golden.ID]bool{}
	err := t.query(ctx, "count deletions", "SELECT golden_id FROM removal WHERE system = $1", []any{system}, func(rows *sql.Rows) error {
		var id golden.ID
		err := rows.Scan(&id)
		all[id] = true
		return err
	})
	if err != nil {
		return false, err
	}
	rows := make([][]any, len(ids))
	for i, id := range ids {
		rows[i] = []any{system, string(id), db.Micros(now)}
		all[id] = true
	}
	if len(all) > limit {
		return false, nil
	}
	return true, t.insert(ctx, "note deletions", "INSERT INTO removal (system, golden_id, at_us)", "ON CONFLICT (system, golden_id) DO UPDATE SET at_us = excluded.at_us", rows)
}
