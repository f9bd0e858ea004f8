package storetest

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
)

func pending(t *testing.T, s *store.Store) {
	const system = "pending"
	id := newID(t, golden.Customer)
	mark := func(now time.Time, cause string) {
		tx(t, s, func(ctx context.Context, tx *store.Tx) error {
			return tx.Mark(ctx, []store.Mark{{System: system, Object: golden.Customer, GoldenID: id, Traceparent: cause}}, now)
		})
	}
	claim := func(now time.Time) (out []store.Claimed) {
		tx(t, s, func(ctx context.Context, tx *store.Tx) error {
			var err error
			out, err = tx.Claim(ctx, system, golden.Customer, store.LevelSync, now, time.Minute, 10)
			return err
		})
		return out
	}
	done := func(c []store.Claimed) (gone []golden.ID) {
		tx(t, s, func(ctx context.Context, tx *store.Tx) error {
			var err error
			gone, err = tx.Done(ctx, system, c, store.Delivered)
			return err
		})
		return gone
	}
	mark(at(0), "first")
	for range 9 {
		mark(at(0), "later")
	}
	due, err := s.Read().Due(t.Context(), system, golden.Customer, store.LevelSync, at(0))
	require.NoError(t, err)
	require.True(t, due)
	for n, want := range map[int]bool{1: true, 2: false} {
		enough, err := s.Read().DueAtLeast(t.Context(), system, golden.Customer, store.LevelSync, at(0), n)
		require.NoError(t, err)
		require.Equal(t, want, enough, n)
	}
	first := claim(at(1))
	require.Len(t, first, 1, "ten edits are one delivery")
	require.Equal(t, at(0), first[0].First)
	require.Equal(t, "first", first[0].Traceparent, "a delivery leads to what it was first made for")
	require.Empty(t, claim(at(1)), "it is leased")
	mark(at(2), "during")
	require.Empty(t, done(first), "an edit during the delivery keeps the mark")
	second := claim(at(3))
	require.Len(t, second, 1, "and it is due at once")
	require.Equal(t, "during", second[0].Traceparent)
	require.Empty(t, claim(at(62)))
	third := claim(at(64))
	require.Len(t, third, 1, "the lease has ended")
	require.Empty(t, done(second), "whose lease has ended removes nothing")

	retry := store.Retry{Claimed: third[0], Due: at(100), Reason: "LOCKED", Postponed: true}
	retry.Attempt = 4
	tx(t, s, func(ctx context.Context, tx *store.Tx) error { return tx.Again(ctx, system, []store.Retry{retry}) })
	require.Empty(t, claim(at(99)))
	tx(t, s, func(ctx context.Context, tx *store.Tx) error {
		g := &store.Golden{Record: golden.Record{ID: id, Object: golden.Customer, Version: 1, Values: golden.Values{golden.Parent: "c_wake"}}}
		if err := tx.PutGoldens(ctx, []*store.Golden{g}); err != nil {
			return err
		}
		return tx.Wake(ctx, system, []golden.ID{"c_wake"}, at(70))
	})
	fourth := claim(at(71))
	require.Len(t, fourth, 1, "its parent woke it")
	require.Equal(t, 4, fourth[0].Attempt)
	backlogs, err := s.Read().Backlogs(t.Context())
	require.NoError(t, err)
	require.Contains(t, backlogs, store.Backlog{
		System: system, Pending: 1, Retrying: 1, Oldest: at(0), Levels: [2]store.Waiting{store.LevelSync: {Pending: 1, Oldest: at(0)}},
	})
	next, err := s.Read().NextDue(t.Context(), system)
	require.NoError(t, err)
	require.Equal(t, at(131), next)
	giveBack := func(c []store.Claimed, until time.Time) (ids []golden.ID) {
		tx(t, s, func(ctx context.Context, tx *store.Tx) error {
			var err error
			ids, err = tx.GiveBack(ctx, system, c, until)
			return err
		})
		return ids
	}
	require.Empty(t, giveBack(third, at(131)), "somebody else has claimed it since")
	require.Empty(t, giveBack(fourth, at(132)), "this one was claimed by somebody else")
	require.Equal(t, []golden.ID{id}, giveBack(fourth, at(131)))
	require.Empty(t, giveBack(fourth, at(131)))
	fifth := claim(at(72))
	require.Len(t, fifth, 1, "it is due as before")
	require.Equal(t, 4, fifth[0].Attempt)
	require.Empty(t, done(fourth))
	require.Equal(t, []golden.ID{id}, done(claim(at(133))))
	marked, err := s.Read().Marked(t.Context(), []golden.ID{id})
	require.NoError(t, err)
	require.Empty(t, marked)
}

