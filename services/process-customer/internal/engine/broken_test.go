package engine_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/pkg/db/dbtest"
	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/telemetry"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/engine"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/engine/enginetest"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/intake"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store/storetest"
)

// TestBroken breaks the transaction that takes a batch in at each of its statements, and its connection after each of its round
// trips. Nothing of it is there then, and taken in again the batch does what it does when nothing breaks.
func TestBroken(t *testing.T) {
	t.Parallel()
	step := 1
	if testing.Short() {
		step = 7 // the fast tests look at few statements, `make check` at each
	}
	for _, name := range []string{"sqlite", "postgres"} {
		t.Run(name+": the process dies before a statement", func(t *testing.T) {
			t.Parallel()
			x := newSpoiled(t, storetest.Schema.DSN(t, name), "")
			n := 1
			for ; ; n += step {
				count := 0
				err := x.take(func(text string, args []any) (string, []any, error) {
					if count++; count >= n {
						return "", nil, enginetest.ErrKilled
					}
					return text, args, nil
				})
				if count < n {
					require.NoError(t, err)
					break
				}
				require.ErrorIs(t, err, enginetest.ErrKilled)
				x.start() // another process
				x.again("statement %d", n)
			}
			require.Greater(t, n, 20)
		})
	}
	t.Run("postgres: the server fails at a statement", func(t *testing.T) {
		t.Parallel()
		x := newSpoiled(t, storetest.Schema.DSN(t, "postgres"), "")
		n := 1
		for ; ; n += step {
			count := 0
			err := x.take(func(text string, args []any) (string, []any, error) {
				if count++; count == n {
					return "DO $$ BEGIN RAISE EXCEPTION 'no room' USING ERRCODE = 'disk_full'; END $$", nil, nil
				}
				return text, args, nil
			})
			if count < n {
				require.NoError(t, err)
				break
			}
			require.ErrorContains(t, err, "no room")
			x.again("statement %d", n)
		}
		require.Greater(t, n, 20)
	})
	t.Run("postgres: the connection breaks after a round trip", func(t *testing.T) {
		t.Parallel()
		dsn := storetest.Schema.DSN(t, "postgres")
		l, behind := dbtest.NewLine(t, dsn)
		x := newSpoiled(t, dsn, behind)
		n, lost, uncertain := 0, 0, 0
		for ; ; n += step {
			l.BreakAfter(n)
			err := x.take(nil)
			broken := l.Spare()
			switch {
			case !broken:
				require.NoError(t, err)
			case err == nil, fault.KindOf(err) == fault.Uncertain: // the connection lay idle, or the answer to COMMIT was lost
				if err != nil {
					uncertain++
				}
				require.Equal(t, x.after, x.outcome(), "round trip %d", n)
				x.restore()
				x.start()
			default:
				require.Equal(t, fault.Unavailable, fault.KindOf(err), "round trip %d: %v", n, err)
				lost++
				x.again("round trip %d", n)
			}
			if !broken {
				break
			}
		}
		if testing.Short() {
			require.Positive(t, lost)
			require.LessOrEqual(t, uncertain, 1)
			return
		}
		require.Greater(t, lost, 20)
		require.Equal(t, 1, uncertain, "the answer to COMMIT")
	})
}

// spoiled is a batch that is taken in again and again on a database that is set back each time.
type spoiled struct {
	t      *testing.T
	d      *db.DB // not through what breaks
	s      *store.Store
	w      *enginetest.World
	tables []string
	batch  intake.Batch

	intercept func(text string, args []any) (string, []any, error)
	clock     *enginetest.Clock
	rand      io.Reader
	engine    *engine.Engine

	before, after map[string][]string // what the tables hold
}

// newSpoiled returns the batch; the engine uses the database by its second name, if it has one.
func newSpoiled(t *testing.T, dsn, through string) *spoiled {
	t.Helper()
	open := func(dsn string) *db.DB {
		d, err := db.Open(t.Context(), dsn, telemetry.Discard())
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, d.Close()) })
		return d
	}
	x := &spoiled{t: t, d: open(dsn)}
	x.w = enginetest.New(t, x.d)
	x.s = x.w.Store
	if through != "" {
		s, err := store.Open(t.Context(), open(through))
		require.NoError(t, err)
		x.s = s
	}
	x.history()
	x.tables = dbtest.Tables(t, x.d)
	x.before = x.look(nil)
	x.exec(func(table string) string { return "CREATE TABLE kept_" + table + " AS SELECT * FROM " + table })
	x.start()
	require.NoError(t, x.take(nil))
	x.after = x.outcome()
	x.restore()
	require.Equal(t, x.before, x.look(nil))
	return x
}

