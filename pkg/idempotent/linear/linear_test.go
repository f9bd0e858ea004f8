package linear_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/sync/errgroup"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/pkg/db/dbtest"
	"github.com/selfsame-io/selfsame/pkg/idempotent"
	"github.com/selfsame-io/selfsame/pkg/idempotent/linear"
	"github.com/selfsame-io/selfsame/pkg/idempotent/redisstore"
	"github.com/selfsame-io/selfsame/pkg/telemetry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var secret = []byte("0123456789abcdef")

// size is that of every history. It is as small as it can be while every mutant is still found: a short history costs a store
// little, and shows as much as a long one when there are thousands.
func size() linear.Run { return linear.Run{Workers: 4, Steps: 8, Keys: 2} }

const (
	stored = 2000 // histories per store that keeps its records elsewhere; twice as many in memory
	lanes  = 4    // stores of a kind that are tested at once
)

// histories checks runs of different seeds and refuses a load that could not have found anything. Several stores share the
// work, each of replicas with connections of their own and one clock: histories on one clock would move each other's time, and hide
// mistakes with leases.
func histories(t *testing.T, runs int, open func(*linear.Clock) (replicas []idempotent.Store, tidy func(context.Context) error)) {
	t.Helper()
	switch {
	case testing.Short():
		runs = max(runs/50, 40)
	case racing: // all of them without it, by make conformance
		runs /= 2
	}
	var (
		next atomic.Int64
		mu   sync.Mutex
		sum  linear.Result
		all  errgroup.Group
	)
	for range lanes {
		clock := &linear.Clock{}
		replicas, tidy := open(clock)
		all.Go(func() error {
			for n := 1; ; n++ {
				run := size()
				run.Seed = uint64(next.Add(1))
				if run.Seed > uint64(runs) {
					return nil
				}
				res, err := linear.Check(t.Context(), clock, run, replicas...)
				if err != nil {
					return err
				}
				if !res.Legal {
					return fmt.Errorf("seed %d:\n%s", run.Seed, res.Why)
				}
				mu.Lock()
				sum.Operations += res.Operations
				sum.Granted += res.Granted
				sum.Stale += res.Stale
				sum.TakenOver += res.TakenOver
				sum.Lost += res.Lost
				mu.Unlock()
				if n%50 == 0 {
					if err := tidy(t.Context()); err != nil {
						return err
					}
				}
			}
		})
	}
	require.NoError(t, all.Wait())
	t.Logf("%d histories, %d operations: %d granted, %d of them after another attempt, %d stale, %d without a reply",
		runs, sum.Operations, sum.Granted, sum.TakenOver, sum.Stale, sum.Lost)
	require.Greater(t, sum.TakenOver, runs/2, "too few claims were taken over for the runs to mean anything")
	require.Greater(t, sum.Stale, runs/2, "too few late owners")
	require.Greater(t, sum.Lost, runs/2, "too few lost replies")
}

func TestConformance(t *testing.T) {
	t.Parallel()
	const name = "E-09 thousands of random histories are linearizable: "
	t.Run(name+"memory", func(t *testing.T) {
		t.Parallel()
		histories(t, 2*stored, func(clock *linear.Clock) ([]idempotent.Store, func(context.Context) error) {
			return []idempotent.Store{idempotent.NewMemoryStore(clock.Now)}, nothing
		})
	})
	for _, engine := range []string{"sqlite", "postgres"} {
		t.Run(name+engine, func(t *testing.T) {
			t.Parallel()
			histories(t, stored, func(clock *linear.Clock) ([]idempotent.Store, func(context.Context) error) {
				return openSQL(t, engine, clock), nothing
			})
		})
	}
	t.Run(name+"redis", func(t *testing.T) {
		t.Parallel()
		histories(t, stored, func(clock *linear.Clock) ([]idempotent.Store, func(context.Context) error) {
			return openRedis(t, clock)
		})
	})
	t.Run("E-10 every mutant is detected", mutants)
}

