package store

import (
	"context"
	"database/sql"
	"time"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
)

// noteErased is what a dead letter says that was closed by an erasure.
const noteErased = "ERASED"

// Scrub forgets golden records with everything that belongs to them, and what is known of the named records of systems,
// which includes theirs. What is accounted for stays counted. The audit trail stays as it was written: with the keys of its
// subjects gone nobody reads the values in it.
func (t *Tx) Scrub(ctx context.Context, ids []golden.ID, refs []golden.Ref, now time.Time) error {
	for _, step := range []func(context.Context, []golden.ID) error{
		t.scrubMarks,
		t.deleteOf("intent", "golden_id"),
		t.deleteOf("removal", "golden_id"),
		t.deleteOf("source_record", "golden_id"),
		t.deleteOf("match_key", "golden_id"),
		t.scrubMatching,
		t.deleteOf("question", "golden_id"),
		t.deleteOf("identity_move", "from_id"),
		t.deleteOf("identity_move", "to_id"),
		t.deleteOf("golden", "id"),
		func(ctx context.Context, ids []golden.ID) error {
			return t.scrubInbox(ctx, "golden_id "+t.among(0, len(ids)), bound(t.Reader, nil, texts(ids)))
		},
	} {
		if err := step(ctx, ids); err != nil {
			return err
		}
	}
	if err := t.ScrubWords(ctx, ids, now); err != nil {
		return err
	}
	return t.ScrubRecords(ctx, refs, now)
}

// ScrubWords destroys the keys of golden records and forgets what was sealed with them outside the audit trail, and closes
// their dead letters.
func (t *Tx) ScrubWords(ctx context.Context, ids []golden.ID, now time.Time) error {
	for _, step := range []func(context.Context, []golden.ID) error{
		t.deleteOf("finding", "golden_id"),
		t.deleteOf("ignore_rule", "record_id"),
		t.deleteOf("shadow_write", "golden_id"),
		t.deleteOf("subject_key", "subject"),
	} {
		if err := step(ctx, ids); err != nil {
			return err
		}
	}
	return chunks(t.Reader, ids, func(ids []golden.ID) error {
		return t.closeLetters(ctx, "golden_id "+t.among(2, len(ids)), bound(t.Reader, []any{db.Micros(now), noteErased}, texts(ids)))
	})
}

// ScrubRecords forgets what is known of records of systems beside their golden record.
func (t *Tx) ScrubRecords(ctx context.Context, refs []golden.Ref, now time.Time) error {
	for _, ref := range refs {
		args := []any{ref.System, string(ref.Object), ref.RecordID}
		where := "system = $1 AND object = $2 AND record_id = $3"
		for _, table := range []string{"source_record", "question", "identity_move", "finding"} {
			if _, err := t.exec(ctx, "erase from "+table, "DELETE FROM "+table+" WHERE "+where, args...); err != nil {
				return err
			}
		}
		if _, err := t.exec(ctx, "erase ignore rules", "DELETE FROM ignore_rule WHERE system = $1 AND record_id = $2", ref.System, ref.RecordID); err != nil {
			return err
		}
		if err := t.scrubInbox(ctx, where, args); err != nil {
			return err
		}
		letters := append([]any{db.Micros(now), noteErased}, args...)
		if err := t.closeLetters(ctx, "system = $3 AND object = $4 AND record_id = $5", letters); err != nil {
			return err
		}
		if _, err := t.exec(ctx, "destroy keys", "DELETE FROM subject_key WHERE subject = $1", subject("", ref.System, ref.RecordID)); err != nil {
			return err
		}
	}
	return nil
}

// ScrubSystem forgets what was sent and is to be sent to a system about a golden record.
func (t *Tx) ScrubSystem(ctx context.Context, id golden.ID, system string) error {
	if _, err := t.exec(ctx, "erase intents", "DELETE FROM intent WHERE golden_id = $1 AND system = $2", string(id), system); err != nil {
		return err
	}
	n, err := t.exec(ctx, "erase marks", "DELETE FROM pending WHERE golden_id = $1 AND system = $2", string(id), system)
	if err != nil {
		return err
	}
	t.AddTotals(string(Unneeded), map[string]int64{system: n})
	return nil
}

