package idempotent

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/selfsame-io/selfsame/pkg/db"
)

//go:embed migrations/*.sql
var migrations embed.FS

const (
	migrationTable = "idempotency_migrations"
	minSecret      = 16 // bytes
	maxRaces       = 5  // how often a claim reads again after losing a race
)

// SQLStore keeps claims and answers in the service's own database. On PostgreSQL any number of replicas share it, and
// its clock decides about leases.
type SQLStore struct {
	// Tombstone is how long a finished call is remembered after its answer; zero means DefaultTombstone. Set it before
	// first use.
	Tombstone time.Duration

	db     *db.DB
	secret []byte
	now    func() time.Time // nil: PostgreSQL's clock
	clock  string           // SQL for now, from $1
}

var _ Store = (*SQLStore)(nil)

// NewSQLStore returns a store in d and creates its table. Secret, at least 16 bytes, keys the HMAC that hides callers
// and keys from whoever reads the table; changing it forgets everything. A nil now means the clock of the store, which
// is what production uses; tests pass their own.
func NewSQLStore(d *db.DB, secret []byte, now func() time.Time) (*SQLStore, error) {
	if len(secret) < minSecret {
		return nil, fmt.Errorf("idempotency store: the secret has %d bytes, want at least %d", len(secret), minSecret)
	}
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, fmt.Errorf("idempotency store: %w", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := d.Migrate(ctx, files, migrationTable); err != nil {
		return nil, fmt.Errorf("idempotency store: %w", err)
	}
	s := &SQLStore{db: d, secret: secret, now: now, clock: "CAST($1 AS BIGINT)"}
	switch {
	case now != nil:
	case d.Engine() == db.PostgreSQL:
		// Not now(): that is the start of the transaction and goes stale behind a row lock.
		s.clock = "(CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT) + CAST($1 AS BIGINT))"
	default:
		s.now = time.Now
	}
	return s, nil
}

// at is the argument $1 of every statement: the time, or nothing to add to the database's own.
func (s *SQLStore) at() int64 {
	if s.now == nil {
		return 0
	}
	return s.now().UnixMicro()
}

// sql fills in the clock.
func (s *SQLStore) sql(text string) string { return strings.ReplaceAll(text, "{now}", s.clock) }

const (
	sqlRead = `SELECT fp, state, fence, owner, recoverable, lease_until, expires_at, answer_ok, answer, resource, trace, {now}
 FROM idempotency WHERE k = $2`

	sqlInsert = `INSERT INTO idempotency (k, fp, state, fence, owner, recoverable, lease_until, expires_at, answer_ok, answer, resource, trace)
 VALUES ($2, $3, 'c', 1, $4, $5, {now} + $6, {now} + $7, FALSE, NULL, '', $8)
 ON CONFLICT (k) DO NOTHING RETURNING fence`

	// Only if the record is as it was read: same attempt, same state, no heartbeat since.
	sqlTake = `UPDATE idempotency SET state = 'c', fence = fence + 1, fp = $3, owner = $4, recoverable = $5, lease_until = {now} + $6,
 expires_at = {now} + $7, answer_ok = FALSE, answer = NULL, resource = '', trace = $8
 WHERE k = $2 AND fence = $9 AND state = $10 AND lease_until = $11`

	sqlDoubt = `UPDATE idempotency SET state = 'u', expires_at = {now}
 WHERE k = $2 AND fence = $3 AND state = 'c' AND lease_until = $4`

	sqlHeartbeat = `UPDATE idempotency SET lease_until = {now} + $4, expires_at = {now} + $4 + $5
 WHERE k = $2 AND fence = $3 AND state = 'c'`

	sqlComplete = `UPDATE idempotency SET state = 'd', answer_ok = $4, answer = $5, resource = $6, expires_at = {now} + $7
 WHERE k = $2 AND fence = $3 AND state = 'c'`

	sqlEnd = `UPDATE idempotency SET state = $4, lease_until = {now}, expires_at = {now} + $5
 WHERE k = $2 AND fence = $3 AND state = 'c'`

	sqlBury = `UPDATE idempotency SET state = 't', answer = NULL, expires_at = {now} + $2
 WHERE k IN (SELECT k FROM idempotency WHERE state = 'd' AND expires_at <= {now} LIMIT $3{skip})`

	sqlVanished = `UPDATE idempotency SET state = 'u'
 WHERE k IN (SELECT k FROM idempotency WHERE state = 'c' AND NOT recoverable AND lease_until <= {now} AND expires_at <= {now} LIMIT $2{skip})`

	sqlDelete = `DELETE FROM idempotency
 WHERE k IN (SELECT k FROM idempotency WHERE (state IN ('r', 't') OR (state = 'c' AND recoverable AND lease_until <= {now}))
 AND expires_at <= {now} LIMIT $2{skip})`
)

func (s *SQLStore) read(ctx context.Context, q db.Querier, d Digest) (r record, now int64, err error) {
	err = q.QueryRowContext(ctx, s.sql(sqlRead), s.at(), d[:]).Scan(&r.fingerprint, &r.state, &r.fence, &r.owner, &r.recoverable,
		&r.lease, &r.expires, &r.answer.OK, &r.answer.Body, &r.answer.Resource, &r.trace, &now)
	return r, now, err
}

// Begin implements Store. It reads first: a finished call is then answered without a transaction, a lock or a write.
func (s *SQLStore) Begin(ctx context.Context, c Claim) (Result, error) {
	d := c.Scope.digest(s.secret)
	r, now, err := s.read(ctx, s.db.Read(), d)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return Result{}, fmt.Errorf("read idempotency record: %w", err)
	}
	if err == nil {
		if res, step := c.decide(d, r, now); step == stepNone {
			return res, nil
		}
	}
	var res Result
	err = s.db.Tx(ctx, func(ctx context.Context, tx *sql.Tx) error {
		var err error
		res, err = s.begin(ctx, tx, d, c)
		return err
	})
	if err != nil {
		return Result{}, fmt.Errorf("claim idempotency key: %w", err)
	}
	return res, nil
}

