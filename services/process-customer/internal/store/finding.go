package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/audit"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
)

// States of a finding.
const (
	// FindingOpen: nothing is known that will end it by itself.
	FindingOpen = "OPEN"
	// FindingInFlight: it is so young that news of it may be on its way, or a delivery waits.
	FindingInFlight = "IN_FLIGHT"
	// FindingParked: a dead letter holds it.
	FindingParked = "PARKED"
	// FindingIgnored: a rule says that it is accepted.
	FindingIgnored = "IGNORED"
	// FindingRepaired: it was taken in; the next comparison finds it no more.
	FindingRepaired = "REPAIRED"
)

// Finding is one way in which a system does not agree with what is known.
type Finding struct {
	Ref golden.Ref
	// Kind says what is wrong: see package reconcile.
	Kind     string
	GoldenID golden.ID
	State    string
	// Changes are the fields that differ: Before is what is known, After what the system holds. Without values unless asked for.
	Changes []audit.Field
	// Since is when the difference arose, as far as known; Seen when it was found last, by RunID.
	Since, Seen time.Time
	RunID       string
}

// PutFindings stores findings; one that was found before keeps its age.
func (t *Tx) PutFindings(ctx context.Context, findings []Finding) error {
	subjects := map[string]bool{}
	for i := range findings {
		subjects[findings[i].subject()] = true
	}
	keys, err := t.subjectKeys(ctx, slices.Sorted(maps.Keys(subjects)), nil)
	if err != nil {
		return err
	}
	rows := make([][]any, 0, len(findings))
	for i := range findings {
		f := &findings[i]
		var sealed []byte
		var names []string
		for _, c := range f.Changes {
			names = append(names, c.Name)
		}
		if len(f.Changes) > 0 {
			if sealed, err = audit.Seal(keys[f.subject()], f.subject(), audit.Detail{Fields: f.Changes}); err != nil {
				return err
			}
		}
		rows = append(rows, []any{
			f.Ref.System, string(f.Ref.Object), f.Ref.RecordID, f.Kind, string(f.GoldenID), f.State, strings.Join(names, ","), sealed,
			db.Micros(f.Since), db.Micros(f.Seen), f.RunID,
		})
	}
	return t.insert(ctx, "write findings", "INSERT INTO finding (system, object, record_id, kind, golden_id, state, fields, detail, since_us, seen_us, run_id)",
		`ON CONFLICT (system, object, record_id, kind) DO UPDATE SET golden_id = excluded.golden_id, state = excluded.state, fields = excluded.fields,
		detail = excluded.detail, since_us = CASE WHEN finding.since_us < excluded.since_us THEN finding.since_us ELSE excluded.since_us END,
		seen_us = excluded.seen_us, run_id = excluded.run_id`, rows)
}

func (f *Finding) subject() string { return subject(f.GoldenID, f.Ref.System, f.Ref.RecordID) }

// DropFindings removes the findings of a system that a run has not met, and returns how many.
func (t *Tx) DropFindings(ctx context.Context, system, runID string) (int64, error) {
	return t.exec(ctx, "drop findings", "DELETE FROM finding WHERE system = $1 AND run_id <> $2", system, runID)
}

// Findings returns findings in the order of their keys after one, only those of a system, state or kind unless it is empty.
func (r Reader) Findings(ctx context.Context, system, state, kind string, values bool, after Finding, limit int) ([]Finding, error) {
	var out []Finding
	var sealed [][]byte
	err := r.query(ctx, "read findings", `SELECT system, object, record_id, kind, golden_id, state, fields, detail, since_us, seen_us, run_id FROM finding
		WHERE ($1 = '' OR system = $1) AND ($2 = '' OR state = $2) AND ($3 = '' OR kind = $3) AND (system, object, record_id, kind) > ($4, $5, $6, $7)
		ORDER BY system, object, record_id, kind LIMIT $8`,
		[]any{system, state, kind, after.Ref.System, string(after.Ref.Object), after.Ref.RecordID, after.Kind, limit}, func(rows *sql.Rows) error {
			var f Finding
			var fields string
			var detail []byte
			var since, seen int64
			err := rows.Scan(&f.Ref.System, &f.Ref.Object, &f.Ref.RecordID, &f.Kind, &f.GoldenID, &f.State, &fields, &detail, &since, &seen, &f.RunID)
			f.Since, f.Seen = db.FromMicros(since), db.FromMicros(seen)
			if fields != "" {
				for _, name := range strings.Split(fields, ",") {
					f.Changes = append(f.Changes, audit.Field{Name: name})
				}
			}
			out, sealed = append(out, f), append(sealed, detail)
			return err
		})
	if err != nil || !values {
		return out, err
	}
	var subjects []string
	for i := range out {
		subjects = append(subjects, out[i].subject())
	}
	keys, err := r.readKeys(ctx, subjects)
	if err != nil {
		return nil, err
	}
	for i := range out {
		key := keys[out[i].subject()]
		if key == nil || len(sealed[i]) == 0 {
			continue
		}
		d, err := audit.Open(key, out[i].subject(), sealed[i])
		switch {
		case err == nil:
			out[i].Changes = d.Fields
		case !errors.Is(err, audit.ErrSealed):
			return nil, err
		}
	}
	return out, nil
}

