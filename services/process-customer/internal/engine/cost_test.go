package engine_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/db"
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
	page  = flag.String("page", "", "file that the measured cost of the convergence is written to")
	grown = flag.Int("customers", 100_000, "how many customers the larger database holds")
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

// perBatch is how many changes one transaction takes in.
const perBatch = 500

// recorder keeps the statements that write, so that the same rows can be written without us.
type recorder struct {
	engine.Store
	statements []statement
}

type statement struct {
	text string
	args []any
}

func (r *recorder) keep(_ context.Context, query string, args []any) (string, []any, error) {
	if strings.HasPrefix(query, "INSERT") {
		r.statements = append(r.statements, statement{query, args})
	}
	return query, args, nil
}

// snapshots returns what the ERP says about customers in a round.
func snapshots(customers []int, round int64) []source.Change {
	out := make([]source.Change, len(customers))
	for i, who := range customers {
		ref := golden.Ref{System: "erp", Object: golden.Customer, RecordID: fmt.Sprintf("BP%09d", who)}
		at := time.Date(2026, 3, 1, 12, 0, int(round), 0, time.UTC)
		out[i] = source.Change{ID: fmt.Sprintf("c-%d-%d", who, round), Ref: ref, Version: round, CommitTime: at, Record: &source.Record{
			Ref: ref, Version: round, EventTime: at, Values: golden.Values{
				golden.Name: fmt.Sprintf("Customer %d GmbH", who), golden.TaxID: fmt.Sprintf("DE%09d", 100_000_000+who), golden.Phone: fmt.Sprintf("+49 30 %d %d", who, round),
				golden.Street: fmt.Sprintf("Hauptstr. %d", who), golden.City: "Köln", golden.PostalCode: "50667", golden.Country: "DE", golden.ERPNumber: ref.RecordID,
			},
		}}
	}
	return out
}

// crowd are customers of the ERP, and the ids that their records carry once they are known.
type crowd struct {
	w   *enginetest.World
	ids []string
	at  int // edits so far
}

// grow has customers come in that nobody has seen, until there are n, and returns how long that took.
func (c *crowd) grow(t testing.TB, n int) time.Duration {
	t.Helper()
	var took time.Duration
	for len(c.ids) < n {
		var customers []int
		var names []string
		for who := len(c.ids); who < min(n, len(c.ids)+perBatch); who++ {
			customers = append(customers, who)
		}
		changes := snapshots(customers, 1)
		for i := range changes {
			names = append(names, changes[i].Ref.RecordID)
		}
		took += c.take(t, changes)
		known, err := c.w.Store.Read().Known(t.Context(), "erp", golden.Customer, names)
		require.NoError(t, err)
		for _, name := range names {
			c.ids = append(c.ids, source.ExternalIDOf(known[name].GoldenID, ""))
		}
	}
	return took
}

// edit has n customers, spread over all, edited in a round, and returns how long that took. Their records carry our id, as after
// the first delivery.
func (c *crowd) edit(t testing.TB, n int, round int64) time.Duration {
	t.Helper()
	const stride = 7919 // a prime
	var took time.Duration
	for end := c.at + n; c.at < end; {
		var customers []int
		for ; c.at < end && len(customers) < perBatch; c.at++ {
			customers = append(customers, c.at*stride%len(c.ids))
		}
		changes := snapshots(customers, round)
		for i, who := range customers {
			changes[i].Record.ExternalID = c.ids[who]
		}
		took += c.take(t, changes)
	}
	return took
}

// editing is edit with the processor time that an edit took.
func (c *crowd) editing(t *testing.T, d *db.DB, n int, round int64) (took time.Duration, processor string) {
	t.Helper()
	ours, servers := cpu(t, d)
	took = c.edit(t, n, round)
	oursAfter, serversAfter := cpu(t, d)
	each := func(d time.Duration) int64 { return (d / time.Duration(n)).Microseconds() }
	return took, fmt.Sprintf("%d + %d µs", each(oursAfter-ours), each(serversAfter-servers))
}

func (c *crowd) take(t testing.TB, changes []source.Change) time.Duration {
	t.Helper()
	begun := time.Now()
	_, err := c.w.Intake.Take(t.Context(), "erp", intake.Batch{Changes: changes})
	require.NoError(t, err)
	return time.Since(begun)
}

