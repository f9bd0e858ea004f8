package storetest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
)

// shadows: what would be written is noted per field, keeps its age, and is marked when it ends.
func shadows(t *testing.T, s *store.Store) {
	const system = "shadow"
	a, b := newID(t, golden.Customer), newID(t, golden.Contact)
	put := func(writes ...store.ShadowWrite) {
		for i := range writes {
			writes[i].System = system
		}
		tx(t, s, func(ctx context.Context, tx *store.Tx) error { return tx.PutShadow(ctx, writes) })
	}
	one := store.ShadowWrite{GoldenID: a, Object: golden.Customer, RecordID: "1", Field: golden.Phone, Kind: store.ShadowUpdate, Before: "0", Intended: "1", Since: at(1)}
	other := store.ShadowWrite{GoldenID: b, Object: golden.Contact, Field: golden.LastName, Kind: store.ShadowCreate, Intended: "Dent", Since: at(2)}
	put(one, other)
	newer := one
	newer.Intended, newer.Since = "2", at(9)
	put(newer)
	got, err := s.Read().ShadowOf(t.Context(), system, []golden.ID{a})
	require.NoError(t, err)
	require.Len(t, got, 1)
	require.Equal(t, []any{"0", "2", at(1)}, []any{got[0].Before, got[0].Intended, got[0].Since}, "the newest intention, and since when there is one")
	n, err := s.Read().CountShadowed(t.Context(), system)
	require.NoError(t, err)
	require.EqualValues(t, 2, n)
	var seen int
	for after := (store.ShadowWrite{}); ; seen++ {
		page, err := s.Read().ShadowWrites(t.Context(), system, after, 1)
		require.NoError(t, err)
		if len(page) == 0 {
			break
		}
		after = page[0]
	}
	require.Equal(t, 2, seen)

	tx(t, s, func(ctx context.Context, tx *store.Tx) error { return tx.EndShadow(ctx, system, "", at(20)) })
	marked, err := s.Read().Marked(t.Context(), []golden.ID{a, b})
	require.NoError(t, err)
	require.Equal(t, map[golden.ID][]string{a: {system}, b: {system}}, marked)
	n, err = s.Read().CountShadowed(t.Context(), system)
	require.NoError(t, err)
	require.Zero(t, n)
	for _, o := range outflowsOf(t, s, system) {
		require.True(t, o.Balanced(), "%+v", o)
	}
}

func outflowsOf(t *testing.T, s *store.Store, system string) (out []store.Outflow) {
	t.Helper()
	all, err := s.Read().Outflows(t.Context())
	require.NoError(t, err)
	for _, o := range all {
		if o.System == system {
			out = append(out, o)
		}
	}
	return out
}

