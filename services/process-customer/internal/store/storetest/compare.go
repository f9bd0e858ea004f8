package storetest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
)

func comparisons(t *testing.T, s *store.Store) {
	const system = "comparisons"
	r := s.Read()
	for i, depth := range []store.Depth{store.DepthValues, store.DepthDeep, store.DepthDigests, store.DepthDigests} {
		asked := store.Run{ID: fmt.Sprint("run-", i), System: system, Depth: depth, Repair: i == 1, Requested: at(i).UTC(), ReadCalls: int64(7 * i)}
		tx(t, s, func(ctx context.Context, tx *store.Tx) error {
			run, fresh, err := tx.QueueRun(ctx, asked)
			require.True(t, fresh)
			require.Equal(t, []any{asked.ID, depth, asked.Repair, asked.ReadCalls}, []any{run.ID, run.Depth, run.Repair, run.ReadCalls})
			return err
		})
		tx(t, s, func(ctx context.Context, tx *store.Tx) error {
			run, fresh, err := tx.QueueRun(ctx, store.Run{ID: "another", System: system})
			require.False(t, fresh, "one at a time")
			require.Equal(t, asked.ID, run.ID)
			return err
		})
		tx(t, s, func(ctx context.Context, tx *store.Tx) error {
			run, taken, err := tx.TakeRun(ctx, at(i), time.Minute)
			require.True(t, taken)
			require.Equal(t, depth, run.Depth)
			if err != nil {
				return err
			}
			found := []store.Finding{{
				Ref: golden.Ref{System: system, Object: golden.Customer, RecordID: "001"}, Kind: "DIFFERENT", State: store.FindingRepaired, Since: at(i), Seen: at(i), RunID: run.ID,
			}}
			for range i {
				if err := tx.Repaired(ctx, run, found); err != nil {
					return err
				}
			}
			lost := run
			lost.Fence++
			require.ErrorIs(t, tx.Repaired(ctx, lost, found), store.ErrFenced, "another process goes on with it")
			run.State, run.Ended, run.Repaired = store.RunDone, at(i), 100
			return tx.SaveRun(ctx, run, at(i), 0)
		})
		run, err := r.ReconcileRun(t.Context(), asked.ID)
		require.NoError(t, err)
		require.EqualValues(t, i, run.Repaired, "only repairs count")
	}
	found, err := r.Findings(t.Context(), system, store.FindingRepaired, "", false, store.Finding{}, 10)
	require.NoError(t, err)
	require.Len(t, found, 1)
	require.Equal(t, "run-3", found[0].RunID)
	for depth, want := range map[store.Depth]string{store.DepthDigests: "run-3", store.DepthDeep: "run-1", store.DepthValues: "run-0"} {
		last, err := r.LastRun(t.Context(), system, depth)
		require.NoError(t, err)
		require.Equal(t, want, last.ID, depth)
	}
	tx(t, s, func(ctx context.Context, tx *store.Tx) error {
		n, err := tx.TrimRuns(ctx, at(100), 10)
		require.Equal(t, 1, n, "the last of each depth stays")
		return err
	})

	var rows []*store.Source
	for i := range 5 {
		rows = append(rows, &store.Source{
			Ref: golden.Ref{System: system, Object: golden.Customer, RecordID: fmt.Sprint("00", i)}, GoldenID: newID(t, golden.Customer), ExternalID: fmt.Sprint("x", i),
			Version: int64(i), EventTime: at(i).UTC(), Deleted: i == 2, Shadow: golden.Values{golden.Name: fmt.Sprint("Acme ", i)},
		})
	}
	tx(t, s, func(ctx context.Context, tx *store.Tx) error { return tx.PutSources(ctx, rows) })
	ids := func(after string, limit int) []string {
		ids, err := r.LiveIDs(t.Context(), system, golden.Customer, after, limit)
		require.NoError(t, err)
		return ids
	}
	require.Equal(t, []string{"000", "001", "003"}, ids("", 3))
	require.Equal(t, []string{"004"}, ids("003", 3))
	require.Empty(t, ids("004", 3))
	held, err := r.Contents(t.Context(), system, golden.Customer, []string{"002", "004", "005"})
	require.NoError(t, err)
	require.Equal(t, map[string]*store.Source{"002": rows[2], "004": rows[4]}, held)
}
