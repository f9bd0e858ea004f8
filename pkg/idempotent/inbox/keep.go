package inbox

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

const (
	sqlCheckpoint = `INSERT INTO inbox_position (consumer, stream, position, token) VALUES ($1, $2, $3, $4)
 ON CONFLICT (consumer, stream) DO UPDATE SET position = $3, token = $4 WHERE inbox_position.position <= $3`

	sqlPassed = `DELETE FROM inbox_message WHERE consumer = $1 AND stream = $2 AND position <= $3 AND state = 'd'`

	sqlToken = `SELECT position, token FROM inbox_position WHERE consumer = $1 AND stream = $2`

	// What was checkpointed away needs no row; a message that failed and never came again was given up by the broker.
	sqlForget = `DELETE FROM inbox_message WHERE consumer = $1 AND k IN (SELECT k FROM inbox_message
 WHERE consumer = $1 AND state IN ('d', 'f', 'x') AND at <= $2 LIMIT $3)`

	sqlForgetObjects = `DELETE FROM inbox_object WHERE consumer = $1 AND object IN (SELECT object FROM inbox_object
 WHERE consumer = $1 AND at <= $2 LIMIT $3)`

	sqlStats = `SELECT COALESCE(SUM(CASE WHEN state = 'd' THEN 1 ELSE 0 END), 0), COALESCE(SUM(CASE WHEN state = 'f' THEN 1 ELSE 0 END), 0),
 COALESCE(SUM(CASE WHEN state = 'p' THEN 1 ELSE 0 END), 0), COALESCE(MIN(CASE WHEN state = 'p' THEN at END), 0)
 FROM inbox_message WHERE consumer = $1`
)

// Checkpoint says that every message of the stream up to position has its verdict. Nothing is kept of them any more: what
// is at or below a checkpoint is a duplicate. Token is the broker's own word for the place, if it has one. An older
// checkpoint than the one that is known changes nothing.
func (in *Inbox) Checkpoint(ctx context.Context, stream string, position int64, token []byte) error {
	return in.db.Tx(ctx, func(ctx context.Context, tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, sqlCheckpoint, in.consumer, stream, position, token); err != nil {
			return fmt.Errorf("checkpoint: %w", err)
		}
		if _, err := tx.ExecContext(ctx, sqlPassed, in.consumer, stream, position); err != nil {
			return fmt.Errorf("checkpoint: %w", err)
		}
		return nil
	})
}

// Position returns the last checkpoint of the stream; false if there is none.
func (in *Inbox) Position(ctx context.Context, stream string) (position int64, token []byte, ok bool, err error) {
	err = in.db.Read().QueryRowContext(ctx, sqlToken, in.consumer, stream).Scan(&position, &token)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return 0, nil, false, nil
	case err != nil:
		return 0, nil, false, fmt.Errorf("read checkpoint: %w", err)
	default:
		return position, token, true, nil
	}
}

// Purge forgets what is past the retention, at most limit messages and limit objects, and returns how many. Parked
// messages stay until a person decides.
func (in *Inbox) Purge(ctx context.Context, limit int) (int, error) {
	before := in.at() - in.opts.Retention.Microseconds()
	total := 0
	for _, text := range []string{sqlForget, sqlForgetObjects} {
		var n int64
		err := in.db.Tx(ctx, func(ctx context.Context, tx *sql.Tx) error {
			res, err := tx.ExecContext(ctx, text, in.consumer, before, limit)
			if err != nil {
				return err
			}
			n, err = res.RowsAffected()
			return err
		})
		if err != nil {
			return total, fmt.Errorf("purge inbox: %w", err)
		}
		total += int(n)
	}
	return total, nil
}

// Stats is how much an inbox holds.
type Stats struct {
	// Remembered are processed messages that are still known by their id or position.
	Remembered int64
	// Failing are messages that failed and will be delivered again.
	Failing int64
	// Parked are messages that wait for a person, the oldest since OldestParked.
	Parked       int64
	OldestParked time.Time
}

// Stats counts; it reads the consumer's whole table and is meant for a page or a metric that is asked for now and then.
func (in *Inbox) Stats(ctx context.Context) (s Stats, err error) {
	var oldest int64
	err = in.db.Read().QueryRowContext(ctx, sqlStats, in.consumer).Scan(&s.Remembered, &s.Failing, &s.Parked, &oldest)
	if err != nil {
		return Stats{}, fmt.Errorf("inbox statistics: %w", err)
	}
	if s.Parked > 0 {
		s.OldestParked = time.UnixMicro(oldest).UTC()
	}
	return s, nil
}
