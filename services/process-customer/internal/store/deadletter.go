package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
)

// Directions of dead letters.
const (
	DirectionIntake  = "intake"
	DirectionDeliver = "deliver"
)

// States of dead letters.
const (
	DeadOpen      = "OPEN"
	DeadRetried   = "RETRIED"
	DeadDiscarded = "DISCARDED"
	DeadResolved  = "RESOLVED"
)

// ReasonParentParked is why a contact is a dead letter whose customer is one: it goes on by itself when the customer does.
const ReasonParentParked = "PARENT_PARKED"

// DeadLetter is something that could not be taken in or delivered. It holds no values.
type DeadLetter struct {
	ID, Direction string
	Ref           golden.Ref // the record, as far as known
	GoldenID      golden.ID
	ChangeID      string
	// Version is that of the record that could not be taken in; zero when it is not known, and for deliveries.
	Version       int64
	Reason, Field string
	Message       string
	Attempts      int
	Parked        time.Time
	State         string
	Settled       time.Time
	Note          string
}

const deadColumns = `id, direction, system, object, golden_id, record_id, change_id, reason, field, message, attempts, parked_us,
	state, settled_us, note, version`

func scanDead(row interface{ Scan(...any) error }) (DeadLetter, error) {
	var d DeadLetter
	var parked, settled int64
	err := row.Scan(&d.ID, &d.Direction, &d.Ref.System, &d.Ref.Object, &d.GoldenID, &d.Ref.RecordID, &d.ChangeID, &d.Reason, &d.Field,
		&d.Message, &d.Attempts, &parked, &d.State, &settled, &d.Note, &d.Version)
	d.Parked, d.Settled = db.FromMicros(parked), db.FromMicros(settled)
	return d, err
}

func (r Reader) deads(ctx context.Context, where string, args []any) ([]DeadLetter, error) {
	var out []DeadLetter
	err := r.query(ctx, "read dead letters", "SELECT "+deadColumns+" FROM dead_letter WHERE "+where, args, func(rows *sql.Rows) error {
		d, err := scanDead(rows)
		out = append(out, d)
		return err
	})
	return out, err
}

// DeadLetter returns one dead letter; ErrNotFound when there is none.
func (r Reader) DeadLetter(ctx context.Context, id string) (DeadLetter, error) {
	d, err := scanDead(r.q.QueryRowContext(ctx, "SELECT "+deadColumns+" FROM dead_letter WHERE id = $1", id))
	if errors.Is(err, sql.ErrNoRows) {
		return d, fmt.Errorf("dead letter %s: %w", id, ErrNotFound)
	}
	if err != nil {
		return d, fmt.Errorf("read dead letter %s: %w", id, err)
	}
	return d, nil
}

// ListDeadLetters returns dead letters, oldest first, after (parked, id); only open ones unless settled, only those of
// system unless it is empty.
func (r Reader) ListDeadLetters(ctx context.Context, system string, settled bool, parked time.Time, id string, limit int) ([]DeadLetter, error) {
	return r.deads(ctx, `(parked_us, id) > ($1, $2) AND ($3 = '' OR system = $3) AND ($4 OR state = 'OPEN') ORDER BY parked_us, id LIMIT $5`,
		[]any{db.Micros(parked), id, system, settled, limit})
}

// OpenLetters returns those of the named dead letters that are open.
func (r Reader) OpenLetters(ctx context.Context, ids []string) ([]DeadLetter, error) {
	var out []DeadLetter
	err := chunks(r, ids, func(ids []string) error {
		got, err := r.deads(ctx, "state = 'OPEN' AND id "+r.among(0, len(ids)), bound(r, nil, ids))
		out = append(out, got...)
		return err
	})
	return out, err
}

// OpenIntake returns the open dead letters of records that could not be taken in.
func (r Reader) OpenIntake(ctx context.Context, system string, ids []string) ([]DeadLetter, error) {
	var out []DeadLetter
	err := chunks(r, ids, func(ids []string) error {
		got, err := r.deads(ctx, "state = 'OPEN' AND direction = 'intake' AND system = $1 AND record_id "+r.among(1, len(ids)),
			bound(r, []any{system}, ids))
		out = append(out, got...)
		return err
	})
	return out, err
}

