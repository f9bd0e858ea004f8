package store

import (
	"context"
	"database/sql"
	"time"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
)

// States of a change in the inbox. Every change is in exactly one.
const (
	// Retrying: its effect waits to be written to some system.
	Retrying = "retrying"
	// Applied: it changed the golden record, which has reached every system.
	Applied = "applied"
	// Unchanged: it said nothing new.
	Unchanged = "unchanged"
	// Superseded: a newer version of the record had been looked at before.
	Superseded = "superseded"
	// Refused: it was given up, by a rule or by a person.
	Refused = "refused"
	// Parked: a dead letter holds it.
	Parked = "parked"
)

// Inbox is a change that came in.
type Inbox struct {
	System, ChangeID string
	Object           golden.Object
	RecordID         string
	GoldenID         golden.ID
	State            string
	// Echo is true when the change showed only what Selfsame had written.
	Echo        bool
	Received    time.Time
	Traceparent string
}

// Seen returns which of the changes of a system have come in before, with the golden record they belong to.
func (r Reader) Seen(ctx context.Context, system string, ids []string) (map[string]golden.ID, error) {
	out := map[string]golden.ID{}
	err := chunks(r, ids, func(ids []string) error {
		return r.query(ctx, "read inbox", "SELECT change_id, golden_id FROM inbox WHERE system = $1 AND change_id "+r.oneOf(1, len(ids)),
			bound(r, []any{system}, ids), func(rows *sql.Rows) error {
				var id string
				var g golden.ID
				err := rows.Scan(&id, &g)
				out[id] = g
				return err
			})
	})
	return out, err
}

// Traces returns the traceparents of changes of a system that are still kept and were traced, by change id.
func (r Reader) Traces(ctx context.Context, system string, ids []string) (map[string]string, error) {
	out := map[string]string{}
	err := chunks(r, ids, func(ids []string) error {
		return r.query(ctx, "read traces", "SELECT change_id, traceparent FROM inbox WHERE system = $1 AND traceparent <> '' AND change_id "+
			r.among(1, len(ids)), bound(r, []any{system}, ids), func(rows *sql.Rows) error {
			var id, trace string
			err := rows.Scan(&id, &trace)
			out[id] = trace
			return err
		})
	})
	return out, err
}

// AddInbox notes changes. A change that is there already is an error: ask Seen first, under LockIdentity.
func (t *Tx) AddInbox(ctx context.Context, changes []Inbox) error {
	rows := make([][]any, len(changes))
	received := map[string]int64{}
	for i, c := range changes {
		rows[i] = []any{c.System, c.ChangeID, string(c.Object), c.RecordID, string(c.GoldenID), c.State, c.Echo, db.Micros(c.Received), c.Traceparent}
		received[c.System]++
	}
	err := t.insert(ctx, "write inbox", "INSERT INTO inbox (system, change_id, object, record_id, golden_id, state, echo, received_us, traceparent)", "", rows)
	if err != nil {
		return err
	}
	t.AddTotals("received", received)
	return nil
}

// Settle brings the changes of golden records that wait for deliveries to the state that follows from what is left:
// parked while a dead letter is open, else retrying while a mark exists, else applied.
func (t *Tx) Settle(ctx context.Context, ids []golden.ID) error {
	return chunks(t.Reader, ids, func(ids []golden.ID) error {
		open := map[golden.ID]bool{}
		err := t.query(ctx, "read open dead letters", `SELECT golden_id FROM dead_letter WHERE state = 'OPEN' AND direction = 'deliver'
			AND golden_id `+t.among(0, len(ids)), bound(t.Reader, nil, texts(ids)), func(rows *sql.Rows) error {
			var id golden.ID
			err := rows.Scan(&id)
			open[id] = true
			return err
		})
		if err != nil {
			return err
		}
		marked, err := t.Marked(ctx, ids)
		if err != nil {
			return err
		}
		byState := map[string][]golden.ID{}
		for _, id := range ids {
			state := Applied
			switch {
			case open[id]:
				state = Parked
			case len(marked[id]) > 0:
				state = Retrying
			}
			byState[state] = append(byState[state], id)
		}
		for _, state := range []string{Applied, Retrying, Parked} {
			if err := t.moveOpen(ctx, byState[state], state); err != nil {
				return err
			}
		}
		return nil
	})
}

func (t *Tx) moveOpen(ctx context.Context, ids []golden.ID, state string) error {
	if len(ids) == 0 {
		return nil
	}
	_, err := t.exec(ctx, "settle changes", "UPDATE inbox SET state = $1 WHERE state IN ('retrying', 'parked') AND state <> $1 AND golden_id "+
		t.among(1, len(ids)), bound(t.Reader, []any{state}, texts(ids))...)
	return err
}

// RefuseParked gives up the parked changes of a golden record, if no dead letter of it is open any more.
func (t *Tx) RefuseParked(ctx context.Context, id golden.ID) error {
	_, err := t.exec(ctx, "refuse changes", `UPDATE inbox SET state = 'refused' WHERE golden_id = $1 AND state IN ('retrying', 'parked')
		AND state = 'parked' AND NOT EXISTS (SELECT 1 FROM dead_letter d WHERE d.golden_id = $1 AND d.state = 'OPEN' AND d.direction = 'deliver')`, string(id))
	return err
}

// MoveParked changes the state of changes of one record that intake had parked.
func (t *Tx) MoveParked(ctx context.Context, ref golden.Ref, state string) error {
	_, err := t.exec(ctx, "settle parked changes", `UPDATE inbox SET state = $4 WHERE state = 'parked' AND system = $1 AND record_id = $3
		AND object = $2 AND golden_id = ''`, ref.System, string(ref.Object), ref.RecordID, state)
	return err
}
