package fold_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/selfsame-io/selfsame/services/process-customer/internal/engine/enginetest"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store/storetest"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/survive"
)

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