// TestCost measures when it is told where to write; otherwise it only shows that it can.
func TestCost(t *testing.T) {
	small, large, sample := 100, 200, 100
	if *page != "" {
		small, large, sample = min(*grown/10, 10_000), *grown, min(*grown/20, 10_000)
	}
	var out strings.Builder
	fmt.Fprintf(&out, "# What the convergence costs\n\nWritten by `make bench-convergence` on %d cores, %s. Ratios are of the same run; see [how](README.md#the-convergence).\n\n", runtime.GOMAXPROCS(0), runtime.Version())
	fmt.Fprintf(&out, "| engine | edits/s at %d | edits/s at %d | cost per edit, large : small | processor time per edit, ours + server, at %d | at %d | rows of the same edits, without us | ours : raw | new customers/s | their rows, without us | ours : raw |\n|---|---|---|---|---|---|---|---|---|---|---|\n", small, large, small, large)
	for _, name := range []string{"sqlite", "postgres"} {
		t.Run(name, func(t *testing.T) { out.WriteString(measure(t, name, small, large, sample)) })
	}
	if *page == "" {
		return
	}
	t.Run("burst", func(t *testing.T) {
		b := burst(t, 1000)
		fmt.Fprintf(&out, "\n%d edits in a burst to 1,000 customers: %d records written to Salesforce in %d calls.\n", b.edits, b.writes, b.calls)
	})
	t.Run("visible", func(t *testing.T) {
		for _, name := range []string{"sqlite", "postgres"} {
			took := visible(t, name, 1000, 3000, 10*time.Millisecond)
			at := func(share float64) float64 {
				return float64(took[int(share*float64(len(took)-1))].Microseconds()) / 1000
			}
			fmt.Fprintf(&out, "\nOn %s, %d edits at 100 a second, one at a time, were in the other system after %.0f ms (p50), %.0f ms (p99), %.0f ms (the slowest).\n",
				name, len(took), at(0.5), at(0.99), at(1))
		}
	})
	require.NoError(t, os.WriteFile(*page, []byte(out.String()), 0o600))
}

// measure returns the row of one database.
func measure(t *testing.T, name string, small, large, sample int) string {
	t.Helper()
	d := known(t, name)
	w := enginetest.New(t, d)
	rec := &recorder{Store: w.Store}
	w.Wrap(func(engine.Store) engine.Store { return rec.through(w.Store) }, nil)
	w.Start()
	sample = min(sample, small)
	c := &crowd{w: w}
	fresh := c.grow(t, small)
	created := rec.take()
	few, fewCPU := c.editing(t, d, sample, 2)
	edited := rec.take()
	w.Wrap(nil, nil)
	w.Start()
	c.grow(t, large)
	many, manyCPU := c.editing(t, d, sample, 3)
	raw := storetest.Schema.Open(t, name)
	rawCreated := replay(t, raw, created, max(1, small/perBatch))
	rawEdited := replay(t, raw, edited, max(1, sample/perBatch))
	perSecond := func(n int, d time.Duration) float64 { return float64(n) / d.Seconds() }
	return fmt.Sprintf("| %s | %.0f | %.0f | %.2f | %s | %s | %.0f changes/s | %.2f | %.0f | %.0f changes/s | %.2f |\n", name,
		perSecond(sample, few), perSecond(sample, many), many.Seconds()/few.Seconds(), fewCPU, manyCPU,
		perSecond(sample, rawEdited), rawEdited.Seconds()/few.Seconds(), perSecond(small, fresh), perSecond(small, rawCreated), rawCreated.Seconds()/fresh.Seconds())
}

// take returns what was recorded and begins anew.
func (r *recorder) take() []statement {
	out := r.statements
	r.statements = nil
	return out
}

// through returns the store with every statement recorded.
func (r *recorder) through(s *store.Store) engine.Store {
	r.Store = s.Through(r.keep)
	return r
}

// replay writes recorded rows in as many transactions as they came in and returns how long that took.
func replay(t *testing.T, d *db.DB, rows []statement, batches int) time.Duration {
	t.Helper()
	s, err := store.Open(t.Context(), d)
	require.NoError(t, err)
	per := (len(rows) + batches - 1) / batches
	begun := time.Now()
	for len(rows) > 0 {
		n := min(per, len(rows))
		part := rows[:n]
		rows = rows[n:]
		require.NoError(t, s.Tx(t.Context(), func(ctx context.Context, tx *store.Tx) error {
			for _, x := range part {
				if _, err := tx.SQL().ExecContext(ctx, x.text, x.args...); err != nil {
					return fmt.Errorf("insert: %w", err)
				}
			}
			return nil
		}))
	}
	return time.Since(begun)
}
