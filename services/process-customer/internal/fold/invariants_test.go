package fold_test

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/selfsame-io/selfsame/services/process-customer/internal/engine/enginetest"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/fold"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store/storetest"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/survive"
)

const otherRules = `
version: 2
systems: {erp: {priority: 1}, salesforce: {priority: 2}}
defaults: {strategy: longest}
objects:
  customer:
    units:
      address: {fields: [street, city, postal_code, region, country], require_any: [street, city], strategy: latest}
    fields:
      email: {strategy: latest, blank: keep, normalise: upper}
      phone: {strategy: master, master: [erp, salesforce], blank: yield}
      tax_id: {strategy: latest}
`

// checks runs a property n times, fewer with -short.
func checks(t *testing.T, n int, property func(*rapid.T)) {
	t.Helper()
	if testing.Short() {
		n = 1
	}
	ran, failed := 0, false
	rapid.Check(t, func(rt *rapid.T) {
		if ran++; ran > n && !failed {
			return // rapid would run a hundred; each is a database
		}
		defer func() { failed = failed || rt.Failed() }()
		property(rt)
	})
}

// TestInvariants are the laws of mastering that need stored state. Those of claims alone are in package survive;
// docs/design/0013-invariants.md lists all.
func TestInvariants(t *testing.T) {
	t.Parallel()

	t.Run("I04 any order of the records, any repetition and any crash end the same", func(t *testing.T) {
		t.Parallel()
		checks(t, 40, func(t *rapid.T) {
			facts := history(t)
			want := newLab(t, survive.Default())
			defer want.close()
			births, lives := apart(facts)
			want.take(births...)
			want.take(slices.Concat(lives...)...)
			got := newLab(t, survive.Default())
			defer got.close()
			// Who is gone everywhere is not recognised any more (docs/design/0006-deletes.md), so all are born first.
			order := births
			if len(births) > 0 {
				order = rapid.Permutation(births).Draw(t, "births")
			}
			order = append(order, interleave(t, lives)...)
			for i, c := range order {
				got.take(c)
				for range rapid.IntRange(0, 2).Draw(t, "again") {
					got.take(order[rapid.IntRange(0, i).Draw(t, "which")])
				}
				if rapid.IntRange(0, 4).Draw(t, "crash") == 0 {
					got.use(survive.Default(), uint64(100+i)) // a new process over the same database
				}
			}
			require.Equal(t, want.view(), got.view())
		})
	})
	t.Run("I04 within a record, any order ends with the newest version's values", func(t *testing.T) {
		t.Parallel()
		checks(t, 20, func(t *rapid.T) {
			facts := slices.Concat(history(t)...)
			l := newLab(t, survive.Default())
			defer l.close()
			l.take(rapid.Permutation(facts).Draw(t, "order")...)
			newest := map[golden.Ref]source.Change{}
			for _, c := range facts {
				if c.Version >= newest[c.Ref].Version {
					newest[c.Ref] = c
				}
			}
			_, of := l.goldens()
			for _, rows := range of {
				for _, row := range rows {
					c := newest[row.Ref]
					require.Equal(t, c.Deleted, row.Deleted)
					require.Equal(t, c.Version, row.Version)
					if c.Record != nil {
						require.Equal(t, c.Record.Values, row.Shadow)
					}
				}
			}
		})
	})
	t.Run("I05 what is stored is what the claims say, after every step", func(t *testing.T) {
		t.Parallel()
		checks(t, 20, func(t *rapid.T) {
			l := newLab(t, survive.Default())
			defer l.close()
			l.take(interleave(t, history(t))...) // take judges after each
		})
	})
	t.Run("I06 a fact that is known changes nothing", func(t *testing.T) { t.Parallel(); known(t) })
	t.Run("I08 an edit that does not win reaches nobody and leaves one note", func(t *testing.T) { t.Parallel(); overruledOnce(t) })
	t.Run("I12 an older version never shows again", func(t *testing.T) { t.Parallel(); monotone(t) })
	t.Run("I14 two edits that did not know of each other are one conflict, whichever comes first", func(t *testing.T) { t.Parallel(); conflicts(t) })
	t.Run("I16 what is older than a deletion is void, what is newer revives", func(t *testing.T) { t.Parallel(); tombstones(t) })
	t.Run("I17 redirects have no circle and every old id leads to the living record", func(t *testing.T) { t.Parallel(); redirects(t) })
	t.Run("I18 a merge that is taken back leaves nothing behind", func(t *testing.T) {
		t.Parallel()
		checks(t, 20, func(t *rapid.T) {
			l := newLab(t, survive.Default())
			defer l.close()
			l.take(interleave(t, history(t))...)
			before := l.view()
			ids := live(l)
			if len(ids) < 2 {
				return
			}
			l.join(ids[0], ids[1])
			l.judge()
			l.part(ids[1])
			l.judge()
			require.Equal(t, before, l.view())
		})
	})
	t.Run("I19 every record is in exactly one golden record, and those of one tax number are together", func(t *testing.T) {
		t.Parallel()
		checks(t, 20, func(t *rapid.T) {
			facts := slices.DeleteFunc(slices.Concat(history(t)...), func(c source.Change) bool { return c.Deleted })
			l := newLab(t, survive.Default())
			defer l.close()
			l.take(rapid.Permutation(facts).Draw(t, "order")...)
			_, of := l.goldens()
			home := map[golden.Ref]golden.ID{}
			byTax := map[string]golden.ID{}
			for id, rows := range of {
				for _, row := range rows {
					require.Empty(t, home[row.Ref])
					home[row.Ref] = id
					tax := row.Shadow[golden.TaxID]
					require.Contains(t, []golden.ID{"", id}, byTax[tax], "one tax number, one customer")
					byTax[tax] = id
				}
			}
			for _, c := range facts {
				require.NotEmpty(t, home[c.Ref])
			}
		})
	})
	t.Run("I24 without edits nothing is written, and an edit is written once per system", func(t *testing.T) { t.Parallel(); quiet(t) })
	t.Run("I25 a write whose outcome is unknown is one record, written at most once in effect", func(t *testing.T) { t.Parallel(); once(t) })
	t.Run("I26 one customer created in several places at once is one golden record", func(t *testing.T) { t.Parallel(); births(t) })
	t.Run("I27 a snapshot after a gap, then what was late, ends like an unbroken feed", func(t *testing.T) { t.Parallel(); gap(t) })
	t.Run("I29 other rules give what they would have given from the start, and going back restores", func(t *testing.T) {
		t.Parallel()
		changed := parse(t, otherRules)
		checks(t, 20, func(t *rapid.T) {
			facts := interleave(t, history(t))
			l := newLab(t, survive.Default())
			defer l.close()
			l.take(facts...)
			before := l.view()
			want := newLab(t, changed)
			defer want.close()
			want.take(facts...)
			l.change(changed)
			require.Equal(t, want.view(), l.view())
			l.change(survive.Default())
			require.Equal(t, before, l.view())
		})
	})
}

