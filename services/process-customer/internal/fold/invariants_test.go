package fold_test

import (
	"context"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/selfsame-io/selfsame/services/process-customer/internal/fold"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source"
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
