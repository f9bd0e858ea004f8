package fold

import (
	"context"
	"slices"
	"strings"

	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/survive"
)

// An edit that does not win is never lost: it stays a claim, the audit trail says "overruled", and the rule of the field
// says what becomes of it in the record where it was made.

type questionKey struct {
	ref   golden.Ref
	field string
}

// markEdits notes in the newest claims of fields whose overruled edits are not reverted what they were said over. By that
// it is known later whether anybody has said something new since, without asking clocks that cannot tell.
func (u *Unit) markEdits(next *store.Source, claimed []string) {
	g := u.goldens[next.GoldenID]
	for _, field := range claimed {
		for _, member := range u.rules.Unit(g.Object, field) {
			if list := next.Claims[member]; len(list) > 0 && u.rules.Overruled(g.Object, member) != survive.Revert {
				list = slices.Clone(list)
				list[0].Hold, list[0].Over = golden.HoldUntilChange, g.Values[member]
				next.Claims[member] = list
			}
		}
	}
}

// overruled returns the record's own word about a field if it was an edit, stands there, does not win, and nobody whose
// word counts has said something else since; of a unit, about any of its fields. What a record held before anybody agreed
// is no edit.
func (u *Unit) overruled(g *store.Golden, row *store.Source, field string) (golden.Claim, bool) {
	claims := row.Claims[field]
	if len(claims) == 0 || row.Deleted || row.MergedInto != "" {
		return golden.Claim{}, false
	}
	own := claims[0]
	if held, known := row.Shadow[field]; !known || held != own.Value || u.rules.Value(g.Object, field, own.Value) == g.Values[field] {
		return golden.Claim{}, false
	}
	for _, member := range u.rules.Unit(g.Object, field) {
		list := row.Claims[member]
		if len(list) == 0 && g.Values[member] == "" {
			continue
		}
		if len(list) == 0 || list[0].Hold == "" || list[0].Over != g.Values[member] {
			return golden.Claim{}, false
		}
	}
	return own, true
}

// stays reports whether a record may go on holding something else than the golden value.
func (u *Unit) stays(g *store.Golden, row *store.Source, field string) bool {
	policy := u.rules.Overruled(g.Object, field)
	if policy == survive.Revert {
		return false
	}
	own, ok := u.overruled(g, row, field)
	if !ok || policy == survive.Keep {
		return ok
	}
	q, asked := u.asked[questionKey{row.Ref, field}]
	return !asked || q.State != store.QuestionRejected || q.Version < own.Version
}

// noteConcurrent notes an edit that was made without knowledge of another system's: the record did not hold the golden
// value yet when it was edited. Whatever came in first, the second of the two finds that, so there is one note.
func (u *Unit) noteConcurrent(row, next *store.Source, claimed []string, c source.Change) {
	g := u.goldens[next.GoldenID]
	var fields []string
	for _, field := range claimed {
		want, agreed := g.Values[field]
		if !agreed || row.Shadow[field] == want || u.rules.Value(g.Object, field, next.Shadow[field]) == want ||
			!u.rules.WritesTo(g.Object, field, c.Ref.System) || row.Rewritten[field].Wrote == want || u.stays(g, row, field) {
			continue
		}
		fields = append(fields, field)
	}
	if len(fields) > 0 {
		u.Note(store.Event{
			GoldenID: g.ID, Kind: "conflict", System: c.Ref.System, RecordID: c.Ref.RecordID, ChangeID: c.ID, Fields: fields, Reason: "CONCURRENT_EDIT",
		})
	}
}

// noteOverruled notes an edit that did not win.
func (u *Unit) noteOverruled(next *store.Source, claimed []string, c source.Change) {
	g := u.goldens[next.GoldenID]
	byPolicy := map[survive.Overruled][]string{}
	for _, field := range claimed {
		if u.rules.Value(g.Object, field, next.Shadow[field]) != g.Values[field] {
			policy := u.rules.Overruled(g.Object, field)
			byPolicy[policy] = append(byPolicy[policy], field)
		}
	}
	for _, policy := range []survive.Overruled{survive.Revert, survive.Keep, survive.Ask} {
		if len(byPolicy[policy]) > 0 {
			u.Note(store.Event{
				GoldenID: g.ID, Kind: "overruled", System: c.Ref.System, RecordID: c.Ref.RecordID, ChangeID: c.ID, Fields: byPolicy[policy],
				Reason: strings.ToUpper(string(policy)),
			})
		}
	}
}