// apart separates the first change of each record from the others.
func apart(histories [][]source.Change) (births []source.Change, lives [][]source.Change) {
	for _, h := range histories {
		if len(h) > 0 {
			births, lives = append(births, h[0]), append(lives, h[1:])
		}
	}
	return births, lives
}

// live returns the golden records that are not merged away.
func live(l *lab) []golden.ID {
	var out []golden.ID
	all, _ := l.goldens()
	for _, g := range all {
		if g.MergedInto == "" {
			out = append(out, g.ID)
		}
	}
	return out
}

func (l *lab) join(into, from golden.ID) (ok bool) {
	l.tx(func(ctx context.Context, u *fold.Unit) error {
		err := u.LoadJoin(ctx, into, from)
		ok = err == nil && u.Join(into, from, golden.Ref{}, "join")
		return err
	})
	return ok
}

func (l *lab) part(from golden.ID) (ok bool) {
	l.tx(func(ctx context.Context, u *fold.Unit) error {
		err := u.LoadJoin(ctx, from)
		ok = err == nil && u.Part(from, golden.Ref{}, "part")
		return err
	})
	return ok
}

// change puts other rules in force and decides everything again.
func (l *lab) change(rules *survive.Rules) {
	l.use(rules, 9)
	all, _ := l.goldens()
	l.tx(func(ctx context.Context, u *fold.Unit) error {
		var ids []golden.ID
		for _, g := range all {
			ids = append(ids, g.ID)
		}
		err := u.LoadGoldens(ctx, ids)
		for _, id := range ids {
			u.Remerge(id, "rules")
		}
		return err
	})
	l.judge()
}

