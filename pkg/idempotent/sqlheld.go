package idempotent

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/selfsame-io/selfsame/pkg/db"
)

// Look implements Store.
func (s *SQLStore) Look(ctx context.Context, g Grant) (Result, error) {
	r, now, err := s.read(ctx, s.db.Read(), g.Digest)
	if errors.Is(err, sql.ErrNoRows) {
		return Result{}, ErrStale
	}
	if err != nil {
		return Result{}, fmt.Errorf("read idempotency record: %w", err)
	}
	return r.look(g.Digest, now), nil
}

func (s *SQLStore) heldArgs(g Grant, args ...any) []any {
	return append(append(make([]any, 0, 4+len(args)), s.at(), g.Digest[:], g.Fence, g.Owner), args...)
}

// held runs a statement that must change the record of the grant.
func (s *SQLStore) held(ctx context.Context, e db.Execer, statement string, g Grant, args ...any) error {
	ok, err := changed(e.ExecContext(ctx, s.sql(statement), s.heldArgs(g, args...)...))
	if err == nil && !ok {
		return ErrStale
	}
	return err
}

func (s *SQLStore) update(ctx context.Context, what, statement string, g Grant, args ...any) error {
	// What makes a claim stale may be in the same group commit. It is said only after that commit, or the claim would be
	// stale now and held again a moment later.
	var stale error
	err := s.db.Single(ctx, func(ctx context.Context, e db.Execer) error {
		stale = nil
		err := s.held(ctx, e, statement, g, args...)
		if errors.Is(err, ErrStale) {
			stale = err
			return nil
		}
		return err
	})
	if err == nil {
		err = stale
	}
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
	ok, err := s.completes.do(ctx, settled{g, a})
	if err == nil && !ok {
		err = ErrStale
	}
	if err != nil {
		return fmt.Errorf("complete idempotency claim: %w", err)
	}
	return nil
}

func (s *SQLStore) answerArgs(a Answer, retention time.Duration) []any {
	return []any{a.OK, a.Body, a.Resource, s.subject(a.Subject), retention.Microseconds()}
}

func (s *SQLStore) subject(subject string) []byte {
	if subject == "" {
		return nil
	}
	return SubjectDigest(s.secrets[0], subject)
}

// Release implements Store.
func (s *SQLStore) Release(ctx context.Context, g Grant) error {
	return s.update(ctx, "release idempotency claim", sqlEnd, g, string(Released), g.Retention.Microseconds())
}

// Uncertain implements Store.
func (s *SQLStore) Uncertain(ctx context.Context, g Grant) error {
	return s.update(ctx, "mark idempotency claim uncertain", sqlEnd, g, string(Uncertain), g.Retention.Microseconds())
}

// Step implements Store.
func (s *SQLStore) Step(ctx context.Context, g Grant, name string, result []byte) error {
	if result == nil {
		result = []byte{}
	}
	err := s.update(ctx, "record idempotency step", sqlStep, g, name, result)
	if !errors.Is(err, ErrStale) {
		return err
	}
	// Nothing was inserted: the step is recorded already, or the claim is lost.
	var n int
	if err := s.db.Read().QueryRowContext(ctx, s.sql(sqlHeld), s.at(), g.Digest[:], g.Fence, g.Owner).Scan(&n); err != nil {
		return fmt.Errorf("record idempotency step: %w", err)
	}
	if n == 0 {
		return err
	}
	return nil
}

// Steps implements Store.
func (s *SQLStore) Steps(ctx context.Context, g Grant) (map[string][]byte, error) {
	rows, err := s.db.Read().QueryContext(ctx, sqlSteps, g.Digest[:])
	if err != nil {
		return nil, fmt.Errorf("read idempotency steps: %w", err)
	}
	defer rows.Close()
	steps := map[string][]byte{}
	for rows.Next() {
		var name string
		var result []byte
		if err := rows.Scan(&name, &result); err != nil {
			return nil, fmt.Errorf("read idempotency steps: %w", err)
		}
		steps[name] = result
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read idempotency steps: %w", err)
	}
	return steps, nil
}