func pendingRace(t *testing.T, s *store.Store) {
	const system, n = "race", 300
	marks := make([]store.Mark, n)
	for i := range marks {
		marks[i] = store.Mark{System: system, Object: golden.Customer, GoldenID: golden.ID(fmt.Sprintf("c_race%d", i))}
	}
	tx(t, s, func(ctx context.Context, tx *store.Tx) error { return tx.Mark(ctx, marks, at(0)) })
	var mu sync.Mutex
	got := map[golden.ID]int{}
	var g errgroup.Group
	for range 4 {
		g.Go(func() error {
			for {
				var claimed []store.Claimed
				err := s.Tx(context.Background(), func(ctx context.Context, tx *store.Tx) error {
					var err error
					claimed, err = tx.Claim(ctx, system, golden.Customer, store.LevelSync, at(1), time.Minute, 20)
					return err
				})
				if err != nil || len(claimed) == 0 {
					return err
				}
				if len(claimed) > 20 {
					return fmt.Errorf("%d claimed", len(claimed))
				}
				mu.Lock()
				for _, c := range claimed {
					got[c.GoldenID]++
				}
				mu.Unlock()
			}
		})
	}
	require.NoError(t, g.Wait())
	require.Len(t, got, n)
	for id, times := range got {
		require.Equal(t, 1, times, "%s", id)
	}
}

func deadLetters(t *testing.T, s *store.Store) {
	id := newID(t, golden.Customer)
	ref := golden.Ref{System: "dead", Object: golden.Customer, RecordID: "9"}
	letter := func(name, direction, reason string) store.DeadLetter {
		return store.DeadLetter{ID: name, Direction: direction, Ref: ref, GoldenID: id, Reason: reason, Attempts: 1, Parked: at(1)}
	}
	park := func(l ...store.DeadLetter) {
		tx(t, s, func(ctx context.Context, tx *store.Tx) error { return tx.Park(ctx, l) })
	}
	park(letter("dl1", store.DirectionDeliver, "A"), letter("dl2", store.DirectionIntake, "A"))
	park(letter("dl3", store.DirectionDeliver, "B"), letter("dl4", store.DirectionIntake, "B"))
	r := s.Read()
	list, err := r.ListDeadLetters(t.Context(), "dead", false, time.Time{}, "", 10)
	require.NoError(t, err)
	require.Len(t, list, 2, "one open letter for a delivery, one for a record")
	require.Equal(t, []string{"dl1", "dl2"}, []string{list[0].ID, list[1].ID})
	require.Equal(t, "B", list[0].Reason)
	require.Equal(t, 2, list[0].Attempts)
	page, err := r.ListDeadLetters(t.Context(), "dead", false, list[0].Parked, list[0].ID, 10)
	require.NoError(t, err)
	require.Equal(t, list[1:], page)
	counts, _, err := r.CountDead(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 1, counts[store.DirectionDeliver]["dead"])

	settle := func(state string) (moved []string) {
		tx(t, s, func(ctx context.Context, tx *store.Tx) error {
			var err error
			moved, err = tx.SettleDead(ctx, []string{"dl1"}, state, "why", at(3))
			return err
		})
		return moved
	}
	require.Equal(t, []string{"dl1"}, settle(store.DeadDiscarded))
	require.Empty(t, settle(store.DeadRetried), "it is settled once")
	got, err := r.DeadLetter(t.Context(), "dl1")
	require.NoError(t, err)
	require.Equal(t, store.DeadDiscarded, got.State)
	require.Equal(t, "why", got.Note)
	_, err = r.DeadLetter(t.Context(), "none")
	require.ErrorIs(t, err, store.ErrNotFound)
	park(letter("dl5", store.DirectionDeliver, "C"))
	open, err := r.OpenDeliver(t.Context(), "dead", []golden.ID{id})
	require.NoError(t, err)
	require.Equal(t, "dl5", open[id].ID, "a new letter after the old one was settled")
	intake, err := r.OpenIntake(t.Context(), "dead", []string{"9"})
	require.NoError(t, err)
	require.Len(t, intake, 1)
	named, err := r.OpenLetters(t.Context(), []string{"dl1", "dl2"})
	require.NoError(t, err)
	require.Len(t, named, 1)
}
