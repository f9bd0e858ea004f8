package engine_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/telemetry"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/audit"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/engine"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/engine/enginetest"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/erase"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/reconcile"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/rulebook"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source/sourcetest"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/survive"
)

// TestPhases breaks what takes several transactions, and calls between them, at statements and after round trips from its first to its
// last. Another process, or the same one where it lives, goes on with what is there; in the end everything is as if nothing had broken,
// and nothing was written to a system twice.
func TestPhases(t *testing.T) {
	t.Parallel()
	for name, phase := range map[string]func() phase{
		"deliveries": deliveries, "erasure": erasure, "other rules": otherRules,
		"deep comparison": deepComparison, "comparison of values": comparisonOfValues,
	} {
		for i, way := range ways {
			t.Run(name+"/"+way.name, func(t *testing.T) {
				t.Parallel()
				x := &breaking{stage: newStage(t, way), phase: phase()}
				x.phase.history(x.stage)
				x.keep()
				require.False(t, x.run(0))
				n, breaks := 1+3*i%*stride, 0 // each way begins with another one
				for ; x.run(n); n += *stride * every() {
					breaks++
				}
				t.Logf("%d breaks left %d different things behind", breaks, x.states)
				require.Greater(t, n, x.phase.statements)
				require.Positive(t, x.states)
			})
		}
	}
}

var stride = flag.Int("stride", 29, "how far it is from one statement of a phase to the next that is broken; 1 takes minutes")

// phase is what a process does in several transactions.
type phase struct {
	statements int // there are more
	// history is what has happened before.
	history func(x *stage)
	// begin is how a process begins with it. What it returns does what there is to do; called again, it goes on with what is left.
	begin func(x *stage, st *store.Store) (work func() error)
	// judge looks at what has come of it beside what ending has.
	judge func(x *stage, where string)
}

// breaking is a phase in which something breaks.
type breaking struct {
	*stage
	phase  phase
	whole  ending              // when nothing breaks
	left   map[string][]string // what was there after the last break
	states int                 // how many others there were
}

// ending is what has come of a phase.
type ending struct {
	SF, ERP []string
	Creates [2]int // in each
	Letters int
	// Repairs counts readings that comparisons had taken in, Repaired what they say that they repaired.
	Repairs, Repaired int
	// Repeated counts writes of values that the record held already.
	Repeated int
}

// run has the n-th statement break, and reports whether there is one; with zero nothing breaks.
func (x *breaking) run(n int) (broken bool) {
	x.t.Helper()
	ctx, where := x.t.Context(), fmt.Sprintf("broken at %d", n)
	x.restore()
	work := x.process(x.s)
	if n > 0 {
		x.breakAt(n)
	}
	err := work()
	if broken = n > 0 && x.spare(); !broken {
		require.NoError(x.t, err, where)
	}
	if broken {
		// What breaks within one transaction leaves the same. What comes of it is looked at once.
		left := x.remains()
		if maps.EqualFunc(left, x.left, slices.Equal[[]string]) {
			return true
		}
		x.left = left
		x.states++
		if x.way.dies {
			work = x.process(x.w.Store)
			require.NoError(x.t, x.w.Recover(ctx), where)
		}
		x.w.Clock.Advance(time.Hour) // leases end
		require.NoError(x.t, work(), where)
	}
	x.w.Settle()
	x.w.Check()
	x.quiet(where)
	if x.phase.judge != nil {
		x.phase.judge(x.stage, where)
	}
	if got := x.ending(); n == 0 {
		x.whole = got
	} else {
		require.LessOrEqual(x.t, got.Repeated, x.whole.Repeated, "%s: a write was made that had been made before", where)
		got.Repeated = x.whole.Repeated
		require.Equal(x.t, x.whole, got, where)
	}
	return broken
}

// process begins one.
func (x *breaking) process(st *store.Store) (work func() error) {
	x.killer = enginetest.NewKiller(0)
	x.w.Wrap(func(engine.Store) engine.Store { return st }, x.killer.System)
	x.w.Start()
	return x.phase.begin(x.stage, st)
}

