package idempotent_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/pkg/db/dbtest"
	"github.com/selfsame-io/selfsame/pkg/idempotent"
	"github.com/selfsame-io/selfsame/pkg/idempotent/linear"
	"github.com/selfsame-io/selfsame/pkg/telemetry"
)

// wrongStatements are mistakes that a history on SQLite can find: pairs of what a statement of the store has, and what it has instead.
// The owner is compared because a database that lost its last commits gives fences out again: no history does that, so leaving it out
// is no mistake here.
var wrongStatements = map[string][]string{
	"held: the fence is not compared":           {"AND fence = $3 AND owner = $4", "AND $3 > 0 AND owner = $4"},
	"held: neither fence nor owner is compared": {"AND fence = $3 AND owner = $4", "AND $3 > 0 AND $4 IS NOT NULL"},
	"complete: the state is not compared": {
		"+ $9 WHERE k = $2 AND fence = $3 AND owner = $4 AND state || '' = 'c'", "+ $9 WHERE k = $2 AND fence = $3 AND owner = $4",
	},
	"take-over: a living claim": {
		"owner, lease_until, expires_at", "owner, 0, expires_at", "AND state = $11 AND lease_until = $12", "AND state = $11 AND $12 = 0",
		"AND state || '' = 'c' AND lease_until = $4", "AND state || '' = 'c' AND $4 = 0",
	},
	"take-over: a heartbeat since is not noticed": {"AND state = $11 AND lease_until = $12", "AND state = $11 AND $12 IS NOT NULL"},
	"take-over: what happened since is not noticed": {
		"AND fence = $10 AND state = $11 AND lease_until = $12", "AND $10 > 0 AND $11 <> '' AND $12 IS NOT NULL",
	},
	"take-over: the fence does not grow":        {"state = 'c', fence = fence + 1", "state = 'c', fence = fence"},
	"take-over: earlier attempts are forgotten": {"earlier = $13", "earlier = ($13 AND FALSE)"},
	"doubt: a heartbeat since is not noticed":   {"AND state || '' = 'c' AND lease_until = $4", "AND state || '' = 'c' AND $4 IS NOT NULL"},
	"claim: check, then set":                    {"INSERT INTO idempotency (k", "INSERT OR REPLACE INTO idempotency (k", " ON CONFLICT (k) DO NOTHING", ""},
	"resolve: the fence is not compared":        {"AND fence = $3 AND (state", "AND $3 > 0 AND (state"},
	"resolve: the fence does not grow":          {"SET state = 'd', fence = fence + 1", "SET state = 'd'"},
	"resolve: a living claim is settled":        {"AND ($4 OR lease_until <= ", "AND ($4 OR 0 < "},
	"purge: a living claim becomes uncertain":   {"AND NOT recoverable AND lease_until <= ", "AND NOT recoverable AND 0 < "},
	"expire: an open claim is buried":           {"k = $3 AND state = 'd'", "k = $3"},
}

// wrongTogether are mistakes in statements that callers share, which they do on PostgreSQL only.
var wrongTogether = map[string][]string{
	"answers together: neither fence nor owner is compared": {
		"AND i.fence = a.fence AND i.owner = a.owner AND", "AND", "RETURNING i.k, i.owner", "RETURNING i.k, a.owner",
	},
	"answers together: the state is not compared": {"AND i.state || '' = 'c' RETURNING", "RETURNING"},
}

// TestSQLStore_HistoriesFindWrongStatements puts one mistake at a time into the statements of two replicas; histories like those that the
// stores pass in package linear find it.
func TestSQLStore_HistoriesFindWrongStatements(t *testing.T) {
	t.Parallel()
	wrong(t, func(testing.TB) string { return "sqlite::memory:" }, linear.Run{Workers: 4, Steps: 8, Keys: 2}, wrongStatements)
	t.Run("together", func(t *testing.T) {
		t.Parallel()
		wrong(t, func(t testing.TB) string { return dbtest.DSN(t, "postgres") }, linear.Run{Workers: 8, Steps: 6, Keys: 2}, wrongTogether)
	})
}

func wrong(t *testing.T, dsn func(testing.TB) string, run linear.Run, mistakes map[string][]string) {
	t.Helper()
	caught := func(t *testing.T, histories int, rewrite []string) (int, string) {
		t.Helper()
		d, err := db.Open(t.Context(), dsn(t), telemetry.Discard())
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, d.Close()) })
		clock := &linear.Clock{}
		var replicas []idempotent.Store
		for range 2 {
			s, err := idempotent.NewSQLStore(d, secret, clock.Now)
			require.NoError(t, err)
			if d.Engine() == db.PostgreSQL {
				s.Crowd()
			}
			for i := 0; i < len(rewrite); i += 2 {
				require.NotZero(t, s.Rewrite(rewrite[i], rewrite[i+1]), "no statement has %q", rewrite[i])
			}
			replicas = append(replicas, s)
		}
		n, why, err := linear.First(t.Context(), clock, run, histories, replicas...)
		require.NoError(t, err)
		return n, why
	}
	t.Run("none without a mistake", func(t *testing.T) {
		t.Parallel()
		n, why := caught(t, 50, nil)
		require.Zero(t, n, why)
	})
	for name, rewrite := range mistakes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n, _ := caught(t, 10_000, rewrite) // far more than any of them takes, or the test would fail by chance
			t.Logf("found by history %d", n)
			require.NotZero(t, n)
		})
	}
}
