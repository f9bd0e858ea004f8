package keybench_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/selfsame-io/selfsame/pkg/db/dbtest"
	"github.com/selfsame-io/selfsame/pkg/idempotent/keybench"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// It checks that every measurement works and is on the page, not what comes out.
func TestRun(t *testing.T) {
	t.Parallel()
	o := keybench.Options{
		Dir: t.TempDir(), Callers: 2, Rounds: 1, Round: time.Millisecond, Expired: 300, Window: 20 * time.Millisecond,
		Only: []string{keybench.GroupSQLite, keybench.GroupMemory}, Postgres: os.Getenv(dbtest.PostgresEnv), Redis: os.Getenv(dbtest.RedisEnv),
	}
	wanted := []string{"\n## SQLite", "\n## Memory"}
	if o.Postgres != "" {
		o.Only = append(o.Only, keybench.GroupPostgres, keybench.GroupPurge)
		wanted = append(wanted, "\n## PostgreSQL", "SELECT of a row of that size", "### What replays leave behind", "### SQLite, 300 expired keys", "### PostgreSQL, 300 expired keys")
	}
	if o.Redis != "" {
		o.Only = append(o.Only, keybench.GroupRedis)
		wanted = append(wanted, "\n## Redis")
	}
	dir := t.TempDir()
	results, err := keybench.Load(dir)
	require.NoError(t, err)
	require.NoError(t, keybench.Run(t.Context(), o, results))
	require.NoError(t, results.Save(dir))
	page := results.Page()
	for _, w := range wanted {
		require.Contains(t, page, w)
	}

	results, err = keybench.Load(dir)
	require.NoError(t, err)
	require.Equal(t, page, results.Page(), "what is read again is what was written")
	o.Only = []string{keybench.GroupMemory}
	require.NoError(t, keybench.Run(t.Context(), o, results))
	again := results.Page()
	for _, w := range wanted {
		require.Equal(t, strings.Count(page, w), strings.Count(again, w), "a group that is measured again takes the place of its results, the others stay")
	}
	o.Only = []string{"nothing"}
	require.ErrorContains(t, keybench.Run(t.Context(), o, results), "nothing")
}
