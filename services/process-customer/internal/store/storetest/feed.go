package storetest

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
)

func feedLease(t *testing.T, s *store.Store) {
	const system = "lease"
	acquire := func(owner string, now time.Time) (f store.Feed, ok bool) {
		tx(t, s, func(ctx context.Context, tx *store.Tx) error {
			if err := tx.EnsureFeed(ctx, system); err != nil {
				return err
			}
			var err error
			f, ok, err = tx.AcquireFeed(ctx, system, owner, now, 30*time.Second)
			return err
		})
		return f, ok
	}
	_, err := s.Read().Feed(t.Context(), system)
	require.ErrorIs(t, err, store.ErrNotFound)
	a, ok := acquire("a", at(0))
	require.True(t, ok)
	require.Equal(t, store.ScanNeeded, a.Scan, "a new system is read first")
	_, ok = acquire("b", at(29))
	require.False(t, ok, "it is taken")
	tx(t, s, func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.RenewFeed(ctx, system, a.Fence, at(20), 30*time.Second)
		return err
	})
	_, ok = acquire("b", at(40))
	require.False(t, ok, "it was renewed")
	b, ok := acquire("b", at(51))
	require.True(t, ok, "the lease has ended")
	require.Greater(t, b.Fence, a.Fence)

	a.Token = "stale"
	require.ErrorIs(t, s.Tx(t.Context(), func(ctx context.Context, tx *store.Tx) error { _, err := tx.SaveFeed(ctx, a); return err }), store.ErrFenced)
	require.ErrorIs(t, s.Tx(t.Context(), func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.RenewFeed(ctx, system, a.Fence, at(52), time.Minute)
		return err
	}), store.ErrFenced)
	tx(t, s, func(ctx context.Context, tx *store.Tx) error { return tx.ReleaseFeed(ctx, system, a.Fence) })
	_, ok = acquire("c", at(53))
	require.False(t, ok, "who was fenced off releases nothing")
	tx(t, s, func(ctx context.Context, tx *store.Tx) error { return tx.ReleaseFeed(ctx, system, b.Fence) })
	_, ok = acquire("c", at(53))
	require.True(t, ok)
}

func feedPosition(t *testing.T, s *store.Store) {
	const system = "position"
	var f store.Feed
	tx(t, s, func(ctx context.Context, tx *store.Tx) error {
		err := tx.EnsureFeed(ctx, system)
		if err == nil {
			f, _, err = tx.AcquireFeed(ctx, system, "me", at(0), time.Minute)
		}
		return err
	})
	f.Token, f.State, f.Scan, f.Phase, f.Cursor, f.Epoch, f.Scanned = "t1", store.FeedScanning, store.ScanRunning, "customer", "p2", 1, 7
	f.LastMessage, f.LastCommit, f.Position, f.Resume = at(5), at(4), at(3), at(9)
	save := func(next store.Feed) (got store.Feed) {
		tx(t, s, func(ctx context.Context, tx *store.Tx) error {
			var err error
			got, err = tx.SaveFeed(ctx, next)
			return err
		})
		return got
	}
	require.Equal(t, f, save(f))
	request := func() (started bool) {
		tx(t, s, func(ctx context.Context, tx *store.Tx) error {
			var err error
			started, err = tx.RequestScan(ctx, system)
			return err
		})
		return started
	}
	require.True(t, request(), "the one that is running may have passed what this one is about")
	require.Equal(t, store.ScanNeeded, save(f).Scan, "a page of the old one does not take the request back")
	f.Scan, f.Epoch = store.ScanRunning, f.Epoch+1
	require.Equal(t, store.ScanRunning, save(f).Scan, "the new one does")
	f.Scan, f.Complete = store.ScanDone, true
	require.Equal(t, store.ScanDone, save(f).Scan)
	require.True(t, request())
	require.False(t, request())
	require.Equal(t, store.ScanNeeded, save(f).Scan, "a request is not overwritten by somebody who has not seen it")
	f.Scan, f.Epoch = store.ScanRunning, f.Epoch+1
	require.Equal(t, store.ScanRunning, save(f).Scan)
	older := f
	older.LastCommit = at(1)
	require.Equal(t, at(4), save(older).LastCommit, "times do not go back")
}

