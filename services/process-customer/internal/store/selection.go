package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
)

// LetterFilter says which open dead letters are meant; an empty field means all.
type LetterFilter struct {
	System, Direction, Reason string
	Object                    golden.Object
	// From and Until bound when they were parked, Until excluded.
	From, Until time.Time
}

// FindLetters returns up to limit open dead letters, oldest first.
func (r Reader) FindLetters(ctx context.Context, f LetterFilter, limit int) ([]DeadLetter, error) {
	where := []string{"state = 'OPEN'"}
	var args []any
	add := func(cond string, value any) {
		args = append(args, value)
		where = append(where, cond+" $"+strconv.Itoa(len(args)))
	}
	for _, c := range []struct{ column, value string }{
		{"system", f.System}, {"direction", f.Direction}, {"reason", f.Reason}, {"object", string(f.Object)},
	} {
		if c.value != "" {
			add(c.column+" =", c.value)
		}
	}
	if !f.From.IsZero() {
		add("parked_us >=", db.Micros(f.From))
	}
	if !f.Until.IsZero() {
		add("parked_us <", db.Micros(f.Until))
	}
	args = append(args, limit)
	return r.deads(ctx, strings.Join(where, " AND ")+" ORDER BY parked_us, id LIMIT $"+strconv.Itoa(len(args)), args)
}

// Select keeps which dead letters an operator was shown.
func (t *Tx) Select(ctx context.Context, token string, letters []DeadLetter, now, expires time.Time) error {
	_, err := t.exec(ctx, "keep selection", "INSERT INTO selection (token, created_us, expires_us) VALUES ($1, $2, $3)", token, db.Micros(now), db.Micros(expires))
	if err != nil {
		return err
	}
	rows := make([][]any, len(letters))
	for i, l := range letters {
		rows[i] = []any{token, l.ID, l.Attempts, false}
	}
	return t.insert(ctx, "keep selection", "INSERT INTO selection_letter (token, letter_id, attempts, done)", "", rows)
}

// Selected is a letter of a selection that has not been dealt with.
type Selected struct {
	ID string
	// Same is true while the letter is open and was not parked again since it was shown.
	Same bool
}

// Selected returns up to limit letters of a selection that have not been dealt with, and how many there are; ErrNotFound
// when there is no such selection at this time.
func (r Reader) Selected(ctx context.Context, token string, now time.Time, limit int) ([]Selected, int, error) {
	var expires int64
	err := r.q.QueryRowContext(ctx, "SELECT expires_us FROM selection WHERE token = $1", token).Scan(&expires)
	if errors.Is(err, sql.ErrNoRows) || (err == nil && expires <= db.Micros(now)) {
		return nil, 0, fmt.Errorf("selection: %w", ErrNotFound)
	}
	if err != nil {
		return nil, 0, fmt.Errorf("read selection: %w", err)
	}
	left := 0
	if err := r.q.QueryRowContext(ctx, "SELECT COUNT(*) FROM selection_letter WHERE token = $1 AND NOT done", token).Scan(&left); err != nil {
		return nil, 0, fmt.Errorf("count selection: %w", err)
	}
	var out []Selected
	err = r.query(ctx, "read selection", `SELECT s.letter_id, COALESCE(d.state = 'OPEN' AND d.attempts = s.attempts, FALSE) FROM selection_letter s
		LEFT JOIN dead_letter d ON d.id = s.letter_id WHERE s.token = $1 AND NOT s.done ORDER BY s.letter_id LIMIT $2`,
		[]any{token, limit}, func(rows *sql.Rows) error {
			var s Selected
			err := rows.Scan(&s.ID, &s.Same)
			out = append(out, s)
			return err
		})
	return out, left, err
}

// Deselect notes that letters of a selection have been dealt with.
func (t *Tx) Deselect(ctx context.Context, token string, ids []string) error {
	return chunks(t.Reader, ids, func(ids []string) error {
		_, err := t.exec(ctx, "note progress of selection", "UPDATE selection_letter SET done = TRUE WHERE token = $1 AND letter_id "+
			t.among(1, len(ids)), bound(t.Reader, []any{token}, ids)...)
		return err
	})
}

// TrimSelections removes up to limit selections that have expired, and returns how many.
func (t *Tx) TrimSelections(ctx context.Context, now time.Time, limit int) (int, error) {
	var tokens []string
	err := t.query(ctx, "trim selections", "DELETE FROM selection WHERE token IN (SELECT token FROM selection WHERE expires_us <= $1 LIMIT $2) RETURNING token",
		[]any{db.Micros(now), limit}, func(rows *sql.Rows) error {
			var token string
			err := rows.Scan(&token)
			tokens = append(tokens, token)
			return err
		})
	if err != nil {
		return 0, err
	}
	return len(tokens), chunks(t.Reader, tokens, func(tokens []string) error {
		_, err := t.exec(ctx, "trim selections", "DELETE FROM selection_letter WHERE token "+t.among(0, len(tokens)), bound(t.Reader, nil, tokens)...)
		return err
	})
}
