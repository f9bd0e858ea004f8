package engine_test

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"os"
	"reflect"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/heap"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/engine"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/engine/enginetest"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/intake"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source/sourcetest"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store/storetest"
)

var (
	page    = flag.String("page", "", "file that the measured cost of the convergence is written to")
	sizes   = flag.String("customers", "10000,1000000", "how many customers the databases hold; above 10000, multiples of it")
	times   = flag.Int("rounds", 5, "how often each is measured")
	engines = flag.String("engines", "sqlite,postgres", "which databases are measured")
)

func TestCoalescing(t *testing.T) {
	t.Parallel()
	t.Run("a burst of ten edits to each customer is one write each, in full calls", func(t *testing.T) {
		t.Parallel()
		customers := 1000
		if testing.Short() {
			customers = 100
		}
		got := burst(t, customers)
		require.LessOrEqual(t, got.writes, customers*3/2)
		require.LessOrEqual(t, got.calls, 20)
	})
}

type cost struct{ edits, writes, calls int }

// burst edits each customer ten times in the ERP and counts what Salesforce is asked.
func burst(t *testing.T, customers int) cost {
	t.Helper()
	w := enginetest.NewWith(t, storetest.Schema.Open(t, "sqlite"), func(o *sourcetest.Options) { o.PageSize, o.BatchSize = 1000, 500 })
	ids := make([]string, customers)
	for i := range ids {
		ids[i] = w.ERP.Create(golden.Customer, "", golden.Values{golden.Name: fmt.Sprintf("Customer %d", i), golden.TaxID: fmt.Sprintf("DE%09d", 100_000_000+i)})
	}
	w.Settle()
	calls := func() int {
		return w.SF.Calls(sourcetest.OpUpsert) + w.SF.Calls(sourcetest.OpFetch) + w.SF.Calls(sourcetest.OpList)
	}
	writesBefore, callsBefore := w.SF.TotalWrites(), calls()
	for round := range 10 {
		for _, id := range ids {
			w.ERP.Edit(golden.Customer, id, golden.Values{golden.Phone: fmt.Sprint(round)})
		}
	}
	w.Settle()
	w.Check()
	return cost{10 * customers, w.SF.TotalWrites() - writesBefore, calls() - callsBefore}
}

// rehearsal is a store of which nothing remains but the statements that write, so that the same rows can be written without us.
type rehearsal struct {
	engine.Store
	statements []statement
}

type statement struct {
	text string
	args []any
}

// packed is a list of statements without a pointer in it: the garbage collector would look through them for whoever allocates
// meanwhile, which is us.
type packed []byte

type packedStatement struct {
	Text string
	Args []packedArg
}

type packedArg struct {
	Type  string
	Value json.RawMessage
}

func pack(t testing.TB, statements []statement) packed {
	t.Helper()
	out := make([]packedStatement, len(statements))
	for i, x := range statements {
		out[i].Text = x.text
		for _, arg := range x.args {
			value, err := json.Marshal(arg)
			require.NoError(t, err)
			out[i].Args = append(out[i].Args, packedArg{fmt.Sprintf("%T", arg), value})
		}
	}
	all, err := json.Marshal(out)
	require.NoError(t, err)
	return all
}

func (p packed) statements(t testing.TB) []statement {
	t.Helper()
	var in []packedStatement
	require.NoError(t, json.Unmarshal(p, &in))
	out := make([]statement, len(in))
	for i, x := range in {
		out[i].text = x.Text
		for _, arg := range x.Args {
			value, known := map[string]any{
				"string": new(string), "bool": new(bool), "int": new(int), "int64": new(int64), "[]uint8": new([]byte),
				"[]string": new([]string), "[]bool": new([]bool), "[]int64": new([]int64), "[][]uint8": new([][]byte),
			}[arg.Type]
			require.True(t, known, "an argument is a %s", arg.Type)
			require.NoError(t, json.Unmarshal(arg.Value, value))
			out[i].args = append(out[i].args, reflect.ValueOf(value).Elem().Interface())
		}
	}
	return out
}

var errRehearsed = fault.New(fault.Unavailable, "REHEARSED", "nothing of it is kept")