func known(t *testing.T) {
	checks(t, 20, func(t *rapid.T) {
		l := newLab(t, survive.Default())
		defer l.close()
		facts := interleave(t, history(t))
		if len(facts) == 0 {
			return
		}
		l.take(facts...)
		goldens, rows := l.goldens()
		marks, err := l.store.Read().Backlogs(context.Background())
		require.NoError(t, err)
		events := len(l.events("changed")) + len(l.events("created")) + len(l.events("overruled")) + len(l.events("conflict"))
		for range 3 {
			for _, eff := range l.take(facts[rapid.IntRange(0, len(facts)-1).Draw(t, "which")]) {
				require.Contains(t, []string{store.Unchanged, store.Superseded}, eff.State)
			}
		}
		goldensAfter, rowsAfter := l.goldens()
		require.Equal(t, goldens, goldensAfter, "no new version")
		require.Equal(t, rows, rowsAfter)
		marksAfter, err := l.store.Read().Backlogs(context.Background())
		require.NoError(t, err)
		for i := range marks {
			require.Equal(t, marks[i].Pending, marksAfter[i].Pending, "nothing more to be written")
		}
		require.Equal(t, events, len(l.events("changed"))+len(l.events("created"))+len(l.events("overruled"))+len(l.events("conflict")))
	})
}

func overruledOnce(t *testing.T) {
	checks(t, 20, func(t *rapid.T) {
		l := newLab(t, survive.Default())
		defer l.close()
		base := golden.Values{golden.Name: "Acme", golden.TaxID: "DE100000001", golden.Email: "m@x.de"}
		l.take(says("salesforce", "A", 1, 0, base), says("erp", "7", 1, 0, base))
		g := l.only()
		n := rapid.IntRange(1, 3).Draw(t, "edits")
		for i := range n {
			edited := base.Clone()
			edited[golden.Email] = fmt.Sprintf("other%d@x.de", i)
			c := says("erp", "7", int64(i+2), float64(100*i+100), edited)
			l.take(c, c)
			require.Equal(t, g.Values, l.only().Values, "the master of the field is Salesforce")
			require.Equal(t, g.Version, l.only().Version)
		}
		notes := l.events("overruled")
		require.Len(t, notes, n, "one for each edit")
		for _, e := range notes {
			require.Equal(t, []string{golden.Email}, e.Fields)
			require.Equal(t, "REVERT", e.Reason)
		}
	})
}

func monotone(t *testing.T) {
	checks(t, 20, func(t *rapid.T) {
		l := newLab(t, survive.Default())
		defer l.close()
		var facts []source.Change
		for v := range int64(5) {
			facts = append(facts, says("salesforce", "A", v+1, rapid.Float64Range(0, 1000).Draw(t, "time"), golden.Values{golden.Name: "Acme", golden.Phone: fmt.Sprint(v + 1)}))
		}
		newest := int64(0)
		for _, c := range rapid.Permutation(facts).Draw(t, "order") {
			newest = max(newest, c.Version)
			l.take(c)
			require.Equal(t, fmt.Sprint(newest), l.only().Values[golden.Phone])
		}
	})
}

