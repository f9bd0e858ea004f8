package reconcile_test

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/telemetry"
	"github.com/selfsame-io/selfsame/pkg/telemetry/telemetrytest"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/audit"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/engine"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/engine/enginetest"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/reconcile"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source/sourcetest"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type bench struct {
	*enginetest.World
	t   *testing.T
	rec *reconcile.Reconciler
	tel *telemetry.Telemetry // nil: nobody is told
}

func setup(t *testing.T, d *db.DB, cfg reconcile.Config) *bench {
	t.Helper()
	b := &bench{World: enginetest.New(t, d), t: t}
	b.Settle()
	b.begin(cfg, b.Store)
	return b
}

func (b *bench) begin(cfg reconcile.Config, s reconcile.Store) {
	b.t.Helper()
	var err error
	b.rec, err = reconcile.New(reconcile.Deps{
		Config: cfg, Store: s, Folder: b.Folder, Systems: b.Systems, Take: b.Intake.Take, Now: b.Clock.Now, Marked: b.Wake, Telemetry: cmp.Or(b.tel, telemetry.Discard()),
	})
	require.NoError(b.t, err)
}

func (b *bench) people(n int) []string {
	var ids []string
	for i := range n {
		ids = append(ids, b.SF.Create(golden.Customer, "", golden.Values{golden.Name: fmt.Sprintf("Company %d Ltd %x", i, i*7919)}))
		b.Clock.Advance(time.Second)
	}
	b.Settle()
	return ids
}

// compare runs a comparison and returns it with what it found.
func (b *bench) compare(system string, deep, repair bool) (store.Run, []store.Finding) {
	b.t.Helper()
	depth := store.DepthDigests
	if deep {
		depth = store.DepthDeep
	}
	return b.look(system, depth, repair)
}

func (b *bench) look(system string, depth store.Depth, repair bool) (store.Run, []store.Finding) {
	b.t.Helper()
	run, fresh, err := b.rec.Start(b.t.Context(), system, depth, repair)
	require.NoError(b.t, err)
	require.True(b.t, fresh)
	did, err := b.rec.Step(b.t.Context())
	require.NoError(b.t, err)
	require.True(b.t, did)
	run, err = b.Store.Read().ReconcileRun(b.t.Context(), run.ID)
	require.NoError(b.t, err)
	found, err := b.Store.Read().Findings(b.t.Context(), system, "", "", true, store.Finding{}, 1000)
	require.NoError(b.t, err)
	return run, found
}

func kinds(found []store.Finding) map[string]int {
	out := map[string]int{}
	for _, f := range found {
		out[f.Kind+" "+f.State]++
	}
	return out
}

func TestCompare(t *testing.T) {
	t.Parallel()
	storetest.Schema.Each(t, func(t *testing.T, d *db.DB) {
		b := setup(t, d, reconcile.Config{})
		ids := b.people(30)
		for _, system := range []string{"salesforce", "erp"} {
			run, found := b.compare(system, false, false)
			require.Equal(t, store.RunDone, run.State)
			require.Empty(t, found, "what agrees agrees")
			require.EqualValues(t, 30, run.Compared)
		}
		b.Clock.Advance(time.Hour)

		// Nobody hears of a change, a creation and a deletion.
		b.SF.Drop(3)
		b.SF.Edit(golden.Customer, ids[3], golden.Values{golden.Phone: "4711"})
		b.SF.Create(golden.Customer, "", golden.Values{golden.Name: "Unheard of"})
		b.SF.Delete(golden.Customer, ids[7])
		b.Settle()
		b.Clock.Advance(time.Hour)
		_, found := b.compare("salesforce", false, false)
		require.Equal(t, map[string]int{"DIFFERENT OPEN": 1, "MISSING_HERE OPEN": 1, "MISSING_THERE OPEN": 1}, kinds(found))
		for _, f := range found {
			if f.Kind == reconcile.Different {
				require.Equal(t, []audit.Field{{Name: golden.Phone, After: "4711"}}, f.Changes)
				require.InDelta(t, time.Hour.Seconds(), b.Clock.Now().Sub(f.Since).Seconds(), 600, "its age is that of the change")
			}
		}
		_, again := b.compare("salesforce", false, false)
		require.Equal(t, kinds(found), kinds(again), "looking changes nothing")
		for i := range again {
			require.Equal(t, found[i].Since, again[i].Since, "a difference keeps its age")
		}

		run, found := b.compare("salesforce", false, true)
		require.EqualValues(t, 3, run.Repaired)
		require.Equal(t, map[string]int{"DIFFERENT REPAIRED": 1, "MISSING_HERE REPAIRED": 1, "MISSING_THERE REPAIRED": 1}, kinds(found))
		b.Deleting = true
		b.Settle()
		b.Check()
		require.Equal(t, "4711", b.Twin(b.Golden(b.SF, golden.Customer, ids[3]).ID, b.ERP).Values[golden.Phone], "the repair went the way of every change")
		b.Clock.Advance(time.Hour)
		for _, system := range []string{"salesforce", "erp"} {
			_, found = b.compare(system, true, false)
			require.Empty(t, found)
		}
	})
}

