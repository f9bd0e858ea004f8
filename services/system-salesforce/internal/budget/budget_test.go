package budget

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/priority"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/rest"
)

func TestBegin_Reserve(t *testing.T) {
	t.Parallel()
	b := setup(t, exact(), 1_000)
	made := map[priority.Level]int{}
	for _, l := range []priority.Level{priority.Audit, priority.Bulk, priority.Sync, priority.Interactive} {
		for b.call(l) == nil {
			made[l]++
			require.LessOrEqual(t, made[l], 1_000)
		}
		b.wait(2 * refusalMemory)
	}
	require.Equal(t, map[priority.Level]int{priority.Audit: 500, priority.Bulk: 200, priority.Sync: 200, priority.Interactive: 100}, made,
		"each level uses exactly what those above it do not keep")
	require.EqualValues(t, 1_000, b.org.used(b.org.now))
}

func TestBegin_Refused(t *testing.T) {
	t.Parallel()
	t.Run("the caller is told when, and why, and nothing was made", func(t *testing.T) {
		t.Parallel()
		b := setup(t, exact(), 1_000)
		b.others(699)
		require.NoError(t, b.call(priority.Interactive))
		b.told()
		before := len(b.org.ours)
		err := b.call(priority.Bulk)
		require.Equal(t, fault.Exhausted, fault.KindOf(err))
		require.Equal(t, ReasonExhausted, fault.ReasonOf(err))
		require.Equal(t, exact().Recheck, fault.RetryAfter(err))
		fe, _ := fault.As(err)
		resume, err := time.Parse(time.RFC3339, fe.Meta[fault.MetaResume])
		require.NoError(t, err)
		require.True(t, resume.After(b.org.now))
		require.LessOrEqual(t, resume.Sub(b.org.now), window)
		require.Equal(t, "bulk", fe.Meta[MetaPriority])
		require.Contains(t, fe.Message, fe.Meta[fault.MetaResume])
		require.Len(t, b.org.ours, before)
		require.NoError(t, b.call(priority.Sync), "more urgent work goes on")
	})
	t.Run("refusals do not ask the store each time", func(t *testing.T) {
		t.Parallel()
		b := setup(t, exact(), 100)
		b.others(99)
		require.NoError(t, b.call(priority.Interactive))
		require.Error(t, b.call(priority.Audit))
		asked := b.store.exchanges
		for range 1_000 {
			require.Error(t, b.call(priority.Audit))
		}
		require.Equal(t, asked, b.store.exchanges)
		b.wait(refusalMemory)
		require.Error(t, b.call(priority.Audit))
		require.Equal(t, asked+1, b.store.exchanges)
	})
	t.Run("work goes on when calls have left the window", func(t *testing.T) {
		t.Parallel()
		b := setup(t, exact(), 100)
		b.others(89)
		require.NoError(t, b.call(priority.Sync))
		b.told()
		require.Error(t, b.call(priority.Sync))
		b.wait(window + time.Minute)
		b.look()
		require.NoError(t, b.call(priority.Sync))
		require.NoError(t, b.call(priority.Audit))
	})
}

// TestBegin_WindowRolls has the rolling day pass in steps: nothing is handed out too early, and it goes on as foreseen.
func TestBegin_WindowRolls(t *testing.T) {
	t.Parallel()
	b := setup(t, exact(), 192)
	b.look()
	for range 95 {
		b.wait(slotLength)
		require.NoError(t, b.call(priority.Interactive))
		require.NoError(t, b.call(priority.Interactive))
		b.told()
	}
	for range 96 {
		for b.call(priority.Interactive) == nil {
			require.LessOrEqual(t, b.org.used(b.org.now), b.org.limit)
		}
		err := b.call(priority.Interactive)
		fe, _ := fault.As(err)
		resume, perr := time.Parse(time.RFC3339, fe.Meta[fault.MetaResume])
		require.NoError(t, perr)
		b.org.now = maxTime(resume, b.org.now.Add(2*time.Second))
		b.look()
		require.NoError(t, b.call(priority.Interactive), "it is as the caller was told")
	}
}