func (t *Tx) deleteOf(table, column string) func(context.Context, []golden.ID) error {
	return func(ctx context.Context, ids []golden.ID) error {
		return chunks(t.Reader, ids, func(ids []golden.ID) error {
			_, err := t.exec(ctx, "erase from "+table, "DELETE FROM "+table+" WHERE "+column+" "+t.among(0, len(ids)), bound(t.Reader, nil, texts(ids))...)
			return err
		})
	}
}

func (t *Tx) scrubMarks(ctx context.Context, ids []golden.ID) error {
	gone := map[string]int64{}
	err := chunks(t.Reader, ids, func(ids []golden.ID) error {
		return t.query(ctx, "erase marks", "DELETE FROM pending WHERE golden_id "+t.among(0, len(ids))+" RETURNING system", bound(t.Reader, nil, texts(ids)),
			func(rows *sql.Rows) error {
				var system string
				err := rows.Scan(&system)
				gone[system]++
				return err
			})
	})
	if err != nil {
		return err
	}
	t.AddTotals(string(Unneeded), gone)
	return nil
}

// scrubMatching forgets by what golden records were compared with others.
func (t *Tx) scrubMatching(ctx context.Context, ids []golden.ID) error {
	// Blocks have no index by unit: a unit knows its keys.
	known, err := t.MatchUnits(ctx, ids)
	if err != nil {
		return err
	}
	var blocks []MatchBlock
	for _, m := range known {
		for _, k := range m.Keys {
			blocks = append(blocks, MatchBlock{Key: k, Unit: m.Number})
		}
	}
	if err := t.DropMatchBlocks(ctx, blocks); err != nil {
		return err
	}
	return chunks(t.Reader, ids, func(ids []golden.ID) error {
		units := "(SELECT number FROM match_unit WHERE golden_id " + t.among(0, len(ids)) + ")"
		for _, s := range []string{
			"DELETE FROM match_edge WHERE a IN " + units + " OR b IN " + units,
			"DELETE FROM match_verdict WHERE a IN " + units + " OR b IN " + units,
			"DELETE FROM match_unit WHERE golden_id " + t.among(0, len(ids)),
			"DELETE FROM match_due WHERE golden_id " + t.among(0, len(ids)),
		} {
			if _, err := t.exec(ctx, "erase from matching", s, bound(t.Reader, nil, texts(ids))...); err != nil {
				return err
			}
		}
		return nil
	})
}

// scrubInbox removes changes and keeps their counts; those that were still open are refused.
func (t *Tx) scrubInbox(ctx context.Context, where string, args []any) error {
	totals := map[string]map[string]int64{}
	err := t.query(ctx, "erase changes", "DELETE FROM inbox WHERE "+where+" RETURNING system, state, echo", args, func(rows *sql.Rows) error {
		var system, state string
		var echo bool
		if err := rows.Scan(&system, &state, &echo); err != nil {
			return err
		}
		if state == Retrying || state == Parked {
			state = Refused
		}
		count(totals, state, system)
		if echo {
			count(totals, "echoes", system)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for state, bySystem := range totals {
		t.AddTotals(state, bySystem)
	}
	return nil
}

// closeLetters closes dead letters and leaves nothing in them but that they were. The arguments begin with the time and why.
func (t *Tx) closeLetters(ctx context.Context, where string, args []any) error {
	_, err := t.exec(ctx, "erase dead letters", `UPDATE dead_letter SET state = CASE WHEN state = 'OPEN' THEN 'DISCARDED' ELSE state END,
		settled_us = CASE WHEN state = 'OPEN' THEN $1 ELSE settled_us END, note = $2, message = '', field = '', record_id = '', change_id = '' WHERE `+where,
		args...)
	return err
}