// remains is what a process that died has left.
func (x *breaking) remains() map[string][]string {
	out := x.look(chance)
	for table, rows := range out {
		for i := range rows {
			rows[i] = named.ReplaceAllString(rows[i], "")
		}
		slices.Sort(rows)
		out[table] = rows
	}
	for _, sys := range []*sourcetest.Fake{x.w.SF, x.w.ERP} {
		out[sys.Name()] = append(picture(x.t, sys), fmt.Sprint(len(sys.Changes()), sys.TotalWrites(), sys.Refused()))
	}
	return out
}

func (x *breaking) ending() ending {
	out := ending{
		SF: picture(x.t, x.w.SF), ERP: picture(x.t, x.w.ERP), Letters: len(x.w.Dead()), Repairs: x.count("inbox WHERE change_id LIKE 'reconcile/%'"),
		Repaired: x.sum("repaired", "reconcile_run"), Repeated: x.w.SF.Repeated() + x.w.ERP.Repeated(),
	}
	for i, sys := range []*sourcetest.Fake{x.w.SF, x.w.ERP} {
		for _, n := range sys.Creates() {
			out.Creates[i] += n
		}
	}
	return out
}

// quiet checks that nothing is left to do or in anybody's hands, and that the audit trail holds.
func (x *breaking) quiet(where string) {
	x.t.Helper()
	for _, open := range []string{
		"pending", "erasure_step WHERE state <> 'DONE' OR lease_until_us > 0", "rule_set WHERE NOT done",
		"reconcile_run WHERE state IN ('QUEUED', 'RUNNING')",
	} {
		require.Zero(x.t, x.count(open), "%s: %s", where, open)
	}
	r, err := audit.Walk(x.t.Context(), x.w.Store.Read(), audit.Cursor{}, 10_000)
	require.NoError(x.t, err)
	require.True(x.t, r.Done)
	require.Empty(x.t, r.Problems, where)
}

// deliveries are written, created, found, refused, refused for now, not answered, and in conflict with what people do meanwhile.
func deliveries() phase {
	who := func(i int) golden.Values {
		return golden.Values{golden.Name: fmt.Sprintf("Customer %d GmbH", i), golden.TaxID: fmt.Sprintf("DE1000000%02d", i), golden.Phone: "1"}
	}
	history := func(x *stage) {
		w, sf, erp := x.w, x.w.SF, x.w.ERP
		var ids, twins []string
		for i := range 9 {
			ids = append(ids, sf.Create(golden.Customer, "", who(i)))
		}
		anna := sf.Create(golden.Contact, ids[0], golden.Values{golden.LastName: "Arndt"})
		w.Settle()
		for _, id := range ids {
			twins = append(twins, w.Twin(w.Golden(sf, golden.Customer, id).ID, erp).Ref.RecordID)
		}
		edit := func(i int, phone string) { sf.Edit(golden.Customer, ids[i], golden.Values{golden.Phone: phone}) }

		erp.Refuse(twins[5], 1, sourcetest.Permanent())
		edit(5, "2") // a letter that what comes resolves
		w.Settle()
		require.Len(x.t, w.Dead(), 1)
		made, lost := sf.Create(golden.Customer, "", who(10)), sf.Create(golden.Customer, "", who(11))
		require.NoError(x.t, w.Read(x.t.Context()))
		erp.Uncertain(string(w.Golden(sf, golden.Customer, made).ID), 1)
		erp.Refuse(string(w.Golden(sf, golden.Customer, lost).ID), 1, sourcetest.Transient()) // nobody knows of either
		require.NoError(x.t, w.Deliver(x.t.Context()))

		for i := range 8 {
			edit(i, "3")
		}
		erp.Refuse(twins[2], -1, sourcetest.Permanent())
		erp.Refuse(twins[6], 1, sourcetest.Transient())
		erp.Uncertain(twins[7], 1)
		sf.Edit(golden.Contact, anna, golden.Values{golden.Title: "Dr."})
		sf.Create(golden.Contact, sf.Create(golden.Customer, "", who(12)), golden.Values{golden.LastName: "Neu"})
		erp.Create(golden.Contact, erp.Create(golden.Customer, "", who(13)), golden.Values{golden.LastName: "Neuer"})
		erp.Edit(golden.Customer, twins[1], golden.Values{golden.Street: "Hauptstr. 1"})
		erp.Edit(golden.Customer, twins[8], golden.Values{golden.Street: "Hauptstr. 8"})
		require.NoError(x.t, w.Read(x.t.Context()))
		erp.Edit(golden.Customer, twins[3], golden.Values{golden.City: "Köln"})                      // another version than is known
		sf.Edit(golden.Customer, ids[8], golden.Values{golden.Website: "https://meanwhile.example"}) // a look shows it
	}
	begin := func(x *stage, _ *store.Store) func() error {
		return func() error {
			for range 3 {
				x.w.Clock.Advance(2 * time.Minute)
				if err := x.w.Deliver(x.t.Context()); err != nil {
					return err
				}
			}
			return nil
		}
	}
	judge := func(x *stage, where string) {
		require.Len(x.t, x.w.Dead(), 1, where)
	}
	return phase{statements: 100, history: history, begin: begin, judge: judge}
}