func TestBegin_OtherPrograms(t *testing.T) {
	t.Parallel()
	t.Run("a jump of the org's counter closes the band at once, for every replica", func(t *testing.T) {
		t.Parallel()
		b := setup(t, exact(), 10_000)
		other := b.replica("b")
		require.NoError(t, b.call(priority.Bulk))
		require.NoError(t, b.callOf(other, priority.Bulk))
		b.others(7_500)
		require.NoError(t, b.call(priority.Bulk), "nobody can know yet")
		require.Error(t, b.call(priority.Bulk), "its own answer said so")
		b.told()
		held := 0
		for b.callOf(other, priority.Bulk) == nil {
			held++
		}
		require.LessOrEqual(t, held, 1, "the block it holds ends with the first answer")
		require.NoError(t, b.callOf(other, priority.Sync))
	})
	t.Run("a lower figure is believed only when it cannot be late", func(t *testing.T) {
		t.Parallel()
		cfg := DefaultConfig()
		b := setup(t, cfg, 1_000)
		b.others(650)
		require.NoError(t, b.call(priority.Interactive))
		b.told()
		end, err := b.Begin(at(t, priority.Interactive))
		require.NoError(t, err)
		end(rest.CallOutcome{Sends: 1, Used: 10, Limit: 1_000, Served: true})
		b.told()
		require.GreaterOrEqual(t, b.State().Estimate, int64(650))
		b.wait(2 * cfg.Lag)
		end, err = b.Begin(at(t, priority.Interactive))
		require.NoError(t, err)
		end(rest.CallOutcome{Sends: 1, Used: 11, Limit: 1_000, Served: true})
		b.told()
		require.Less(t, b.State().Estimate, int64(50))
	})
	t.Run("a smaller allowance holds from its first figure", func(t *testing.T) {
		t.Parallel()
		b := setup(t, exact(), 10_000)
		require.NoError(t, b.call(priority.Audit))
		b.org.limit = 100
		b.others(60)
		require.NoError(t, b.call(priority.Sync))
		b.told()
		require.Error(t, b.call(priority.Audit))
	})
}

func TestBegin_StaleFigures(t *testing.T) {
	t.Parallel()
	b := setup(t, exact(), 100_000)
	require.NoError(t, b.call(priority.Bulk))
	b.told()
	b.wait(exact().Stale)
	var ends []func(rest.CallOutcome)
	replicas := []*Accountant{b.Accountant, b.replica("b"), b.replica("c")}
	for i := range 3 * blind {
		ctx, cancel := context.WithTimeout(at(t, priority.Bulk), 2*time.Second)
		end, err := replicas[i%3].Begin(ctx)
		cancel()
		if err != nil {
			break
		}
		ends = append(ends, end)
	}
	require.NotEmpty(t, ends)
	require.LessOrEqual(t, len(ends), blind, "nobody knows what the others have used meanwhile")
	for _, end := range ends {
		end(b.org.serve(0))
	}
	b.told()
	for range 100 {
		require.NoError(t, b.call(priority.Bulk), "the first answers said how much is left")
	}
}

func TestBegin_SalesforceRefuses(t *testing.T) {
	t.Parallel()
	refused := rest.CallOutcome{Sends: 1, Used: 10, Limit: 1_000, Exhausted: true}
	b := setup(t, exact(), 1_000)
	require.NoError(t, b.call(priority.Sync))
	end, err := b.Begin(at(t, priority.Sync))
	require.NoError(t, err)
	inFlight, err := b.Begin(at(t, priority.Sync))
	require.NoError(t, err)
	end(refused)
	err = b.call(priority.Sync)
	require.Equal(t, ReasonExhausted, fault.ReasonOf(err))
	require.Equal(t, exact().Pause, fault.RetryAfter(err))
	require.Error(t, b.call(priority.Bulk), "what is less urgent waits too")
	require.NoError(t, b.call(priority.Interactive), "what is more urgent goes on")
	inFlight(b.org.serve(0))
	require.Error(t, b.call(priority.Sync), "a call that began before says nothing about now")

	b.wait(exact().Pause)
	trial, err := b.Begin(at(t, priority.Sync))
	require.NoError(t, err, "one call finds out")
	require.Error(t, b.call(priority.Sync), "only one")
	trial(refused)
	b.wait(2 * refusalMemory)
	require.Error(t, b.call(priority.Sync), "the trial failed")
	b.wait(exact().Pause)
	require.NoError(t, b.call(priority.Sync))
	b.wait(2 * refusalMemory)
	require.NoError(t, b.call(priority.Bulk), "the trial was served")
}

