package keys

import (
	"context"
	"crypto/rand"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"
	"time"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/pkg/idempotent"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Actions of operators.
const (
	Release = "RELEASE"
	Expire  = "EXPIRE"
	Erase   = "ERASE"
)

// Intervention is what an operator did to a record.
type Intervention struct {
	// Digest is the record, Attempt the attempt it was about; zero for Erase.
	Digest  idempotent.Digest
	Attempt int64
	// At is when.
	At time.Time
	// Action is Release, Expire or Erase.
	Action string
	// Operator is who did it, as they said; Caller is who called, as the connection says.
	Operator, Caller string
	// Reason is why: free text.
	Reason string
	// Done is false for one that was refused, or did not come to its end.
	Done bool
}

// Log keeps interventions in a service's own database. It never forgets one.
type Log struct {
	db  *db.DB
	now func() time.Time
}

// OpenLog opens the log in d and creates its table. A nil now means time.Now.
func OpenLog(ctx context.Context, d *db.DB, now func() time.Time) (*Log, error) {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, fmt.Errorf("log of interventions: %w", err)
	}
	if err := d.Migrate(ctx, files, "idempotency_intervention_migrations"); err != nil {
		return nil, fmt.Errorf("log of interventions: %w", err)
	}
	if now == nil {
		now = time.Now
	}
	return &Log{db: d, now: now}, nil
}

// around notes what is about to be done, does it, and notes that it was: whatever happens, nothing is done that is not in
// the log.
func (l *Log) around(ctx context.Context, i Intervention, do func() error) error {
	id := rand.Text()
	err := l.db.Tx(ctx, func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO idempotency_intervention (id, k, at, action, operator, caller, reason, attempt, done)
 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, FALSE)`, id, i.Digest[:], db.Micros(l.now()), i.Action, i.Operator, i.Caller, i.Reason, i.Attempt)
		return err
	})
	if err != nil {
		return fmt.Errorf("note an intervention: %w", err)
	}
	if err := do(); err != nil {
		return err
	}
	err = l.db.Tx(ctx, func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE idempotency_intervention SET done = TRUE WHERE id = $1`, id)
		return err
	})
	if err != nil {
		return fmt.Errorf("note the end of an intervention: %w", err)
	}
	return nil
}

// List returns the newest interventions, of one record if digest is not nil.
func (l *Log) List(ctx context.Context, digest *idempotent.Digest, limit int) ([]Intervention, error) {
	where, args := "", []any{limit}
	if digest != nil {
		where, args = "WHERE k = $2", []any{limit, digest[:]}
	}
	rows, err := l.db.Read().QueryContext(ctx, `SELECT k, at, action, operator, caller, reason, attempt, done
 FROM idempotency_intervention `+where+` ORDER BY at DESC, id LIMIT $1`, args...)
	if err != nil {
		return nil, fmt.Errorf("read interventions: %w", err)
	}
	defer rows.Close()
	var out []Intervention
	for rows.Next() {
		var i Intervention
		var k []byte
		var at int64
		if err := rows.Scan(&k, &at, &i.Action, &i.Operator, &i.Caller, &i.Reason, &i.Attempt, &i.Done); err != nil {
			return nil, fmt.Errorf("read interventions: %w", err)
		}
		copy(i.Digest[:], k)
		i.At = time.UnixMicro(at).UTC()
		out = append(out, i)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read interventions: %w", err)
	}
	return out, nil
}
