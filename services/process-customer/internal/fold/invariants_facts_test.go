package fold_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/survive"
)

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
