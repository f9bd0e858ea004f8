package engine_test

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/pkg/telemetry"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store/storetest"
)

// known opens an empty database by connections of our own, which cpu finds among those of others.
func known(t *testing.T, name string) *db.DB {
	t.Helper()
	dsn := storetest.Schema.DSN(t, name)
	if name == "postgres" {
		u, err := url.Parse(dsn)
		require.NoError(t, err)
		q := u.Query()
		q.Set("application_name", ourName())
		u.RawQuery = q.Encode()
		dsn = u.String()
	}
	d, err := db.Open(t.Context(), dsn, telemetry.Discard())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, d.Close()) })
	return d
}

func ourName() string { return fmt.Sprintf("cost-%d", os.Getpid()) }

// cpu returns the processor time that this process and the servers of its connections have had. It is zero where there is no
// /proc, and for a server on another machine.
func cpu(t testing.TB, d *db.DB) (ours, servers time.Duration) {
	t.Helper()
	ours = cpuOf("self", "")
	if d.Engine() != db.PostgreSQL {
		return ours, 0
	}
	require.NoError(t, d.Tx(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
		servers = 0
		rows, err := tx.QueryContext(ctx, "SELECT pid FROM pg_stat_activity WHERE application_name = $1", ourName())
		if err != nil {
			return fmt.Errorf("list servers: %w", err)
		}
		defer rows.Close()
		for rows.Next() {
			var pid int
			if err := rows.Scan(&pid); err != nil {
				return fmt.Errorf("list servers: %w", err)
			}
			servers += cpuOf(strconv.Itoa(pid), "postgres")
		}
		return rows.Err()
	}))
	return ours, servers
}

// cpuOf reads the processor time of a process, if it has the name.
func cpuOf(pid, name string) time.Duration {
	text, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return 0
	}
	begin, end := strings.IndexByte(string(text), '('), strings.LastIndexByte(string(text), ')')
	if begin < 0 || end < begin || (name != "" && string(text[begin+1:end]) != name) {
		return 0
	}
	fields := strings.Fields(string(text[end+1:]))
	if len(fields) < 13 {
		return 0
	}
	user, err1 := strconv.ParseInt(fields[11], 10, 64)
	system, err2 := strconv.ParseInt(fields[12], 10, 64)
	if err1 != nil || err2 != nil {
		return 0
	}
	return time.Duration(user+system) * 10 * time.Millisecond // ticks of a hundredth of a second
}