// erasure forgets a customer and its contact while something about them waits to be written.
func erasure() phase {
	const word = "Zaphod"
	var id golden.ID
	history := func(x *stage) {
		w, sf := x.w, x.w.SF
		sf.Create(golden.Customer, "", golden.Values{golden.Name: "Arthur", golden.TaxID: "DE100000002"})
		customer := sf.Create(golden.Customer, "", golden.Values{golden.Name: word, golden.TaxID: "DE100000001", golden.Email: word + "@a.example"})
		sf.Create(golden.Contact, customer, golden.Values{golden.LastName: word + " Beeblebrox"})
		w.Settle()
		sf.Edit(golden.Customer, customer, golden.Values{golden.Website: "https://" + word})
		require.NoError(x.t, w.Read(x.t.Context()))
		id = w.Golden(sf, golden.Customer, customer).ID
	}
	desk := func(x *stage, st *store.Store) *erase.Desk {
		return erase.New(erase.Deps{
			Store: st, Folder: x.w.Folder, Systems: x.w.Systems, Now: x.w.Clock.Now, Telemetry: telemetry.Discard(),
			Answers: func(context.Context, string) (int, error) { return 2, nil },
		})
	}
	begin := func(x *stage, st *store.Store) func() error {
		d := desk(x, st)
		return func() error {
			_, err := d.Erase(x.t.Context(), erase.Request{ID: id, Contacts: true, Reason: word + " asked for it"}) // again, if nobody has answered
			for n := 1; err == nil && n > 0; {
				n, err = d.Round(x.t.Context())
			}
			return err
		}
	}
	judge := func(x *stage, where string) {
		require.NotContains(x.t, fmt.Sprint(x.look(nil)), word, where)
		for _, sys := range []*sourcetest.Fake{x.w.SF, x.w.ERP} {
			require.Len(x.t, sys.Records(golden.Customer), 1, where)
			require.Empty(x.t, sys.Records(golden.Contact), where)
		}
		e, err := x.w.Store.Read().Erasure(x.t.Context(), string(id))
		require.NoError(x.t, err)
		require.Equal(x.t, store.Erased, e.State, where)
		key, err := desk(x, x.w.Store).PublicKey(x.t.Context())
		require.NoError(x.t, err)
		require.True(x.t, ed25519.Verify(key, []byte(e.Receipt), e.Signature), where)
		require.Equal(x.t, 1, strings.Count(strings.Join(x.w.Events(id), " "), "erasure_done"), where)
		open, refused, _, err := x.w.Store.Read().OpenErasures(x.t.Context())
		require.NoError(x.t, err)
		require.Zero(x.t, open+refused, where)
	}
	return phase{statements: 60, history: history, begin: begin, judge: judge}
}

