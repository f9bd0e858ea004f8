package store

import (
	"context"
	"database/sql"
	"time"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/pkg/priority"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
)

// Level is how urgent a delivery is; a smaller level goes first.
type Level int

const (
	// LevelSync is what somebody has changed, and what follows from it.
	LevelSync Level = iota
	// LevelBulk is part of a large piece of work that nobody waits for record by record: reading a system as a whole, a rule that changes,
	// a comparison.
	LevelBulk
)

// Levels returns the levels, the most urgent first.
func Levels() [2]Level { return [2]Level{LevelSync, LevelBulk} }

// Priority is that of the calls to a system with which marks of the level are delivered.
func (l Level) Priority() priority.Level {
	if l == LevelBulk {
		return priority.Bulk
	}
	return priority.Sync
}

// levelOf returns the level of marks that the work of ctx makes.
func levelOf(ctx context.Context) Level {
	if priority.From(ctx) > priority.Sync {
		return LevelBulk
	}
	return LevelSync
}

// Mark says that a system may have to be written.
type Mark struct {
	System      string
	Object      golden.Object
	GoldenID    golden.ID
	Traceparent string
}

// Claimed is a mark that this process works on until its lease ends. Gen and Fence say which state of the mark it is.
type Claimed struct {
	Mark
	Gen, Fence int64
	Attempt    int
	// First is when the oldest change that is not delivered yet was marked.
	First     time.Time
	Postponed bool
	// Held is true for a deletion that waits for a person, Confirmed for one that somebody has confirmed.
	Held, Confirmed bool
}

// Retry says when a claimed mark is tried again.
type Retry struct {
	Claimed
	Due    time.Time
	Reason string
	// Postponed is true when the delivery waits for the parent's.
	Postponed bool
}

// Mark marks systems as to be written, as urgently as ctx says (see pkg/priority). A mark that exists gets a new generation, becomes
// due now and keeps the more urgent level: a delivery under way will not remove it. Until a delivery is under way the mark keeps the
// trace of what it was first made for.
func (t *Tx) Mark(ctx context.Context, marks []Mark, now time.Time) error {
	rows := make([][]any, len(marks))
	for i, m := range marks {
		rows[i] = []any{m.System, string(m.GoldenID), string(m.Object), m.Traceparent}
	}
	fixed := []any{db.Micros(now), int64(levelOf(ctx))}
	fresh, coalesced := map[string]int64{}, map[string]int64{}
	t.counted = append(t.counted, func() {
		t.AddTotals(outMarked, fresh)
		t.AddTotals(outCoalesced, coalesced)
	})
	return chunks(t.Reader, rows, func(rows [][]any) error {
		text, args := t.table(len(fixed), nil, rows)
		_, err := t.tx.ask(ctx, "mark deliveries", `INSERT INTO pending (system, golden_id, object, gen, due_us, attempt, first_us, lease_until_us, fence, reason,
				traceparent, postponed, level)
			SELECT column1, column2, column3, 1, CAST($1 AS BIGINT), 0, CAST($1 AS BIGINT), 0, 0, '', column4, FALSE, CAST($2 AS BIGINT) FROM (`+text+`) AS v WHERE TRUE
			ON CONFLICT (system, golden_id) DO UPDATE SET gen = pending.gen + 1, postponed = FALSE,
			traceparent = CASE WHEN pending.traceparent <> '' AND pending.lease_until_us <= excluded.due_us THEN pending.traceparent ELSE excluded.traceparent END,
			due_us = CASE WHEN pending.due_us < excluded.due_us THEN pending.due_us ELSE excluded.due_us END,
			level = CASE WHEN pending.level < excluded.level THEN pending.level ELSE excluded.level END
			RETURNING system, gen`, append(fixed[:len(fixed):len(fixed)], args...), func(rows db.Scanner) error {
			var system string
			var gen int64
			err := rows.Scan(&system, &gen)
			if gen == 1 {
				fresh[system]++
			} else {
				coalesced[system]++
			}
			return err
		})
		return err
	})
}

// Claim takes up to limit due marks of one system, kind and level until now+lease, the longest due first.
func (t *Tx) Claim(ctx context.Context, system string, obj golden.Object, level Level, now time.Time, lease time.Duration, limit int) ([]Claimed, error) {
	var out []Claimed
	// MATERIALIZED: PostgreSQL may otherwise run the inner SELECT again and exceed the limit. The order is that of the index, so that
	// nothing is sorted, and nothing read but what is taken and what others have claimed before it.
	err := t.query(ctx, "claim deliveries", `WITH c AS MATERIALIZED (
			SELECT golden_id FROM pending WHERE system = $1 AND object = $2 AND level = $6 AND due_us <= $3 AND lease_until_us <= $3
			ORDER BY due_us LIMIT $5`+t.db.SkipLocked()+`)
		UPDATE pending SET lease_until_us = $4, fence = fence + 1 WHERE system = $1 AND golden_id IN (SELECT golden_id FROM c)
		RETURNING golden_id, gen, fence, attempt, first_us, traceparent, postponed, held_us, confirmed`,
		[]any{system, string(obj), db.Micros(now), db.Micros(now.Add(lease)), limit, int64(level)}, func(rows *sql.Rows) error {
			c := Claimed{Mark: Mark{System: system, Object: obj}}
			var first, held int64
			err := rows.Scan(&c.GoldenID, &c.Gen, &c.Fence, &c.Attempt, &first, &c.Traceparent, &c.Postponed, &held, &c.Confirmed)
			c.First, c.Held = db.FromMicros(first), held > 0 && !c.Confirmed
			out = append(out, c)
			return err
		})
	return out, err
}

