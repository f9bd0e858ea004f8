// Package storetest is what the accountant relies on from its database, run on every engine.
package storetest

import (
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/pkg/priority"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/budget"
)

var epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// Config divides an allowance without lag, so that numbers are exact.
func Config() budget.Config {
	c := budget.DefaultConfig()
	c.Lag = 0
	return c
}

// Run checks a store on an empty database. Every theme has an org of its own, so they share it.
func Run(t *testing.T, d *db.DB) {
	t.Helper()
	for name, theme := range map[string]func(*testing.T, *budget.Store){
		"an org that was never heard of is unknown":                    unknown,
		"what one replica reports another one sees":                    shared,
		"an exchange that is repeated happens once":                    repeated,
		"calls of a replica that vanished are counted as made":         vanished,
		"a pause is shared and ends with a trial that is served":       pause,
		"the limits are read by one replica at a time":                 refresh,
		"usage is kept by quarter of an hour for two days":             history,
		"other allowances are replaced by name":                        allowances,
		"many replicas at once are never handed out more than is left": race,
	} {
		t.Run(name, func(t *testing.T) {
			s, err := budget.OpenStore(t.Context(), d, name, Config())
			require.NoError(t, err)
			theme(t, s)
		})
	}
}

func exchange(t *testing.T, s *budget.Store, at time.Time, x budget.Exchange) budget.Answer {
	t.Helper()
	a, err := s.Exchange(t.Context(), x, at)
	require.NoError(t, err)
	return a
}

func figures(used, limit int64) budget.Report { return budget.Report{Used: used, Limit: limit} }

func unknown(t *testing.T, s *budget.Store) {
	state, err := s.State(t.Context())
	require.NoError(t, err)
	require.Equal(t, budget.State{}, state)
	a := exchange(t, s, epoch, budget.Exchange{Replica: "a", Seq: 1, Level: priority.Audit, Want: 32})
	require.EqualValues(t, 2, a.Block, "a few calls find out what is known")
	require.Zero(t, a.State.Limit)
}

func shared(t *testing.T, s *budget.Store) {
	exchange(t, s, epoch, budget.Exchange{Replica: "a", Seq: 1, Report: figures(6_900, 10_000)})
	b := exchange(t, s, epoch, budget.Exchange{Replica: "b", Seq: 1, Level: priority.Bulk, Want: 32})
	require.EqualValues(t, 1, b.Block, "100 are left for bulk, and a block is a small part of them")
	require.EqualValues(t, 6_901, b.State.Estimate)
	require.EqualValues(t, 10_000, b.State.Limit)
	require.Equal(t, epoch, b.State.Observed)
	exchange(t, s, epoch, budget.Exchange{Replica: "a", Seq: 2, Report: figures(7_000, 10_000)})
	require.Zero(t, exchange(t, s, epoch, budget.Exchange{Replica: "b", Seq: 2, Level: priority.Bulk, Want: 1}).Block)
	require.Positive(t, exchange(t, s, epoch, budget.Exchange{Replica: "b", Seq: 3, Level: priority.Sync, Want: 1}).Block)
}

func repeated(t *testing.T, s *budget.Store) {
	exchange(t, s, epoch, budget.Exchange{Replica: "a", Seq: 1, Report: figures(0, 100_000)})
	first := exchange(t, s, epoch, budget.Exchange{Replica: "a", Seq: 2, Level: priority.Sync, Want: 32})
	require.EqualValues(t, 32, first.Block)
	again := exchange(t, s, epoch, budget.Exchange{Replica: "a", Seq: 2, Level: priority.Sync, Want: 32})
	require.Equal(t, first.Block, again.Block)
	require.EqualValues(t, 32, again.State.Outstanding, "nothing was handed out twice")
	report := budget.Exchange{Replica: "a", Seq: 3, Report: budget.Report{Completed: 10, Returned: 20}}
	exchange(t, s, epoch, report)
	require.EqualValues(t, 2, exchange(t, s, epoch, report).State.Outstanding, "nothing was counted twice")
}

func vanished(t *testing.T, s *budget.Store) {
	exchange(t, s, epoch, budget.Exchange{Replica: "a", Seq: 1, Report: figures(1_000, 100_000)})
	exchange(t, s, epoch, budget.Exchange{Replica: "a", Seq: 2, Level: priority.Sync, Want: 32})
	lease := Config().Lease
	b := exchange(t, s, epoch.Add(lease-time.Second), budget.Exchange{Replica: "b", Seq: 1})
	require.EqualValues(t, 32, b.State.Outstanding, "they may still be made")
	b = exchange(t, s, epoch.Add(lease), budget.Exchange{Replica: "b", Seq: 2})
	require.Zero(t, b.State.Outstanding)
	require.EqualValues(t, 1_032, b.State.Estimate, "without a new figure they count as made")
	b = exchange(t, s, epoch.Add(lease), budget.Exchange{Replica: "b", Seq: 3, Report: figures(1_005, 100_000)})
	require.EqualValues(t, 1_005, b.State.Estimate, "the figure knows which were made")
	late := exchange(t, s, epoch.Add(lease), budget.Exchange{Replica: "a", Seq: 3, Report: budget.Report{Completed: 5, Returned: 27}})
	require.EqualValues(t, 1_005, late.State.Estimate, "what was counted as made cannot be given back")
}

