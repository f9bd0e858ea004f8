package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/pkg/priority"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/audit"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
)

// Kinds of writes that were noted in shadow mode.
const (
	ShadowCreate = "create"
	ShadowUpdate = "update"
	ShadowDelete = "delete"
	// ShadowLink: only our id would have been written.
	ShadowLink = "link"
)

// ShadowWrite is one field that would have been written to a system.
type ShadowWrite struct {
	System   string
	GoldenID golden.ID
	// RecordID is empty for a record that would have been created, Field for a record as a whole.
	RecordID, Field string
	Object          golden.Object
	Kind            string
	// Before is what the system held, Intended what would have been written; personal data.
	Before, Intended string
	Since            time.Time
}

// PutShadow notes what would have been written; what was noted about the same field before is replaced and keeps its age.
func (t *Tx) PutShadow(ctx context.Context, writes []ShadowWrite) error {
	var subjects []string
	seen := map[string]bool{}
	for i := range writes {
		if s := string(writes[i].GoldenID); !seen[s] {
			seen[s] = true
			subjects = append(subjects, s)
		}
	}
	keys, err := t.subjectKeys(ctx, subjects, nil)
	if err != nil {
		return err
	}
	rows := make([][]any, 0, len(writes))
	for i := range writes {
		w := &writes[i]
		subject := string(w.GoldenID)
		sealed, err := audit.Seal(keys[subject], subject, audit.Detail{Fields: []audit.Field{{Name: w.Field, Before: w.Before, After: w.Intended}}})
		if err != nil {
			return err
		}
		rows = append(rows, []any{w.System, subject, w.RecordID, w.Field, string(w.Object), w.Kind, sealed, db.Micros(w.Since)})
	}
	return t.insert(ctx, "note shadow writes", "INSERT INTO shadow_write (system, golden_id, record_id, field, object, kind, detail, since_us)",
		"ON CONFLICT (system, golden_id, record_id, field) DO UPDATE SET kind = excluded.kind, detail = excluded.detail", rows)
}

// EndShadow forgets everything noted about a system and marks the records concerned to be written, which may be very many.
func (t *Tx) EndShadow(ctx context.Context, system, traceparent string, now time.Time) error {
	ctx = priority.With(ctx, priority.Bulk)
	for after := ""; ; {
		var marks []Mark
		err := t.query(ctx, "read shadowed records", `SELECT DISTINCT golden_id, object FROM shadow_write WHERE system = $1 AND golden_id > $2
			ORDER BY golden_id LIMIT $3`, []any{system, after, maxRows}, func(rows *sql.Rows) error {
			m := Mark{System: system, Traceparent: traceparent}
			err := rows.Scan(&m.GoldenID, &m.Object)
			marks = append(marks, m)
			return err
		})
		if err != nil {
			return err
		}
		if len(marks) == 0 {
			break
		}
		after = string(marks[len(marks)-1].GoldenID)
		if err := t.Mark(ctx, marks, now); err != nil {
			return err
		}
	}
	_, err := t.exec(ctx, "end shadow", "DELETE FROM shadow_write WHERE system = $1", system)
	return err
}

// ShadowWrites returns what was noted about a system in the order of its keys, after one.
func (r Reader) ShadowWrites(ctx context.Context, system string, after ShadowWrite, limit int) ([]ShadowWrite, error) {
	return r.shadowWrites(ctx, "system = $1 AND (golden_id, record_id, field) > ($2, $3, $4) ORDER BY golden_id, record_id, field LIMIT $5",
		[]any{system, string(after.GoldenID), after.RecordID, after.Field, limit})
}

// ShadowOf returns what was noted about golden records and a system.
func (r Reader) ShadowOf(ctx context.Context, system string, ids []golden.ID) ([]ShadowWrite, error) {
	var out []ShadowWrite
	err := chunks(r, ids, func(ids []golden.ID) error {
		got, err := r.shadowWrites(ctx, "system = $1 AND golden_id "+r.among(1, len(ids))+" ORDER BY golden_id, record_id, field", bound(r, []any{system}, texts(ids)))
		out = append(out, got...)
		return err
	})
	return out, err
}

// CountShadowed counts the golden records about which something was noted.
func (r Reader) CountShadowed(ctx context.Context, system string) (n int64, err error) {
	err = r.query(ctx, "count shadow writes", "SELECT COUNT(DISTINCT golden_id) FROM shadow_write WHERE system = $1", []any{system},
		func(rows *sql.Rows) error { return rows.Scan(&n) })
	return n, err
}

// shadowWrites leaves out what can no longer be opened: it was erased.
func (r Reader) shadowWrites(ctx context.Context, where string, args []any) ([]ShadowWrite, error) {
	var all []ShadowWrite
	var sealed [][]byte
	var subjects []string
	err := r.query(ctx, "read shadow writes", "SELECT system, golden_id, record_id, field, object, kind, detail, since_us FROM shadow_write WHERE "+where, args,
		func(rows *sql.Rows) error {
			var w ShadowWrite
			var detail []byte
			var since int64
			err := rows.Scan(&w.System, &w.GoldenID, &w.RecordID, &w.Field, &w.Object, &w.Kind, &detail, &since)
			w.Since = db.FromMicros(since)
			all, sealed, subjects = append(all, w), append(sealed, detail), append(subjects, string(w.GoldenID))
			return err
		})
	if err != nil {
		return nil, err
	}
	keys, err := r.readKeys(ctx, subjects)
	if err != nil {
		return nil, err
	}
	out := make([]ShadowWrite, 0, len(all))
	for i, w := range all {
		key := keys[subjects[i]]
		if key == nil {
			continue
		}
		d, err := audit.Open(key, subjects[i], sealed[i])
		if errors.Is(err, audit.ErrSealed) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("shadow write of %s: %w", w.GoldenID, err)
		}
		if len(d.Fields) == 1 {
			w.Before, w.Intended = d.Fields[0].Before, d.Fields[0].After
		}
		out = append(out, w)
	}
	return out, nil
}