func feedsInUse(t *testing.T, s *store.Store) {
	const here, read, left = "in use: configured", "in use: read by another process", "in use: left behind"
	tx(t, s, func(ctx context.Context, tx *store.Tx) error {
		for system, lease := range map[string]time.Duration{here: 0, read: 30 * time.Second, left: 10 * time.Second} {
			if err := tx.EnsureFeed(ctx, system); err != nil {
				return err
			}
			if _, _, err := tx.AcquireFeed(ctx, system, "me", at(0), lease); err != nil {
				return err
			}
		}
		return nil
	})
	all, err := s.Read().Feeds(t.Context())
	require.NoError(t, err)
	of := func(now time.Time, configured ...string) (names []string) {
		for _, f := range store.InUse(all, configured, now) {
			if strings.HasPrefix(f.System, "in use: ") {
				names = append(names, f.System)
			}
		}
		return names
	}
	require.Equal(t, []string{here, left, read}, of(at(9), here))
	require.Equal(t, []string{here, read}, of(at(10), here), "a lease that has ended says that nobody reads it")
	require.Equal(t, []string{here, left}, of(at(30), left, here), "it is configured again")
	require.Empty(t, of(at(30)))
}

func resetLeases(t *testing.T, s *store.Store) {
	const system = "reset"
	id := newID(t, golden.Customer)
	tx(t, s, func(ctx context.Context, tx *store.Tx) error {
		if err := tx.EnsureFeed(ctx, system); err != nil {
			return err
		}
		if _, _, err := tx.AcquireFeed(ctx, system, "dead", at(0), time.Hour); err != nil {
			return err
		}
		if err := tx.Mark(ctx, []store.Mark{{System: system, Object: golden.Customer, GoldenID: id}}, at(0)); err != nil {
			return err
		}
		if _, err := tx.Claim(ctx, system, golden.Customer, store.LevelSync, at(0), time.Hour, 1); err != nil {
			return err
		}
		e := store.Erasure{ID: "e-" + system, GoldenID: id, Object: golden.Customer, State: store.Erasing, Requested: at(0)}
		e.Steps = []store.ErasureStep{{ErasureID: e.ID, Hash: []byte("h"), Ref: golden.Ref{System: system, Object: golden.Customer, RecordID: "r1"}}}
		if err := tx.PutErasure(ctx, e); err != nil {
			return err
		}
		if _, err := tx.ClaimSteps(ctx, at(0), time.Hour, 10); err != nil {
			return err
		}
		if _, _, err := tx.QueueRun(ctx, store.Run{ID: "r-" + system, System: system, Requested: at(0)}); err != nil {
			return err
		}
		_, _, err := tx.TakeRun(ctx, at(0), time.Hour)
		return err
	})
	tx(t, s, func(ctx context.Context, tx *store.Tx) error { return tx.ResetLeases(ctx) })
	tx(t, s, func(ctx context.Context, tx *store.Tx) error {
		_, ok, err := tx.AcquireFeed(ctx, system, "new", at(1), time.Hour)
		require.True(t, ok)
		require.NoError(t, err)
		claimed, err := tx.Claim(ctx, system, golden.Customer, store.LevelSync, at(1), time.Hour, 1)
		require.Len(t, claimed, 1)
		if err != nil {
			return err
		}
		steps, err := tx.ClaimSteps(ctx, at(1), time.Hour, 10)
		i := slices.IndexFunc(steps, func(s store.ErasureStep) bool { return s.ErasureID == "e-"+system })
		require.GreaterOrEqual(t, i, 0)
		if err != nil {
			return err
		}
		steps[i].State = store.StepDone
		if err := tx.SettleStep(ctx, steps[i]); err != nil {
			return err
		}
		if ended, err := tx.FinishErasure(ctx, store.Erasure{ID: "e-" + system, Done: at(1)}); err != nil || !ended {
			return errors.Join(err, errors.New("the erasure stays open"))
		}
		run, taken, err := tx.TakeRun(ctx, at(1), time.Hour)
		require.True(t, taken)
		require.Equal(t, "r-"+system, run.ID)
		if err != nil {
			return err
		}
		run.State = store.RunDone
		return tx.SaveRun(ctx, run, at(1), 0)
	})
}