func TestCompare_Calls(t *testing.T) {
	t.Parallel()
	n := 4000
	if testing.Short() {
		n = 600
	}
	d, err := storetest.Schema.Private(t.Context())
	require.NoError(t, err)
	defer d.Close()
	b := setup(t, d, reconcile.Config{})
	ids := b.people(n)
	_, found := b.compare("salesforce", false, false)
	require.Empty(t, found)
	b.Clock.Advance(time.Hour)
	_, found = b.compare("salesforce", false, false)
	require.Empty(t, found)
	b.Clock.Advance(time.Hour)
	run, _ := b.compare("salesforce", false, false)
	require.LessOrEqual(t, run.Calls, int64(5), "equal systems cost a digest per kind of record and a list of what is recent")
	require.EqualValues(t, n, run.Compared)
	for i := range 20 {
		b.SF.Drop(1)
		b.SF.Edit(golden.Customer, ids[i*n/20], golden.Values{golden.Phone: fmt.Sprint(i)})
	}
	b.Clock.Advance(time.Hour)
	run, found = b.compare("salesforce", false, false)
	require.Len(t, found, 20)
	require.LessOrEqual(t, run.Calls, int64(6), "%d calls would read everything", run.ReadCalls)
	require.True(t, testing.Short() || run.Calls < run.ReadCalls/2)

	// Deletions are nowhere listed: the rest has to be divided to find them.
	b.SF.Drop(1)
	b.SF.Delete(golden.Customer, ids[n/2+1])
	b.Clock.Advance(time.Hour)
	run, found = b.compare("salesforce", false, true)
	require.Equal(t, map[string]int{"DIFFERENT REPAIRED": 20, "MISSING_THERE REPAIRED": 1}, kinds(found))
	require.LessOrEqual(t, run.Calls, 3*run.ReadCalls, "dividing is given up when it costs more than listing")
}