func TestBegin_StoreDown(t *testing.T) {
	t.Parallel()
	t.Run("a person gets a few calls, everything else waits", func(t *testing.T) {
		t.Parallel()
		b := setup(t, exact(), 10_000)
		require.NoError(t, b.call(priority.Interactive))
		b.told()
		b.wait(poolIdle)
		require.True(t, b.due())
		b.told()
		b.store.down = true
		err := b.call(priority.Sync)
		require.Equal(t, fault.Unavailable, fault.KindOf(err))
		require.Equal(t, ReasonStore, fault.ReasonOf(err))
		require.Positive(t, fault.RetryAfter(err))
		made := 0
		for b.call(priority.Interactive) == nil {
			made++
		}
		require.Equal(t, emergencyMost, made)
		asked := b.store.exchanges
		require.Error(t, b.call(priority.Interactive))
		require.Equal(t, asked, b.store.exchanges, "a store that is down is not asked by every call")
		b.store.down = false
		b.wait(storeRetry)
		require.NoError(t, b.call(priority.Sync))
		b.told()
		require.Equal(t, b.org.used(b.org.now), b.State().Estimate-b.State().Outstanding, "the calls made meanwhile are in the account")
	})
	t.Run("an exchange whose answer was lost is neither lost nor doubled", func(t *testing.T) {
		t.Parallel()
		b := setup(t, exact(), 10_000)
		require.NoError(t, b.call(priority.Sync))
		b.store.loseAnswer = true
		_, err := b.flush(t.Context(), false)
		require.Error(t, err)
		b.told()
		require.EqualValues(t, 1, b.State().Used)
		require.EqualValues(t, 1, b.State().Estimate-b.State().Outstanding)
	})
	t.Run("blocks of a store that was away for long are not used", func(t *testing.T) {
		t.Parallel()
		b := setup(t, exact(), 10_000)
		require.NoError(t, b.call(priority.Sync))
		require.NoError(t, b.call(priority.Sync))
		b.store.down = true
		b.wait(exact().Lease / 2)
		require.Error(t, b.call(priority.Sync))
	})
}

// TestCrash has a process die after each step: what it was given counts until its lease ends, then only what was made.
func TestCrash(t *testing.T) {
	t.Parallel()
	for name, do := range map[string]func(b *bench) (made int64){
		"after a block was handed out": func(b *bench) int64 {
			_, err := b.store.Exchange(t.Context(), Exchange{Replica: "a", Seq: 9, Level: priority.Sync, Want: 32}, b.org.now)
			require.NoError(t, err)
			return 0
		},
		"after a call was begun": func(b *bench) int64 {
			_, err := b.Begin(at(t, priority.Sync))
			require.NoError(t, err)
			return 0
		},
		"after a call was made": func(b *bench) int64 {
			end, err := b.Begin(at(t, priority.Sync))
			require.NoError(t, err)
			_ = end
			b.org.serve(0)
			return 1
		},
		"after a call was answered and before it was told": func(b *bench) int64 {
			require.NoError(t, b.call(priority.Sync))
			return 1
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, exact(), 10_000)
			require.NoError(t, b.callOf(b.replica("seed"), priority.Sync))
			made := do(b)
			b.Accountant = b.replica("b")
			b.told()
			require.GreaterOrEqual(t, b.State().Estimate, b.org.used(b.org.now), "never less than what was used")
			b.wait(b.store.cfg.Lease)
			require.NoError(t, b.call(priority.Sync))
			b.told()
			b.wait(poolIdle)
			b.due()
			b.told()
			require.Equal(t, made+2, b.State().Estimate, "the crash cost nothing for good")
		})
	}
}

