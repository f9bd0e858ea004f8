package fold_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/selfsame-io/selfsame/services/process-customer/internal/engine/enginetest"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/fold"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source/sourcetest"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store/storetest"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/survive"
)

// lab is the real fold code over a database in memory: facts go in one transaction at a time, and after each the stored
// state is compared with what the stored claims say.
type lab struct {
	t      require.TestingT
	store  *store.Store
	folder *fold.Folder
	clock  *enginetest.Clock
	steps  int
}

func newLab(t require.TestingT, rules *survive.Rules) *lab {
	l := &lab{t: t, clock: enginetest.NewClock()}
	if l.store, _ = databases.Get().(*store.Store); l.store == nil {
		d, err := storetest.Schema.Private(context.Background())
		require.NoError(t, err)
		l.store, err = store.Open(context.Background(), d)
		require.NoError(t, err)
	} else {
		l.empty()
	}
	l.use(rules, 1)
	return l
}

// databases are used again: making one takes longer than most histories.
var databases sync.Pool

func (l *lab) close() { databases.Put(l.store) }

// empty forgets what an earlier lab left behind.
func (l *lab) empty() {
	require.NoError(l.t, l.store.Tx(context.Background(), func(ctx context.Context, tx *store.Tx) error {
		for _, table := range []string{"source_record", "golden", "match_key", "pending", "intent", "event", "question", "identity_move"} {
			if _, err := tx.SQL().ExecContext(ctx, "DELETE FROM "+table); err != nil {
				return err
			}
		}
		return nil
	}))
}

// use starts the lab's process anew with other rules.
func (l *lab) use(rules *survive.Rules, seed uint64) {
	l.folder = fold.New(fold.Config{
		Rules: rules, Now: l.clock.Now, Rand: enginetest.NewRand(seed),
		Systems: []source.System{sourcetest.New(sourcetest.Salesforce(l.clock.Now)), sourcetest.New(sourcetest.ERP(l.clock.Now))},
	})
}

var morning = time.Date(2026, 3, 1, 6, 0, 0, 0, time.UTC)

// says is a record as it is at a version, n seconds into the morning.
func says(system, record string, version int64, seconds float64, values golden.Values) source.Change {
	ref := golden.Ref{System: system, Object: golden.Customer, RecordID: record}
	at := morning.Add(time.Duration(seconds * float64(time.Second)))
	return source.Change{
		ID: fmt.Sprintf("%s-%s-%d", system, record, version), Ref: ref, Version: version, CommitTime: at,
		Record: &source.Record{Ref: ref, Values: values.Canonical(golden.Customer), Version: version, EventTime: at},
	}
}

// gone is the deletion of a record; into is the record in its place, if any.
func gone(system, record string, version int64, into string) source.Change {
	return source.Change{
		ID: fmt.Sprintf("%s-%s-%d", system, record, version), Ref: golden.Ref{System: system, Object: golden.Customer, RecordID: record},
		Version: version, Deleted: true, MergedInto: into, CommitTime: morning,
	}
}

// take folds changes in, each in a transaction of its own, and judges the state after each.
func (l *lab) take(changes ...source.Change) []fold.Effect {
	var out []fold.Effect
	for _, c := range changes {
		var eff fold.Effect
		l.tx(func(ctx context.Context, u *fold.Unit) error {
			if err := u.LoadBatch(ctx, c.Ref.System, c.Ref.Object, []source.Change{c}); err != nil {
				return err
			}
			var err error
			eff, err = u.Observe(c, 0)
			return err
		})
		out = append(out, eff)
		l.judge()
	}
	return out
}

func (l *lab) tx(do func(ctx context.Context, u *fold.Unit) error) {
	l.steps++
	err := l.store.Tx(context.Background(), func(ctx context.Context, tx *store.Tx) error {
		u, err := l.folder.Begin(ctx, tx, "")
		if err != nil {
			return err
		}
		return errors.Join(do(ctx, u), u.Flush(ctx))
	})
	require.NoError(l.t, err)
}

// goldens returns all golden records with their records.
func (l *lab) goldens() ([]*store.Golden, map[golden.ID][]*store.Source) {
	ctx := context.Background()
	all, err := l.store.Read().AllGoldens(ctx, "", 1000)
	require.NoError(l.t, err)
	ids := make([]golden.ID, len(all))
	for i, g := range all {
		ids[i] = g.ID
	}
	rows, err := l.store.Read().SourcesOf(ctx, ids)
	require.NoError(l.t, err)
	of := map[golden.ID][]*store.Source{}
	for _, r := range rows {
		of[r.GoldenID] = append(of[r.GoldenID], r)
	}
	return all, of
}

