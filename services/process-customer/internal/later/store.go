package later

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/selfsame-io/selfsame/pkg/db"
	customerv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/customer/v1"
)

//go:embed migrations/*.sql
var migrations embed.FS

// ErrNotFound is returned for an operation that does not exist (any more).
var ErrNotFound = errors.New("no such operation")

// Operation is one order that is placed later.
type Operation struct {
	// ID names the operation.
	ID string
	// Owner is whose it is, as the caller names its users.
	Owner string
	// CustomerID is the golden customer it is for.
	CustomerID string
	// Ref is the order's reference in the ERP.
	Ref string
	// Order is what was asked for.
	Order *customerv1.NewOrder
	// Done is true when nothing more will happen; then Result or Reason is set.
	Done   bool
	Result *customerv1.OrderSummary
	// Reason is a stable word, Message the same for people.
	Reason, Message string
	Created, Due    time.Time
	// Attempt counts the tries, Fence the claims.
	Attempt, Fence int64
}

// Store keeps operations. It is safe for concurrent use.
type Store struct{ db *db.DB }

// Open brings the schema up to date and returns the store. The caller closes d. On SQLite, which one process uses at a time, what
// another one had claimed is free again: that one is no more.
func Open(ctx context.Context, d *db.DB) (*Store, error) {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, fmt.Errorf("open operations: %w", err)
	}
	if err := d.Migrate(ctx, files, "process_customer_later_migration"); err != nil {
		return nil, fmt.Errorf("open operations: %w", err)
	}
	if d.Engine() == db.SQLite {
		if _, err := d.Exec(ctx, "UPDATE queued_operation SET lease_until_us = 0 WHERE NOT done AND lease_until_us > 0"); err != nil {
			return nil, fmt.Errorf("open operations: %w", err)
		}
	}
	return &Store{db: d}, nil
}

const columns = "id, owner, customer_id, ref, request, done, response, reason, message, created_us, due_us, attempt, fence"

// Add stores an operation in a transaction, or returns the one that is there under its id.
func Add(ctx context.Context, tx *sql.Tx, o Operation) (Operation, error) {
	request, err := proto.Marshal(o.Order)
	if err != nil {
		return Operation{}, fmt.Errorf("write order: %w", err)
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO queued_operation (`+columns+`, updated_us, lease_until_us)
		VALUES ($1, $2, $3, $4, $5, FALSE, $6, '', '', $7, $8, 0, 0, $7, 0) ON CONFLICT (id) DO NOTHING`,
		o.ID, o.Owner, o.CustomerID, o.Ref, request, []byte{}, db.Micros(o.Created), db.Micros(o.Due))
	if err != nil {
		return Operation{}, fmt.Errorf("add operation: %w", err)
	}
	return one(ctx, tx, o.ID)
}

// Get returns an operation; ErrNotFound when there is none.
func (s *Store) Get(ctx context.Context, id string) (Operation, error) {
	return one(ctx, s.db.Read(), id)
}

func one(ctx context.Context, q db.Querier, id string) (Operation, error) {
	found, err := read(ctx, q, "SELECT "+columns+" FROM queued_operation WHERE id = $1", id)
	if err == nil && len(found) == 0 {
		err = ErrNotFound
	}
	if err != nil {
		return Operation{}, fmt.Errorf("read operation: %w", err)
	}
	return found[0], nil
}

func read(ctx context.Context, q db.Querier, text string, args ...any) (out []Operation, err error) {
	rows, err := q.QueryContext(ctx, text, args...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var o Operation
		var request, response []byte
		var created, due int64
		if err := rows.Scan(&o.ID, &o.Owner, &o.CustomerID, &o.Ref, &request, &o.Done, &response, &o.Reason, &o.Message, &created, &due,
			&o.Attempt, &o.Fence); err != nil {
			return nil, err
		}
		o.Created, o.Due, o.Order = db.FromMicros(created), db.FromMicros(due), &customerv1.NewOrder{}
		if err := proto.Unmarshal(request, o.Order); err != nil {
			return nil, err
		}
		if len(response) > 0 {
			o.Result = &customerv1.OrderSummary{}
			if err := proto.Unmarshal(response, o.Result); err != nil {
				return nil, err
			}
		}
		out = append(out, o)
	}
	return out, rows.Err()
}

// claim takes operations that are due for the time of a lease. The condition stands twice, because another process may
// have claimed a row between its choice and its lock.
func (s *Store) claim(ctx context.Context, now time.Time, limit int) ([]Operation, error) {
	var out []Operation
	err := s.db.Tx(ctx, func(ctx context.Context, tx *sql.Tx) error {
		var err error
		out, err = read(ctx, tx, `UPDATE queued_operation SET lease_until_us = $1, fence = fence + 1, attempt = attempt + 1
			WHERE NOT done AND due_us <= $2 AND lease_until_us <= $2 AND id IN (
				SELECT id FROM queued_operation WHERE NOT done AND due_us <= $2 AND lease_until_us <= $2 ORDER BY due_us LIMIT $3)
			RETURNING `+columns, db.Micros(now.Add(lease)), db.Micros(now), limit)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("claim operations: %w", err)
	}
	return out, nil
}

// settle writes what a try came to, unless another process has claimed the operation since.
func (s *Store) settle(ctx context.Context, o Operation, now time.Time) error {
	response := []byte{}
	if o.Result != nil {
		var err error
		if response, err = proto.Marshal(o.Result); err != nil {
			return fmt.Errorf("write result: %w", err)
		}
	}
	err := s.db.Tx(ctx, func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE queued_operation SET done = $1, response = $2, reason = $3, message = $4, due_us = $5, updated_us = $6,
			lease_until_us = 0 WHERE id = $7 AND fence = $8 AND NOT done`,
			o.Done, response, o.Reason, o.Message, db.Micros(o.Due), db.Micros(now), o.ID, o.Fence)
		return err
	})
	if err != nil {
		return fmt.Errorf("settle operation: %w", err)
	}
	return nil
}