const (
	byTime = "version: 1\nsystems: {erp: {priority: 20}, salesforce: {priority: 10}}\nobjects: {customer: {fields: {phone: {strategy: latest}}}}\n"
	byERP  = "version: 2\nsystems: {erp: {priority: 20}, salesforce: {priority: 10}}\nobjects: {customer: {fields: {phone: {strategy: master, master: [erp, salesforce]}}}}\n"
)

// ruled is a world whose customers have another phone in the ERP than in Salesforce, which spoke last and is believed.
func ruled(t *testing.T, w *enginetest.World, customers int) {
	t.Helper()
	w.Rules = parse(t, byTime)
	w.Start()
	require.NoError(t, rules(w, w.Store, byTime, 0).Open(t.Context(), w.Rules))
	w.Settle()
	for i := range customers {
		w.ERP.Create(golden.Customer, "", golden.Values{golden.Name: fmt.Sprintf("Customer %d GmbH", i), golden.TaxID: fmt.Sprintf("DE100000%03d", i), golden.Phone: "1"})
	}
	w.Settle()
	for _, rec := range w.SF.Records(golden.Customer) {
		w.SF.Edit(golden.Customer, rec.Ref.RecordID, golden.Values{golden.Phone: "2"})
	}
	w.Settle()
	w.Rules = parse(t, byERP)
}

func parse(t *testing.T, text string) *survive.Rules {
	t.Helper()
	r, err := survive.Parse([]byte(text))
	require.NoError(t, err)
	return r
}

func rules(w *enginetest.World, st rulebook.Store, file string, step int) *rulebook.Book {
	return rulebook.New(rulebook.Deps{
		Store: st, Folder: w.Folder, Load: func() ([]byte, error) { return []byte(file), nil }, Brake: 100, Step: step, Now: w.Clock.Now,
		Log: slog.New(slog.DiscardHandler), Marked: w.Wake,
	})
}

// applied checks that every customer follows the rules of now, was decided by them once, and was written once because of that.
func applied(t *testing.T, w *enginetest.World, customers int, where string) {
	t.Helper()
	set, err := w.Store.Read().Rules(t.Context(), store.RulesActive)
	require.NoError(t, err)
	require.EqualValues(t, 2, set.Version, where)
	require.True(t, set.Done, where)
	entries, err := w.Store.Read().Audit(t.Context(), store.AuditFilter{Kind: "rules_in_force"}, false, 0, 10)
	require.NoError(t, err)
	require.Len(t, entries, 2, where)
	recs := w.SF.Records(golden.Customer)
	require.Len(t, recs, customers, where)
	for _, rec := range recs {
		require.Equal(t, "1", rec.Values[golden.Phone], where)
		require.Equal(t, 2, w.SF.Writes(rec.Ref.RecordID), "%s: made once and written once", where)
		events, err := w.Store.Read().ListEvents(t.Context(), source.GoldenIDOf(rec.ExternalID), 0, 100)
		require.NoError(t, err)
		events = slices.DeleteFunc(events, func(e store.Event) bool { return !strings.HasPrefix(e.ChangeID, "rules/") })
		require.Len(t, events, 1, where)
		require.Equal(t, []string{"changed", "phone"}, append([]string{events[0].Kind}, events[0].Fields...), where)
		require.True(t, strings.HasPrefix(events[0].ChangeID, "rules/2/"), where)
	}
}

// otherRules come into force and are applied to what is stored, in steps of three records.
func otherRules() phase {
	const customers = 8
	begin := func(x *stage, st *store.Store) func() error {
		b := rules(x.w, st, byERP, 3)
		return func() error {
			if err := b.Open(x.t.Context(), x.w.Rules); err != nil {
				return err
			}
			return b.Turn(x.t.Context())
		}
	}
	return phase{
		statements: 50, history: func(x *stage) { ruled(x.t, x.w, customers) }, begin: begin,
		judge: func(x *stage, where string) { applied(x.t, x.w, customers, where) },
	}
}

