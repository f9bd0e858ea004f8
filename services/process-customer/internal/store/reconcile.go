package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
)

// States of a run.
const (
	RunQueued  = "QUEUED"
	RunRunning = "RUNNING"
	RunDone    = "DONE"
	RunFailed  = "FAILED"
)

// Depth is how much of a system a comparison looks at. Each depth sees what the ones before it see.
type Depth int

// Depths.
const (
	// DepthDigests looks at digests of stamps.
	DepthDigests Depth = iota
	// DepthDeep looks at every stamp.
	DepthDeep
	// DepthValues looks at every value.
	DepthValues
)

// String returns the name of the depth.
func (d Depth) String() string { return [...]string{"DIGESTS", "DEEP", "VALUES"}[d] }

func depthOf(deep, values bool) Depth {
	switch {
	case values:
		return DepthValues
	case deep:
		return DepthDeep
	default:
		return DepthDigests
	}
}

// Run is one comparison of a system with what is known of it.
type Run struct {
	ID, System string
	Depth      Depth
	Repair     bool
	// State is one of the constants, Reason the stable reason of a failure.
	State, Reason             string
	Requested, Started, Ended time.Time
	Fence                     int64
	// Compared counts the records covered, Calls the calls made, ReadCalls those that reading everything would have taken (before
	// the end an estimate, zero where nobody has estimated), Repaired the findings that were fed to intake or marked.
	Compared, Calls, ReadCalls, Repaired int64
}

const runColumns = "id, system, deep, by_value, repair, state, reason, requested_us, started_us, ended_us, fence, compared, calls, read_calls, repaired"

func (r Reader) runs(ctx context.Context, where string, args []any) ([]Run, error) {
	var out []Run
	err := r.query(ctx, "read runs", "SELECT "+runColumns+" FROM reconcile_run WHERE "+where, args, func(rows *sql.Rows) error {
		x, err := scanRun(rows)
		out = append(out, x)
		return err
	})
	return out, err
}

func scanRun(row interface{ Scan(...any) error }) (Run, error) {
	var x Run
	var requested, started, ended int64
	var deep, values bool
	err := row.Scan(&x.ID, &x.System, &deep, &values, &x.Repair, &x.State, &x.Reason, &requested, &started, &ended, &x.Fence, &x.Compared, &x.Calls, &x.ReadCalls, &x.Repaired)
	x.Depth = depthOf(deep, values)
	x.Requested, x.Started, x.Ended = db.FromMicros(requested), db.FromMicros(started), db.FromMicros(ended)
	return x, err
}

// ReconcileRun returns a run; ErrNotFound when there is none.
func (r Reader) ReconcileRun(ctx context.Context, id string) (Run, error) {
	runs, err := r.runs(ctx, "id = $1", []any{id})
	if err == nil && len(runs) == 0 {
		err = fmt.Errorf("run %s: %w", id, ErrNotFound)
	}
	if err != nil {
		return Run{}, err
	}
	return runs[0], nil
}

// ReconcileRuns returns the newest runs, of one system unless it is empty.
func (r Reader) ReconcileRuns(ctx context.Context, system string, limit int) ([]Run, error) {
	return r.runs(ctx, "($1 = '' OR system = $1) ORDER BY requested_us DESC, id DESC LIMIT $2", []any{system, limit})
}

// LastRun returns the newest run of a system that is done and looked at least so deep; the zero Run when there is none.
func (r Reader) LastRun(ctx context.Context, system string, depth Depth) (Run, error) {
	runs, err := r.runs(ctx, "system = $1 AND state = 'DONE' AND (deep OR NOT $2) AND (by_value OR NOT $3) ORDER BY requested_us DESC LIMIT 1",
		[]any{system, depth >= DepthDeep, depth >= DepthValues})
	if err != nil || len(runs) == 0 {
		return Run{}, err
	}
	return runs[0], nil
}