// purge removes operations that ended before a time.
func (s *Store) purge(ctx context.Context, before time.Time, limit int) error {
	err := s.db.Tx(ctx, func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM queued_operation WHERE id IN (
			SELECT id FROM queued_operation WHERE done AND updated_us < $1 ORDER BY updated_us LIMIT $2)`, db.Micros(before), limit)
		return err
	})
	if err != nil {
		return fmt.Errorf("purge operations: %w", err)
	}
	return nil
}

// ReasonErased means that the customer was erased before the order was placed.
const ReasonErased = "CUSTOMER_ERASED"

// Erase forgets what is kept of the operations of a customer, in a transaction of the same database. Those that wait are
// ended; that they were is all that stays.
func Erase(ctx context.Context, tx *sql.Tx, customer string) error {
	_, err := tx.ExecContext(ctx, `UPDATE queued_operation SET owner = '', request = $2, response = $2, message = '',
		reason = $3, done = TRUE, fence = fence + 1 WHERE customer_id = $1`, customer, []byte{}, ReasonErased)
	if err != nil {
		return fmt.Errorf("erase operations: %w", err)
	}
	return nil
}

// Mark is where a list goes on.
type Mark struct {
	Created int64  `json:"c"`
	ID      string `json:"i"`
}

// List returns operations after a mark, the oldest first; those that are done only if asked for.
func (s *Store) List(ctx context.Context, done bool, after Mark, limit int) ([]Operation, error) {
	found, err := read(ctx, s.db.Read(), "SELECT "+columns+` FROM queued_operation
		WHERE (NOT done OR $1) AND (created_us > $2 OR (created_us = $2 AND id > $3)) ORDER BY created_us, id LIMIT $4`, done, after.Created, after.ID, limit)
	if err != nil {
		return nil, fmt.Errorf("list operations: %w", err)
	}
	return found, nil
}

// After is the mark behind an operation.
func After(o Operation) Mark { return Mark{db.Micros(o.Created), o.ID} }

// ReasonCanceled means that an operator ended the waiting.
const ReasonCanceled = "OPERATION_CANCELED"

// ErrDone and ErrTried say why an operation cannot be ended: it is over, or somebody is at it now.
var (
	ErrDone  = errors.New("the operation is done")
	ErrTried = errors.New("the operation is being tried")
)

// Cancel ends an operation that waits, in a transaction of the same database; fresh is false if it was ended so before. Who
// claims it at the same time loses or wins as a whole.
func Cancel(ctx context.Context, tx *sql.Tx, id string, now time.Time) (o Operation, fresh bool, err error) {
	if o, err = one(ctx, tx, id); err != nil {
		return o, false, err
	}
	if o.Done {
		if o.Reason != ReasonCanceled {
			err = ErrDone
		}
		return o, false, err
	}
	ended, err := tx.ExecContext(ctx, `UPDATE queued_operation SET done = TRUE, reason = $1, message = $2, updated_us = $3, fence = fence + 1
		WHERE id = $4 AND fence = $5 AND NOT done AND lease_until_us <= $3`,
		ReasonCanceled, "the order was called off before it was placed", db.Micros(now), id, o.Fence)
	if err != nil {
		return o, false, fmt.Errorf("cancel operation: %w", err)
	}
	if n, err := ended.RowsAffected(); err != nil || n == 0 {
		return o, false, errors.Join(err, ErrTried)
	}
	o, err = one(ctx, tx, id)
	return o, true, err
}
