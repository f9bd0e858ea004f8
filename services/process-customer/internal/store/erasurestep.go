package store

import (
	"context"
	"database/sql"
	"time"

	"github.com/selfsame-io/selfsame/pkg/db"
)

const stepColumns = "erasure_id, hash, system, object, record_id, external_id, state, reason, attempts, due_us, done_us"

func scanStep(rows *sql.Rows) (ErasureStep, error) {
	var s ErasureStep
	var due, done int64
	err := rows.Scan(&s.ErasureID, &s.Hash, &s.Ref.System, &s.Ref.Object, &s.Ref.RecordID, &s.ExternalID, &s.State, &s.Reason, &s.Attempts, &due, &done)
	s.Due, s.Done = db.FromMicros(due), db.FromMicros(done)
	return s, err
}

func (r Reader) steps(ctx context.Context, where string, args []any) ([]ErasureStep, error) {
	var out []ErasureStep
	err := r.query(ctx, "read erasure steps", "SELECT "+stepColumns+" FROM erasure_step WHERE "+where, args, func(rows *sql.Rows) error {
		s, err := scanStep(rows)
		out = append(out, s)
		return err
	})
	return out, err
}

// StepsDue reports whether a step can be claimed.
func (r Reader) StepsDue(ctx context.Context, now time.Time) (bool, error) {
	due := false
	err := r.query(ctx, "look for erasure steps", "SELECT 1 FROM erasure_step WHERE state <> 'DONE' AND due_us <= $1 AND lease_until_us <= $1 LIMIT 1",
		[]any{db.Micros(now)}, func(rows *sql.Rows) error {
			var one int
			due = true
			return rows.Scan(&one)
		})
	return due, err
}

// ClaimSteps takes up to limit due steps until now+lease.
func (t *Tx) ClaimSteps(ctx context.Context, now time.Time, lease time.Duration, limit int) ([]ErasureStep, error) {
	var out []ErasureStep
	err := t.query(ctx, "claim erasure steps", `WITH c AS MATERIALIZED (
			SELECT erasure_id, hash FROM erasure_step WHERE state <> 'DONE' AND due_us <= $1 AND lease_until_us <= $1
			ORDER BY due_us, erasure_id, hash LIMIT $3`+t.db.SkipLocked()+`)
		UPDATE erasure_step SET lease_until_us = $2 WHERE (erasure_id, hash) IN (SELECT erasure_id, hash FROM c)
		RETURNING `+stepColumns, []any{db.Micros(now), db.Micros(now.Add(lease)), limit}, func(rows *sql.Rows) error {
		s, err := scanStep(rows)
		out = append(out, s)
		return err
	})
	return out, err
}

// SettleStep stores what became of a claimed step. One that is done forgets which record it was about.
func (t *Tx) SettleStep(ctx context.Context, s ErasureStep) error {
	if s.State == StepDone {
		s.Ref.RecordID, s.ExternalID = "", ""
	}
	_, err := t.exec(ctx, "settle erasure step", `UPDATE erasure_step SET record_id = $3, external_id = $4, state = $5, reason = $6, attempts = $7, due_us = $8,
		done_us = $9, lease_until_us = 0 WHERE erasure_id = $1 AND hash = $2`,
		s.ErasureID, s.Hash, s.Ref.RecordID, s.ExternalID, s.State, s.Reason, s.Attempts, db.Micros(s.Due), db.Micros(s.Done))
	return err
}

// Unfinished returns erasures all of whose steps are done and that have no receipt yet.
func (r Reader) Unfinished(ctx context.Context, limit int) ([]Erasure, error) {
	return r.erasures(ctx, `state = 'ERASING' AND NOT EXISTS (SELECT 1 FROM erasure_step s WHERE s.erasure_id = erasure.id AND s.state <> 'DONE')
		ORDER BY requested_us, id LIMIT $1`, []any{limit})
}

// AnswersErased adds to how many stored answers are erased, and notes whether those are all.
func (t *Tx) AnswersErased(ctx context.Context, id string, n int64, all bool) error {
	_, err := t.exec(ctx, "note erased answers", "UPDATE erasure SET answered = answered OR $3, answers = answers + $2 WHERE id = $1", id, n, all)
	return err
}

// FinishErasure stores the receipt of an erasure whose steps are all done, and reports whether it was open.
func (t *Tx) FinishErasure(ctx context.Context, e Erasure) (bool, error) {
	n, err := t.exec(ctx, "finish erasure", `UPDATE erasure SET state = 'DONE', done_us = $2, receipt = $3, signature = $4 WHERE id = $1 AND state = 'ERASING'
		AND NOT EXISTS (SELECT 1 FROM erasure_step s WHERE s.erasure_id = $1 AND s.state <> 'DONE')`, e.ID, db.Micros(e.Done), e.Receipt, e.Signature)
	return n > 0, err
}
