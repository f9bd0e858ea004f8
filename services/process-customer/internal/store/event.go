package store

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
)

// Event is one thing that happened to a golden record; it names fields and never holds their values.
type Event struct {
	Position    int64
	At          time.Time
	GoldenID    golden.ID
	Kind        string
	System      string
	RecordID    string
	ChangeID    string
	Fields      []string
	Reason      string
	Traceparent string
}

// AddEvents appends to the audit trail. Positions grow in commit order if the caller holds LockIdentity.
func (t *Tx) AddEvents(ctx context.Context, events []Event) error {
	if len(events) == 0 {
		return nil
	}
	var last int64
	err := t.tx.QueryRowContext(ctx, "UPDATE sequence SET value = value + $1 WHERE name = 'event' RETURNING value", len(events)).Scan(&last)
	if err != nil {
		return fmt.Errorf("number events: %w", err)
	}
	rows := make([][]any, len(events))
	for i, e := range events {
		rows[i] = []any{
			last - int64(len(events)) + int64(i) + 1, db.Micros(e.At), string(e.GoldenID), e.Kind, e.System, e.RecordID, e.ChangeID,
			strings.Join(e.Fields, ","), e.Reason, e.Traceparent,
		}
	}
	return t.insert(ctx, "write events", "INSERT INTO event (position, at_us, golden_id, kind, system, record_id, change_id, fields, reason, traceparent)", "", rows)
}

// ListEvents returns the events of a golden record after a position, oldest first.
func (r Reader) ListEvents(ctx context.Context, id golden.ID, after int64, limit int) ([]Event, error) {
	var out []Event
	err := r.query(ctx, "read events", `SELECT position, at_us, golden_id, kind, system, record_id, change_id, fields, reason, traceparent
		FROM event WHERE golden_id = $1 AND position > $2 ORDER BY position LIMIT $3`, []any{string(id), after, limit}, func(rows *sql.Rows) error {
		var e Event
		var at int64
		var fields string
		if err := rows.Scan(&e.Position, &at, &e.GoldenID, &e.Kind, &e.System, &e.RecordID, &e.ChangeID, &fields, &e.Reason, &e.Traceparent); err != nil {
			return err
		}
		e.At = db.FromMicros(at)
		if fields != "" {
			e.Fields = strings.Split(fields, ",")
		}
		out = append(out, e)
		return nil
	})
	return out, err
}