// Urge makes marks of one system urgent, because something urgent waits for them.
func (t *Tx) Urge(ctx context.Context, system string, ids []golden.ID) error {
	return chunks(t.Reader, texts(ids), func(ids []string) error {
		_, err := t.exec(ctx, "urge deliveries", "UPDATE pending SET level = 0 WHERE system = $1 AND level > 0 AND golden_id "+t.among(1, len(ids)),
			bound(t.Reader, []any{system}, ids)...)
		return err
	})
}

// Done removes claimed marks of one system that nobody marked again meanwhile, and counts them under an outcome; those
// marked again become due for everyone. It returns the golden records whose mark is gone.
func (t *Tx) Done(ctx context.Context, system string, claimed []Claimed, outcome Outcome) ([]golden.ID, error) {
	var gone []golden.ID
	err := chunks(t.Reader, claimed, func(claimed []Claimed) error {
		rows := make([][]any, len(claimed))
		for i, c := range claimed {
			rows[i] = []any{string(c.GoldenID), c.Gen, c.Fence}
		}
		text, args := t.table(1, []string{"TEXT", "BIGINT", "BIGINT"}, rows)
		args = append([]any{system}, args...)
		err := t.query(ctx, "finish deliveries", "DELETE FROM pending WHERE system = $1 AND (golden_id, gen, fence) IN ("+text+
			") RETURNING golden_id", args, func(rows *sql.Rows) error {
			var id golden.ID
			err := rows.Scan(&id)
			gone = append(gone, id)
			return err
		})
		if err != nil {
			return err
		}
		_, err = t.exec(ctx, "free deliveries marked again", `UPDATE pending SET lease_until_us = 0, attempt = 0, reason = '', held_us = 0, confirmed = FALSE
			FROM (`+text+`) AS v WHERE pending.system = $1 AND pending.golden_id = v.column1 AND pending.fence = v.column3`, args...)
		return err
	})
	if err != nil {
		return nil, err
	}
	t.AddTotals(string(outcome), map[string]int64{system: int64(len(gone))})
	return gone, nil
}

// Again gives claimed marks of one system back, each with the time of its next attempt. Marks that another process
// has claimed meanwhile are left alone.
func (t *Tx) Again(ctx context.Context, system string, retries []Retry) error {
	return chunks(t.Reader, retries, func(retries []Retry) error {
		rows := make([][]any, len(retries))
		for i, r := range retries {
			rows[i] = []any{string(r.GoldenID), r.Fence, db.Micros(r.Due), r.Attempt, r.Reason, r.Postponed}
		}
		text, args := t.table(1, []string{"TEXT", "BIGINT", "BIGINT", "BIGINT", "TEXT", "BOOLEAN"}, rows)
		_, err := t.exec(ctx, "give deliveries back", `UPDATE pending SET lease_until_us = 0, due_us = v.column3, attempt = v.column4,
			reason = v.column5, postponed = v.column6
			FROM (`+text+`) AS v WHERE pending.system = $1 AND pending.golden_id = v.column1 AND pending.fence = v.column2`,
			append([]any{system}, args...)...)
		return err
	})
}

// GiveBack gives marks of one system back that are claimed as given, until that very time, and returns the golden records of those. They
// are due as before; marks that another process has claimed meanwhile are left alone.
func (t *Tx) GiveBack(ctx context.Context, system string, claimed []Claimed, until time.Time) ([]golden.ID, error) {
	var ids []golden.ID
	err := chunks(t.Reader, claimed, func(claimed []Claimed) error {
		rows := make([][]any, len(claimed))
		for i, c := range claimed {
			rows[i] = []any{string(c.GoldenID), c.Fence}
		}
		text, args := t.table(2, []string{"TEXT", "BIGINT"}, rows)
		return t.query(ctx, "give claimed deliveries back", "UPDATE pending SET lease_until_us = 0 WHERE system = $1 AND lease_until_us = $2 AND (golden_id, fence) IN ("+
			text+") RETURNING golden_id", append([]any{system, db.Micros(until)}, args...), func(rows *sql.Rows) error {
			var id golden.ID
			err := rows.Scan(&id)
			ids = append(ids, id)
			return err
		})
	})
	return ids, err
}