// erasures: tombstones know what was erased and nothing else, steps are claimed once, and what is done can be reopened.
func erasures(t *testing.T, s *store.Store) {
	const system = "erased"
	id := newID(t, golden.Customer)
	record := golden.Ref{System: system, Object: golden.Customer, RecordID: "r1"}
	tombs := func(keys ...string) map[string]string {
		found, err := s.Read().Tombs(t.Context(), keys)
		require.NoError(t, err)
		return found.Erasure
	}
	tx(t, s, func(ctx context.Context, tx *store.Tx) error {
		hash, err := tx.HashOf(ctx, store.RecordKey(record))
		e := store.Erasure{ID: "e1", GoldenID: id, Object: golden.Customer, State: store.Erasing, Actor: "ada", Requested: at(1)}
		e.Steps = []store.ErasureStep{{ErasureID: e.ID, Hash: hash, Ref: record}}
		return errors.Join(err, tx.Bury(ctx, e.ID, []string{store.RecordKey(record), store.GoldenKey(id)}, at(1)), tx.PutErasure(ctx, e))
	})
	require.Equal(t, map[string]string{store.RecordKey(record): "e1"}, tombs(store.RecordKey(record), "erased/customer/r2", store.RecordKey(record)))
	require.Equal(t, map[string]string{store.GoldenKey(id): "e1"}, tombs(store.GoldenKey(id)))
	claim := func(now int) (out []store.ErasureStep) {
		tx(t, s, func(ctx context.Context, tx *store.Tx) error {
			var err error
			out, err = tx.ClaimSteps(ctx, at(now), time.Minute, 10)
			return err
		})
		return out
	}
	claimed := claim(2)
	require.Len(t, claimed, 1)
	require.Equal(t, record, claimed[0].Ref)
	require.Empty(t, claim(3), "it is somebody's")
	require.Len(t, claim(70), 1, "until the lease ends")

	step := claimed[0]
	step.State, step.Done, step.Attempts = store.StepDone, at(71), 1
	tx(t, s, func(ctx context.Context, tx *store.Tx) error { return tx.SettleStep(ctx, step) })
	open, err := s.Read().Unfinished(t.Context(), 10)
	require.NoError(t, err)
	require.Len(t, open, 1)
	require.Empty(t, open[0].Steps[0].Ref.RecordID, "what is gone is not named")
	finish := func() (ended bool) {
		tx(t, s, func(ctx context.Context, tx *store.Tx) error {
			var err error
			ended, err = tx.FinishErasure(ctx, store.Erasure{ID: "e1", Done: at(72), Receipt: "{}", Signature: []byte{1}})
			return err
		})
		return ended
	}
	require.True(t, finish())
	require.False(t, finish(), "once")
	again := func() (reopened bool) {
		tx(t, s, func(ctx context.Context, tx *store.Tx) error {
			var err error
			reopened, err = tx.Reopen(ctx, "e1", record, at(80))
			return errors.Join(err, tx.CountRefused(ctx, map[string]int64{"e1": 2}))
		})
		return reopened
	}
	require.True(t, again())
	require.False(t, again(), "it is open already")
	require.False(t, finish(), "a step is open")
	e, err := s.Read().Erasure(t.Context(), string(id))
	require.NoError(t, err)
	require.Equal(t, []any{store.Erasing, "", int64(4), "r1"}, []any{e.State, e.Receipt, e.Refused, e.Steps[0].Ref.RecordID})
	n, refused, oldest, err := s.Read().OpenErasures(t.Context())
	require.NoError(t, err)
	require.Equal(t, []any{int64(1), int64(0), at(1)}, []any{n, refused, oldest})
	listed, err := s.Read().ListErasures(t.Context(), true, time.Time{}, "", 10)
	require.NoError(t, err)
	require.Len(t, listed, 1)
	_, err = s.Read().Erasure(t.Context(), "nobody")
	require.ErrorIs(t, err, store.ErrNotFound)
}

// letterVersions: a letter keeps the newest version of what could not be taken in; contacts know that their customer is parked.
func letterVersions(t *testing.T, s *store.Store) {
	const system = "versions"
	parent, child := newID(t, golden.Customer), newID(t, golden.Contact)
	letter := func(id string, version int64) store.DeadLetter {
		return store.DeadLetter{ID: id, Direction: store.DirectionIntake, Ref: golden.Ref{System: system, Object: golden.Customer, RecordID: "v"}, Version: version, Attempts: 1, Parked: at(1)}
	}
	for i, version := range []int64{5, 9, 7} {
		tx(t, s, func(ctx context.Context, tx *store.Tx) error {
			return tx.Park(ctx, []store.DeadLetter{letter("v"+string(rune('a'+i)), version)})
		})
	}
	open, err := s.Read().OpenIntake(t.Context(), system, []string{"v"})
	require.NoError(t, err)
	require.Len(t, open, 1)
	require.EqualValues(t, 9, open[0].Version)

	tx(t, s, func(ctx context.Context, tx *store.Tx) error {
		g := &store.Golden{Record: golden.Record{ID: child, Object: golden.Contact, Values: golden.Values{golden.Parent: string(parent)}, Version: 1, Created: at(1), Updated: at(1)}}
		return errors.Join(tx.PutGoldens(ctx, []*store.Golden{g}), tx.Park(ctx, []store.DeadLetter{
			{ID: "vp", Direction: store.DirectionDeliver, Ref: golden.Ref{System: system, Object: golden.Contact}, GoldenID: child, Reason: store.ReasonParentParked, Attempts: 1, Parked: at(1)},
		}))
	})
	under, err := s.Read().ParkedUnder(t.Context(), system, []golden.ID{parent})
	require.NoError(t, err)
	require.Equal(t, []golden.ID{child}, under)
	under, err = s.Read().ParkedUnder(t.Context(), "other", []golden.ID{parent})
	require.NoError(t, err)
	require.Empty(t, under)
}