// judge compares what is stored with what the stored claims say: I05, and of the partition what always holds.
func (l *lab) judge() {
	all, of := l.goldens()
	for _, g := range all {
		if g.MergedInto != "" {
			require.Empty(l.t, of[g.ID], "what was merged away has nothing")
			continue
		}
		require.Equal(l.t, golden.ValuesOf(fold.Decide(g.Object, of[g.ID], l.folder.Rules())), g.Values, "%s is not what its claims say", g.ID)
		weighed := l.folder.Weigh(l.folder.Rules(), g, of[g.ID], nil)
		require.Equal(l.t, weighed.Deleted, g.Deleted)
	}
}

// view is the outcome of a history without what may differ between two runs of it: ids, counters and times of receipt.
// It has one line per living golden record: its records and its values.
func (l *lab) view() []string {
	var out []string
	all, of := l.goldens()
	for _, g := range all {
		if g.MergedInto != "" {
			continue
		}
		var records []string
		for _, r := range of[g.ID] {
			if !golden.Own(r.Ref.System) {
				records = append(records, fmt.Sprintf("%s/%s deleted=%v", r.Ref.System, r.Ref.RecordID, r.Deleted))
			}
		}
		slices.Sort(records)
		var fields []string
		for _, d := range fold.Decide(g.Object, of[g.ID], l.folder.Rules()) {
			if d.Winner != nil {
				fields = append(fields, fmt.Sprintf("%s=%q by %s of %s/%s v%d", d.Field, d.Value, d.Rule, d.Winner.Ref.System, d.Winner.Ref.RecordID, d.Winner.Version))
			}
		}
		out = append(out, fmt.Sprintf("%s deleted=%v: %s", strings.Join(records, " "), g.Deleted, strings.Join(fields, ", ")))
	}
	slices.Sort(out)
	return out
}

func (l *lab) events(kind string) []store.Event {
	var out []store.Event
	all, _ := l.goldens()
	for _, g := range all {
		events, err := l.store.Read().ListEvents(context.Background(), g.ID, 0, 10_000)
		require.NoError(l.t, err)
		for _, e := range events {
			if e.Kind == kind {
				out = append(out, e)
			}
		}
	}
	return out
}

// only returns the one golden record that is not merged away.
func (l *lab) only() *store.Golden {
	all, _ := l.goldens()
	all = slices.DeleteFunc(all, func(g *store.Golden) bool { return g.MergedInto != "" })
	require.Len(l.t, all, 1)
	return all[0]
}

// history draws what happens to some records: per record a list of changes in the order of their versions. Every
// record has the tax number of one of two customers, so that who is who does not depend on the order.
func history(t *rapid.T) [][]source.Change {
	var out [][]source.Change
	for _, rec := range []struct{ system, record, tax string }{
		{"salesforce", "A", "DE100000001"}, {"erp", "7", "DE100000001"}, {"salesforce", "B", "DE100000002"}, {"erp", "8", "DE100000002"}, {"erp", "9", "DE100000001"},
	} {
		values := golden.Values{golden.Name: "Acme", golden.TaxID: rec.tax}
		var changes []source.Change
		for version := range int64(rapid.IntRange(0, 4).Draw(t, "versions of "+rec.record)) {
			seconds := rapid.SampledFrom([]float64{0, 1, 1.5, 2, 60, 7200}).Draw(t, "seconds")
			if version > 0 && rapid.IntRange(0, 5).Draw(t, "delete") == 0 {
				changes = append(changes, gone(rec.system, rec.record, version+1, ""))
				continue
			}
			values = values.Clone()
			for _, f := range []string{golden.Phone, golden.Email, golden.Street, golden.City} {
				if rapid.Bool().Draw(t, "edits "+f) {
					values[f] = rapid.SampledFrom([]string{"", "a", "b", "c"}).Draw(t, f)
				}
			}
			changes = append(changes, says(rec.system, rec.record, version+1, seconds, values))
		}
		out = append(out, changes)
	}
	return out
}

// interleave puts histories of records into one order; each keeps its own.
func interleave(t *rapid.T, histories [][]source.Change) []source.Change {
	next := make([]int, len(histories))
	var out []source.Change
	for {
		var open []int
		for i := range histories {
			if next[i] < len(histories[i]) {
				open = append(open, i)
			}
		}
		if len(open) == 0 {
			return out
		}
		i := rapid.SampledFrom(open).Draw(t, "next")
		out = append(out, histories[i][next[i]])
		next[i]++
	}
}

func parse(t testing.TB, text string) *survive.Rules {
	t.Helper()
	r, err := survive.Parse([]byte(text))
	require.NoError(t, err)
	return r
}