func TestCompare_States(t *testing.T) {
	t.Parallel()
	b := setup(t, storetest.Schema.Open(t, "sqlite"), reconcile.Config{})
	ids := b.people(5)
	b.Clock.Advance(time.Hour)

	t.Run("what is young is in flight", func(t *testing.T) {
		b.SF.Hold()
		b.SF.Edit(golden.Customer, ids[0], golden.Values{golden.Phone: "1"})
		_, found := b.compare("salesforce", false, false)
		require.Equal(t, map[string]int{"DIFFERENT IN_FLIGHT": 1}, kinds(found))
		b.SF.Release(nil)
		b.Settle()
		_, found = b.compare("salesforce", false, false)
		require.Empty(t, found, "news came: the finding is settled")
	})
	t.Run("a rule accepts a field of a record until it ends", func(t *testing.T) {
		b.SF.Drop(1)
		b.SF.Edit(golden.Customer, ids[1], golden.Values{golden.Phone: "2"})
		b.Clock.Advance(time.Hour)
		rule := store.IgnoreRule{ID: "i1", System: "salesforce", RecordID: ids[1], Field: golden.Phone, Created: b.Clock.Now(), Until: b.Clock.Now().Add(time.Hour)}
		put := func(r store.IgnoreRule) {
			require.NoError(t, b.Store.Tx(t.Context(), func(ctx context.Context, tx *store.Tx) error { _, err := tx.PutIgnoreRule(ctx, r); return err }))
		}
		put(rule)
		_, found := b.compare("salesforce", false, true)
		require.Equal(t, map[string]int{"DIFFERENT IGNORED": 1}, kinds(found), "and what is accepted is not repaired")
		b.SF.Drop(1)
		b.SF.Edit(golden.Customer, ids[1], golden.Values{golden.City: "Bonn"})
		b.Clock.Advance(10 * time.Minute)
		_, found = b.compare("salesforce", false, false)
		require.Equal(t, map[string]int{"DIFFERENT OPEN": 1}, kinds(found), "another field of it is not accepted")
		rule.ID, rule.Field = "i2", ""
		put(rule)
		_, found = b.compare("salesforce", false, false)
		require.Equal(t, map[string]int{"DIFFERENT IGNORED": 1}, kinds(found))
		b.Clock.Advance(2 * time.Hour)
		_, found = b.compare("salesforce", false, true)
		require.Equal(t, map[string]int{"DIFFERENT REPAIRED": 1}, kinds(found), "the rules have ended")
		b.Settle()
	})
	t.Run("what a dead letter holds is parked", func(t *testing.T) {
		id := b.Golden(b.SF, golden.Customer, ids[2]).ID
		twin := b.Twin(id, b.ERP).Ref.RecordID
		b.ERP.Refuse(twin, -1, sourcetest.Permanent())
		b.SF.Edit(golden.Customer, ids[2], golden.Values{golden.Phone: "3"})
		b.Settle()
		require.Len(t, b.Dead(), 1)
		b.ERP.Drop(1)
		b.ERP.Edit(golden.Customer, twin, golden.Values{golden.Website: "https://x.example"})
		b.Clock.Advance(time.Hour)
		_, found := b.compare("erp", false, false)
		require.Equal(t, map[string]int{"DIFFERENT PARKED": 1}, kinds(found))
		_, found = b.compare("erp", true, false)
		require.Equal(t, map[string]int{"DIFFERENT PARKED": 1}, kinds(found), "and not reported as forgotten")
	})
	t.Run("a record that cannot be read is not called deleted", func(t *testing.T) {
		b.SF.Hide(golden.Customer, ids[3], true)
		_, found := b.compare("salesforce", true, true)
		require.Empty(t, found)
		b.SF.Hide(golden.Customer, ids[3], false)
	})
	t.Run("two records of one customer are duplicates", func(t *testing.T) {
		rows, err := b.Store.Read().Sources(t.Context(), "salesforce", golden.Customer, []string{ids[4]})
		require.NoError(t, err)
		twice := rows[0].Clone()
		twice.Ref.RecordID, twice.Version = "copy", 1
		require.NoError(t, b.Store.Tx(t.Context(), func(ctx context.Context, tx *store.Tx) error { return tx.PutSources(ctx, []*store.Source{twice}) }))
		_, found := b.compare("salesforce", false, false)
		require.Equal(t, 2, kinds(found)["DUPLICATE OPEN"])
	})
}

// TestCompare_Forgotten removes a mark by hand: nothing would ever write the record again.
func TestCompare_Forgotten(t *testing.T) {
	t.Parallel()
	b := setup(t, storetest.Schema.Open(t, "sqlite"), reconcile.Config{})
	b.people(3)
	b.SF.Create(golden.Customer, "", golden.Values{golden.Name: "Forgotten"})
	require.NoError(t, b.Read(t.Context()))
	require.NoError(t, b.Store.Tx(t.Context(), func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.SQL().ExecContext(ctx, "DELETE FROM pending")
		return err
	}))
	b.Clock.Advance(time.Hour)
	_, found := b.compare("erp", false, false)
	require.Empty(t, found, "the ERP is as it is known to be")
	_, found = b.compare("erp", true, false)
	require.Equal(t, map[string]int{"UNDELIVERED OPEN": 1}, kinds(found))
	run, found := b.compare("erp", true, true)
	require.EqualValues(t, 1, run.Repaired)
	require.Equal(t, map[string]int{"UNDELIVERED IN_FLIGHT": 1}, kinds(found))
	require.NoError(t, b.Deliver(t.Context()))
	require.Len(t, b.ERP.Records(golden.Customer), 4)
	_, found = b.compare("erp", true, false)
	require.Empty(t, found)
}

