package storetest

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
)

func ruleSets(t *testing.T, s *store.Store) {
	_, err := s.Read().Rules(t.Context(), store.RulesActive)
	require.ErrorIs(t, err, store.ErrNotFound)
	_, found, err := s.Read().RulesIfNot(t.Context(), "")
	require.NoError(t, err)
	require.False(t, found, "none was put in force")

	one := store.RuleSet{Slot: store.RulesActive, Digest: "d1", Version: 7, Content: "version: 7\n# ü", Since: at(1), Cursor: "c_a", Records: 4, Changed: 2}
	wait := store.RuleSet{Slot: store.RulesWaiting, Digest: "d2", Version: 8, Content: "version: 8", Reason: "TOUCHES_TOO_MUCH", Since: at(2), Done: true}
	tx(t, s, func(ctx context.Context, tx *store.Tx) error { return tx.PutRules(ctx, one) })
	tx(t, s, func(ctx context.Context, tx *store.Tx) error { return tx.PutRules(ctx, wait) })
	got, err := s.Read().Rules(t.Context(), store.RulesActive)
	require.NoError(t, err)
	require.Equal(t, one, got)
	got, err = s.Read().Rules(t.Context(), store.RulesWaiting)
	require.NoError(t, err)
	require.Equal(t, wait, got)

	content, found, err := s.Read().RulesIfNot(t.Context(), "other")
	require.NoError(t, err)
	require.True(t, found)
	require.Equal(t, one.Content, content)
	_, found, err = s.Read().RulesIfNot(t.Context(), "d1")
	require.NoError(t, err)
	require.False(t, found, "who knows them is not told again")

	one.Digest, one.Done = "d3", true
	tx(t, s, func(ctx context.Context, tx *store.Tx) error { return tx.PutRules(ctx, one) })
	tx(t, s, func(ctx context.Context, tx *store.Tx) error { return tx.DropRules(ctx, store.RulesWaiting) })
	got, err = s.Read().Rules(t.Context(), store.RulesActive)
	require.NoError(t, err)
	require.Equal(t, one, got)
	_, err = s.Read().Rules(t.Context(), store.RulesWaiting)
	require.ErrorIs(t, err, store.ErrNotFound)
	tx(t, s, func(ctx context.Context, tx *store.Tx) error { return tx.DropRules(ctx, store.RulesActive) })
}

func questions(t *testing.T, s *store.Store) {
	ref := func(id string) golden.Ref { return golden.Ref{System: "erp", Object: golden.Customer, RecordID: id} }
	q := func(id, field string, second int) store.Question {
		return store.Question{Ref: ref(id), Field: field, GoldenID: "c_asked", Version: 3, State: store.QuestionOpen, Asked: at(second)}
	}
	before, err := s.Read().CountQuestions(t.Context())
	require.NoError(t, err)
	tx(t, s, func(ctx context.Context, tx *store.Tx) error {
		return tx.PutQuestions(ctx, []store.Question{q("1", golden.Phone, 2), q("1", golden.Email, 1), q("2", golden.Phone, 2)})
	})
	got, err := s.Read().OpenQuestions(t.Context(), store.Question{}, 10)
	require.NoError(t, err)
	require.Equal(t, []store.Question{q("1", golden.Email, 1), q("1", golden.Phone, 2), q("2", golden.Phone, 2)}, got, "oldest first")
	got, err = s.Read().OpenQuestions(t.Context(), got[1], 10)
	require.NoError(t, err)
	require.Len(t, got, 1)

	newer := q("1", golden.Phone, 9)
	newer.Version, newer.State, newer.Note = 4, store.QuestionRejected, "wrong number"
	tx(t, s, func(ctx context.Context, tx *store.Tx) error { return tx.PutQuestions(ctx, []store.Question{newer}) })
	got, err = s.Read().QuestionsOf(t.Context(), []golden.ID{"c_asked", "c_other"})
	require.NoError(t, err)
	require.Equal(t, []store.Question{q("1", golden.Email, 1), newer, q("2", golden.Phone, 2)}, got, "one per field of a record")
	after, err := s.Read().CountQuestions(t.Context())
	require.NoError(t, err)
	require.Equal(t, before+2, after)
}

func moves(t *testing.T, s *store.Store) {
	m := store.Move{From: "c_from", To: "c_to", Ref: golden.Ref{System: "erp", Object: golden.Customer, RecordID: "8"}, At: at(3)}
	tx(t, s, func(ctx context.Context, tx *store.Tx) error { return tx.AddMoves(ctx, []store.Move{m}) })
	m.To, m.At = "c_other", at(4)
	tx(t, s, func(ctx context.Context, tx *store.Tx) error { return tx.AddMoves(ctx, []store.Move{m}) })
	got, err := s.Read().Moves(t.Context(), "c_from")
	require.NoError(t, err)
	require.Equal(t, []store.Move{m}, got, "the last move counts")
	got, err = s.Read().MovesOf(t.Context(), m.Ref)
	require.NoError(t, err)
	require.Equal(t, []store.Move{m}, got)

	loser := &store.Source{Ref: golden.Ref{System: "moves", Object: golden.Customer, RecordID: "B"}, Deleted: true, MergedInto: "A"}
	tx(t, s, func(ctx context.Context, tx *store.Tx) error {
		return tx.PutSources(ctx, []*store.Source{loser, {Ref: golden.Ref{System: "moves", Object: golden.Customer, RecordID: "C"}}})
	})
	losers, err := s.Read().LosersTo(t.Context(), "moves", golden.Customer, []string{"A", "B", ""})
	require.NoError(t, err)
	require.Len(t, losers, 1)
	require.Equal(t, loser.Ref, losers[0].Ref)
	require.Equal(t, "A", losers[0].MergedInto)
	tx(t, s, func(ctx context.Context, tx *store.Tx) error { return tx.DropMoves(ctx, "c_from") })
	got, err = s.Read().Moves(t.Context(), "c_from")
	require.NoError(t, err)
	require.Empty(t, got)
}
