package fold_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/services/process-customer/internal/engine/enginetest"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store/storetest"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/survive"
)

// exampleRules are those of the worked examples with the names of the real systems.
const exampleRules = `
version: 7
systems: {erp: {priority: 20}, salesforce: {priority: 10}}
defaults: {strategy: latest, bucket: 2s, blank: keep}
objects:
  customer:
    units:
      address: {fields: [street, postal_code, city, region, country], require_any: [street, city], strategy: master, master: [erp, salesforce], blank: yield}
    fields:
      name: {strategy: latest, blank: keep}
      tax_id: {strategy: master, master: [erp], blank: keep}
      email: {strategy: master, master: [salesforce, erp], blank: clear}
      segment: {strategy: latest, blank: clear}
`

// base is the beginning of every example: 001A of Salesforce and BP7 of the ERP are linked.
func base(t *testing.T) *lab {
	t.Helper()
	l := newLab(t, parse(t, exampleRules))
	t.Cleanup(l.close)
	l.take(
		says("salesforce", "001A", 10, 100, golden.Values{
			golden.Street: "Hauptstr 1", golden.PostalCode: "10115", golden.City: "Berlin", golden.Email: "a@x.de", golden.Phone: "030 1", golden.Name: "Acme",
		}),
		says("erp", "BP7", 5, 90, golden.Values{
			golden.Street: "Ring 9", golden.PostalCode: "20095", golden.City: "Hamburg", golden.Email: "b@x.de", golden.Phone: "040 2",
			golden.Name: "ACME GmbH", golden.TaxID: "DE100000001",
		}),
	)
	if ids := live(l); len(ids) == 2 {
		sf := l.holder("salesforce", "001A")
		require.True(t, l.join(sf, l.holder("erp", "BP7")))
	}
	return l
}

// holder returns the golden record that a record belongs to.
func (l *lab) holder(system, record string) golden.ID {
	rows, err := l.store.Read().Sources(context.Background(), system, golden.Customer, []string{record})
	require.NoError(l.t, err)
	require.Len(l.t, rows, 1)
	return rows[0].GoldenID
}

func pick(v golden.Values, fields ...string) []string {
	out := make([]string, len(fields))
	for i, f := range fields {
		out[i] = v[f]
	}
	return out
}

func address(v golden.Values) []string { return pick(v, golden.Street, golden.PostalCode, golden.City) }