func (u *Unit) loadQuestions(ctx context.Context, ids []golden.ID) error {
	if !u.rules.Asks() {
		return nil
	}
	questions, err := u.tx.QuestionsOf(ctx, ids)
	for _, q := range questions {
		u.asked[questionKey{q.Ref, q.Field}] = q
	}
	return err
}

// flushQuestions asks about the edits that are overruled now, and settles questions that are none any more.
func (u *Unit) flushQuestions(ctx context.Context) error {
	if !u.rules.Asks() {
		return nil
	}
	var put []store.Question
	for id := range u.touched {
		g := u.goldens[id]
		if g == nil {
			continue
		}
		for _, row := range u.of[id] {
			for _, field := range u.f.fields[row.Ref.System][g.Object] {
				if q, changed := u.question(g, row, field); changed {
					put = append(put, q)
				}
			}
		}
	}
	slices.SortFunc(put, func(a, b store.Question) int {
		if n := compareText(a.Ref.System, b.Ref.System); n != 0 {
			return n
		}
		if n := compareText(a.Ref.RecordID, b.Ref.RecordID); n != 0 {
			return n
		}
		return compareText(a.Field, b.Field)
	})
	return u.tx.PutQuestions(ctx, put)
}

// question returns the question about a field of a record as it should be, and whether that is new.
func (u *Unit) question(g *store.Golden, row *store.Source, field string) (store.Question, bool) {
	q, asked := u.asked[questionKey{row.Ref, field}]
	own, contested := golden.Claim{}, false
	if u.rules.Overruled(g.Object, field) == survive.Ask {
		own, contested = u.overruled(g, row, field)
	}
	switch {
	case contested && (!asked || q.Version < own.Version || q.State == store.QuestionSettled):
		u.Note(store.Event{GoldenID: g.ID, Kind: "asked", System: row.Ref.System, RecordID: row.Ref.RecordID, ChangeID: own.ChangeID, Fields: []string{field}})
		return store.Question{
			Ref: row.Ref, Field: field, GoldenID: g.ID, Version: own.Version, State: store.QuestionOpen, Asked: u.now,
		}, true
	case !contested && asked && q.State == store.QuestionOpen:
		q.State = store.QuestionSettled
		return q, true
	case asked && q.GoldenID != g.ID:
		q.GoldenID = g.ID
		return q, true
	}
	return q, false
}

// Answer answers an open question about a field of a loaded golden record. Accepting takes the record's value as the
// golden one until the others say something new; rejecting writes the golden value over it. It reports false when
// there is no such open question.
func (u *Unit) Answer(ctx context.Context, ref golden.Ref, field string, accept bool, note, changeID string) (bool, error) {
	q, asked := u.asked[questionKey{ref, field}]
	row := u.rows[ref]
	if !asked || q.State != store.QuestionOpen || row == nil || u.goldens[row.GoldenID] == nil {
		return false, nil
	}
	kind := "rejected"
	q.State, q.Note = store.QuestionRejected, note
	if accept {
		kind, q.State = "accepted", store.QuestionAccepted
		values := golden.Values{}
		for _, member := range u.rules.Unit(ref.Object, field) {
			values[member] = u.rules.Value(ref.Object, member, row.Shadow[member])
		}
		u.Pin(row.GoldenID, values, golden.HoldUntilChange, changeID)
	}
	u.asked[questionKey{ref, field}] = q
	u.Note(store.Event{GoldenID: row.GoldenID, Kind: kind, System: ref.System, RecordID: ref.RecordID, ChangeID: changeID, Fields: []string{field}})
	u.touch(row.GoldenID, "")
	return true, u.tx.PutQuestions(ctx, []store.Question{q})
}