// QueueRun asks for a run. When one of the system is queued or running that one is returned, and false.
func (t *Tx) QueueRun(ctx context.Context, x Run) (Run, bool, error) {
	n, err := t.exec(ctx, "queue run", `INSERT INTO reconcile_run (id, system, deep, by_value, repair, state, reason, requested_us, started_us, ended_us, lease_until_us, fence, compared, calls, read_calls, repaired)
		VALUES ($1, $2, $3, $4, $5, 'QUEUED', '', $6, 0, 0, 0, 0, 0, 0, $7, 0) ON CONFLICT (system) WHERE state IN ('QUEUED', 'RUNNING') DO NOTHING`,
		x.ID, x.System, x.Depth >= DepthDeep, x.Depth >= DepthValues, x.Repair, db.Micros(x.Requested), x.ReadCalls)
	if err != nil {
		return Run{}, false, err
	}
	runs, err := t.runs(ctx, "system = $1 AND state IN ('QUEUED', 'RUNNING')", []any{x.System})
	if err != nil || len(runs) == 0 {
		return Run{}, false, errors.Join(err, errors.New("a run vanished while it was queued"))
	}
	return runs[0], n > 0, nil
}

// TakeRun takes a run that is queued, or whose process has died, until now+lease; false when there is none.
func (t *Tx) TakeRun(ctx context.Context, now time.Time, lease time.Duration) (Run, bool, error) {
	x, err := scanRun(t.tx.QueryRowContext(ctx, `UPDATE reconcile_run SET state = 'RUNNING', started_us = $1, lease_until_us = $2, fence = fence + 1
		WHERE id IN (SELECT id FROM reconcile_run WHERE state = 'QUEUED' OR (state = 'RUNNING' AND lease_until_us <= $1) ORDER BY requested_us LIMIT 1`+
		t.db.SkipLocked()+`) RETURNING `+runColumns, db.Micros(now), db.Micros(now.Add(lease))))
	if errors.Is(err, sql.ErrNoRows) {
		return Run{}, false, nil
	}
	if err != nil {
		return Run{}, false, fmt.Errorf("take run: %w", err)
	}
	return x, true, nil
}

// SaveRun stores how far a run is, but for what it repaired, and keeps it until now+lease; ErrFenced when another process has taken it over.
func (t *Tx) SaveRun(ctx context.Context, x Run, now time.Time, lease time.Duration) error {
	n, err := t.exec(ctx, "save run", `UPDATE reconcile_run SET state = $3, reason = $4, ended_us = $5, lease_until_us = $6, compared = $7, calls = $8, read_calls = $9
		WHERE id = $1 AND fence = $2`, x.ID, x.Fence, x.State, x.Reason, db.Micros(x.Ended), db.Micros(now.Add(lease)), x.Compared, x.Calls, x.ReadCalls)
	if err == nil && n == 0 {
		err = ErrFenced
	}
	return err
}

// Repaired stores findings that this transaction repairs for a run, and counts them; ErrFenced when another process has taken the run over.
// Take LockIdentity first.
func (t *Tx) Repaired(ctx context.Context, x Run, findings []Finding) error {
	n, err := t.exec(ctx, "count repairs", "UPDATE reconcile_run SET repaired = repaired + $3 WHERE id = $1 AND fence = $2", x.ID, x.Fence, len(findings))
	if err != nil {
		return err
	}
	if n == 0 {
		return ErrFenced
	}
	return t.PutFindings(ctx, findings)
}

// TrimRuns removes up to limit runs that ended before a time, but not the last of each system and depth, and returns how many.
func (t *Tx) TrimRuns(ctx context.Context, before time.Time, limit int) (int, error) {
	n, err := t.exec(ctx, "trim runs", `DELETE FROM reconcile_run WHERE id IN (SELECT id FROM reconcile_run r WHERE state IN ('DONE', 'FAILED') AND requested_us < $1
		AND EXISTS (SELECT 1 FROM reconcile_run n WHERE n.system = r.system AND n.deep = r.deep AND n.by_value = r.by_value AND n.state = 'DONE' AND n.requested_us > r.requested_us) LIMIT $2)`,
		db.Micros(before), limit)
	return int(n), err
}

// ReconcileMark is how far the records of one kind are known to have been compared.
type ReconcileMark struct {
	// Stamp is where the next comparison begins to list records; zero before the first one.
	Stamp int64
	// Newest is the newest stamp ever seen, Seen when that was for the first time, by our clock.
	Newest int64
	Seen   time.Time
}

// ReconcileMark returns the mark of a system and kind; the zero value when there is none.
func (r Reader) ReconcileMark(ctx context.Context, system string, obj golden.Object) (ReconcileMark, error) {
	var m ReconcileMark
	err := r.query(ctx, "read mark of comparison", "SELECT stamp, newest, seen_us FROM reconcile_mark WHERE system = $1 AND object = $2", []any{system, string(obj)},
		func(rows *sql.Rows) error {
			var seen int64
			err := rows.Scan(&m.Stamp, &m.Newest, &seen)
			m.Seen = db.FromMicros(seen)
			return err
		})
	return m, err
}