// TestWorkedExamples are the cases of the design that need stored state; the others are in package survive.
func TestWorkedExamples(t *testing.T) {
	t.Parallel()

	t.Run("1 the base", func(t *testing.T) {
		t.Parallel()
		v := base(t).only().Values
		require.Equal(t, []string{"Ring 9", "20095", "Hamburg"}, address(v))
		require.Equal(t, []string{"a@x.de", "030 1", "Acme", "DE100000001"}, pick(v, golden.Email, golden.Phone, golden.Name, golden.TaxID))
	})
	t.Run("2 the other system's address stays in its claims and is written back", func(t *testing.T) {
		t.Parallel()
		l := base(t)
		l.take(says("salesforce", "001A", 11, 200, golden.Values{golden.Street: "Neue Str 5", golden.PostalCode: "14467", golden.City: "Potsdam", golden.Name: "Acme"}))
		g := l.only()
		require.Equal(t, []string{"Ring 9", "20095", "Hamburg"}, address(g.Values))
		_, of := l.goldens()
		writes := l.folder.Weigh(l.folder.Rules(), g, of[g.ID], nil).Writes
		require.Contains(t, writes[golden.Ref{System: "salesforce", Object: golden.Customer, RecordID: "001A"}], golden.Street)
		require.Len(t, l.events("overruled"), 1)
	})
	t.Run("7 an older version with a later clock is ignored", func(t *testing.T) {
		t.Parallel()
		l := base(t)
		l.take(says("salesforce", "001A", 9, 400, golden.Values{golden.Name: "Skewed"}))
		require.Equal(t, "Acme", l.only().Values[golden.Name])
	})
	t.Run("8 a deletion, then a late older update, then one that revives", func(t *testing.T) {
		t.Parallel()
		l := base(t)
		late := says("salesforce", "001A", 19, 190, golden.Values{golden.Name: "Late", golden.Phone: "late"})
		l.take(gone("salesforce", "001A", 20, ""), late)
		require.NotEqual(t, "Late", l.only().Values[golden.Name])
		rows, err := l.store.Read().Sources(t.Context(), "salesforce", golden.Customer, []string{"001A"})
		require.NoError(t, err)
		require.True(t, rows[0].Deleted)
		// A deleted record decides nothing for ever: whoever lives speaks next.
		l.take(says("erp", "BP7", 6, 300, golden.Values{golden.Name: "ACME AG", golden.Email: "c@x.de", golden.TaxID: "DE100000001", golden.Street: "Ring 9", golden.City: "Hamburg"}))
		require.Equal(t, []string{"ACME AG", "c@x.de"}, pick(l.only().Values, golden.Name, golden.Email))
		l.take(says("salesforce", "001A", 21, 400, golden.Values{golden.Name: "Acme again", golden.Email: "a@x.de"}))
		require.Equal(t, []string{"Acme again", "a@x.de"}, pick(l.only().Values, golden.Name, golden.Email))
		require.Equal(t, l.only().ID, l.holder("salesforce", "001A"), "the link holds")
	})
	t.Run("9 Salesforce merges 001B into 001A while 001B is linked to BP8, and a late update of 001B follows", func(t *testing.T) {
		t.Parallel()
		l := base(t)
		l.take(
			says("salesforce", "001B", 20, 50, golden.Values{golden.Name: "Acme Berlin", golden.Email: "old@x.de"}),
			says("erp", "BP8", 1, 40, golden.Values{golden.Name: "Acme Berlin", golden.TaxID: "DE100000008"}),
		)
		if a, b := l.holder("salesforce", "001B"), l.holder("erp", "BP8"); a != b {
			require.True(t, l.join(a, b))
		}
		l.take(gone("salesforce", "001B", 30, "001A"), says("salesforce", "001B", 29, 900, golden.Values{golden.Name: "Late", golden.Email: "late@x.de"}))
		g := l.only()
		require.Equal(t, g.ID, l.holder("salesforce", "001A"))
		require.Equal(t, g.ID, l.holder("erp", "BP7"))
		require.Equal(t, g.ID, l.holder("erp", "BP8"))
		require.Equal(t, "a@x.de", g.Values[golden.Email])
	})
	t.Run("10 taking the link back gives two golden records, each as before the link", func(t *testing.T) {
		t.Parallel()
		l := base(t)
		all, _ := l.goldens()
		require.Len(t, all, 2)
		for _, g := range all {
			if g.MergedInto != "" {
				require.True(t, l.part(g.ID))
			}
		}
		l.judge()
		values := map[string]golden.Values{}
		after, _ := l.goldens()
		for _, g := range after {
			values[g.Values[golden.Name]] = g.Values
		}
		require.Equal(t, []string{"Hauptstr 1", "10115", "Berlin"}, address(values["Acme"]))
		require.Equal(t, []string{"Ring 9", "20095", "Hamburg"}, address(values["ACME GmbH"]))
		require.Equal(t, "b@x.de", values["ACME GmbH"][golden.Email])
	})
	t.Run("14 our write coming back is no edit, and a real edit that was late is not lost", func(t *testing.T) {
		t.Parallel()
		w := enginetest.New(t, storetest.Schema.Open(t, "sqlite"))
		w.Settle()
		id := w.SF.Create(golden.Customer, "", golden.Values{golden.Name: "Acme", golden.TaxID: "DE100000001", golden.Phone: "A"})
		w.Settle()
		g := w.Golden(w.SF, golden.Customer, id)
		erp := w.Twin(g.ID, w.ERP).Ref.RecordID
		w.ERP.Edit(golden.Customer, erp, golden.Values{golden.Phone: "B"})
		w.ERP.Hold()
		w.ERP.Edit(golden.Customer, erp, golden.Values{golden.Phone: "C"}) // the news of it is late
		require.NoError(t, w.Turn(t.Context()))                            // B goes to Salesforce, and its echo comes back later than C was made
		require.NoError(t, w.Turn(t.Context()))
		w.ERP.Release(nil)
		w.Settle()
		w.Check()
		require.Equal(t, "C", w.Golden(w.SF, golden.Customer, id).Values[golden.Phone])
	})
}