// history makes a batch with everything in it that a batch may have.
func (x *spoiled) history() {
	x.t.Helper()
	w, sf := x.w, x.w.SF
	who := func(i int) golden.Values {
		return golden.Values{golden.Name: fmt.Sprintf("Customer %d GmbH", i), golden.TaxID: fmt.Sprintf("DE10000000%d", i), golden.PostalCode: "50667", golden.Phone: "1"}
	}
	var ids []string
	for i := range 5 {
		ids = append(ids, sf.Create(golden.Customer, "", who(i)))
	}
	anna := sf.Create(golden.Contact, ids[0], golden.Values{golden.LastName: "Arndt", golden.Email: "anna@acme.example"})
	kern := sf.Create(golden.Contact, ids[1], golden.Values{golden.LastName: "Kern"})
	w.ERP.Create(golden.Customer, "", who(6))
	w.Settle()

	sf.Edit(golden.Customer, ids[0], golden.Values{golden.Phone: "2"})
	sf.Edit(golden.Customer, ids[1], golden.Values{golden.TaxID: "DE100000009", golden.Name: "Renamed"})
	sf.Create(golden.Contact, sf.Create(golden.Customer, "", who(7)), golden.Values{golden.LastName: "Neu"})
	sf.Edit(golden.Contact, anna, golden.Values{golden.Email: "arndt@acme.example"})
	sf.Create(golden.Customer, "", golden.Values{golden.Name: "Known", golden.TaxID: "DE100000002", golden.Website: "https://known.example"})
	sf.Edit(golden.Customer, ids[0], golden.Values{golden.City: "Köln"})
	sf.Delete(golden.Contact, kern)
	sf.Delete(golden.Customer, ids[3])
	sf.Merge(golden.Customer, ids[0], ids[4], golden.Values{golden.Website: "https://acme.example"})
	sf.Create(golden.Customer, "", golden.Values{golden.Name: strings.Repeat("x", 10_000)}) // nobody can store it

	_, err := w.Feeds[0].Acquire(x.t.Context())
	require.NoError(x.t, err)
	feed, err := w.Store.Read().Feed(x.t.Context(), sf.Name())
	require.NoError(x.t, err)
	enough := errors.New("enough")
	require.ErrorIs(x.t, sf.Watch(x.t.Context(), feed.Token, func(b source.Batch) error {
		feed.Token = b.Token
		x.batch = intake.Batch{Changes: b.Changes, Feed: &feed}
		return enough
	}), enough)
	require.Greater(x.t, len(x.batch.Changes), 10)
}

// start begins another process.
func (x *spoiled) start() {
	x.t.Helper()
	st := x.s.Through(func(_ context.Context, text string, args []any) (string, []any, error) {
		if x.intercept == nil {
			return text, args, nil
		}
		return x.intercept(text, args)
	})
	e, err := engine.New(engine.Deps{
		Store: st, Systems: []source.System{x.w.SF, x.w.ERP}, Rules: x.w.Rules, Owner: "spoiled", Now: func() time.Time { return x.clock.Now() },
		Rand: luck{x}, Telemetry: telemetry.Discard(), Ahead: 3,
	})
	require.NoError(x.t, err)
	x.engine = e
}

// luck is the same each time.
type luck struct{ x *spoiled }

func (l luck) Read(p []byte) (int, error) { return l.x.rand.Read(p) }

// take takes the batch in, at the same time and with the same luck each time.
func (x *spoiled) take(intercept func(text string, args []any) (string, []any, error)) error {
	x.clock, x.rand, x.intercept = enginetest.NewClock(), enginetest.NewRand(1), intercept
	x.clock.Advance(time.Hour)
	defer func() { x.intercept = nil }()
	_, err := x.engine.Intake.Take(x.t.Context(), x.w.SF.Name(), x.batch)
	return err
}

// again checks that nothing of the batch is there, and that it can be taken in.
func (x *spoiled) again(msg string, args ...any) {
	x.t.Helper()
	where := fmt.Sprintf(msg, args...)
	require.Equal(x.t, x.before, x.look(nil), where)
	require.NoError(x.t, x.take(nil), where)
	require.Equal(x.t, x.after, x.outcome(), where)
	x.restore()
	x.start()
}

// chance are the columns that differ from one time to the next: keys, and what is sealed with them.
var chance = map[string][]string{
	"dead_letter": {"id", "version"}, "event": {"detail", "hash"}, "sequence": {"hash"}, "subject_key": {"key", "created_us"},
}

// look returns what the tables hold, but for some columns of some of them.
func (x *spoiled) look(without map[string][]string) map[string][]string {
	x.t.Helper()
	out := map[string][]string{}
	for _, table := range x.tables {
		out[table] = x.rows(table, without[table])
	}
	return out
}

// outcome returns what the tables hold that is the same each time the batch was taken in, and what the audit trail says.
func (x *spoiled) outcome() map[string][]string {
	x.t.Helper()
	out := x.look(chance)
	for _, row := range out["golden"] {
		id := golden.ID(strings.TrimPrefix(strings.Fields(row)[0], "id="))
		events, err := x.w.Store.Read().ListEvents(x.t.Context(), id, 0, 1000)
		require.NoError(x.t, err)
		require.NotEmpty(x.t, events)
		for i := range events {
			out["trail"] = append(out["trail"], fmt.Sprintf("%+v", events[i]))
		}
	}
	return out
}

func (x *spoiled) rows(table string, without []string) (out []string) {
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

// restore sets the database back.
func (x *spoiled) restore() {
	x.t.Helper()
	x.exec(func(table string) string { return "DELETE FROM " + table })
	x.exec(func(table string) string { return "INSERT INTO " + table + " SELECT * FROM kept_" + table })
}

// exec runs a statement for each table.
func (x *spoiled) exec(statement func(table string) string) {
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