func (s *SQLStore) begin(ctx context.Context, tx *sql.Tx, d Digest, c Claim) (Result, error) {
	lease, keep := c.Lease.Microseconds(), (c.Lease + c.Retention).Microseconds()
	for range maxRaces {
		var fence int64
		err := tx.QueryRowContext(ctx, s.sql(sqlInsert), s.at(), d[:], c.Fingerprint, c.Owner, c.Takeover, lease, keep, c.Trace).Scan(&fence)
		if err == nil {
			return Result{Outcome: Granted, Fence: fence, Grant: Grant{Digest: d, Fence: fence, Retention: c.Retention}}, nil
		}
		if !errors.Is(err, sql.ErrNoRows) {
			return Result{}, err
		}
		r, now, err := s.read(ctx, tx, d)
		if errors.Is(err, sql.ErrNoRows) {
			continue // it was there and has been purged
		}
		if err != nil {
			return Result{}, err
		}
		res, step := c.decide(d, r, now)
		var done bool
		switch step {
		case stepNone:
			return res, nil
		case stepTake:
			done, err = s.changed(tx.ExecContext(ctx, s.sql(sqlTake), s.at(), d[:], c.Fingerprint, c.Owner, c.Takeover, lease, keep, c.Trace,
				r.fence, r.state, r.lease))
		case stepDoubt:
			done, err = s.changed(tx.ExecContext(ctx, s.sql(sqlDoubt), s.at(), d[:], r.fence, r.lease))
		}
		if err != nil {
			return Result{}, err
		}
		if done {
			return res, nil
		}
	}
	return Result{Outcome: InProgress, Remaining: c.Lease}, nil // someone always is faster
}

func (s *SQLStore) changed(res sql.Result, err error) (bool, error) {
	if err != nil {
		return false, err
	}
	n, err := res.RowsAffected()
	return n > 0, err
}