// policyRules have one field for each thing that may become of an edit that does not win.
const policyRules = `
version: 1
systems: {erp: {priority: 20}, salesforce: {priority: 10}}
objects:
  customer:
    fields:
      email: {strategy: master, master: [salesforce, api, erp], overruled: revert}
      website: {strategy: master, master: [salesforce, api, erp], overruled: keep}
      phone: {strategy: master, master: [salesforce, api, erp], overruled: ask}
`

func TestOverruled(t *testing.T) {
	t.Parallel()
	fields := []string{golden.Email, golden.Website, golden.Phone}
	p := newPairWith(t, parse(t, policyRules))
	there := func() []string {
		rec, ok := p.ERP.Record(golden.Customer, p.erpA)
		require.True(t, ok)
		return pick(rec.Values, fields...)
	}
	agreed := func() []string { return pick(p.golden(t, p.idA).Values, fields...) }
	open := func() []store.Question {
		got, err := p.Store.Read().OpenQuestions(t.Context(), store.Question{}, 10)
		require.NoError(t, err)
		return got
	}
	p.SF.Edit(golden.Customer, p.a, golden.Values{golden.Email: "m", golden.Website: "m", golden.Phone: "m"})
	p.Settle()
	require.Equal(t, []string{"m", "m", "m"}, there())
	p.Check()

	// Somebody at the ERP edits what Salesforce masters: reverted, kept, asked about.
	p.ERP.Edit(golden.Customer, p.erpA, golden.Values{golden.Email: "x", golden.Website: "x", golden.Phone: "x"})
	p.Settle()
	require.Equal(t, []string{"m", "m", "m"}, agreed())
	require.Equal(t, []string{"m", "x", "x"}, there())
	require.Len(t, open(), 1)
	require.Equal(t, golden.Phone, open()[0].Field)
	require.Contains(t, p.Events(p.idA), "asked")
	q := open()[0]

	// Rejected, the golden value is written over it; the same question is not asked twice.
	require.NoError(t, p.steward.Answer(t.Context(), q.Ref, q.Field, false, "typing error"))
	p.Settle()
	require.Equal(t, []string{"m", "x", "m"}, there())
	require.Empty(t, open())
	require.Error(t, p.steward.Answer(t.Context(), q.Ref, q.Field, true, ""), "an answered question is none")

	// Accepted, it is the golden value, everywhere.
	p.ERP.Edit(golden.Customer, p.erpA, golden.Values{golden.Phone: "y"})
	p.Settle()
	require.Len(t, open(), 1)
	require.NoError(t, p.steward.Answer(t.Context(), q.Ref, q.Field, true, ""))
	p.Settle()
	require.Equal(t, []string{"m", "m", "y"}, agreed())
	require.Equal(t, "y", p.Twin(p.idA, p.SF).Values[golden.Phone])
	require.Equal(t, []string{"m", "x", "y"}, there())

	// The master's next word counts again, for all; a question that answers itself is settled.
	p.ERP.Edit(golden.Customer, p.erpA, golden.Values{golden.Email: "z"})
	p.SF.Edit(golden.Customer, p.a, golden.Values{golden.Email: "n", golden.Website: "n", golden.Phone: "n"})
	p.Settle()
	require.Equal(t, []string{"n", "n", "n"}, there())
	p.ERP.Edit(golden.Customer, p.erpA, golden.Values{golden.Phone: "o"})
	p.Settle()
	require.Len(t, open(), 1)
	p.SF.Edit(golden.Customer, p.a, golden.Values{golden.Phone: "o"})
	p.Settle()
	require.Empty(t, open())
	p.Check()
	require.Contains(t, p.Events(p.idA), "overruled")
	require.Contains(t, p.Events(p.idA), "rejected")
	require.Contains(t, p.Events(p.idA), "accepted")

	// What differed before anybody agreed is no edit.
	p.ERP.Create(golden.Customer, "", golden.Values{golden.Name: "Neu", golden.TaxID: "DE100000007", golden.Website: "old"})
	p.Clock.Advance(time.Hour)
	p.SF.Create(golden.Customer, "", golden.Values{golden.Name: "Neu", golden.TaxID: "DE100000007", golden.Website: "m"})
	p.Settle()
	p.Check()
}

