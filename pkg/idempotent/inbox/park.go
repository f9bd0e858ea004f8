package inbox

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/selfsame-io/selfsame/pkg/fault"
)

const (
	sqlFailed = `INSERT INTO inbox_message (consumer, k, stream, position, digest, state, attempts, at, id, object, major, minor, body, reason)
 VALUES ($1, $2, $3, $4, $5, 'f', 1, $6, '', '', 0, 0, NULL, $7)
 ON CONFLICT (consumer, k) DO UPDATE SET attempts = inbox_message.attempts + 1, at = $6, digest = $5, reason = $7
 WHERE inbox_message.state = 'f' RETURNING attempts`

	sqlPark = `UPDATE inbox_message SET state = 'p', id = $3, object = $4, major = $5, minor = $6, body = $7
 WHERE consumer = $1 AND k = $2 AND state = 'f'`

	sqlParked = `SELECT k, stream, position, attempts, at, id, object, major, minor, body, reason FROM inbox_message
 WHERE consumer = $1 AND state = 'p' AND k > $2 ORDER BY k LIMIT $3`

	sqlOneParked = `SELECT k, stream, position, attempts, at, id, object, major, minor, body, reason FROM inbox_message
 WHERE consumer = $1 AND state = 'p' AND k = $2`

	sqlDiscard = `UPDATE inbox_message SET state = 'x', at = $3, id = '', object = '', body = NULL, reason = $4
 WHERE consumer = $1 AND k = $2 AND state = 'p'`
)

// ParkedMessage is a message that failed too often. Its body holds whatever the producer sent: do not log it.
type ParkedMessage struct {
	// Message is the message; its Body is nil if it was larger than MaxBody.
	Message Message
	// Handle names it to Retry and Discard, and in logs: it tells nothing about the content.
	Handle string
	// Reason is the stable reason of the last failure.
	Reason string
	// Attempts is how often it failed.
	Attempts int64
	// At is when it failed last.
	At time.Time
}

// failed counts a failure and reports whether the message is parked now.
func (in *Inbox) failed(ctx context.Context, m Message, cause error) (parked bool, err error) {
	reason := fault.ReasonOf(cause)
	if reason == ReasonMessageChanged {
		// The row of this id tells of the message that was processed. This one gets its own.
		d := sha256.Sum256(m.Body)
		m.ID += "#" + hex.EncodeToString(d[:8])
	}
	k := in.digest(m)
	body := m.Body
	if len(body) > MaxBody {
		body = nil
	}
	err = in.db.Tx(ctx, func(ctx context.Context, tx *sql.Tx) error {
		var attempts int64
		err := tx.QueryRowContext(ctx, sqlFailed, in.consumer, k[:], m.Stream, m.Position, m.bodyDigest(), in.at(), reason).Scan(&attempts)
		if errors.Is(err, sql.ErrNoRows) {
			parked = true // settled by another delivery meanwhile, or parked before
			return nil
		}
		if err != nil {
			return fmt.Errorf("count failure of message: %w", err)
		}
		parked = attempts >= int64(in.opts.MaxAttempts)
		if !parked {
			return nil
		}
		if _, err := tx.ExecContext(ctx, sqlPark, in.consumer, k[:], m.ID, m.Object, m.Version.Major, m.Version.Minor, body); err != nil {
			return fmt.Errorf("park message: %w", err)
		}
		return nil
	})
	return parked, err
}

// Parked lists parked messages after the handle, at most limit; an empty handle starts.
func (in *Inbox) Parked(ctx context.Context, after string, limit int) ([]ParkedMessage, error) {
	from, err := hex.DecodeString(after)
	if err != nil {
		return nil, fault.InvalidField("after", ReasonMessageInvalid, "is not the handle of a message")
	}
	rows, err := in.db.Read().QueryContext(ctx, sqlParked, in.consumer, append([]byte{}, from...), limit)
	if err != nil {
		return nil, fmt.Errorf("list parked messages: %w", err)
	}
	defer rows.Close()
	var out []ParkedMessage
	for rows.Next() {
		p, err := scanParked(rows)
		if err != nil {
			return nil, fmt.Errorf("list parked messages: %w", err)
		}
		out = append(out, p)
	}
	return out, rows.Err()
}

func scanParked(row interface{ Scan(dest ...any) error }) (ParkedMessage, error) {
	var (
		p  ParkedMessage
		k  []byte
		at int64
	)
	err := row.Scan(&k, &p.Message.Stream, &p.Message.Position, &p.Attempts, &at, &p.Message.ID, &p.Message.Object,
		&p.Message.Version.Major, &p.Message.Version.Minor, &p.Message.Body, &p.Reason)
	p.Handle, p.At = hex.EncodeToString(k), time.UnixMicro(at).UTC()
	return p, err
}

func (in *Inbox) parked(ctx context.Context, handle string) (ParkedMessage, []byte, error) {
	k, err := hex.DecodeString(handle)
	if err != nil || len(k) != sha256.Size {
		return ParkedMessage{}, nil, fault.InvalidField("handle", ReasonMessageInvalid, "is not the handle of a message")
	}
	p, err := scanParked(in.db.Read().QueryRowContext(ctx, sqlOneParked, in.consumer, k))
	if errors.Is(err, sql.ErrNoRows) {
		return ParkedMessage{}, nil, fault.New(fault.NotFound, fault.ReasonNotFound, "no such message is parked")
	}
	if err != nil {
		return ParkedMessage{}, nil, fmt.Errorf("read parked message: %w", err)
	}
	return p, k, nil
}

// Retry processes a parked message as Handle would, once in effect, however many people retry it at the same time. If
// the object has a newer version by now the verdict is Stale. After an error the message stays parked.
func (in *Inbox) Retry(ctx context.Context, handle string, fn func(ctx context.Context, tx *sql.Tx, m Message) error) (Verdict, error) {
	p, _, err := in.parked(ctx, handle)
	if err != nil {
		return 0, err
	}
	return in.recordAs(ctx, p.Message, "p", func(ctx context.Context, tx *sql.Tx) error { return fn(ctx, tx, p.Message) })
}

// Discard says that a parked message is never to be processed. Reason is kept, the content is not.
func (in *Inbox) Discard(ctx context.Context, handle, reason string) error {
	_, k, err := in.parked(ctx, handle)
	if err != nil {
		return err
	}
	return in.db.Tx(ctx, func(ctx context.Context, tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, sqlDiscard, in.consumer, k, in.at(), reason); err != nil {
			return fmt.Errorf("discard message: %w", err)
		}
		return nil
	})
}