// Wake makes deliveries due that wait for these parents in a system.
func (t *Tx) Wake(ctx context.Context, system string, parents []golden.ID, now time.Time) error {
	return chunks(t.Reader, parents, func(ids []golden.ID) error {
		_, err := t.exec(ctx, "wake contacts", `UPDATE pending SET due_us = $2, postponed = FALSE WHERE system = $1 AND postponed
			AND golden_id IN (SELECT id FROM golden WHERE parent_id `+t.among(2, len(ids))+")",
			bound(t.Reader, []any{system, db.Micros(now)}, texts(ids))...)
		return err
	})
}

// Marked returns the systems that wait to be written, by golden record.
func (r Reader) Marked(ctx context.Context, ids []golden.ID) (map[golden.ID][]string, error) {
	out := map[golden.ID][]string{}
	err := chunks(r, ids, func(ids []golden.ID) error {
		return r.query(ctx, "read marks", "SELECT golden_id, system FROM pending WHERE golden_id "+r.among(0, len(ids))+" ORDER BY system",
			bound(r, nil, texts(ids)), func(rows *sql.Rows) error {
				var id golden.ID
				var system string
				err := rows.Scan(&id, &system)
				out[id] = append(out[id], system)
				return err
			})
	})
	return out, err
}

// Backlog counts what waits to be written to one system.
type Backlog struct {
	System string
	// Pending counts all marks, Retrying those that failed before, Held the deletions that wait for a person.
	Pending, Retrying, Held int64
	// Oldest is when the oldest mark was made that does not wait for a person; zero when there is none.
	Oldest time.Time
	// Levels are the same by level.
	Levels [2]Waiting
}

// Waiting is what of a backlog has one level. A mark that became urgent is as old as the first change that is not delivered yet.
type Waiting struct {
	Pending int64
	Oldest  time.Time
}

// Backlogs returns the backlog of every system that has one, by name.
func (r Reader) Backlogs(ctx context.Context) ([]Backlog, error) {
	var out []Backlog
	err := r.query(ctx, "count deliveries", `SELECT system, level, COUNT(*),
		CAST(COALESCE(SUM(CASE WHEN (attempt > 0 OR reason <> '') AND NOT (`+waiting+`) THEN 1 ELSE 0 END), 0) AS BIGINT),
		CAST(COALESCE(SUM(CASE WHEN `+waiting+` THEN 1 ELSE 0 END), 0) AS BIGINT), MIN(CASE WHEN NOT (`+waiting+`) THEN first_us END)
		FROM pending GROUP BY system, level ORDER BY system, level`, nil, func(rows *sql.Rows) error {
		var system string
		var level Level
		var n, retrying, held int64
		var oldest sql.NullInt64
		if err := rows.Scan(&system, &level, &n, &retrying, &held, &oldest); err != nil {
			return err
		}
		if len(out) == 0 || out[len(out)-1].System != system {
			out = append(out, Backlog{System: system})
		}
		b := &out[len(out)-1]
		w := &b.Levels[min(level, LevelBulk)]
		w.Pending += n
		b.Pending, b.Retrying, b.Held = b.Pending+n, b.Retrying+retrying, b.Held+held
		if oldest.Valid {
			w.Oldest = db.FromMicros(oldest.Int64)
			if b.Oldest.IsZero() || w.Oldest.Before(b.Oldest) {
				b.Oldest = w.Oldest
			}
		}
		return nil
	})
	return out, err
}

// Due reports whether a mark of a system, kind and level can be claimed.
func (r Reader) Due(ctx context.Context, system string, obj golden.Object, level Level, now time.Time) (bool, error) {
	due := false
	err := r.query(ctx, "look for due deliveries", `SELECT 1 FROM pending
		WHERE system = $1 AND object = $2 AND level = $4 AND due_us <= $3 AND lease_until_us <= $3 LIMIT 1`,
		[]any{system, string(obj), db.Micros(now), int64(level)}, func(rows *sql.Rows) error {
			var one int
			due = true
			return rows.Scan(&one)
		})
	return due, err
}

// DueAtLeast reports whether n marks or more of a kind and level may be claimed now. It looks at no more than n.
func (r Reader) DueAtLeast(ctx context.Context, system string, obj golden.Object, level Level, now time.Time, n int) (bool, error) {
	have := 0
	err := r.query(ctx, "count due deliveries", `SELECT COUNT(*) FROM (
			SELECT 1 FROM pending WHERE system = $1 AND object = $2 AND level = $5 AND due_us <= $3 AND lease_until_us <= $3 LIMIT $4) AS due`,
		[]any{system, string(obj), db.Micros(now), n, int64(level)}, func(rows *sql.Rows) error { return rows.Scan(&have) })
	return have >= n, err
}

// NextDue returns when the next mark of a system becomes due; the zero time when nothing waits.
func (r Reader) NextDue(ctx context.Context, system string) (time.Time, error) {
	var us sql.NullInt64
	err := r.query(ctx, "read next delivery", `SELECT MIN(CASE WHEN due_us > lease_until_us THEN due_us ELSE lease_until_us END)
		FROM pending WHERE system = $1`, []any{system}, func(rows *sql.Rows) error { return rows.Scan(&us) })
	return db.FromMicros(us.Int64), err
}