func TestStewardPins(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	require.NoError(t, p.steward.Pin(t.Context(), p.idA, golden.Phone, " 555 ", golden.HoldUntilChange))
	p.Settle()
	p.Check()
	require.Equal(t, "555", p.Twin(p.idA, p.ERP).Values[golden.Phone])
	version := p.golden(t, p.idA).Version
	require.NoError(t, p.steward.Pin(t.Context(), p.idA, golden.Phone, "555", golden.HoldUntilChange), "twice is once")
	require.Equal(t, version, p.golden(t, p.idA).Version)
	p.SF.Edit(golden.Customer, p.a, golden.Values{golden.Phone: "2"})
	p.Settle()
	p.Check()
	require.Equal(t, "2", p.golden(t, p.idA).Values[golden.Phone], "the pooled value changed")

	require.NoError(t, p.steward.Pin(t.Context(), p.idA, golden.City, "Bonn", golden.HoldAlways))
	p.ERP.Edit(golden.Customer, p.erpA, golden.Values{golden.City: "Wien", golden.Street: "Ring 1"})
	p.Settle()
	p.Check()
	require.Equal(t, []string{"", "Bonn"}, pick(p.golden(t, p.idA).Values, golden.Street, golden.City), "an address is pinned as a whole")
	require.NoError(t, p.steward.Unpin(t.Context(), p.idA, golden.Street))
	p.Settle()
	p.Check()
	require.Equal(t, []string{"Ring 1", "Wien"}, pick(p.golden(t, p.idA).Values, golden.Street, golden.City))
	require.Error(t, p.steward.Pin(t.Context(), p.idA, "shoe_size", "44", golden.HoldAlways))
	require.Error(t, p.steward.Pin(t.Context(), "c_aaaaaaaaaaaaaaaaaaaaaaaaaa", golden.Phone, "44", golden.HoldAlways))
	require.Contains(t, p.Events(p.idA), "pinned")
	require.Contains(t, p.Events(p.idA), "unpinned")
}

func TestClockAhead(t *testing.T) {
	t.Parallel()
	l := newLab(t, survive.Default())
	t.Cleanup(l.close)
	year := 365 * 24 * 3600.0
	base := golden.Values{golden.Name: "Acme", golden.TaxID: "DE100000001", golden.Phone: "1"}
	edit := func(phone string) golden.Values { v := base.Clone(); v[golden.Phone] = phone; return v }
	l.take(says("salesforce", "A", 1, 0, base), says("erp", "7", 1, 0, base))
	l.take(says("salesforce", "A", 2, year, edit("2")))
	require.Equal(t, "2", l.only().Values[golden.Phone], "it is the newest word when it comes")
	l.take(says("erp", "7", 2, 6*3600+600, edit("3"))) // ten minutes after noon, when the lab began
	require.Equal(t, "3", l.only().Values[golden.Phone], "and does not hold for a year")
}