func conflicts(t *testing.T) {
	base := golden.Values{golden.Name: "Acme", golden.TaxID: "DE100000001", golden.Phone: "1"}
	edit := func(phone string) golden.Values { v := base.Clone(); v[golden.Phone] = phone; return v }
	sf, erp := says("salesforce", "A", 2, 100, edit("2")), says("erp", "7", 2, 200, edit("3"))
	for _, order := range [][]source.Change{{sf, erp}, {erp, sf}} {
		l := newLab(t, survive.Default())
		l.take(says("salesforce", "A", 1, 0, base), says("erp", "7", 1, 0, base))
		l.take(order...)
		l.take(order...)
		require.Equal(t, "3", l.only().Values[golden.Phone], "the later edit")
		require.Len(t, l.events("conflict"), 1)
		require.Equal(t, []string{golden.Phone}, l.events("conflict")[0].Fields)
		l.close()
	}
	same := newLab(t, survive.Default())
	defer same.close()
	same.take(says("salesforce", "A", 1, 0, base), says("erp", "7", 1, 0, base))
	same.take(says("salesforce", "A", 2, 100, edit("2")), says("erp", "7", 2, 200, edit("2")))
	require.Empty(t, same.events("conflict"), "two who say the same do not disagree")
	same.take(says("erp", "7", 3, 300, edit("4")))
	require.Empty(t, same.events("conflict"), "an edit of what was agreed is none")
}

func tombstones(t *testing.T) {
	checks(t, 40, func(t *rapid.T) {
		l := newLab(t, survive.Default())
		defer l.close()
		facts := []source.Change{
			says("salesforce", "A", 10, 0, golden.Values{golden.Name: "Acme", golden.Phone: "10"}),
			says("salesforce", "A", 19, 500, golden.Values{golden.Name: "Acme", golden.Phone: "19"}), gone("salesforce", "A", 20, ""),
		}
		revived := rapid.Bool().Draw(t, "revived")
		if revived {
			facts = append(facts, says("salesforce", "A", 21, 100, golden.Values{golden.Name: "Acme", golden.Phone: "21"}))
		}
		l.take(rapid.Permutation(facts).Draw(t, "order")...)
		rows, err := l.store.Read().Sources(context.Background(), "salesforce", golden.Customer, []string{"A"})
		require.NoError(t, err)
		require.Equal(t, !revived, rows[0].Deleted)
		if revived {
			require.Equal(t, "21", l.only().Values[golden.Phone])
			require.False(t, l.only().Deleted)
		}
		all, _ := l.goldens()
		for _, g := range all {
			require.Equal(t, !revived, g.Deleted)
		}
	})
}

func redirects(t *testing.T) {
	checks(t, 20, func(t *rapid.T) {
		l := newLab(t, survive.Default())
		defer l.close()
		for i := range 4 {
			l.take(says("salesforce", fmt.Sprint(i), 1, 0, golden.Values{golden.Name: fmt.Sprint("Firma ", i), golden.TaxID: fmt.Sprint("DE10000000", i)}))
		}
		ids := live(l)
		for range rapid.IntRange(1, 6).Draw(t, "acts") {
			a, b := rapid.SampledFrom(ids).Draw(t, "a"), rapid.SampledFrom(ids).Draw(t, "b")
			if rapid.IntRange(0, 3).Draw(t, "part") == 0 {
				l.part(b)
			} else {
				l.join(a, b)
			}
			l.judge()
		}
		all, of := l.goldens()
		by := map[golden.ID]*store.Golden{}
		records := 0
		for _, g := range all {
			by[g.ID] = g
			records += len(of[g.ID])
		}
		require.Equal(t, 4, records, "no record is lost or twice")
		for _, g := range all {
			end, hops := g, 0
			for end.MergedInto != "" {
				end = by[end.MergedInto]
				hops++
				require.LessOrEqual(t, hops, len(all), "a circle")
			}
			if g.MergedInto != "" {
				require.Empty(t, of[g.ID])
				require.NotEmpty(t, of[end.ID])
			}
		}
	})
}