// OpenDeliver returns the open dead letters of deliveries to a system, by golden record.
func (r Reader) OpenDeliver(ctx context.Context, system string, ids []golden.ID) (map[golden.ID]DeadLetter, error) {
	out := map[golden.ID]DeadLetter{}
	err := chunks(r, ids, func(ids []golden.ID) error {
		got, err := r.deads(ctx, "state = 'OPEN' AND direction = 'deliver' AND system = $1 AND golden_id "+r.among(1, len(ids)),
			bound(r, []any{system}, texts(ids)))
		for _, d := range got {
			out[d.GoldenID] = d
		}
		return err
	})
	return out, err
}

// ParkedUnder returns the contacts of customers that are dead letters of a system because their customer was one.
func (r Reader) ParkedUnder(ctx context.Context, system string, parents []golden.ID) ([]golden.ID, error) {
	var out []golden.ID
	err := chunks(r, parents, func(ids []golden.ID) error {
		return r.query(ctx, "read contacts of parked customers", `SELECT golden_id FROM dead_letter WHERE state = 'OPEN' AND direction = 'deliver'
			AND system = $1 AND reason = $2 AND golden_id IN (SELECT id FROM golden WHERE parent_id `+r.among(2, len(ids))+") ORDER BY golden_id",
			bound(r, []any{system, ReasonParentParked}, texts(ids)), func(rows *sql.Rows) error {
				var id golden.ID
				err := rows.Scan(&id)
				out = append(out, id)
				return err
			})
	})
	return out, err
}

// CountDead counts open dead letters by direction and system, and tells when the oldest was parked.
func (r Reader) CountDead(ctx context.Context) (map[string]map[string]int64, time.Time, error) {
	out := map[string]map[string]int64{}
	var oldest int64
	err := r.query(ctx, "count dead letters", "SELECT direction, system, COUNT(*), MIN(parked_us) FROM dead_letter WHERE state = 'OPEN' GROUP BY direction, system",
		nil, func(rows *sql.Rows) error {
			var direction, system string
			var n, parked int64
			err := rows.Scan(&direction, &system, &n, &parked)
			if out[direction] == nil {
				out[direction] = map[string]int64{}
			}
			out[direction][system] = n
			if oldest == 0 || parked < oldest {
				oldest = parked
			}
			return err
		})
	return out, db.FromMicros(oldest), err
}

// Park keeps dead letters. One that is open for the same delivery or record gets the new reason and one attempt more.
func (t *Tx) Park(ctx context.Context, letters []DeadLetter) error {
	for _, direction := range []string{DirectionDeliver, DirectionIntake} {
		var rows [][]any
		for _, d := range letters {
			if d.Direction == direction {
				rows = append(rows, []any{
					d.ID, d.Direction, d.Ref.System, string(d.Ref.Object), string(d.GoldenID), d.Ref.RecordID, d.ChangeID, d.Reason, d.Field,
					d.Message, d.Attempts, db.Micros(d.Parked), DeadOpen, 0, "", d.Version,
				})
			}
		}
		target := "(system, golden_id) WHERE state = 'OPEN' AND direction = 'deliver'"
		if direction == DirectionIntake {
			target = "(system, object, record_id) WHERE state = 'OPEN' AND direction = 'intake'"
		}
		err := t.insert(ctx, "park", "INSERT INTO dead_letter ("+deadColumns+")", "ON CONFLICT "+target+` DO UPDATE SET
			attempts = dead_letter.attempts + excluded.attempts, reason = excluded.reason, field = excluded.field, message = excluded.message,
			change_id = excluded.change_id,
			version = CASE WHEN dead_letter.version > excluded.version THEN dead_letter.version ELSE excluded.version END`, rows)
		if err != nil {
			return err
		}
	}
	return nil
}

// SettleDead moves open dead letters to a settled state and returns those it moved.
func (t *Tx) SettleDead(ctx context.Context, ids []string, state, note string, now time.Time) ([]string, error) {
	var moved []string
	err := chunks(t.Reader, ids, func(ids []string) error {
		return t.query(ctx, "settle dead letters", "UPDATE dead_letter SET state = $1, note = $2, settled_us = $3 WHERE state = 'OPEN' AND id "+
			t.among(3, len(ids))+" RETURNING id", bound(t.Reader, []any{state, note, db.Micros(now)}, ids), func(rows *sql.Rows) error {
			var id string
			err := rows.Scan(&id)
			moved = append(moved, id)
			return err
		})
	})
	return moved, err
}
