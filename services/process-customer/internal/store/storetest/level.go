package storetest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/priority"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
)

func pendingLevels(t *testing.T, s *store.Store) {
	const system = "levels"
	id := func(n int) golden.ID { return golden.ID(fmt.Sprintf("c_level%d", n)) }
	mark := func(p priority.Level, now time.Time, numbers ...int) {
		var marks []store.Mark
		for _, n := range numbers {
			marks = append(marks, store.Mark{System: system, Object: golden.Customer, GoldenID: id(n)})
		}
		tx(t, s, func(ctx context.Context, tx *store.Tx) error { return tx.Mark(priority.With(ctx, p), marks, now) })
	}
	claim := func(level store.Level, now time.Time, limit int) (out []store.Claimed) {
		tx(t, s, func(ctx context.Context, tx *store.Tx) error {
			var err error
			out, err = tx.Claim(ctx, system, golden.Customer, level, now, time.Minute, limit)
			return err
		})
		return out
	}
	ids := func(claimed []store.Claimed) []golden.ID {
		out := []golden.ID{}
		for _, c := range claimed {
			out = append(out, c.GoldenID)
		}
		return out
	}
	done := func(claimed []store.Claimed) (gone []golden.ID) {
		tx(t, s, func(ctx context.Context, tx *store.Tx) error {
			var err error
			gone, err = tx.Done(ctx, system, claimed, store.Delivered)
			return err
		})
		return gone
	}
	waits := func() [2]store.Waiting {
		backlogs, err := s.Read().Backlogs(t.Context())
		require.NoError(t, err)
		for _, b := range backlogs {
			if b.System == system {
				require.Equal(t, b.Pending, b.Levels[0].Pending+b.Levels[1].Pending)
				return b.Levels
			}
		}
		return [2]store.Waiting{}
	}
	for n := range 6 {
		mark([]priority.Level{priority.Bulk, priority.Audit}[n%2], at(n), n)
	}
	mark(priority.Unset, at(10), 6)
	mark(priority.Interactive, at(11), 7)
	require.Equal(t, [2]store.Waiting{{Pending: 2, Oldest: at(10)}, {Pending: 6, Oldest: at(0)}}, waits())
	for level, n := range map[store.Level]int{store.LevelSync: 2, store.LevelBulk: 6} {
		for _, many := range []int{n, n + 1} {
			deep, err := s.Read().DueAtLeast(t.Context(), system, golden.Customer, level, at(20), many)
			require.NoError(t, err)
			require.Equal(t, many == n, deep)
		}
	}

	// What is urgent is claimed without the rest, and the rest without it: neither has to wait for the other's end.
	require.Equal(t, []golden.ID{id(6)}, ids(claim(store.LevelSync, at(20), 1)))
	bulk := claim(store.LevelBulk, at(20), 2)
	require.ElementsMatch(t, []golden.ID{id(0), id(1)}, ids(bulk), "the longest due first")
	require.Equal(t, []golden.ID{id(7)}, ids(claim(store.LevelSync, at(20), 10)))
	due, err := s.Read().Due(t.Context(), system, golden.Customer, store.LevelSync, at(20))
	require.NoError(t, err)
	require.False(t, due)

	// The more urgent level is kept, in whichever order a record is marked.
	mark(priority.Sync, at(21), 4)
	mark(priority.Bulk, at(22), 4)
	require.Equal(t, []golden.ID{id(4)}, ids(claim(store.LevelSync, at(22), 10)))
	require.Equal(t, at(4), waits()[store.LevelSync].Oldest, "what waits is as old as its oldest change")

	// An edit of a record that is under way is urgent when that is over.
	mark(priority.Sync, at(23), 0)
	require.Empty(t, claim(store.LevelSync, at(23), 10), "it is leased")
	require.Equal(t, []golden.ID{id(1)}, done(bulk))
	urgent := claim(store.LevelSync, at(23), 10)
	require.Equal(t, []golden.ID{id(0)}, ids(urgent))

	// A failure keeps the level, and its time.
	tx(t, s, func(ctx context.Context, tx *store.Tx) error {
		return tx.Again(ctx, system, []store.Retry{{Claimed: urgent[0], Due: at(50), Reason: "LOCKED"}})
	})
	require.Empty(t, claim(store.LevelSync, at(49), 10))
	require.Contains(t, ids(claim(store.LevelSync, at(50), 10)), id(0))

	// What something urgent waits for is urgent.
	tx(t, s, func(ctx context.Context, tx *store.Tx) error {
		return tx.Urge(ctx, system, []golden.ID{id(3), "c_unknown"})
	})
	require.Equal(t, []golden.ID{id(3)}, ids(claim(store.LevelSync, at(50), 10)))
	require.ElementsMatch(t, []golden.ID{id(2), id(5)}, ids(claim(store.LevelBulk, at(50), 10)))
}