// Tx runs fn and takes everything back.
func (r *rehearsal) Tx(ctx context.Context, fn func(ctx context.Context, tx *store.Tx) error) error {
	return r.Store.Tx(ctx, func(ctx context.Context, tx *store.Tx) error {
		r.statements = nil
		if err := fn(ctx, tx); err != nil {
			return err
		}
		return errRehearsed
	})
}

func (r *rehearsal) keep(_ context.Context, query string, args []any) (string, []any, error) {
	if strings.HasPrefix(query, "INSERT") {
		r.statements = append(r.statements, statement{query, args})
	}
	return query, args, nil
}

// rehearse returns the statements with which so many batches are written, each as if the others had not come. Events get numbers
// that nobody else gets.
func (c *crowd) rehearse(batches int, next func() []source.Change) []packed {
	c.t.Helper()
	r := &rehearsal{}
	c.w.Wrap(func(engine.Store) engine.Store { r.Store = c.w.Store.Through(r.keep); return r }, nil)
	c.w.Ahead = math.MaxInt // in as few statements as there can be
	c.w.Start()
	out := make([]packed, batches)
	for i := range out {
		c.exec("UPDATE sequence SET value = value + $1 WHERE name = 'event'", 100*perBatch)
		_, err := c.w.Intake.Take(c.t.Context(), "erp", intake.Batch{Changes: next()})
		require.ErrorIs(c.t, err, errRehearsed)
		require.NotEmpty(c.t, r.statements)
		out[i] = pack(c.t, r.statements)
		require.Equal(c.t, r.statements, out[i].statements(c.t))
	}
	r.statements = nil
	c.exec("UPDATE sequence SET value = value + $1 WHERE name = 'event'", 100*perBatch)
	c.w.Wrap(func(engine.Store) engine.Store { return c.w.Store }, nil)
	c.w.Ahead = 0
	c.w.Start()
	return out
}

// write executes statements in one transaction.
func (c *crowd) write(statements []statement) {
	c.t.Helper()
	require.NoError(c.t, c.w.Store.Tx(c.t.Context(), func(ctx context.Context, tx *store.Tx) error {
		raw := tx.SQL()
		for _, x := range statements {
			if _, err := raw.ExecContext(ctx, x.text, x.args...); err != nil {
				return fmt.Errorf("insert: %w", err)
			}
		}
		return nil
	}))
}

// spent is what some changes took.
type spent struct {
	changes            int
	wall, ours, server time.Duration
	log                int64 // bytes
}

func (s *spent) measure(c *crowd, changes int, fn func()) {
	ours, server := cpu(c.t, c.d)
	log, begun := logged(c), time.Now()
	fn()
	s.wall += time.Since(begun)
	s.log += logged(c) - log
	oursAfter, serverAfter := cpu(c.t, c.d)
	s.ours, s.server, s.changes = s.ours+oursAfter-ours, s.server+serverAfter-server, s.changes+changes
}

// logged returns how much the server has written to its log, everybody's; zero where that is not known.
func logged(c *crowd) (bytes int64) {
	if c.d.Engine() == db.PostgreSQL {
		_ = c.d.Read().QueryRowContext(c.t.Context(), "SELECT CAST(pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0') AS BIGINT)").Scan(&bytes)
	}
	return bytes
}

func (s *spent) rate() float64      { return float64(s.changes) / s.wall.Seconds() }
func (s *spent) processor() float64 { return s.each(s.ours + s.server) }
func (s *spent) each(d time.Duration) float64 {
	return float64(d.Microseconds()) / float64(s.changes)
}

// measured is what edits and new customers took at a size: ours, and the same rows without us.
type measured struct {
	engine             string
	settings           string // of the server that decide about what a change costs
	customers          int
	edits, rawEdits    spent
	creates, rawCreate spent
	first, rawFirst    spent // edits, a checkpoint before each ten batches; PostgreSQL only
}

