package inbox

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/pkg/fault"
)

// The states of a row: d processed, f failed at least once, p parked, x discarded by a person.

const (
	sqlKnown = `SELECT state, digest FROM inbox_message WHERE consumer = $1 AND k = $2`

	sqlBelow = `SELECT 1 FROM inbox_position WHERE consumer = $1 AND stream = $2 AND position >= $3`

	// A row of a failed delivery becomes that of the processed one; any other row stays. A delivery that is being
	// processed elsewhere holds the row: this waits until it is known how that ended.
	sqlRecord = `INSERT INTO inbox_message (consumer, k, stream, position, digest, state, attempts, at, id, object, major, minor, body, reason)
 VALUES ($1, $2, $3, $4, $5, 'd', 0, $6, '', '', 0, 0, NULL, '')
 ON CONFLICT (consumer, k) DO UPDATE SET state = 'd', at = $6, id = '', object = '', major = 0, minor = 0, body = NULL, reason = ''
 WHERE inbox_message.state = 'f' OR inbox_message.state = $7 RETURNING attempts`

	sqlUnrecord = `DELETE FROM inbox_message WHERE consumer = $1 AND k = $2`

	sqlVersion = `SELECT 1 FROM inbox_object WHERE consumer = $1 AND object = $2 AND (major > $3 OR (major = $3 AND minor > $4))`

	// Equal versions are applied in the order of their arrival: dropping one could lose a change.
	sqlAdvance = `INSERT INTO inbox_object (consumer, object, major, minor, at) VALUES ($1, $2, $3, $4, $5)
 ON CONFLICT (consumer, object) DO UPDATE SET major = $3, minor = $4, at = $5
 WHERE inbox_object.major < $3 OR (inbox_object.major = $3 AND inbox_object.minor <= $4) RETURNING major`
)

// known answers from what is committed: 0 means that the message is to be processed.
func (in *Inbox) known(ctx context.Context, q db.Querier, m Message) (Verdict, error) {
	k := in.digest(m)
	var state string
	var digest []byte
	err := q.QueryRowContext(ctx, sqlKnown, in.consumer, k[:]).Scan(&state, &digest)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return in.below(ctx, q, m)
	case err != nil:
		return 0, fmt.Errorf("look up message: %w", err)
	case state == "f":
		return 0, nil
	case m.changed(digest):
		return 0, errChanged()
	case state == "p":
		return Parked, nil
	default:
		return Duplicate, nil
	}
}

// below reports Duplicate for a position that the stream's checkpoint has passed.
func (in *Inbox) below(ctx context.Context, q db.Querier, m Message) (Verdict, error) {
	if m.Stream == "" {
		return 0, nil
	}
	return exists(ctx, q, Duplicate, sqlBelow, in.consumer, m.Stream, m.Position)
}

// stale reports Stale if a newer version of the object was processed.
func (in *Inbox) stale(ctx context.Context, m Message) (Verdict, error) {
	if m.Object == "" {
		return 0, nil
	}
	o := sha256.Sum256([]byte(m.Object))
	v, err := exists(ctx, in.db.Read(), Stale, sqlVersion, in.consumer, o[:], m.Version.Major, m.Version.Minor)
	if v == 0 || err != nil {
		return 0, err
	}
	return in.record(ctx, m, func(context.Context, *sql.Tx) error { return nil })
}

func exists(ctx context.Context, q db.Querier, then Verdict, query string, args ...any) (Verdict, error) {
	var one int
	err := q.QueryRowContext(ctx, query, args...).Scan(&one)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return 0, nil
	case err != nil:
		return 0, fmt.Errorf("look up message: %w", err)
	default:
		return then, nil
	}
}

// record writes that the message is processed, and runs fn in the same transaction.
func (in *Inbox) record(ctx context.Context, m Message, fn func(ctx context.Context, tx *sql.Tx) error) (Verdict, error) {
	return in.recordAs(ctx, m, "f", fn)
}

// recordAs does so for a message whose row, if there is one, is in the state from. What it finds to be done already, it
// says only after the transaction that did it is committed: its own transaction commits behind that one.
func (in *Inbox) recordAs(ctx context.Context, m Message, from string, fn func(ctx context.Context, tx *sql.Tx) error) (v Verdict, err error) {
	for range maxRaces {
		err = in.db.Tx(ctx, func(ctx context.Context, tx *sql.Tx) (err error) {
			v, err = in.write(ctx, tx, m, from, fn)
			return err
		})
		if v != 0 || err != nil {
			return v, err
		}
	}
	return 0, fault.New(fault.Conflict, "", "the message was recorded and forgotten again and again")
}

// maxRaces is how often a row may vanish between being in the way and being read.
const maxRaces = 5

func (in *Inbox) write(ctx context.Context, tx *sql.Tx, m Message, from string, fn func(ctx context.Context, tx *sql.Tx) error) (Verdict, error) {
	k := in.digest(m)
	var n int64
	err := tx.QueryRowContext(ctx, sqlRecord, in.consumer, k[:], m.Stream, m.Position, m.bodyDigest(), in.at(), from).Scan(&n)
	if errors.Is(err, sql.ErrNoRows) {
		return in.known(ctx, tx, m)
	}
	if err != nil {
		return 0, fmt.Errorf("record message: %w", err)
	}
	if from != "p" {
		// After the row is ours, not before: a checkpoint that passed the position meanwhile has removed the row of
		// the delivery that was processed, and this statement sees the checkpoint.
		v, err := in.below(ctx, tx, m)
		if err != nil {
			return 0, err
		}
		if v != 0 {
			_, err := tx.ExecContext(ctx, sqlUnrecord, in.consumer, k[:])
			return v, err
		}
	}
	if m.Object != "" {
		o := sha256.Sum256([]byte(m.Object))
		err = tx.QueryRowContext(ctx, sqlAdvance, in.consumer, o[:], m.Version.Major, m.Version.Minor, in.at()).Scan(&n)
		if errors.Is(err, sql.ErrNoRows) {
			return Stale, nil // the row of the message stays: it is skipped for good
		}
		if err != nil {
			return 0, fmt.Errorf("record version: %w", err)
		}
	}
	if err := fn(ctx, tx); err != nil {
		return 0, err
	}
	return Processed, nil
}