func nothing(context.Context) error { return nil }

// openSQL returns two replicas. A SQLite file has one process, so there they share its connections.
func openSQL(t *testing.T, engine string, clock *linear.Clock) []idempotent.Store {
	t.Helper()
	dsn := dbtest.DSN(t, engine)
	open := func() *db.DB {
		d, err := db.Open(t.Context(), dsn, telemetry.Discard())
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, d.Close()) })
		return d
	}
	d := open()
	var out []idempotent.Store
	for i := range 2 {
		if i > 0 && engine == "postgres" {
			d = open()
		}
		s, err := idempotent.NewSQLStore(d, secret, clock.Now)
		require.NoError(t, err)
		out = append(out, s)
	}
	return out
}

// openRedis also returns what removes all records of the store: a purge walks everything that the server holds.
func openRedis(t *testing.T, clock *linear.Clock) ([]idempotent.Store, func(context.Context) error) {
	t.Helper()
	url := dbtest.Redis(t)
	prefix := "linear-" + strings.ToLower(rand.Text()) + ":"
	var out []idempotent.Store
	var closers []func() error
	for range 2 {
		s, closeStore, err := redisstore.Open(t.Context(), url, secret, redisstore.Options{Prefix: prefix, Now: clock.Now})
		require.NoError(t, err)
		out, closers = append(out, s), append(closers, closeStore)
	}
	o, err := redis.ParseURL(url)
	require.NoError(t, err)
	c := redis.NewClient(o)
	tidy := func(ctx context.Context) error {
		found := c.Scan(ctx, 0, prefix+"*", 1000).Iterator()
		for found.Next(ctx) {
			if err := c.Unlink(ctx, found.Val()).Err(); err != nil {
				return err
			}
		}
		return found.Err()
	}
	t.Cleanup(func() {
		require.NoError(t, tidy(context.Background()))
		require.NoError(t, c.Close())
		for _, closeStore := range closers {
			require.NoError(t, closeStore())
		}
	})
	return out, tidy
}

// mutants: each is a store with one mistake. The same store without the mistake passes, so it is the mistake that is
// found: in far fewer histories than the stores themselves have to pass.
func mutants(t *testing.T) {
	t.Parallel()
	// caught returns which history found the mistake, and what it was; 0 if none of them did.
	caught := func(t *testing.T, m mistake, run linear.Run, runs int) (int, string) {
		clock := &linear.Clock{}
		store := &flawed{MemoryStore: idempotent.NewMemoryStore(clock.Now), mistake: m, now: clock.Now, records: map[idempotent.Digest]*entry{}}
		n, why, err := linear.First(t.Context(), clock, run, runs, store)
		require.NoError(t, err)
		return n, why
	}
	few := 500
	if testing.Short() {
		few = 80
	}
	full, fair := size(), size()
	fair.NoStalls = true
	n, why := caught(t, "", full, few)
	require.Zero(t, n, "without a mistake: %s", why)
	for _, m := range []mistake{
		checkThenSet, leaseIgnored, noFence, noOwner, overwrites, printIgnored, neverTaken, zombieBeats, zombieReleases, releaseForgets, staleReads, purgesLiving, ownerUnknown,
	} {
		t.Run(string(m), func(t *testing.T) {
			t.Parallel()
			n, _ := caught(t, m, full, stored)
			t.Logf("found by history %d", n)
			require.NotZero(t, n)
		})
	}
	t.Run("a missing fence is found by stalls only", func(t *testing.T) {
		t.Parallel()
		n, why := caught(t, noFence, fair, few)
		require.Zero(t, n, why)
	})
	t.Run("check-then-set is found without stalls too", func(t *testing.T) {
		t.Parallel()
		n, _ := caught(t, checkThenSet, fair, stored)
		require.NotZero(t, n)
	})
}