// measure fills a database of each size and takes batches in, in turn with the rows of other batches written without us. The
// sizes take turns, too, so that whatever else the machine does meets all of them.
func measure(t *testing.T, name string, sizes []int, rounds, batches int) []measured {
	t.Helper()
	begun := time.Now()
	crowds, out := make([]*crowd, len(sizes)), make([]measured, len(sizes))
	for i, n := range sizes {
		crowds[i], out[i] = newCrowd(t, known(t, name), n), measured{engine: name, customers: n}
		t.Logf("%s: %d customers after %.0f s", name, n, time.Since(begun).Seconds())
	}
	compare := func(c *crowd, next func() []source.Change, ours, raw *spent, before func()) {
		rows := c.rehearse(batches, next)
		c.rest()
		before()
		for i := range rows {
			changes := next()
			ours.measure(c, len(changes), func() { c.take(changes) })
			statements := rows[i].statements(c.t)
			raw.measure(c, len(changes), func() { c.write(statements) })
		}
	}
	for range rounds {
		for i, c := range crowds {
			compare(c, c.edits, &out[i].edits, &out[i].rawEdits, func() {})
		}
		for i, c := range crowds {
			compare(c, c.newcomers, &out[i].creates, &out[i].rawCreate, func() {})
		}
	}
	for range (rounds + 1) / 2 { // at last: what the others measured was not to come so soon after a checkpoint
		for i, c := range crowds {
			if c.checkpoint() {
				compare(c, c.edits, &out[i].first, &out[i].rawFirst, func() { c.checkpoint() })
			}
		}
	}
	if len(crowds) > 0 {
		settings(t, crowds[0].d, out)
	}
	t.Logf("%s: measured after %.0f s", name, time.Since(begun).Seconds())
	return out
}

// settings notes what the server is set to.
func settings(t *testing.T, d *db.DB, out []measured) {
	t.Helper()
	if d.Engine() != db.PostgreSQL {
		return
	}
	var all []string
	for _, name := range []string{"server_version", "shared_buffers", "max_wal_size", "checkpoint_timeout", "wal_compression", "full_page_writes", "synchronous_commit", "fsync"} {
		var value string
		require.NoError(t, d.Read().QueryRowContext(t.Context(), "SELECT current_setting($1)", name).Scan(&value))
		value, _, _ = strings.Cut(value, " ")
		all = append(all, fmt.Sprintf("`%s = %s`", name, value))
	}
	for i := range out {
		out[i].settings = strings.Join(all, ", ")
	}
}

// TestCost measures when it is told where to write; otherwise it only shows that it can.
func TestCost(t *testing.T) {
	all, rounds, batches := []int{10, 20}, 1, 1
	if *page != "" {
		all, rounds, batches = nil, *times, 10
		for size := range strings.SplitSeq(*sizes, ",") {
			n, err := strconv.Atoi(size)
			require.NoError(t, err)
			all = append(all, n)
		}
		t.Cleanup(heap.Lend(64 << 20)) // as the service does
	}
	var out report
	for name := range strings.SplitSeq(*engines, ",") {
		t.Run(name, func(t *testing.T) { out.rows = append(out.rows, measure(t, name, all, rounds, batches)...) })
	}
	if *page == "" {
		return
	}
	t.Run("burst", func(t *testing.T) { out.burst = burst(t, 1000) })
	for name := range strings.SplitSeq(*engines, ",") {
		t.Run("visible/"+name, func(t *testing.T) {
			out.seen = append(out.seen, sight{name, visible(t, name, 1000, 3000, 10*time.Millisecond)})
		})
	}
	require.NoError(t, os.WriteFile(*page, []byte(out.text()), 0o600))
}

type sight struct {
	engine string
	took   []time.Duration
}

func (s sight) at(share float64) float64 {
	return float64(s.took[int(share*float64(len(s.took)-1))].Microseconds()) / 1000
}

// report is the page.
type report struct {
	strings.Builder
	rows  []measured
	burst cost
	seen  []sight
}

func (r *report) printf(format string, args ...any) { fmt.Fprintf(r, format, args...) }

