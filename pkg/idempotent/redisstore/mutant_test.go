package redisstore_test

import (
	"context"
	"crypto/rand"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/idempotent"
	"github.com/selfsame-io/selfsame/pkg/idempotent/linear"
	"github.com/selfsame-io/selfsame/pkg/idempotent/redisstore"
)

// TestHistoriesFindWrongScripts puts one mistake at a time into the scripts of two replicas; histories like those that the store passes
// in package linear find it. As with the SQL store, no history needs the owner besides the fence.
func TestHistoriesFindWrongScripts(t *testing.T) {
	t.Parallel()
	const all = 10_000 // far more than any of the mistakes takes, or the test would fail by chance
	caught := func(t *testing.T, histories int, rewrite ...string) (int, string) {
		t.Helper()
		clock, prefix, c := &linear.Clock{}, "wrong-"+strings.ToLower(rand.Text())+":", client(t)
		var replicas []idempotent.Store
		for range 2 {
			s := open(t, redisstore.Options{Prefix: prefix, Now: clock.Now})
			missing, err := s.Rewrite(rewrite...)
			require.NoError(t, err)
			require.Empty(t, missing, "in no script")
			replicas = append(replicas, s)
		}
		t.Cleanup(func() { // claims that nobody may execute again have no end of their own
			ctx := context.Background()
			for found := c.Scan(ctx, 0, prefix+"*", 1000).Iterator(); found.Next(ctx); {
				require.NoError(t, c.Unlink(ctx, found.Val()).Err())
			}
		})
		n, why, err := linear.First(t.Context(), clock, linear.Run{Workers: 4, Steps: 8, Keys: 2}, histories, replicas...)
		require.NoError(t, err)
		return n, why
	}
	n, why := caught(t, 50)
	require.Zero(t, n, "without a mistake: %s", why)
	for _, m := range []struct {
		name    string
		rewrite []string
	}{
		{"held: the fence is not compared", []string{" or r[2] ~= ARGV[3] or r[3]", " or r[3]"}},
		{"held: neither fence nor owner is compared", []string{" or r[2] ~= ARGV[3] or r[3] ~= ARGV[4]", ""}},
		{"held: the state is not compared", []string{"if r[1] ~= 'c' or r[2]", "if r[2]"}},
		{"begin: the request is not compared", []string{"if r[2] ~= ARGV[2] then", "if false then"}},
		{"begin: whoever lost the reply does not get the claim again", []string{"if r[4] == ARGV[3] then return say(1) end", ""}},
		{"begin: a living claim is taken over", []string{"if lease > now then return say(4, lease - now) end", ""}},
		{"begin: the fence does not grow", []string{"int(fence + 1)", "int(math.max(fence, 1))"}},
		{"begin: earlier attempts are forgotten", []string{"take(r[12])", "take('0')"}},
		{"begin: an uncertain effect is made again", []string{"return say(5)\nend\nif ARGV[5] == '1' then return", "return say(5)\nend\nif true then return"}},
		{"resolve: the fence is not compared", []string{"if r[2] ~= ARGV[3] then return 0 end", ""}},
		{"resolve: a living claim is settled", []string{"(ARGV[5] == '1' or lease <= now)", "true"}},
		{"resolve: the fence does not grow", []string{"redis.call('HINCRBY', key, 'n', 1)", ""}},
		{"purge: a living claim becomes uncertain", []string{"r[5] ~= '1' and lease <= now", "r[5] ~= '1'"}},
		{"expire: an open claim is buried", []string{"'expire' then -- tombstone\n  if state ~= 'd' then return 0 end", "'expire' then"}},
	} {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			n, _ := caught(t, all, m.rewrite...)
			t.Logf("found by history %d", n)
			require.NotZero(t, n)
		})
	}
}
