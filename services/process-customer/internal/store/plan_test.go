package store_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/pkg/priority"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store/storetest"
)

// planOf returns how SQLite goes about the statement that read makes.
func planOf(t *testing.T, read func(context.Context, store.Reader) error) string {
	t.Helper()
	d := storetest.Schema.Open(t, "sqlite")
	s, err := store.Open(t.Context(), d)
	require.NoError(t, err)
	var text string
	var with []any
	through := s.Through(func(_ context.Context, query string, args []any) (string, []any, error) {
		text, with = query, args
		return query, args, nil
	})
	require.NoError(t, read(t.Context(), through.Read()))
	rows, err := d.Read().QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+text, with...)
	require.NoError(t, err)
	defer rows.Close()
	var plan []string
	for rows.Next() {
		var step string
		var other [3]int
		require.NoError(t, rows.Scan(&other[0], &other[1], &other[2], &step))
		plan = append(plan, step)
	}
	require.NoError(t, rows.Err())
	return strings.Join(plan, "\n")
}

func TestPlans(t *testing.T) {
	t.Parallel()
	t.Run("losers are found by their index, or every new record reads all that are known", func(t *testing.T) {
		t.Parallel()
		require.Contains(t, planOf(t, func(ctx context.Context, r store.Reader) error {
			_, err := r.LosersTo(ctx, "erp", golden.Customer, []string{"1", "2"})
			return err
		}), "source_record_merged (system=? AND merged_into=?)")
	})
	t.Run("candidates and their records are found in one tree each", func(t *testing.T) {
		t.Parallel()
		require.Contains(t, planOf(t, func(ctx context.Context, r store.Reader) error {
			_, err := r.MatchBuckets(ctx, []int64{1, 2})
			return err
		}), "match_block USING PRIMARY KEY (key=?)")
		require.Contains(t, planOf(t, func(ctx context.Context, r store.Reader) error {
			_, err := r.MatchRecords(ctx, []int64{1, 2})
			return err
		}), "match_unit USING INTEGER PRIMARY KEY (rowid=?)")
	})
	t.Run("what happened to some records is found without what happened to others", func(t *testing.T) {
		t.Parallel()
		require.Contains(t, planOf(t, func(ctx context.Context, r store.Reader) error {
			_, err := r.TouchedOf(ctx, []golden.ID{"c_1", "c_2"}, 7, 10)
			return err
		}), "COVERING INDEX event_golden (golden_id=? AND position>?)")
	})
	t.Run("what was merged into a record is found by its index", func(t *testing.T) {
		t.Parallel()
		plan := planOf(t, func(ctx context.Context, r store.Reader) error {
			_, err := r.Standing(ctx, "c_1")
			return err
		})
		require.Contains(t, plan, "golden_merged")
		require.NotContains(t, plan, "SCAN")
	})
	for name, after := range map[string]store.MatchEdge{"the first": {}, "those after one": {MatchPair: store.PairOf(1, 2), Bits: 3}} {
		t.Run("of pairs that a person has to decide, "+name+" are read without the others", func(t *testing.T) {
			t.Parallel()
			plan := planOf(t, func(ctx context.Context, r store.Reader) error {
				_, err := r.AskedPairs(ctx, golden.Customer, after, 10)
				return err
			})
			require.Contains(t, plan, "match_edge_asked")
			require.NotContains(t, plan, "autoindex", "which has every pair")
		})
	}
	t.Run("units are counted without reading their records, and questions without reading all pairs", func(t *testing.T) {
		t.Parallel()
		plan := planOf(t, func(ctx context.Context, r store.Reader) error {
			_, err := r.CountMatching(ctx, golden.Customer)
			return err
		})
		require.Equal(t, 2, strings.Count(plan, "COVERING INDEX match_unit_sort"), plan)
		require.Contains(t, plan, "match_edge_asked")
		require.NotContains(t, plan, "autoindex_match_edge")
	})
}

// TestTouchedOf has what happened to some records told once each, in the order of what happened last.
func TestTouchedOf(t *testing.T) {
	t.Parallel()
	storetest.Schema.Each(t, func(t *testing.T, d *db.DB) {
		s, err := store.Open(t.Context(), d)
		require.NoError(t, err)
		touch := func(ids ...golden.ID) {
			var events []store.Event
			for _, id := range ids {
				events = append(events, store.Event{At: time.Unix(1, 0), GoldenID: id, Kind: "a"})
			}
			require.NoError(t, s.Tx(t.Context(), func(ctx context.Context, tx *store.Tx) error { return tx.AddEvents(ctx, events) }))
		}
		read := func(after int64, limit int, ids ...golden.ID) (out []golden.ID, last int64) {
			got, err := s.Read().TouchedOf(t.Context(), ids, after, limit)
			require.NoError(t, err)
			for _, one := range got {
				require.Greater(t, one.Position, last)
				out, last = append(out, one.GoldenID), one.Position
			}
			return out, last
		}
		touch("c_1", "c_2", "c_3", "c_1", "c_3")
		all, last := read(0, 10, "c_3", "c_2", "c_1", "c_none")
		require.Equal(t, []golden.ID{"c_2", "c_1", "c_3"}, all)
		some, first := read(0, 1, "c_1", "c_2")
		require.Equal(t, []golden.ID{"c_2"}, some)
		some, _ = read(first, 1, "c_1", "c_2")
		require.Equal(t, []golden.ID{"c_1"}, some)
		touch("c_2", "c_4")
		some, _ = read(last, 10, "c_1", "c_2")
		require.Equal(t, []golden.ID{"c_2"}, some)
	})
}

