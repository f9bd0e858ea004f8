// Package simulation plays many seeds of the simulation of process-customer at once: every seed is a history of people,
// systems, crashes and faults, and after each of them both systems must agree and nothing may be lost or made twice.
//
//	go test ./suite/simulation                      # 2,000 seeds
//	make simulate SEEDS=100000                      # more, from a seed that nobody has played
//	make simulate SEED=4711                         # one of them, with everything that happens in it
//
// See docs/simulation.md.
package simulation_test

import (
	"context"
	"flag"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/selfsame-io/selfsame/pkg/heap"
	"github.com/selfsame-io/selfsame/services/process-customer/simulation"
)

var (
	seeds = flag.Int("seeds", 0, "how many seeds are played; 2,000 by default, 200 with -race, 5 with -short")
	first = flag.Uint64("first", 1, "the first seed")
	story = flag.Uint64("story", 0, "one seed to be played and told as a whole")
)

// shrinkTries is how many stories a failing one is compared with in order to shorten it.
const shrinkTries = 1500

// TestSeeds is not parallel: it uses every core by itself.
func TestSeeds(t *testing.T) {
	if *story > 0 {
		tell(t, *story)
		return
	}
	n := *seeds
	switch {
	case n > 0:
	case testing.Short():
		n = 5
	case racing:
		n = 200
	default:
		n = 2000
	}
	t.Cleanup(heap.Lend(256 << 20)) // as the services do: collecting a small heap all the time takes a tenth of the processor
	var next atomic.Uint64
	next.Store(*first)
	end := *first + uint64(n) //nolint:gosec // positive
	var mu sync.Mutex
	var stats simulation.Stats
	rules := map[string]bool{}
	g, ctx := errgroup.WithContext(t.Context())
	for range runtime.GOMAXPROCS(0) {
		g.Go(func() error {
			stage, err := simulation.NewStage(ctx)
			if err != nil {
				return err
			}
			defer stage.Close()
			for seed := next.Add(1) - 1; seed < end; seed = next.Add(1) - 1 {
				res, err := simulation.Play(ctx, stage, simulation.Plan(seed), simulation.None)
				if err != nil {
					return err
				}
				mu.Lock()
				stats.Add(res.Stats)
				fresh := res.Failed() && !rules[res.Rule]
				rules[res.Rule] = true
				mu.Unlock()
				switch {
				case fresh:
					explain(ctx, t, stage, seed, res)
				case res.Failed():
					t.Errorf("seed %d, too: %s: %s", seed, res.Rule, res.Detail)
				}
			}
			return nil
		})
	}
	require.NoError(t, g.Wait())
	t.Log(stats)
	require.Equal(t, n, stats.Stories)
	require.Positive(t, stats.Crashes)
	if n >= 200 {
		require.Positive(t, stats.Deletions, "no deletion was carried out in another system")
		require.Positive(t, stats.Merges, "nobody merged anything")
	}
	require.Greater(t, stats.Faults, n, "histories in which nothing fails prove nothing")
}

// explain reports a broken promise by the shortest story that breaks it.
func explain(ctx context.Context, t *testing.T, stage *simulation.Stage, seed uint64, res simulation.Result) {
	t.Helper()
	short, err := simulation.Shrink(ctx, stage, simulation.Plan(seed), simulation.None, res.Rule, shrinkTries)
	if err == nil {
		res, err = simulation.Play(ctx, stage, short, simulation.None)
	}
	if err != nil {
		t.Errorf("seed %d: %s: %v", seed, res.Rule, err)
		return
	}
	t.Errorf("seed %d\n\n%s\nbroken: %s: %s\n\nwhat happened:\n%s", seed, short, res.Rule, res.Detail, res.History)
}

// tell plays one seed and prints all of it.
func tell(t *testing.T, seed uint64) {
	t.Helper()
	stage, err := simulation.NewStage(t.Context())
	require.NoError(t, err)
	defer func() { require.NoError(t, stage.Close()) }()
	plan := simulation.Plan(seed)
	res, err := simulation.Play(t.Context(), stage, plan, simulation.None)
	require.NoError(t, err)
	t.Logf("%s\nwhat happened:\n%s\n%s\nhistory %s", plan, res.History, res.Stats, res.Digest())
	if res.Failed() {
		explain(t.Context(), t, stage, seed, res)
	}
}

// TestBugs shows that a failing seed is told in a few steps that a person can read.
func TestBugs(t *testing.T) {
	stage, err := simulation.NewStage(t.Context())
	require.NoError(t, err)
	defer func() { require.NoError(t, stage.Close()) }()
	for seed := uint64(20); ; seed++ { // any other start only takes longer
		require.Less(t, seed, uint64(400))
		plan := simulation.Plan(seed)
		res, err := simulation.Play(t.Context(), stage, plan, simulation.IgnoreGap)
		require.NoError(t, err)
		if !res.Failed() {
			continue
		}
		tries := 300
		if testing.Short() || racing {
			tries = 40
		}
		short, err := simulation.Shrink(t.Context(), stage, plan, simulation.IgnoreGap, res.Rule, tries)
		require.NoError(t, err)
		require.Less(t, len(short.Steps), len(plan.Steps))
		again, err := simulation.Play(t.Context(), stage, short, simulation.IgnoreGap)
		require.NoError(t, err)
		require.Equal(t, res.Rule, again.Rule)
		text := short.String()
		require.True(t, strings.Contains(text, "forgotten") || strings.Contains(text, "lost count") || strings.Contains(text, "loses"), "the gap is in the story:\n%s", text)
		t.Logf("%s\n%s: %s", text, again.Rule, again.Detail)
		return
	}
}