// TestRepair_OneCannotBeTakenIn has a record beside others that is refused: they are repaired, and it alone is not.
func TestRepair_OneCannotBeTakenIn(t *testing.T) {
	t.Parallel()
	b := setup(t, storetest.Schema.Open(t, "sqlite"), reconcile.Config{})
	ids := b.people(3)
	b.SF.Drop(2)
	b.SF.Edit(golden.Customer, ids[0], golden.Values{golden.Phone: "1"})
	b.SF.Edit(golden.Customer, ids[1], golden.Values{golden.Name: strings.Repeat("x", 9000)})
	b.Clock.Advance(time.Hour)
	run, found := b.compare("salesforce", false, true)
	require.EqualValues(t, 1, run.Repaired)
	require.Equal(t, map[string]int{"DIFFERENT REPAIRED": 1, "DIFFERENT PARKED": 1}, kinds(found))
	b.Settle()
	b.Clock.Advance(time.Hour)
	_, found = b.compare("salesforce", false, false)
	require.Equal(t, map[string]int{"DIFFERENT PARKED": 1}, kinds(found))
}

func TestRun_Fails(t *testing.T) {
	t.Parallel()
	b := setup(t, storetest.Schema.Open(t, "sqlite"), reconcile.Config{})
	ids := b.people(3)
	b.SF.Drop(1)
	b.SF.Edit(golden.Customer, ids[0], golden.Values{golden.Phone: "1"})
	b.Clock.Advance(time.Hour)
	_, found := b.compare("salesforce", false, false)
	require.Len(t, found, 1)
	for _, op := range []sourcetest.Op{sourcetest.OpStamps, sourcetest.OpDigest, sourcetest.OpFetch} {
		b.SF.Fail(op, sourcetest.Unreachable())
		run, found := b.compare("salesforce", false, true)
		require.Equal(t, store.RunFailed, run.State, "%s", op)
		require.Equal(t, fault.ReasonUnavailable, run.Reason)
		require.Len(t, found, 1, "a run that failed settles nothing")
	}
	_, _, err := b.rec.Start(t.Context(), "nobody", store.DepthDigests, false)
	require.Equal(t, fault.NotFound, fault.KindOf(err))

	first, fresh, err := b.rec.Start(t.Context(), "salesforce", store.DepthDeep, false)
	require.NoError(t, err)
	require.True(t, fresh)
	second, fresh, err := b.rec.Start(t.Context(), "salesforce", store.DepthDigests, false)
	require.NoError(t, err)
	require.False(t, fresh, "one at a time")
	require.Equal(t, first.ID, second.ID)
}

// A run says why it failed: that a system has not been read as a whole is not known when the database does not tell.
func TestRun_FailsWithDatabase(t *testing.T) {
	t.Parallel()
	b := setup(t, storetest.Schema.Open(t, "sqlite"), reconcile.Config{})
	b.people(1)
	b.begin(reconcile.Config{}, b.Store.Through(func(_ context.Context, query string, args []any) (string, []any, error) {
		if strings.Contains(query, "FROM feed WHERE") {
			return "", nil, fault.New(fault.Unavailable, fault.ReasonStoreUnavailable, "no connection")
		}
		return query, args, nil
	}))
	run, _ := b.compare("salesforce", false, false)
	require.Equal(t, store.RunFailed, run.State)
	require.Equal(t, fault.ReasonStoreUnavailable, run.Reason)
}

func TestSchedule(t *testing.T) {
	t.Parallel()
	b := setup(t, storetest.Schema.Open(t, "sqlite"), reconcile.Config{Every: time.Hour, DeepEvery: 2 * time.Hour, ValuesEvery: 5 * time.Hour, Repair: true})
	ids := b.people(3)
	did, err := b.rec.Step(t.Context())
	require.NoError(t, err)
	require.False(t, did, "nothing is due at the start")
	due := func() {
		for more := true; more; {
			more, err = b.rec.Step(t.Context())
			require.NoError(t, err)
		}
	}
	var depths []store.Depth
	for range 7 {
		b.Clock.Advance(time.Hour)
		due()
		runs, err := b.Store.Read().ReconcileRuns(t.Context(), "salesforce", 1)
		require.NoError(t, err)
		require.Equal(t, store.RunDone, runs[0].State)
		depths = append(depths, runs[0].Depth)
	}
	digests, deep, values := store.DepthDigests, store.DepthDeep, store.DepthValues
	require.Equal(t, []store.Depth{values, digests, deep, digests, deep, values, digests}, depths)
	b.SF.Fail(sourcetest.OpList, sourcetest.Unreachable(), sourcetest.Unreachable())
	depths = nil
	for range 8 {
		b.Clock.Advance(time.Hour)
		due()
		runs, err := b.Store.Read().ReconcileRuns(t.Context(), "salesforce", 1)
		require.NoError(t, err)
		if runs[0].State == store.RunDone {
			depths = append(depths, runs[0].Depth)
		}
	}
	require.Equal(t, []store.Depth{deep, digests, deep, digests, digests, values}, depths, "while not everything can be read, digests are compared in between")
	b.SF.Drop(1)
	b.SF.Edit(golden.Customer, ids[0], golden.Values{golden.Phone: "7"})
	b.Clock.Advance(time.Hour)
	due()
	b.Settle()
	b.Check()
	b.Clock.Advance(31 * 24 * time.Hour)
	_, err = b.rec.Step(t.Context())
	require.NoError(t, err)
	runs, err := b.Store.Read().ReconcileRuns(t.Context(), "", 100)
	require.NoError(t, err)
	require.Len(t, runs, 8, "old runs are forgotten, but the last of each depth")
}