func deepComparison() phase     { return comparison(store.DepthDeep) }
func comparisonOfValues() phase { return comparison(store.DepthValues) }

// comparison finds what Salesforce's feed has not told and a mark that was lost, and repairs both.
func comparison(depth store.Depth) phase {
	history := func(x *stage) {
		w, sf := x.w, x.w.SF
		var ids []string
		for i := range 3 {
			ids = append(ids, sf.Create(golden.Customer, "", golden.Values{golden.Name: fmt.Sprintf("Customer %d GmbH", i), golden.TaxID: fmt.Sprintf("DE10000000%d", i)}))
		}
		w.Settle()
		w.ERP.Create(golden.Customer, "", golden.Values{golden.Name: "Unmarked"})
		require.NoError(x.t, w.Read(x.t.Context()))
		x.forget(w.SF.Name())
		w.Settle()

		sf.Drop(4) // of what people do now nobody hears
		sf.Edit(golden.Customer, ids[0], golden.Values{golden.Phone: "1"})
		sf.Create(golden.Contact, sf.Create(golden.Customer, "", golden.Values{golden.Name: "Unheard of"}), golden.Values{golden.LastName: "Neu"})
		sf.Delete(golden.Customer, ids[1])
		if depth == store.DepthValues {
			sf.Slip(golden.Customer, ids[2], golden.Values{golden.Phone: "2"})
		}
		w.Deleting = true
		w.Clock.Advance(time.Hour) // nothing of it is in flight
	}
	begin := func(x *stage, st *store.Store) func() error {
		rec := x.reconciler(st)
		return func() error { return x.compare(rec, depth, true) }
	}
	judge := func(x *stage, where string) {
		require.Len(x.t, x.w.SF.Records(golden.Customer), 4, where)
		require.Len(x.t, x.w.SF.Records(golden.Contact), 1, where)
		if x.count("reconcile_run") == 1 { // not one that failed and another
			require.Equal(x.t, x.sum("repaired", "reconcile_run"), x.count("finding WHERE state IN ('REPAIRED', 'IN_FLIGHT')"), where)
		}
		require.NoError(x.t, x.compare(x.reconciler(x.w.Store), store.DepthValues, false), where)
		require.Zero(x.t, x.count("finding"), "%s: another comparison finds nothing", where)
	}
	return phase{statements: 60, history: history, begin: begin, judge: judge}
}

// forget takes a mark of a customer away as if it had been seen to.
func (x *stage) forget(system string) {
	x.t.Helper()
	require.NoError(x.t, x.w.Store.Tx(x.t.Context(), func(ctx context.Context, tx *store.Tx) error {
		claimed, err := tx.Claim(ctx, system, golden.Customer, store.LevelSync, x.w.Clock.Now(), time.Minute, 10)
		require.Len(x.t, claimed, 1)
		if err == nil {
			_, err = tx.Done(ctx, system, claimed, store.Unneeded)
		}
		return err
	}))
}

func (x *stage) reconciler(st *store.Store) *reconcile.Reconciler {
	x.t.Helper()
	rec, err := reconcile.New(reconcile.Deps{
		Store: st, Folder: x.w.Folder, Systems: []source.System{x.w.SF, x.w.ERP}, Take: x.w.Intake.Take, Now: x.w.Clock.Now, Marked: x.w.Wake,
		Telemetry: telemetry.Discard(),
	})
	require.NoError(x.t, err)
	return rec
}

// compare compares Salesforce to the end, or goes on where that was begun.
func (x *stage) compare(rec *reconcile.Reconciler, depth store.Depth, repair bool) error {
	ctx := x.t.Context()
	run, _, err := rec.Start(ctx, x.w.SF.Name(), depth, repair)
	if err != nil {
		return err
	}
	if _, err := rec.Step(ctx); err != nil {
		return err
	}
	if run, err = x.w.Store.Read().ReconcileRun(ctx, run.ID); err == nil && run.State != store.RunDone {
		err = errors.New("the comparison is " + run.State + " " + run.Reason)
	}
	return err
}
