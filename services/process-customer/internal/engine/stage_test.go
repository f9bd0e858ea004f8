package engine_test

import (
	"context"
	"database/sql"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/pkg/db/dbtest"
	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/telemetry"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/engine/enginetest"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source/sourcetest"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store/storetest"
)

// way is how something breaks.
type way struct {
	name, engine string
	dies         bool // the process, before a statement; otherwise it goes on
	line         bool // its connection breaks, after a round trip; otherwise it is a statement that does
}

var ways = []way{
	{name: "sqlite: the process dies before a statement", engine: "sqlite", dies: true},
	{name: "postgres: the process dies before a statement", engine: "postgres", dies: true},
	{name: "postgres: the server fails at a statement", engine: "postgres"},
	{name: "postgres: the connection breaks after a round trip", engine: "postgres", line: true},
}

// every is from one statement to the next that is broken: the fast tests look at few of them, `make check` at each.
func every() int {
	if testing.Short() {
		return 7
	}
	return 1
}

// first is the first one that is broken.
func (w way) first() int {
	if w.line {
		return 0 // before any round trip
	}
	return 1
}

// blamed checks that an error says what broke.
func (w way) blamed(t *testing.T, err error, where string) {
	t.Helper()
	switch {
	case w.dies:
		require.ErrorIs(t, err, enginetest.ErrKilled, where)
	case w.line:
		require.Equal(t, fault.Unavailable, fault.KindOf(err), "%s: %v", where, err)
	default:
		require.ErrorContains(t, err, "no room", where)
	}
}

// stage is a world that is set back again and again, for what is done in it to break at each of its statements.
type stage struct {
	t      *testing.T
	way    way
	d      *db.DB       // not through what breaks
	s      *store.Store // through what breaks
	w      *enginetest.World
	killer *enginetest.Killer

	line   *dbtest.Line
	at, n  int // it breaks at this statement, zero: at none; how many there were
	tables []string
	before map[string][]string // what they hold when the world is set back
	back   func()
}

// newStage returns a stage on which nothing has happened.
func newStage(t *testing.T, w way) *stage {
	t.Helper()
	opened := func(d *db.DB, err error) *db.DB {
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, d.Close()) })
		return d
	}
	x := &stage{t: t, way: w, killer: enginetest.NewKiller(0)}
	var dsn string
	if w.engine == "sqlite" {
		x.d = opened(storetest.Schema.Private(t.Context())) // no power fails: nothing has to be on a disk
	} else {
		dsn = storetest.Schema.DSN(t, w.engine) + "&synchronous_commit=off"
		x.d = opened(db.Open(t.Context(), dsn, telemetry.Discard()))
	}
	x.w = enginetest.NewWith(t, x.d, func(o *sourcetest.Options) { o.PageSize = 2 }) // few records are several pages
	through := x.w.Store
	if w.line {
		l, behind := dbtest.NewLine(t, dsn)
		var err error
		through, err = store.Open(t.Context(), opened(db.Open(t.Context(), behind, telemetry.Discard())))
		require.NoError(t, err)
		x.line = l
	}
	x.s = through.Through(x.statement)
	return x
}

// statement is before each statement.
func (x *stage) statement(_ context.Context, text string, args []any) (string, []any, error) {
	x.n++
	switch {
	case x.at == 0 || x.n < x.at || x.way.line:
	case x.way.dies:
		x.killer.Kill()
		return "", nil, enginetest.ErrKilled
	case x.n == x.at:
		return "DO $$ BEGIN RAISE EXCEPTION 'no room' USING ERRCODE = 'disk_full'; END $$", nil, nil
	}
	return text, args, nil
}

// breakAt has it break at the n-th statement, or after the n-th round trip.
func (x *stage) breakAt(n int) {
	x.at, x.n = n, 0
	if x.way.line {
		x.line.BreakAfter(n)
	}
}

// spare has it break no more, and reports whether it did.
func (x *stage) spare() (broken bool) {
	broken = x.at > 0 && x.n >= x.at
	x.at = 0
	if x.way.line {
		return x.line.Spare()
	}
	return broken
}

// keep has restore set the world back to what it is now.
func (x *stage) keep() {
	x.t.Helper()
	x.tables = dbtest.Tables(x.t, x.d)
	x.before, x.back = x.look(nil), x.w.Keep()
	x.exec(func(table string) string { return "CREATE TABLE kept_" + table + " AS SELECT * FROM " + table })
}

// restore sets the world back.
func (x *stage) restore() {
	x.t.Helper()
	x.back()
	x.exec(func(table string) string {
		if len(x.before[table]) == 0 {
			return "DELETE FROM " + table
		}
		return "DELETE FROM " + table + "; INSERT INTO " + table + " SELECT * FROM kept_" + table
	})
}

// exec runs a statement for each table.
func (x *stage) exec(statement func(table string) string) {
	x.t.Helper()
	var all []string
	for _, table := range x.tables {
		all = append(all, statement(table))
	}
	require.NoError(x.t, x.d.Tx(x.t.Context(), func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, strings.Join(all, ";\n"))
		return err
	}))
}

// chance are the columns that differ from one time to the next: keys, and what is sealed with them. So do those of how far a
// comparison has come, which begins again anyway.
var chance = map[string][]string{
	"dead_letter": {"id", "version"}, "event": {"detail", "hash"}, "sequence": {"hash"}, "subject_key": {"key", "created_us"},
	"erasure": {"receipt", "signature"}, "secret": {"value"},
	"finding": {"detail"}, "reconcile_run": {"lease_until_us", "ended_us", "calls"},
}

// named are ids that differ, too, wherever they are.
var named = regexp.MustCompile(`\b[der]_[a-z2-7]{26}\b`)

// look returns what the tables hold, but for some columns of some of them.
func (x *stage) look(without map[string][]string) map[string][]string {
	x.t.Helper()
	out := map[string][]string{}
	for _, table := range x.tables {
		out[table] = x.rows(table, without[table])
	}
	return out
}

func (x *stage) rows(table string, without []string) (out []string) {
	x.t.Helper()
	rows, err := x.d.Read().QueryContext(x.t.Context(), "SELECT * FROM "+table) //nolint:gosec // a table of ours
	require.NoError(x.t, err)
	defer rows.Close()
	columns, err := rows.Columns()
	require.NoError(x.t, err)
	values, into := make([]any, len(columns)), make([]any, len(columns))
	for i := range values {
		into[i] = &values[i]
	}
	for rows.Next() {
		require.NoError(x.t, rows.Scan(into...))
		var row []string
		for i, column := range columns {
			if text, ok := values[i].([]byte); ok {
				values[i] = string(text)
			}
			if !slices.Contains(without, column) {
				row = append(row, fmt.Sprintf("%s=%v", column, values[i]))
			}
		}
		out = append(out, strings.Join(row, " "))
	}
	require.NoError(x.t, rows.Err())
	slices.Sort(out)
	return out
}

// count returns how many rows of a table, of which where may say more, there are.
func (x *stage) sum(column, table string) (n int) {
	x.t.Helper()
	require.NoError(x.t, x.d.Read().QueryRowContext(x.t.Context(), "SELECT CAST(COALESCE(SUM("+column+"), 0) AS BIGINT) FROM "+table).Scan(&n)) //nolint:gosec // a table of ours
	return n
}

func (x *stage) count(table string) (n int) {
	x.t.Helper()
	require.NoError(x.t, x.d.Read().QueryRowContext(x.t.Context(), "SELECT COUNT(*) FROM "+table).Scan(&n)) //nolint:gosec // a table of ours
	return n
}
