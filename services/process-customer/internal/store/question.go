package store

import (
	"context"
	"database/sql"
	"time"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
)

// States of a question.
const (
	QuestionOpen     = "OPEN"
	QuestionAccepted = "ACCEPTED"
	QuestionRejected = "REJECTED"
	// QuestionSettled means that it answered itself: the record and the golden record agree again.
	QuestionSettled = "SETTLED"
)

// Question asks a person about an edit that a rule has overruled. There is one per field of a record; a newer edit
// takes the place of an older one.
type Question struct {
	Ref      golden.Ref
	Field    string
	GoldenID golden.ID
	// Version is that of the claim in question.
	Version int64
	State   string
	Asked   time.Time
	// Note is why it was answered so.
	Note string
}

const questionColumns = "system, object, record_id, field, golden_id, version, state, asked_us, note"

func (r Reader) questions(ctx context.Context, where string, args []any) ([]Question, error) {
	var out []Question
	err := r.query(ctx, "read questions", "SELECT "+questionColumns+" FROM question WHERE "+where, args, func(rows *sql.Rows) error {
		var q Question
		var asked int64
		err := rows.Scan(&q.Ref.System, &q.Ref.Object, &q.Ref.RecordID, &q.Field, &q.GoldenID, &q.Version, &q.State, &asked, &q.Note)
		q.Asked = db.FromMicros(asked)
		out = append(out, q)
		return err
	})
	return out, err
}

// QuestionsOf returns the questions about golden records, answered ones included.
func (r Reader) QuestionsOf(ctx context.Context, ids []golden.ID) ([]Question, error) {
	var out []Question
	err := chunks(r, ids, func(ids []golden.ID) error {
		got, err := r.questions(ctx, "golden_id "+r.oneOf(0, len(ids))+" ORDER BY system, object, record_id, field", bound(r, nil, texts(ids)))
		out = append(out, got...)
		return err
	})
	return out, err
}

// OpenQuestions returns open questions, oldest first, after the given one; the zero Question begins.
func (r Reader) OpenQuestions(ctx context.Context, after Question, limit int) ([]Question, error) {
	asked := int64(-1 << 62)
	if !after.Asked.IsZero() {
		asked = db.Micros(after.Asked)
	}
	return r.questions(ctx, `state = 'OPEN' AND (asked_us, system, record_id, field) > ($1, $2, $3, $4)
		ORDER BY asked_us, system, record_id, field LIMIT $5`, []any{asked, after.Ref.System, after.Ref.RecordID, after.Field, limit})
}

// CountQuestions counts the open ones.
func (r Reader) CountQuestions(ctx context.Context) (n int64, err error) {
	err = r.query(ctx, "count questions", "SELECT COUNT(*) FROM question WHERE state = 'OPEN'", nil, func(rows *sql.Rows) error { return rows.Scan(&n) })
	return n, err
}

// PutQuestions writes questions as they are given.
func (t *Tx) PutQuestions(ctx context.Context, questions []Question) error {
	rows := make([][]any, len(questions))
	for i, q := range questions {
		rows[i] = []any{
			q.Ref.System, string(q.Ref.Object), q.Ref.RecordID, q.Field, string(q.GoldenID), q.Version, q.State, db.Micros(q.Asked), q.Note,
		}
	}
	return t.insert(ctx, "write questions", "INSERT INTO question ("+questionColumns+")",
		`ON CONFLICT (system, object, record_id, field) DO UPDATE SET golden_id = excluded.golden_id, version = excluded.version,
		state = excluded.state, asked_us = excluded.asked_us, note = excluded.note`, rows)
}