func pause(t *testing.T, s *budget.Store) {
	exchange(t, s, epoch, budget.Exchange{Replica: "a", Seq: 1, Report: figures(10, 100_000)})
	exchange(t, s, epoch, budget.Exchange{Replica: "a", Seq: 2, Report: budget.Report{Closed: priority.Sync}})
	ask := func(replica string, seq int64, at time.Time, l priority.Level, r budget.Report) budget.Answer {
		return exchange(t, s, at, budget.Exchange{Replica: replica, Seq: seq, Level: l, Want: 32, Report: r})
	}
	require.Zero(t, ask("b", 1, epoch, priority.Sync, budget.Report{}).Block)
	require.Zero(t, ask("b", 2, epoch, priority.Audit, budget.Report{}).Block)
	require.Positive(t, ask("b", 3, epoch, priority.Interactive, budget.Report{}).Block, "what was not refused goes on")
	over := epoch.Add(Config().Pause)
	require.EqualValues(t, 1, ask("b", 4, over, priority.Sync, budget.Report{}).Block, "one call finds out")
	require.Zero(t, ask("a", 3, over, priority.Sync, budget.Report{}).Block, "one, not one of each replica")
	opened := ask("b", 5, over, priority.Sync, budget.Report{Completed: 1, Opened: priority.Sync})
	require.Positive(t, opened.Block)
	require.Zero(t, opened.State.ClosedFor)
}

func refresh(t *testing.T, s *budget.Store) {
	require.True(t, exchange(t, s, epoch, budget.Exchange{Replica: "a", Seq: 1, Refresh: true}).Refresh)
	require.False(t, exchange(t, s, epoch, budget.Exchange{Replica: "b", Seq: 1, Refresh: true}).Refresh)
	require.True(t, exchange(t, s, epoch.Add(Config().Refresh), budget.Exchange{Replica: "b", Seq: 2, Refresh: true}).Refresh)
	forced := exchange(t, s, epoch, budget.Exchange{Replica: "b", Seq: 3, Force: true, Want: 1, Report: figures(100, 100)})
	require.EqualValues(t, 1, forced.Block, "the call that looks is made although nothing is left")
}

func history(t *testing.T, s *budget.Store) {
	var own budget.Report
	own.Own[priority.Bulk] = 3
	exchange(t, s, epoch, budget.Exchange{Replica: "a", Seq: 1, Report: own})
	own.Used, own.Limit = 50, 1_000
	exchange(t, s, epoch.Add(time.Minute), budget.Exchange{Replica: "a", Seq: 2, Report: own})
	exchange(t, s, epoch.Add(2*time.Minute), budget.Exchange{Replica: "b", Seq: 1, Report: figures(60, 1_000)})
	exchange(t, s, epoch.Add(20*time.Minute), budget.Exchange{Replica: "b", Seq: 2, Report: budget.Report{Own: [5]int64{priority.Sync: 1}}})
	got, err := s.History(t.Context())
	require.NoError(t, err)
	require.Len(t, got, 2)
	require.Equal(t, epoch.Add(15*time.Minute), got[0].End)
	require.EqualValues(t, 60, got[0].Used)
	require.EqualValues(t, 6, got[0].Own[priority.Bulk])
	require.EqualValues(t, 60, got[1].Used, "what was last known")
	require.EqualValues(t, 1, got[1].Own[priority.Sync])
	exchange(t, s, epoch.Add(49*time.Hour), budget.Exchange{Replica: "b", Seq: 3, Report: figures(5, 1_000)})
	got, err = s.History(t.Context())
	require.NoError(t, err)
	require.Len(t, got, 1)
}

func allowances(t *testing.T, s *budget.Store) {
	events := budget.Allowance{Name: "DailyDeliveredPlatformEvents", Limit: 50_000, Remaining: 10, Observed: epoch}
	require.NoError(t, s.SaveAllowances(t.Context(), []budget.Allowance{events, {Name: "DataStorageMB", Limit: 5, Remaining: 5, Observed: epoch}}))
	events.Remaining = 7
	require.NoError(t, s.SaveAllowances(t.Context(), []budget.Allowance{events}))
	got, err := s.Allowances(t.Context())
	require.NoError(t, err)
	require.Len(t, got, 2)
	require.Equal(t, events, got[events.Name])
}

// race has replicas ask at the same moment for the last calls of a band.
func race(t *testing.T, s *budget.Store) {
	exchange(t, s, epoch, budget.Exchange{Replica: "first", Seq: 1, Report: figures(8_900, 10_000)})
	var mu sync.Mutex
	var wg sync.WaitGroup
	got, asked := int64(0), 40
	for i := range asked {
		wg.Go(func() {
			for seq := range int64(5) {
				a, err := s.Exchange(t.Context(), budget.Exchange{Replica: string(rune('A' + i)), Seq: seq + 1, Level: priority.Sync, Want: 32}, epoch)
				if err != nil {
					t.Errorf("exchange: %v", err)
					return
				}
				mu.Lock()
				got += a.Block
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	require.EqualValues(t, 100, got, "10 %% of 10,000 are kept for interactive work: all that is left is handed out, once")
}