func quiet(t *testing.T) {
	w := enginetest.New(t, storetest.Schema.Open(t, "sqlite"))
	w.Settle()
	id := w.SF.Create(golden.Customer, "", golden.Values{golden.Name: "Acme", golden.TaxID: "DE100000001", golden.Phone: "1"})
	w.Settle()
	g := w.Golden(w.SF, golden.Customer, id)
	erpID := w.Twin(g.ID, w.ERP).Ref.RecordID
	writes := func() [2]int { return [2]int{w.SF.TotalWrites(), w.ERP.TotalWrites()} }
	before := writes()
	for range 3 {
		w.Settle()
		w.SF.Repeat(1)
		w.SF.Touch(golden.Customer, id)
		w.ERP.Touch(golden.Customer, erpID)
	}
	w.Settle()
	require.Equal(t, before, writes(), "nobody edited anything")
	w.SF.Edit(golden.Customer, id, golden.Values{golden.Phone: "2"})
	w.Settle()
	require.Equal(t, [2]int{before[0], before[1] + 1}, writes(), "one write, to the other system")
	w.ERP.Edit(golden.Customer, erpID, golden.Values{golden.Email: "not-the-master@x.de"})
	w.Settle()
	require.LessOrEqual(t, writes()[0], before[0]+1)
	require.LessOrEqual(t, writes()[1], before[1]+2, "at most one write per system and change")
	w.Check()
}

func once(t *testing.T) {
	w := enginetest.New(t, storetest.Schema.Open(t, "sqlite"))
	w.Settle()
	w.ERP.LoseAcks(3, nil)
	id := w.SF.Create(golden.Customer, "", golden.Values{golden.Name: "Acme", golden.TaxID: "DE100000001"})
	w.Settle()
	w.Check()
	require.Len(t, w.ERP.Records(golden.Customer), 1)
	w.ERP.LoseAcks(2, nil)
	w.SF.Edit(golden.Customer, id, golden.Values{golden.Phone: "5"})
	w.Settle()
	w.Check()
	require.Len(t, w.ERP.Records(golden.Customer), 1)
}

func births(t *testing.T) {
	checks(t, 10, func(t *rapid.T) {
		l := newLab(t, survive.Default())
		defer l.close()
		var facts []source.Change
		for i := range rapid.IntRange(2, 6).Draw(t, "creates") {
			system := rapid.SampledFrom([]string{"salesforce", "erp"}).Draw(t, "system")
			facts = append(facts, says(system, fmt.Sprint(i), 1, float64(i), golden.Values{golden.Name: fmt.Sprint("Acme ", i), golden.TaxID: "DE100000001"}))
		}
		l.take(rapid.Permutation(facts).Draw(t, "order")...)
		l.only()
	})
}

func gap(t *testing.T) {
	checks(t, 20, func(t *rapid.T) {
		births, lives := apart(history(t))
		want := newLab(t, survive.Default())
		defer want.close()
		want.take(births...)
		want.take(slices.Concat(lives...)...)
		got := newLab(t, survive.Default())
		defer got.close()
		got.take(births...)
		var late []source.Change
		for _, h := range lives {
			lost := rapid.IntRange(0, len(h)).Draw(t, "lost")
			got.take(h[:len(h)-lost]...)
			late = append(late, h[len(h)-lost:]...)
			if lost > 0 {
				snapshot := h[len(h)-1]
				snapshot.ID = "scan-" + snapshot.ID
				got.take(snapshot)
			}
		}
		if len(late) > 0 {
			got.take(rapid.Permutation(late).Draw(t, "late")...)
		}
		_, wantRows := want.goldens()
		_, gotRows := got.goldens()
		require.Equal(t, held(wantRows), held(gotRows), "every record is known as it is")
		require.Len(t, got.view(), len(want.view()), "and the customers are the same")
	})
}

// held returns what every live record is known to hold.
func held(of map[golden.ID][]*store.Source) map[golden.Ref]golden.Values {
	out := map[golden.Ref]golden.Values{}
	for _, rows := range of {
		for _, r := range rows {
			if !r.Deleted {
				out[r.Ref] = r.Shadow
			}
		}
	}
	return out
}