func TestRun(t *testing.T) {
	t.Parallel()
	t.Run("it reports, reads the limits, and gives back what is unused", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			o := &org{now: time.Now(), limit: 10_000}
			store := newMemory(exact())
			a, err := New(Options{Store: store, Config: store.cfg, Replica: "a", MaxConcurrent: 8, Now: time.Now})
			require.NoError(t, err)
			ctx, cancel := context.WithCancel(t.Context())
			reads := 0
			ended := make(chan error, 1)
			go func() {
				ended <- a.Run(ctx, func(ctx context.Context) ([]Allowance, error) {
					reads++
					end, err := a.Begin(ctx)
					if err == nil {
						end(o.serve(0))
					}
					return []Allowance{{Name: "DailyDeliveredPlatformEvents", Limit: 5, Remaining: 3}}, err
				})
			}()
			time.Sleep(idleTick + 2*time.Second)
			synctest.Wait()
			require.Equal(t, 1, reads)
			require.EqualValues(t, 3, store.limits["DailyDeliveredPlatformEvents"].Remaining)
			require.EqualValues(t, 10_000, a.State().Limit)
			end, err := a.Begin(priority.With(ctx, priority.Sync))
			require.NoError(t, err)
			end(o.serve(0))
			require.Positive(t, store.outstanding())
			time.Sleep(poolIdle + 2*tick)
			synctest.Wait()
			require.Zero(t, store.outstanding())
			time.Sleep(store.cfg.Refresh)
			synctest.Wait()
			require.Equal(t, 2, reads)
			_, err = a.Begin(priority.With(ctx, priority.Sync))
			require.NoError(t, err)
			cancel()
			require.NoError(t, <-ended)
			require.EqualValues(t, 1, store.outstanding(), "only the call that is under way stays")
		})
	})
	t.Run("while work waits the limits are read sooner", func(t *testing.T) {
		t.Parallel()
		b := setup(t, exact(), 1_000)
		b.look()
		_, err := b.flush(t.Context(), true)
		require.NoError(t, err)
		b.others(900)
		require.NoError(t, b.call(priority.Interactive))
		b.told()
		require.Error(t, b.call(priority.Audit))
		b.wait(idleTick - time.Second)
		require.Error(t, b.call(priority.Audit))
		b.wait(2 * time.Second)
		require.True(t, b.due(), "also while others talk to the store all the time")
		b.wait(exact().Pause - idleTick - 2*time.Second)
		refresh, err := b.flush(t.Context(), true)
		require.NoError(t, err)
		require.False(t, refresh)
		b.wait(time.Second)
		refresh, err = b.flush(t.Context(), true)
		require.NoError(t, err)
		require.True(t, refresh)
	})
	t.Run("it reads the limits also when nothing is left", func(t *testing.T) {
		t.Parallel()
		b := setup(t, exact(), 10)
		b.others(9)
		require.NoError(t, b.call(priority.Interactive))
		b.told()
		require.Error(t, b.call(priority.Interactive))
		b.wait(window + time.Minute)
		b.look()
		require.NoError(t, b.call(priority.Interactive))
	})
}

func TestOverview(t *testing.T) {
	t.Parallel()
	b := setup(t, exact(), 1_000)
	b.others(600)
	require.NoError(t, b.call(priority.Sync))
	b.wait(3 * time.Second)
	b.due()
	v, err := b.Overview(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 601, v.State.Used)
	require.EqualValues(t, 1, v.Own)
	byLevel := map[priority.Level]LevelOverview{}
	for _, l := range v.Levels {
		byLevel[l.Level] = l
	}
	require.EqualValues(t, 399, byLevel[priority.Interactive].Remaining)
	require.EqualValues(t, 99, byLevel[priority.Bulk].Remaining)
	require.Zero(t, byLevel[priority.Bulk].Resume)
	require.Zero(t, byLevel[priority.Audit].Remaining)
	require.True(t, byLevel[priority.Audit].Resume.After(b.org.now))
	require.EqualValues(t, 1, byLevel[priority.Sync].Own)
	b.store.down = true
	_, err = b.Overview(t.Context())
	require.ErrorIs(t, err, errDown)
}
