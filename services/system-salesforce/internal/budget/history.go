package budget

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/pkg/priority"
)

// keep is how many slots of history are kept: what a forecast looks at, and a day more.
const keep = 2 * slots

// count notes the usage of the current slot.
func (s *Store) count(ctx context.Context, tx *sql.Tx, r Report, now time.Time) error {
	own := r.Own
	own[priority.Sync] += own[priority.Unset]
	if r.Limit == 0 && own == [len(own)]int64{} {
		return nil
	}
	// Without a figure the slot shows what was last known.
	_, err := tx.ExecContext(ctx, `INSERT INTO api_usage (org, slot, used, interactive, sync, bulk, audit)
		VALUES ($1, $2, CASE WHEN $3 = 1 THEN $4 ELSE (SELECT used FROM api_budget WHERE org = $1) END, $5, $6, $7, $8)
		ON CONFLICT (org, slot) DO UPDATE SET used = CASE WHEN $3 = 1 THEN $4 ELSE api_usage.used END, interactive = api_usage.interactive + $5,
			sync = api_usage.sync + $6, bulk = api_usage.bulk + $7, audit = api_usage.audit + $8`,
		s.org, slotOf(now), flag(r.Limit > 0), r.Used, own[priority.Interactive], own[priority.Sync], own[priority.Bulk], own[priority.Audit])
	if err != nil {
		return fmt.Errorf("count usage: %w", err)
	}
	if _, err := tx.ExecContext(ctx, "DELETE FROM api_usage WHERE org = $1 AND slot < $2", s.org, slotOf(now)-keep); err != nil {
		return fmt.Errorf("forget old usage: %w", err)
	}
	return nil
}

func flag(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// History returns the usage of the last two days, oldest first. Slots in which nothing happened are missing.
func (s *Store) History(ctx context.Context) (out []Usage, err error) {
	rows, err := s.db.Read().QueryContext(ctx, "SELECT slot, used, interactive, sync, bulk, audit FROM api_usage WHERE org = $1 ORDER BY slot", s.org)
	if err != nil {
		return nil, fmt.Errorf("read the history of usage: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var u Usage
		if err := rows.Scan(&u.slot, &u.Used, &u.Own[priority.Interactive], &u.Own[priority.Sync], &u.Own[priority.Bulk], &u.Own[priority.Audit]); err != nil {
			return nil, fmt.Errorf("read the history of usage: %w", err)
		}
		u.End = endOf(u.slot)
		out = append(out, u)
	}
	return out, rows.Err()
}

func readings(usage []Usage) []reading {
	out := make([]reading, len(usage))
	for i, u := range usage {
		out[i] = reading{slot: u.slot, used: u.Used}
		for _, n := range u.Own {
			out[i].own += n
		}
	}
	return out
}

// SaveAllowances replaces what is known about the org's other limits.
func (s *Store) SaveAllowances(ctx context.Context, all []Allowance) error {
	return s.db.Tx(ctx, func(ctx context.Context, tx *sql.Tx) error {
		for _, a := range all {
			_, err := tx.ExecContext(ctx, `INSERT INTO api_allowance (org, name, most, remaining, observed_at) VALUES ($1, $2, $3, $4, $5)
				ON CONFLICT (org, name) DO UPDATE SET most = $3, remaining = $4, observed_at = $5`,
				s.org, a.Name, a.Limit, a.Remaining, db.Micros(a.Observed))
			if err != nil {
				return fmt.Errorf("save allowances: %w", err)
			}
		}
		return nil
	})
}

// Allowances returns the org's other limits as last reported, by name.
func (s *Store) Allowances(ctx context.Context) (out map[string]Allowance, err error) {
	rows, err := s.db.Read().QueryContext(ctx, "SELECT name, most, remaining, observed_at FROM api_allowance WHERE org = $1", s.org)
	if err != nil {
		return nil, fmt.Errorf("read allowances: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	out = map[string]Allowance{}
	for rows.Next() {
		var a Allowance
		var at int64
		if err := rows.Scan(&a.Name, &a.Limit, &a.Remaining, &at); err != nil {
			return nil, fmt.Errorf("read allowances: %w", err)
		}
		a.Observed = db.FromMicros(at)
		out[a.Name] = a
	}
	return out, rows.Err()
}