// TestClaimPlan has marks claimed from the index in its order, on both engines: not a backlog sorted for 200 of it.
func TestClaimPlan(t *testing.T) {
	t.Parallel()
	storetest.Schema.Each(t, func(t *testing.T, d *db.DB) {
		s, err := store.Open(t.Context(), d)
		require.NoError(t, err)
		const n = 5000
		for level, p := range []priority.Level{priority.Sync, priority.Bulk} {
			var marks []store.Mark
			for i := range n {
				marks = append(marks, store.Mark{System: "erp", Object: golden.Customer, GoldenID: golden.ID(fmt.Sprintf("c_%d_%d", level, i))})
			}
			require.NoError(t, s.Tx(t.Context(), func(ctx context.Context, tx *store.Tx) error {
				return tx.Mark(priority.With(ctx, p), marks, time.Unix(int64(level), 0))
			}))
		}
		explain := "EXPLAIN QUERY PLAN "
		if d.Engine() == db.PostgreSQL {
			explain = "EXPLAIN "
			_, err := d.Exec(t.Context(), "ANALYZE pending")
			require.NoError(t, err)
		}
		var text string
		var with []any
		through := s.Through(func(_ context.Context, query string, args []any) (string, []any, error) {
			text, with = query, args
			return query, args, nil
		})
		require.NoError(t, through.Tx(t.Context(), func(ctx context.Context, tx *store.Tx) error {
			claimed, err := tx.Claim(ctx, "erp", golden.Customer, store.LevelBulk, time.Unix(9, 0), time.Minute, 200)
			require.Len(t, claimed, 200)
			return err
		}))
		rows, err := d.Read().QueryContext(t.Context(), explain+text, with...)
		require.NoError(t, err)
		defer rows.Close()
		columns, err := rows.Columns()
		require.NoError(t, err)
		var plan strings.Builder
		for rows.Next() {
			step := make([]any, len(columns))
			into := make([]any, len(columns))
			for i := range step {
				into[i] = &step[i]
			}
			require.NoError(t, rows.Scan(into...))
			fmt.Fprintln(&plan, step[len(step)-1])
		}
		require.NoError(t, rows.Err())
		require.Contains(t, plan.String(), "pending_due")
		require.NotContains(t, plan.String(), "Sort")
		require.NotContains(t, plan.String(), "ORDER BY")
		require.NotContains(t, plan.String(), "SCAN pending")
	})
}

func TestIndexes(t *testing.T) {
	t.Parallel()
	t.Run("SQLite changes no index when a value changes that none of them knows", func(t *testing.T) {
		t.Parallel()
		d := storetest.Schema.Open(t, "sqlite")
		s, err := store.Open(t.Context(), d)
		require.NoError(t, err)
		type statement struct {
			text string
			args []any
		}
		var ran []statement
		s = s.Through(func(_ context.Context, query string, args []any) (string, []any, error) {
			ran = append(ran, statement{query, args})
			return query, args, nil
		})
		id, err := golden.DeriveID(golden.Customer, "plan")
		require.NoError(t, err)
		record := &store.Golden{Record: golden.Record{ID: id, Object: golden.Customer, Values: golden.Values{}}, NameKey: "acme"}
		source := &store.Source{Ref: golden.Ref{System: "erp", Object: golden.Customer, RecordID: "1"}, GoldenID: id}
		put := func() {
			ran = nil
			require.NoError(t, s.Tx(t.Context(), func(ctx context.Context, tx *store.Tx) error {
				if err := tx.PutGoldens(ctx, []*store.Golden{record}); err != nil {
					return err
				}
				return tx.PutSources(ctx, []*store.Source{source})
			}))
		}
		put()
		put()
		require.Len(t, ran, 2, "one statement each: %v", ran)
		for _, x := range ran {
			rows, err := d.Read().QueryContext(t.Context(), "EXPLAIN "+x.text, x.args...)
			require.NoError(t, err)
			defer rows.Close()
			for rows.Next() {
				var step [8]any
				var at, name any
				require.NoError(t, rows.Scan(&at, &name, &step[0], &step[1], &step[2], &step[3], &step[4], &step[5]))
				require.NotEqual(t, "IdxDelete", name, x.text)
			}
			require.NoError(t, rows.Err())
		}
		record.NameKey, source.GoldenID = "emca", id+"2"
		put()
		require.Len(t, ran, 4, "what an index knows has changed")
	})
}