// refusing is a store that commits nothing while err is set.
type refusing struct {
	reconcile.Store
	err error
}

func (r *refusing) Tx(ctx context.Context, fn func(ctx context.Context, tx *store.Tx) error) error {
	if r.err != nil {
		return r.err
	}
	return r.Store.Tx(ctx, fn)
}

func TestSchedule_TellsWhatIsNotForgotten(t *testing.T) {
	t.Parallel()
	tel, err := telemetry.Start(t.Context(), "test", telemetry.Config{}, telemetry.WithLogWriter(io.Discard))
	require.NoError(t, err)
	defer func() { require.NoError(t, tel.Shutdown(context.Background())) }()
	b := setup(t, storetest.Schema.Open(t, "sqlite"), reconcile.Config{})
	records := &refusing{Store: b.Store}
	b.tel = tel
	b.begin(reconcile.Config{}, records)
	failures := func() string {
		return telemetrytest.Sample(tel.Metrics, `selfsame_retention_failures_total{selfsame_rows="comparisons"}`)
	}
	_, err = b.rec.Step(t.Context())
	require.NoError(t, err)
	require.Equal(t, "0", failures())
	records.err = fault.New(fault.Unavailable, "", "down")
	_, err = b.rec.Step(t.Context())
	require.ErrorIs(t, err, records.err)
	require.Equal(t, "1", failures())
}

// TestRun_Crash lets the process die at every point of a repair. Another one begins the run again and ends alike.
func TestRun_Crash(t *testing.T) {
	t.Parallel()
	for _, depth := range []store.Depth{store.DepthDeep, store.DepthValues} {
		t.Run(depth.String(), func(t *testing.T) {
			t.Parallel()
			crash(t, depth)
		})
	}
}

func crash(t *testing.T, depth store.Depth) {
	points, step := 0, 1
	if testing.Short() {
		step = 13
	}
	for at := 0; at <= points; at += step {
		d, err := storetest.Schema.Private(t.Context())
		require.NoError(t, err)
		b := setup(t, d, reconcile.Config{})
		ids := b.people(3)
		b.SF.Drop(2)
		b.SF.Edit(golden.Customer, ids[0], golden.Values{golden.Phone: "1"})
		b.SF.Create(golden.Customer, "", golden.Values{golden.Name: "Unheard of"})
		b.Clock.Advance(time.Hour)
		run, _, err := b.rec.Start(t.Context(), "salesforce", depth, true)
		require.NoError(t, err)
		killer := enginetest.NewKiller(at)
		b.Wrap(func(s engine.Store) engine.Store { return killer.Store(s) }, nil)
		b.Start()
		b.begin(reconcile.Config{}, killer.Store(b.Store))
		_, err = b.rec.Step(t.Context())
		if at == 0 {
			require.NoError(t, err)
			points = killer.Passed()
			require.Greater(t, points, 8)
		}
		b.Wrap(nil, nil)
		b.Start()
		b.begin(reconcile.Config{}, b.Store)
		b.Clock.Advance(time.Hour)
		_, err = b.rec.Step(t.Context())
		require.NoError(t, err)
		run, err = b.Store.Read().ReconcileRun(t.Context(), run.ID)
		require.NoError(t, err)
		require.Contains(t, []string{store.RunDone, store.RunFailed}, run.State)
		if run.State == store.RunFailed { // it could still say so before it died
			run, _ = b.look("salesforce", depth, true)
		}
		require.LessOrEqual(t, run.Compared, int64(4), "what the first process counted does not count twice")
		b.Settle()
		b.Check()
		require.Len(t, b.ERP.Records(golden.Customer), 4)
		require.NoError(t, d.Close())
	}
}