func (r *report) text() string {
	r.printf("# What the convergence costs\n\nWritten by `make bench-convergence` on %d cores, %s. Ratios are of the same run; see [how](README.md#the-convergence).\n",
		runtime.GOMAXPROCS(0), runtime.Version())
	for _, part := range []struct {
		title     string
		ours, raw func(*measured) *spent
	}{
		{"Edits of customers that are known", func(m *measured) *spent { return &m.edits }, func(m *measured) *spent { return &m.rawEdits }},
		{"New customers", func(m *measured) *spent { return &m.creates }, func(m *measured) *spent { return &m.rawCreate }},
		{"Edits right after a checkpoint", func(m *measured) *spent { return &m.first }, func(m *measured) *spent { return &m.rawFirst }},
	} {
		r.printf("\n## %s\n\n| engine | customers | changes/s | processor time each, ours + server | log each | the same rows without us, changes/s | their processor time | log | raw : ours, by time | by processor time |\n|---|---|---|---|---|---|---|---|---|---|\n", part.title)
		for i := range r.rows {
			m := &r.rows[i]
			a, b := part.ours(m), part.raw(m)
			if a.changes == 0 {
				continue
			}
			r.printf("| %s | %d | %.0f | %.0f + %.0f µs | %s | %.0f | %.0f + %.0f µs | %s | %.2f | %.2f |\n", m.engine, m.customers,
				a.rate(), a.each(a.ours), a.each(a.server), a.logText(), b.rate(), b.each(b.ours), b.each(b.server), b.logText(), a.ratio(b), b.processor()/a.processor())
		}
	}
	for i := range r.rows {
		if s := r.rows[i].settings; s != "" {
			r.printf("\nThe PostgreSQL server: %s.\n", s)
			break
		}
	}
	r.printf("\n## Targets\n\n| target | measured | |\n|---|---|---|\n")
	r.targets()
	return r.String()
}

func (s *spent) logText() string {
	if s.log == 0 {
		return ""
	}
	return fmt.Sprintf("%.1f kB", float64(s.log)/float64(s.changes)/1000)
}

// ratio returns the time that the same rows take without us, as a part of ours.
func (s *spent) ratio(raw *spent) float64 { return s.rate() / raw.rate() }

func (r *report) target(text, got string, met bool) {
	r.printf("| %s | %s | %s |\n", text, got, map[bool]string{true: "met", false: "missed"}[met])
}

func (r *report) targets() {
	for i := range r.rows {
		m := &r.rows[i]
		what := fmt.Sprintf("%s, %d customers: ", m.engine, m.customers)
		for _, kind := range []struct {
			name      string
			ours, raw *spent
		}{{"edits", &m.edits, &m.rawEdits}, {"new customers", &m.creates, &m.rawCreate}} {
			if m.engine == "postgres" {
				r.target(what+"5,000 "+kind.name+"/s", fmt.Sprintf("%.0f", kind.ours.rate()), kind.ours.rate() >= 5000)
			}
			got := kind.ours.ratio(kind.raw)
			r.target(what+kind.name+" at 0.5 of the raw rows' speed", fmt.Sprintf("%.2f", got), got >= 0.5)
		}
		few := &r.rows[slices.IndexFunc(r.rows, func(x measured) bool { return x.engine == m.engine })]
		if few == m {
			continue
		}
		from := fmt.Sprintf("%s: an edit costs at most 1.2 times as much as with %d", what[:len(what)-2], few.customers)
		got := few.edits.rate() / m.edits.rate()
		r.target(from+", by time", fmt.Sprintf("%.2f; the raw rows: %.2f", got, few.rawEdits.rate()/m.rawEdits.rate()), got <= 1.2)
		got = m.edits.processor() / few.edits.processor()
		r.target(from+", by processor time", fmt.Sprintf("%.2f; the raw rows: %.2f", got, m.rawEdits.processor()/few.rawEdits.processor()), got <= 1.2)
		if m.first.changes > 0 && few.first.changes > 0 {
			r.printf("| %s, right after a checkpoint | by time %.2f, the raw rows: %.2f; by processor time %.2f, the raw rows: %.2f | no target |\n", from,
				few.first.rate()/m.first.rate(), few.rawFirst.rate()/m.rawFirst.rate(),
				m.first.processor()/few.first.processor(), m.rawFirst.processor()/few.rawFirst.processor())
		}
	}
	if r.burst.edits > 0 {
		r.target(fmt.Sprintf("%d edits in a burst to 1,000 customers: at most 1,500 records written", r.burst.edits), strconv.Itoa(r.burst.writes), r.burst.writes <= 1500)
		r.target("… in at most 20 calls to Salesforce", strconv.Itoa(r.burst.calls), r.burst.calls <= 20)
	}
	for _, s := range r.seen {
		r.target(fmt.Sprintf("%s: %d edits at 100 a second, one at a time, are in the other system within 1 s (p99)", s.engine, len(s.took)),
			fmt.Sprintf("p50 %.0f ms, p99 %.0f ms, slowest %.0f ms", s.at(0.5), s.at(0.99), s.at(1)), s.at(0.99) <= 1000)
	}
}
