package linear_test

import (
	"context"
	"crypto/rand"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/selfsame-io/selfsame/pkg/db/dbtest"
	"github.com/selfsame-io/selfsame/pkg/idempotent"
	"github.com/selfsame-io/selfsame/pkg/idempotent/linear"
	"github.com/selfsame-io/selfsame/pkg/idempotent/redisstore"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var secret = []byte("0123456789abcdef")

// histories checks runs of different seeds against one store and refuses a load that could not have found anything.
func histories(t *testing.T, store idempotent.Store, clock *linear.Clock, runs int) {
	t.Helper()
	if testing.Short() {
		runs = max(runs/20, 10)
	}
	var sum linear.Result
	for seed := range runs {
		res, err := linear.Check(t.Context(), store, clock, linear.Run{Seed: uint64(seed), Workers: 6, Steps: 12, Keys: 3})
		require.NoError(t, err)
		require.True(t, res.Legal, "seed %d:\n%s", seed, res.Why)
		sum.Operations += res.Operations
		sum.Granted += res.Granted
		sum.Stale += res.Stale
		sum.TakenOver += res.TakenOver
	}
	t.Logf("%d histories, %d operations: %d granted, %d of them after another attempt, %d stale", runs, sum.Operations, sum.Granted, sum.TakenOver, sum.Stale)
	require.Greater(t, sum.TakenOver, runs, "too few claims were taken over for the runs to mean anything")
	require.Greater(t, sum.Stale, runs, "too few late owners")
}

func TestConformance(t *testing.T) {
	t.Parallel()
	t.Run("E-09 10,000 random histories are linearizable: memory", func(t *testing.T) {
		t.Parallel()
		clock := &linear.Clock{}
		histories(t, idempotent.NewMemoryStore(clock.Now), clock, 9400)
	})
	for _, engine := range []string{"sqlite", "postgres"} {
		t.Run("E-09 10,000 random histories are linearizable: "+engine, func(t *testing.T) {
			t.Parallel()
			clock := &linear.Clock{}
			s, err := idempotent.NewSQLStore(dbtest.Open(t, engine), secret, clock.Now)
			require.NoError(t, err)
			histories(t, s, clock, 200)
		})
	}
	t.Run("E-09 10,000 random histories are linearizable: redis", func(t *testing.T) {
		t.Parallel()
		clock := &linear.Clock{}
		histories(t, openRedis(t, clock), clock, 200)
	})
	t.Run("E-10 every mutant is detected", mutants)
}

func openRedis(t *testing.T, clock *linear.Clock) idempotent.Store {
	t.Helper()
	url := os.Getenv("SELFSAME_TEST_REDIS")
	if url == "" {
		if os.Getenv("CI") == "true" {
			t.Fatal("SELFSAME_TEST_REDIS is not set")
		}
		t.Skip("SELFSAME_TEST_REDIS is not set")
	}
	s, closeStore, err := redisstore.Open(context.Background(), url, secret, redisstore.Options{
		Prefix: "linear-" + strings.ToLower(rand.Text()) + ":", Now: clock.Now,
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, closeStore()) })
	return s
}

// mutants: each is a store with one mistake. The same store without the mistake passes, so it is the mistake that is
// found.
func mutants(t *testing.T) {
	t.Parallel()
	const runs = 60
	caught := func(t *testing.T, m mistake, run linear.Run) int {
		clock := &linear.Clock{}
		store := &flawed{MemoryStore: idempotent.NewMemoryStore(clock.Now), mistake: m, now: clock.Now, records: map[idempotent.Digest]*entry{}}
		n := 0
		for seed := range runs {
			run.Seed = uint64(seed)
			res, err := linear.Check(t.Context(), store, clock, run)
			require.NoError(t, err)
			if !res.Legal {
				n++
			}
		}
		return n
	}
	full := linear.Run{Workers: 6, Steps: 12, Keys: 3}
	require.Zero(t, caught(t, "", full), "without a mistake")
	for _, m := range []mistake{
		checkThenSet, leaseIgnored, noFence, noOwner, overwrites, printIgnored, neverTaken, zombieBeats, zombieReleases, releaseForgets, staleReads, purgesLiving,
	} {
		t.Run(string(m), func(t *testing.T) {
			t.Parallel()
			n := caught(t, m, full)
			t.Logf("found in %d of %d histories", n, runs)
			require.NotZero(t, n)
		})
	}
	t.Run("a missing fence is found by stalls only", func(t *testing.T) {
		t.Parallel()
		require.Zero(t, caught(t, noFence, linear.Run{Workers: 6, Steps: 12, Keys: 3, NoStalls: true}))
	})
	t.Run("check-then-set is found without stalls too", func(t *testing.T) {
		t.Parallel()
		require.NotZero(t, caught(t, checkThenSet, linear.Run{Workers: 6, Steps: 12, Keys: 3, NoStalls: true}))
	})
}