// Look implements Store.
func (s *SQLStore) Look(ctx context.Context, g Grant) (Result, error) {
	r, now, err := s.read(ctx, s.db.Read(), g.Digest)
	if errors.Is(err, sql.ErrNoRows) {
		return Result{}, ErrStale
	}
	if err != nil {
		return Result{}, fmt.Errorf("read idempotency record: %w", err)
	}
	return r.look(now), nil
}

// held runs a statement that must change the record of the grant.
func (s *SQLStore) held(ctx context.Context, tx *sql.Tx, statement string, g Grant, args ...any) error {
	ok, err := s.changed(tx.ExecContext(ctx, s.sql(statement), append([]any{s.at(), g.Digest[:], g.Fence}, args...)...))
	if err == nil && !ok {
		return ErrStale
	}
	return err
}

func (s *SQLStore) update(ctx context.Context, what, statement string, g Grant, args ...any) error {
	err := s.db.Tx(ctx, func(ctx context.Context, tx *sql.Tx) error { return s.held(ctx, tx, statement, g, args...) })
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// Heartbeat implements Store.
func (s *SQLStore) Heartbeat(ctx context.Context, g Grant, lease time.Duration) error {
	return s.update(ctx, "extend idempotency claim", sqlHeartbeat, g, lease.Microseconds(), g.Retention.Microseconds())
}

// Complete implements Store.
func (s *SQLStore) Complete(ctx context.Context, g Grant, a Answer) error {
	return s.update(ctx, "complete idempotency claim", sqlComplete, g, a.OK, a.Body, a.Resource, g.Retention.Microseconds())
}

// CompleteTx stores resp as the answer of the current call inside the handler's own transaction, so that the effect and
// its answer are one. The handler must return resp and nil afterwards. It does nothing for a call without a claim. An
// ErrStale means that another attempt took over: roll back.
func (s *SQLStore) CompleteTx(ctx context.Context, tx *sql.Tx, resp proto.Message) error {
	c, _ := callFrom(ctx)
	if c.attempt == nil {
		return nil
	}
	a, err := okAnswer(resp, c.attempt.resource)
	if err != nil {
		return err
	}
	if err := s.held(ctx, tx, sqlComplete, c.attempt.grant, a.OK, a.Body, a.Resource, c.attempt.grant.Retention.Microseconds()); err != nil {
		return fmt.Errorf("complete idempotency claim: %w", err)
	}
	c.attempt.completed.Store(true)
	return nil
}

// Release implements Store.
func (s *SQLStore) Release(ctx context.Context, g Grant) error {
	return s.update(ctx, "release idempotency claim", sqlEnd, g, stateReleased, g.Retention.Microseconds())
}

// Uncertain implements Store.
func (s *SQLStore) Uncertain(ctx context.Context, g Grant) error {
	return s.update(ctx, "mark idempotency claim uncertain", sqlEnd, g, stateUncertain, g.Retention.Microseconds())
}

// Purge implements Store.
func (s *SQLStore) Purge(ctx context.Context, limit int) (int, error) {
	tombstone := s.Tombstone
	if tombstone <= 0 {
		tombstone = DefaultTombstone
	}
	total := 0
	for _, st := range []struct {
		text string
		args []any
	}{
		{sqlBury, []any{tombstone.Microseconds(), limit}},
		{sqlVanished, []any{limit}},
		{sqlDelete, []any{limit}},
	} {
		text := strings.ReplaceAll(s.sql(st.text), "{skip}", s.db.SkipLocked())
		var n int64
		err := s.db.Tx(ctx, func(ctx context.Context, tx *sql.Tx) error {
			res, err := tx.ExecContext(ctx, text, append([]any{s.at()}, st.args...)...)
			if err != nil {
				return err
			}
			n, err = res.RowsAffected()
			return err
		})
		if err != nil {
			return total, fmt.Errorf("purge idempotency records: %w", err)
		}
		total += int(n)
	}
	return total, nil
}