// PutReconcileMark stores it.
func (t *Tx) PutReconcileMark(ctx context.Context, system string, obj golden.Object, m ReconcileMark) error {
	_, err := t.exec(ctx, "write mark of comparison", `INSERT INTO reconcile_mark (system, object, stamp, newest, seen_us) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (system, object) DO UPDATE SET stamp = excluded.stamp, newest = excluded.newest, seen_us = excluded.seen_us`,
		system, string(obj), m.Stamp, m.Newest, db.Micros(m.Seen))
	return err
}

// KnownStamps calls fn with every live record of a system and its stamp: its version, or the time of its event in
// microseconds.
func (r Reader) KnownStamps(ctx context.Context, system string, obj golden.Object, byVersion bool, fn func(id string, at int64)) error {
	column := "event_us"
	if byVersion {
		column = "version"
	}
	return r.query(ctx, "read stamps", "SELECT record_id, "+column+" FROM source_record WHERE system = $1 AND object = $2 AND NOT deleted", []any{system, string(obj)},
		func(rows *sql.Rows) error {
			var id string
			var at int64
			err := rows.Scan(&id, &at)
			fn(id, at)
			return err
		})
}

// LiveIDs returns up to limit live records of a system after one, in order.
func (r Reader) LiveIDs(ctx context.Context, system string, obj golden.Object, after string, limit int) ([]string, error) {
	var out []string
	err := r.many(ctx, "list record ids", "SELECT record_id FROM source_record WHERE system = $1 AND object = $2 AND record_id > $3 AND NOT deleted ORDER BY record_id LIMIT $4",
		[]any{system, string(obj), after, limit}, func(rows db.Scanner) error {
			var id string
			err := rows.Scan(&id)
			out = append(out, id)
			return err
		})
	return out, err
}

// Contents returns records of a system by id without what they claim, only what they hold; those unknown are left out.
func (r Reader) Contents(ctx context.Context, system string, obj golden.Object, ids []string) (map[string]*Source, error) {
	out := make(map[string]*Source, len(ids))
	err := chunks(r, ids, func(ids []string) error {
		return r.many(ctx, "read what records hold", `SELECT record_id, golden_id, parent_id, external_id, version, event_us, deleted, shadow FROM source_record
			WHERE system = $1 AND object = $2 AND record_id `+r.oneOf(2, len(ids)), bound(r, []any{system, string(obj)}, ids), func(rows db.Scanner) error {
			s := &Source{Ref: golden.Ref{System: system, Object: obj}}
			var event int64
			var shadow string
			err := rows.Scan(&s.Ref.RecordID, (*string)(&s.GoldenID), &s.ParentID, &s.ExternalID, &s.Version, &event, &s.Deleted, &shadow)
			if err != nil {
				return err
			}
			s.EventTime = db.FromMicros(event)
			out[s.Ref.RecordID] = s
			if s.Shadow, err = valuesOf(shadow); err != nil {
				return fmt.Errorf("shadow of %s %s: %w", system, s.Ref.RecordID, err)
			}
			return nil
		})
	})
	return out, err
}

// Twice returns the live records of a system that share a golden record with another one of it.
func (r Reader) Twice(ctx context.Context, system string, obj golden.Object, limit int) ([]*Source, error) {
	return r.sources(ctx, "read duplicates", `system = $1 AND object = $2 AND NOT deleted AND golden_id IN (SELECT golden_id FROM source_record
		WHERE system = $1 AND object = $2 AND NOT deleted GROUP BY golden_id HAVING COUNT(*) > 1) ORDER BY golden_id, record_id LIMIT $3`,
		[]any{system, string(obj), limit})
}

// CountKnown counts the live records of every system.
func (r Reader) CountKnown(ctx context.Context) (map[string]int64, error) {
	out := map[string]int64{}
	err := r.query(ctx, "count records", "SELECT system, COUNT(*) FROM source_record WHERE NOT deleted GROUP BY system", nil, func(rows *sql.Rows) error {
		var system string
		var n int64
		err := rows.Scan(&system, &n)
		out[system] = n
		return err
	})
	return out, err
}
