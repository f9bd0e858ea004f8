package storetest

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
)

func heldDeletions(t *testing.T, s *store.Store) {
	const system = "held"
	r := s.Read()
	mark := func(ids ...golden.ID) {
		var marks []store.Mark
		for _, id := range ids {
			marks = append(marks, store.Mark{System: system, Object: golden.Customer, GoldenID: id})
		}
		tx(t, s, func(ctx context.Context, tx *store.Tx) error { return tx.Mark(ctx, marks, at(0)) })
	}
	claim := func(now time.Time) (out []store.Claimed) {
		tx(t, s, func(ctx context.Context, tx *store.Tx) error {
			var err error
			out, err = tx.Claim(ctx, system, golden.Customer, store.LevelSync, now, time.Minute, 10)
			return err
		})
		return out
	}
	hold := func(c []store.Claimed, now, due time.Time) {
		tx(t, s, func(ctx context.Context, tx *store.Tx) error { return tx.Hold(ctx, system, c, "HELD", now, due) })
	}
	confirm := func(until, now time.Time) (n int64) {
		tx(t, s, func(ctx context.Context, tx *store.Tx) error {
			var err error
			n, err = tx.Confirm(ctx, system, until, now)
			return err
		})
		return n
	}
	list := func(after store.Held, limit int) (ids []golden.ID, last store.Held) {
		got, err := r.Held(t.Context(), system, after, limit)
		require.NoError(t, err)
		for _, h := range got {
			require.Equal(t, system, h.System)
			ids, last = append(ids, h.GoldenID), h
		}
		return ids, last
	}
	holds := func() bool {
		yes, err := r.Holds(t.Context(), system)
		require.NoError(t, err)
		return yes
	}
	mark("c_h1", "c_h2")
	require.False(t, holds())
	hold(claim(at(1)), at(1), at(100))
	require.True(t, holds())
	mark("c_h3")
	late := claim(at(2))
	require.Len(t, late, 1)
	hold(late, at(2), at(100))
	first, last := list(store.Held{}, 2)
	require.Equal(t, []golden.ID{"c_h1", "c_h2"}, first)
	rest, _ := list(last, 2)
	require.Equal(t, []golden.ID{"c_h3"}, rest)
	backlogs, err := r.Backlogs(t.Context())
	require.NoError(t, err)
	require.Contains(t, backlogs, store.Backlog{System: system, Pending: 3, Held: 3, Levels: [2]store.Waiting{store.LevelSync: {Pending: 3}}}, "what is held has not failed")

	require.Empty(t, claim(at(99)))
	again := claim(at(100))
	require.Len(t, again, 3)
	require.True(t, again[0].Held)
	hold(again, at(100), at(200))
	_, last = list(store.Held{}, 10)
	require.Equal(t, at(2), last.Since.UTC(), "it waits since it was held first")

	require.EqualValues(t, 2, confirm(at(1), at(110)), "exactly those that somebody saw")
	require.Zero(t, confirm(at(1), at(110)), "confirming twice is confirming once")
	confirmed := claim(at(110))
	require.Len(t, confirmed, 2)
	for _, c := range confirmed {
		require.True(t, c.Confirmed)
		require.False(t, c.Held)
	}
	rest, _ = list(store.Held{}, 10)
	require.Equal(t, []golden.ID{"c_h3"}, rest)

	tx(t, s, func(ctx context.Context, tx *store.Tx) error {
		return tx.Release(ctx, system, []golden.ID{"c_h1", "c_h3"})
	})
	require.False(t, holds())
	again = claim(at(300))
	require.Len(t, again, 3)
	for _, c := range again {
		require.False(t, c.Held)
		require.Equal(t, c.GoldenID == "c_h2", c.Confirmed, "what was released is asked about anew")
	}
	mark("c_h2")
	tx(t, s, func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.Done(ctx, system, again, store.Delivered)
		return err
	})
	again = claim(at(300))
	require.Len(t, again, 1)
	require.False(t, again[0].Confirmed, "a confirmation is for one deletion")

	note := func(now time.Time, ids ...golden.ID) (few bool) {
		tx(t, s, func(ctx context.Context, tx *store.Tx) error {
			var err error
			few, err = tx.NoteRemovals(ctx, system, ids, 3, now, time.Minute)
			return err
		})
		return few
	}
	require.True(t, note(at(0), "c_h1", "c_h2"))
	require.True(t, note(at(30), "c_h2", "c_h3"), "a record counts once")
	require.False(t, note(at(40), "c_h3", "c_h4"))
	require.True(t, note(at(45), "c_h3"), "what is too much is not counted")
	require.False(t, note(at(60), "c_h4"))
	require.True(t, note(at(61), "c_h4"), "what does not count any more is forgotten")
}