// FindingCount counts findings of one kind.
type FindingCount struct {
	System string
	Object golden.Object
	Kind   string
	State  string
	N      int64
	// Oldest is when the oldest of them arose.
	Oldest time.Time
}

// CountFindings counts findings.
func (r Reader) CountFindings(ctx context.Context) ([]FindingCount, error) {
	var out []FindingCount
	err := r.query(ctx, "count findings", `SELECT system, object, kind, state, COUNT(*), MIN(since_us) FROM finding GROUP BY system, object, kind, state
		ORDER BY system, object, kind, state`, nil, func(rows *sql.Rows) error {
		var c FindingCount
		var oldest int64
		err := rows.Scan(&c.System, &c.Object, &c.Kind, &c.State, &c.N, &oldest)
		c.Oldest = db.FromMicros(oldest)
		out = append(out, c)
		return err
	})
	return out, err
}

// IgnoreRule says that differences are known and accepted until a time. Empty fields mean any.
type IgnoreRule struct {
	ID             string
	System         string
	Object         golden.Object
	RecordID       string
	Field          string
	Reason, Actor  string
	Created, Until time.Time
}

// PutIgnoreRule stores a rule; false when there is one with its id already, which stays as it is.
func (t *Tx) PutIgnoreRule(ctx context.Context, r IgnoreRule) (bool, error) {
	n, err := t.exec(ctx, "write ignore rule", `INSERT INTO ignore_rule (id, system, object, record_id, field, reason, actor, created_us, until_us)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (id) DO NOTHING`,
		r.ID, r.System, string(r.Object), r.RecordID, r.Field, r.Reason, r.Actor, db.Micros(r.Created), db.Micros(r.Until))
	return n > 0, err
}

// DropIgnoreRule removes a rule; ErrNotFound when there is none.
func (t *Tx) DropIgnoreRule(ctx context.Context, id string) error {
	n, err := t.exec(ctx, "drop ignore rule", "DELETE FROM ignore_rule WHERE id = $1", id)
	if err == nil && n == 0 {
		err = fmt.Errorf("ignore rule %s: %w", id, ErrNotFound)
	}
	return err
}

// TrimIgnoreRules removes up to limit rules that ended before a time, and returns how many.
func (t *Tx) TrimIgnoreRules(ctx context.Context, before time.Time, limit int) (int, error) {
	n, err := t.exec(ctx, "trim ignore rules", "DELETE FROM ignore_rule WHERE id IN (SELECT id FROM ignore_rule WHERE until_us < $1 LIMIT $2)", db.Micros(before), limit)
	return int(n), err
}

// IgnoreRules returns the rules that are in force at a time, of one system unless it is empty.
func (r Reader) IgnoreRules(ctx context.Context, system string, now time.Time) ([]IgnoreRule, error) {
	var out []IgnoreRule
	err := r.query(ctx, "read ignore rules", `SELECT id, system, object, record_id, field, reason, actor, created_us, until_us FROM ignore_rule
		WHERE ($1 = '' OR system = $1) AND until_us > $2 ORDER BY created_us, id`, []any{system, db.Micros(now)}, func(rows *sql.Rows) error {
		var x IgnoreRule
		var created, until int64
		err := rows.Scan(&x.ID, &x.System, &x.Object, &x.RecordID, &x.Field, &x.Reason, &x.Actor, &created, &until)
		x.Created, x.Until = db.FromMicros(created), db.FromMicros(until)
		out = append(out, x)
		return err
	})
	return out, err
}
