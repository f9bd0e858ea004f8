package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/selfsame-io/selfsame/pkg/db"
)

// Slots of the survivorship rules.
const (
	// RulesActive are the rules in force.
	RulesActive = "active"
	// RulesWaiting are rules that a person has to confirm.
	RulesWaiting = "waiting"
)

// RuleSet is a rule file with what is known of its effect.
type RuleSet struct {
	Slot    string
	Digest  string
	Version int64
	// Content is the file as it was written.
	Content string
	// Reason says why the rules wait; empty for those in force.
	Reason string
	Since  time.Time
	// Cursor is the last golden record that follows the rules in force; Done is true when all do.
	Cursor string
	Done   bool
	// Records are the golden records looked at, Changed those of them that the rules change.
	Records, Changed int64
}

// Rules returns the rules in a slot, or ErrNotFound.
func (r Reader) Rules(ctx context.Context, slot string) (RuleSet, error) {
	s := RuleSet{Slot: slot}
	var since int64
	err := r.q.QueryRowContext(ctx, "SELECT digest, version, content, reason, since_us, cursor, done, records, changed FROM rule_set WHERE slot = $1", slot).
		Scan(&s.Digest, &s.Version, &s.Content, &s.Reason, &since, &s.Cursor, &s.Done, &s.Records, &s.Changed)
	if errors.Is(err, sql.ErrNoRows) {
		return RuleSet{}, fmt.Errorf("rules %s: %w", slot, ErrNotFound)
	}
	if err != nil {
		return RuleSet{}, fmt.Errorf("read rules: %w", err)
	}
	s.Since = db.FromMicros(since)
	return s, nil
}

// RulesIfNot returns the rule file in force unless its digest is the given one; found is false when it is, or when
// none was ever put in force.
func (r Reader) RulesIfNot(ctx context.Context, digest string) (content string, found bool, err error) {
	err = r.q.QueryRowContext(ctx, "SELECT content FROM rule_set WHERE slot = 'active' AND digest <> $1", digest).Scan(&content)
	if errors.Is(err, sql.ErrNoRows) {
		return "", false, nil
	}
	if err != nil {
		return "", false, fmt.Errorf("read rules in force: %w", err)
	}
	return content, true, nil
}

// PutRules writes rules into their slot.
func (t *Tx) PutRules(ctx context.Context, s RuleSet) error {
	return t.insert(ctx, "write rules", "INSERT INTO rule_set (slot, digest, version, content, reason, since_us, cursor, done, records, changed)",
		`ON CONFLICT (slot) DO UPDATE SET digest = excluded.digest, version = excluded.version, content = excluded.content, reason = excluded.reason,
		since_us = excluded.since_us, cursor = excluded.cursor, done = excluded.done, records = excluded.records, changed = excluded.changed`,
		[][]any{{s.Slot, s.Digest, s.Version, s.Content, s.Reason, db.Micros(s.Since), s.Cursor, s.Done, s.Records, s.Changed}})
}

// DropRules empties a slot.
func (t *Tx) DropRules(ctx context.Context, slot string) error {
	_, err := t.exec(ctx, "drop rules", "DELETE FROM rule_set WHERE slot = $1", slot)
	return err
}

// AllGoldens returns golden records of every kind and state in id order after `after`.
func (r Reader) AllGoldens(ctx context.Context, after string, limit int) ([]*Golden, error) {
	return r.goldens(ctx, "list all golden records", "id > $1 ORDER BY id LIMIT $2", []any{after, limit})
}
