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
			out, err = tx.Claim(ctx, system, golden.Customer, now, time.Minute, 10)
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
	require.Contains(t, backlogs, store.Backlog{System: system, Pending: 3, Held: 3, Oldest: at(0)}, "what is held has not failed")

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

	note := func(now time.Time, ids ...golden.ID) (n int64) {
		tx(t, s, func(ctx context.Context, tx *store.Tx) error {
			var err error
			n, err = tx.NoteRemovals(ctx, system, ids, now, time.Minute)
			return err
		})
		return n
	}
	require.EqualValues(t, 2, note(at(0), "c_h1", "c_h2"))
	require.EqualValues(t, 3, note(at(30), "c_h2", "c_h3"), "a record counts once")
	require.EqualValues(t, 4, note(at(40), "c_h4"))
	tx(t, s, func(ctx context.Context, tx *store.Tx) error { return tx.DropRemovals(ctx, system, at(40)) })
	require.EqualValues(t, 3, note(at(60), "c_h1"))
	require.EqualValues(t, 1, note(at(95), "c_h1"), "what does not count any more is forgotten")
}
